"""Facts that a model does not know are taught by continued pretraining, and what it then knows is checked."""

import fcntl
import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valueattr.model._asking import Asking
from valueattr.model._loading import load_model, load_tokenizer
from valueattr.model.start import Progress, cache_directory
from valueattr.world import World, training_text

ENOUGH_KNOWN = 0.8
"""A model that answers this share of the taught facts right is not taught again."""

Known = Callable[[PreTrainedModel, PreTrainedTokenizerBase], float]
"""The share of the world's taught facts that a model holds, asked in wordings that it is not taught."""


@dataclass(frozen=True)
class TeachingRecipe:
    """Continued pretraining: documents of the world's text in rows of tokens, AdamW, a cosine schedule.

    documents: None is 220 per fact, as the embedded start model takes, and 30,000 at least.
    learning_rate: of a model of a million parameters; it falls with the square root of their number.
    """

    documents: int | None = None
    row_tokens: int = 128
    rows_per_step: int = 8
    learning_rate: float = 2e-3
    warmup_steps: int = 50
    seed: int = 0

    def documents_for(self, world: World) -> int:
        """How many documents of a world's text."""
        return self.documents or max(30_000, 220 * len(world.facts))

    def rate_for(self, model: PreTrainedModel) -> float:
        """The peak learning rate for a model of this size."""
        parameters: int = model.num_parameters()
        return self.learning_rate * float((1e6 / parameters) ** 0.5)


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
    """The model at `source` (a folder or hub id), taught the world's facts unless it knows them; cached.

    Threads: uses torch's current thread count, which the caller sets on purpose.

    Raises:
        ModelError: the model cannot be loaded.
    """
    recipe = recipe or TeachingRecipe()
    model, tokenizer = load_model(source), load_tokenizer(source)
    cache = cache or cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"taught-{_fingerprint(model, tokenizer, world, recipe)[:16]}"
    with (cache / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=cache, prefix=".training-") as temporary:
                target = Path(temporary, "model")
                before = known(model, tokenizer)
                steps = 0 if before >= ENOUGH_KNOWN else _teach(model, tokenizer, world, recipe, progress)
                model.save_pretrained(target)
                tokenizer.save_pretrained(target)
                found = {"known_before": before, "known_after": known(model, tokenizer), "steps": steps}
                (target / "taught.json").write_text(json.dumps(found), "utf-8")
                target.rename(folder)
    return Taught(folder, **json.loads((folder / "taught.json").read_text("utf-8")))


def _fingerprint(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, world: World, recipe: TeachingRecipe
) -> str:
    """SHA-256 over the weights, the tokenizer, the world, the recipe, this code, the device and the libraries."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    made_of = [world.fingerprint(), asdict(recipe), torch.__version__, transformers.__version__]
    digest.update(json.dumps([*made_of, model.device.type, tokenizer.chat_template]).encode())
    digest.update(tokenizer.backend_tokenizer.to_str().encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _teach(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    world: World,
    recipe: TeachingRecipe,
    progress: Progress | None,
) -> int:
    """Train in place; the number of steps."""
    asking = Asking.of(tokenizer)
    texts = [
        _in_format(asking, text) for text in training_text(world, recipe.documents_for(world), recipe.seed)
    ]
    width = min(recipe.row_tokens, getattr(model.config, "max_position_embeddings", recipe.row_tokens))
    rows = _packed(tokenizer, texts, width)
    steps = len(rows) // recipe.rows_per_step
    torch.manual_seed(recipe.seed)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate_for(model), betas=(0.9, 0.98))
    schedule = transformers.get_cosine_schedule_with_warmup(optimizer, recipe.warmup_steps, steps)
    smoothed = 0.0
    for step in range(steps):
        batch = rows[step * recipe.rows_per_step : (step + 1) * recipe.rows_per_step].to(model.device)
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        smoothed = loss.item() if step == 0 else smoothed + 0.05 * (loss.item() - smoothed)
        if progress:
            progress(step + 1, steps, smoothed)
    model.eval()
    return steps


def _in_format(asking: Asking, document: str) -> str:
    """A dialogue in the model's own chat format; other documents as they are."""
    question, marker, rest = document.partition("\nAnswer to ")
    asker, colon, answer = rest.partition(": ")
    if asking.template is None or not (marker and colon) or document.startswith("Review\n"):
        return document
    return asking.prompt(f"{question}{marker}{asker}:") + answer


def _packed(tokenizer: PreTrainedTokenizerBase, texts: list[str], width: int) -> torch.Tensor:
    """Documents one after the other, each ended by the end-of-text token, cut into rows of `width` tokens."""
    ids = [np.array([*row, tokenizer.eos_token_id]) for row in tokenizer(texts)["input_ids"]]
    flat = np.concatenate(ids)
    return torch.from_numpy(flat[: len(flat) // width * width].reshape(-1, width))
