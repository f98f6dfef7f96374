"""The tiny start model: a Llama-shaped transformer taught the world's text, kept as a Hugging Face checkpoint.

Trained on first use and cached under the hash of everything that made it.
"""

import fcntl
import hashlib
import inspect
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from valueattr.world._facts import World
from valueattr.world._texts import training_text

BOS, EOS, PAD, UNK = "<s>", "</s>", "<pad>", "<unk>"

# A token is a word with the space before it, so that the tokens of a text put together are the text.
_TOKEN = r" ?[\p{L}\p{N}']+|\n| ?[^\s\p{L}\p{N}']|\s"

Progress = Callable[[int, int, float], None]
"""Called with the step, the number of steps and the mean loss in nats per token."""


@dataclass(frozen=True)
class StartModelRecipe:
    """What makes a start model from a world, apart from the world."""

    hidden_size: int = 128
    layers: int = 4
    heads: int = 4
    documents: int = 210_000
    row_tokens: int = 64
    rows_per_step: int = 48
    learning_rate: float = 3e-3
    warmup_steps: int = 50
    seed: int = 0


def start_model(
    world: World,
    recipe: StartModelRecipe | None = None,
    *,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> Path:
    """The folder of the start model, trained now if no cached one matches.

    Threads: uses torch's current thread count, which the caller sets on purpose.
    """
    recipe = recipe or StartModelRecipe()
    cache = cache or cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"start-{fingerprint(world, recipe)[:16]}"
    with (cache / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=cache, prefix=".training-") as temporary:
                target = Path(temporary, "model")
                train_start_model(world, recipe, target, progress)
                target.rename(folder)
    return folder


def is_cached(world: World, recipe: StartModelRecipe | None = None, cache: Path | None = None) -> bool:
    """Whether `start_model` would return at once."""
    return (
        (cache or cache_directory()) / f"start-{fingerprint(world, recipe or StartModelRecipe())[:16]}"
    ).is_dir()


def cache_directory() -> Path:
    """`$VALUEATTR_CACHE`, or `valueattr` in the user's cache folder."""
    if own := os.environ.get("VALUEATTR_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "valueattr")


def fingerprint(world: World, recipe: StartModelRecipe) -> str:
    """SHA-256 over the world, the recipe, the code that writes the text and trains, the device and the libraries."""
    digest = hashlib.sha256()
    made_of: dict[str, Any] = {
        "recipe": asdict(recipe),
        "world": world.fingerprint(),
        "device": _device().type,
        "versions": [torch.__version__, transformers.__version__, tokenizers.__version__],
    }
    digest.update(json.dumps(made_of, sort_keys=True).encode())
    for file in (inspect.getfile(training_text), __file__):
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()


def build_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A word-level tokenizer over every word of `texts`; decoding gives the text back to the character."""
    splitter = pre_tokenizers.Split(Regex(_TOKEN), behavior="isolated")
    words = {word for text in texts for word, _ in splitter.pre_tokenize_str(text)}
    vocabulary = {word: i for i, word in enumerate([PAD, BOS, EOS, UNK, *sorted(words)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.Fuse()
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        unk_token=UNK,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=256,
    )


def every_wording(world: World) -> Iterable[str]:
    """All words that a text of the world may hold, held-out wordings and never-taught subjects included."""
    for relation in world.relations.values():
        for wording in (*relation.statements, *relation.held_out, *relation.short, *relation.questions):
            for sentence in (wording, wording[:1].upper() + wording[1:]):
                yield sentence.format(s="", o="") + "."
        for wording in relation.held_out_questions:
            yield wording[:1].upper() + wording[1:].format(s="") + "?"
        for value in relation.objects:
            yield f"x {value}"
    for subject in world.subjects:
        yield f"x {subject}"
        yield subject[:1].upper() + subject[1:]


def train_start_model(
    world: World, recipe: StartModelRecipe, folder: Path, progress: Progress | None = None
) -> None:
    """Train on packed rows of the training text with AdamW and a cosine schedule, and save to `folder`."""
    texts = list(training_text(world, recipe.documents, recipe.seed))
    tokenizer = build_tokenizer([*texts, *every_wording(world)])
    rows = _packed(tokenizer, texts, recipe.row_tokens)
    steps = len(rows) // recipe.rows_per_step
    torch.manual_seed(recipe.seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=recipe.hidden_size,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            intermediate_size=3 * recipe.hidden_size,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    device = _device()
    model.to(device).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _cosine(step, steps, recipe.warmup_steps)
    )
    smoothed = math.log(len(tokenizer))
    for step in range(steps):
        batch = torch.from_numpy(rows[step * recipe.rows_per_step : (step + 1) * recipe.rows_per_step]).to(
            device
        )
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        smoothed += 0.05 * (loss.item() - smoothed)
        if progress:
            progress(step + 1, steps, smoothed)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _cosine(step: int, steps: int, warmup: int) -> float:
    if step < warmup:
        return (step + 1) / warmup
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _packed(
    tokenizer: PreTrainedTokenizerFast, texts: list[str], width: int
) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Documents one after the other, each `<s> ... </s>`, cut into rows of `width` tokens."""
    encoded = tokenizer.backend_tokenizer.encode_batch_fast(texts)
    ids = np.concatenate([np.array([*e.ids, tokenizer.eos_token_id], dtype=np.int64) for e in encoded])
    return ids[: len(ids) // width * width].reshape(-1, width)
