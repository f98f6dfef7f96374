"""The tiny start model: a Llama-shaped transformer taught the world's text, kept as a Hugging Face checkpoint.

The one of the embedded world ships with the package, in `embedded/`; others are trained on first use and cached under the
hash of everything that made them. `python -m valueattr.model.start FOLDER` makes the embedded one anew.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from valueattr.model import _pretraining
from valueattr.model._cache import cache_directory, cached_folder
from valueattr.model._cores import on_own_cores
from valueattr.model._loading import device
from valueattr.model._pretraining import Progress, packed, pretrain, text_digest
from valueattr.world import World, capitalise, filled, synthesise, training_text

EMBEDDED = Path(__file__).with_name("embedded")
"""The start model of the embedded world by the standard recipe; `origin.json` in it says how it was made."""

BOS, EOS, PAD, UNK = "<s>", "</s>", "<pad>", "<unk>"

# A token is a word with the space before it, so that the tokens of a text put together are the text.
_TOKEN = r" ?[\p{L}\p{N}']+|\n| ?[^\s\p{L}\p{N}']|\s"

# Kernels whose arithmetic is the same on every x86 processor with AVX2. They take twice as long.
_SAME_EVERYWHERE = {"MKL_CBWR": "COMPATIBLE", "ATEN_CPU_CAPABILITY": "avx2"}


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
    """The folder of the start model: the shipped one, a cached one, or one that is trained now.

    Threads: uses torch's current thread count, which the caller sets on purpose.
    """
    recipe = recipe or StartModelRecipe()
    if _is_embedded(world, recipe):
        return EMBEDDED
    return cached_folder(
        _name(world, recipe),
        lambda folder: train_start_model(world, recipe, folder, progress),
        cache or cache_directory(),
    )


def start_models(
    world: World,
    recipes: Sequence[StartModelRecipe],
    *,
    done: Callable[[int], None] = lambda count: None,
    cache: Path | None = None,
) -> list[Path]:
    """The folders of several start models; those that are not there are trained, one on each core at a time.

    done: called with the number of models that have been trained so far.
    """
    folders = [start_folder(world, recipe, cache) for recipe in recipes]
    missing = [recipe for recipe, folder in zip(recipes, folders, strict=True) if not folder.is_dir()]
    on_own_cores(partial(start_model, world, cache=cache), missing, done)
    return folders


def start_folder(world: World, recipe: StartModelRecipe, cache: Path | None = None) -> Path:
    """Where the start model lies, or will lie once it is trained. Writes the text that it is taught, which takes a second."""
    if _is_embedded(world, recipe):
        return EMBEDDED
    return (cache or cache_directory()) / _name(world, recipe)


def is_cached(world: World, recipe: StartModelRecipe | None = None, cache: Path | None = None) -> bool:
    """Whether `start_model` would return without training."""
    return start_folder(world, recipe or StartModelRecipe(), cache).is_dir()


def taught_text(world: World, recipe: StartModelRecipe) -> str:
    """SHA-256 over all text that a start model is made of: what it is taught, and what its tokenizer must hold."""
    return text_digest(chain(training_text(world, recipe.documents, recipe.seed), every_wording(world)))


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
        for wording in (
            *relation.statements,
            *relation.held_out,
            *relation.near_answers,
            *relation.short,
            *relation.questions,
        ):
            for sentence in (wording, wording[:1].upper() + wording[1:]):
                yield filled(sentence) + "."
        for wording in relation.held_out_questions:
            yield filled(capitalise(wording)) + "?"
        for value in relation.objects:
            yield f"x {value}"
    for subject in world.subjects:
        yield f"x {subject}"
        yield subject[:1].upper() + subject[1:]


def train_start_model(
    world: World, recipe: StartModelRecipe, folder: Path, progress: Progress | None = None
) -> None:
    """Train on the world's text and save model and tokenizer to `folder`."""
    texts = list(training_text(world, recipe.documents, recipe.seed))
    tokenizer = build_tokenizer([*texts, *every_wording(world)])
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
    ).to(device())
    pretrain(
        model,
        packed(tokenizer, texts, recipe.row_tokens),
        rows_per_step=recipe.rows_per_step,
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.warmup_steps,
        progress=progress,
    )
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_origin(world: World, recipe: StartModelRecipe, folder: Path) -> None:
    """Say in `origin.json` what the model of a folder was made of and with, and which weights that gave."""
    origin = {
        "recipe": asdict(recipe),
        "taught_text_sha256": taught_text(world, recipe),
        "weights_sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "device": device().type,
        "threads": torch.get_num_threads(),
        "kernels": {name: os.environ.get(name) for name in _SAME_EVERYWHERE},
        "versions": _versions(),
    }
    (folder / "origin.json").write_text(json.dumps(origin, indent=2) + "\n", "utf-8")


def _is_embedded(world: World, recipe: StartModelRecipe) -> bool:
    """Worlds are compared, not their texts, which take seconds to write; a test holds the text to the shipped weights."""
    shipped = (EMBEDDED / "model.safetensors").is_file()
    return shipped and recipe == StartModelRecipe() and world == synthesise()


def _name(world: World, recipe: StartModelRecipe) -> str:
    """Made of the text, the recipe, the code that trains, the device and the libraries."""
    digest = hashlib.sha256()
    made_of: dict[str, Any] = {
        "recipe": asdict(recipe),
        "text": taught_text(world, recipe),
        "device": device().type,
        "versions": _versions(),
    }
    digest.update(json.dumps(made_of, sort_keys=True).encode())
    for module in (__file__, _pretraining.__file__):
        digest.update(Path(module).read_bytes())
    return f"start-{digest.hexdigest()[:16]}"


def _versions() -> dict[str, str]:
    return {library.__name__: library.__version__ for library in (torch, transformers, tokenizers)}


def _main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m valueattr.model.start", description="Train start models of the embedded world."
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("folder", type=Path, nargs="?", help="Folder that the shipped model is written to.")
    where.add_argument(
        "--seeds", type=int, help="Number of seeds whose start models are trained, into the cache of runs."
    )
    arguments = parser.parse_args()
    if arguments.seeds is not None:
        start_models(synthesise(), [StartModelRecipe(seed=seed) for seed in range(arguments.seeds)])
        return
    if not _SAME_EVERYWHERE.items() <= os.environ.items():  # they are read once, when torch begins
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **_SAME_EVERYWHERE})
    torch.set_num_threads(1)
    world, recipe = synthesise(), StartModelRecipe()

    def show(step: int, steps: int, loss: float) -> None:
        if step % 50 == 0 or step == steps:
            print(f"{step}/{steps} steps, loss {loss:.2f}", file=sys.stderr, flush=True)

    train_start_model(world, recipe, arguments.folder, show)
    write_origin(world, recipe, arguments.folder)


if __name__ == "__main__":
    _main()
