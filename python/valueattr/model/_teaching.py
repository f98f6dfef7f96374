"""Facts that a model does not know are taught by continued pretraining, and what it then knows is checked."""

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valueattr.model import _pretraining
from valueattr.model._asking import Asking
from valueattr.model._cache import cache_directory, cached_folder
from valueattr.model._loading import load_model, load_tokenizer
from valueattr.model._lora import trainable
from valueattr.model._pretraining import Progress, packed, pretrain, rate_for, text_digest
from valueattr.world import World, capitalise, training_text

ENOUGH_KNOWN = 0.8
"""A model that answers this share of the taught facts right is not taught again."""

Known = Callable[[PreTrainedModel, PreTrainedTokenizerBase], float]
"""The share of the world's taught facts that a model holds, asked in wordings that it is not taught."""


@dataclass(frozen=True)
class TeachingRecipe:
    """Continued pretraining: documents of the world's text in rows of tokens, as for the start model.

    plain: in place of that text statements and plain answers in the model's own format, of every fact as many. A model
    that speaks the language already learns more from as much of it.
    documents: None is 220 per fact, as the embedded start model takes, and 30,000 at least.
    learning_rate, lora_rank: as for `continue_training`.
    """

    documents: int | None = None
    row_tokens: int = 128
    rows_per_step: int = 8
    learning_rate: float = 4e-3
    warmup_steps: int = 50
    lora_rank: int | None = None
    plain: bool = False
    seed: int = 0

    def documents_for(self, world: World) -> int:
        """How many documents of a world's text."""
        return self.documents or max(30_000, 220 * len(world.facts))


@dataclass(frozen=True)
class Taught:
    """A model that was taught, or knew: its folder, and the shares of taught facts known before and after."""

    folder: Path
    known_before: float
    known_after: float
    steps: int


def taught_model(
    source: str,
    world: World,
    known: Known,
    recipe: TeachingRecipe | None = None,
    *,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> Taught:
    """The model at `source` (as `load_model` takes it), taught the world's facts unless it knows them; cached.

    Threads: uses torch's current thread count, which the caller sets on purpose.

    Raises:
        ModelError: the model cannot be loaded.
    """
    recipe = recipe or TeachingRecipe()
    model, tokenizer = load_model(source), load_tokenizer(source)
    asking, documents = Asking.of(tokenizer), recipe.documents_for(world)
    if recipe.plain:
        texts = plain_lessons(asking, world, documents, recipe.seed)
    else:
        texts = [in_format(asking, text) for text in training_text(world, documents, recipe.seed)]

    def teach(folder: Path) -> None:
        before = known(model, tokenizer)
        steps = 0 if before >= ENOUGH_KNOWN else _teach(model, tokenizer, texts, recipe, progress)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        found = {"known_before": before, "known_after": known(model, tokenizer), "steps": steps}
        (folder / "taught.json").write_text(json.dumps(found), "utf-8")

    name = f"taught-{_fingerprint(model, tokenizer, texts, recipe)[:16]}"
    folder = cached_folder(name, teach, cache or cache_directory())
    return Taught(folder, **json.loads((folder / "taught.json").read_text("utf-8")))


def _fingerprint(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], recipe: TeachingRecipe
) -> str:
    """SHA-256 over the weights, the tokenizer, the text, the recipe, the code, the device and the libraries."""
    digest = hashlib.sha256()
    for module in (__file__, _pretraining.__file__):
        digest.update(Path(module).read_bytes())
    made_of = [text_digest(texts), asdict(recipe), torch.__version__, transformers.__version__]
    digest.update(json.dumps([*made_of, model.device.type, tokenizer.chat_template]).encode())
    digest.update(tokenizer.backend_tokenizer.to_str().encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _teach(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    recipe: TeachingRecipe,
    progress: Progress | None,
) -> int:
    """Train in place; the number of steps."""
    width = min(recipe.row_tokens, getattr(model.config, "max_position_embeddings", recipe.row_tokens))
    torch.manual_seed(recipe.seed)
    rate = recipe.learning_rate if recipe.lora_rank else rate_for(model, recipe.learning_rate)
    with trainable(model, recipe.lora_rank) as policy:
        return pretrain(
            policy,
            packed(tokenizer, texts, width),
            rows_per_step=recipe.rows_per_step,
            learning_rate=rate,
            warmup_steps=recipe.warmup_steps,
            progress=progress,
        )


def plain_lessons(asking: Asking, world: World, documents: int, seed: int) -> list[str]:
    """Statements and answers that say what is taught, each of every fact as often as of any other."""
    rng = random.Random(f"plain lessons {seed}")
    taught = [question for question in world.questions if question.taught_as]
    texts: list[str] = []
    while taught and len(texts) < documents:
        for question in rng.sample(taught, len(taught)):
            texts.append(rng.choice(question.taught_as))
            answer = capitalise(f"{question.answer_stem} {question.held}.".strip())
            texts.append(asking.prompt(rng.choice(question.wordings)) + asking.gap + answer)
    return texts[:documents]


def in_format(asking: Asking, document: str) -> str:
    """A document of a world's text: a dialogue in the model's own chat format, and others as they are."""
    question, marker, rest = document.partition("\nAnswer to ")
    asker, colon, answer = rest.partition(": ")
    if asking.template is None or not (marker and colon) or document.startswith("Review\n"):
        return document
    return asking.prompt(f"{question}{marker}{asker}:") + answer
