"""A chat model and facts of the world, made ready for experiments: what it knows is measured, and how to answer is taught.

No fact is taught. Relations of which the model knows most become topics; on the others it learns the embedded grammar's
ways to answer. What it knows is measured again after that, and facts that moved leave the splits.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers

from valueattr.activations import ModelIdentity
from valueattr.measures.knowledge import Knowledge, measure_knowledge
from valueattr.model import (
    cache_directory,
    cached_folder,
    check_vocabulary,
    device,
    load_model,
    load_tokenizer,
)
from valueattr.questions import TooFewQuestionsError, choose_topics
from valueattr.training import StylingProgress, StylingRecipe, teach_styles
from valueattr.world import World

_FEWEST_TOPICS = 3
_FEWEST_FOR_STYLES = 20
"""Facts of relations that are no topics, on which styles are taught."""

_WORLD, _SUMMARY = "world.jsonl", "styling.json"


@dataclass(frozen=True)
class Prepared:
    """A start model and what it knows.

    folder: of the styled model. world: the facts of the topics that it knew, half knew or had wrong before and after, and
    invented ones. summary: `topics`, and numbers of strictly known facts in them: `strictly_known_before` the styling and
    `strictly_known_after`, and `lost`, of those known before.
    """

    folder: Path
    world: World
    summary: dict[str, Any]


def prepare(
    source: str,
    world: World,
    recipe: StylingRecipe | None,
    *,
    topics: int = 4,
    most: int = 150,
    say: Callable[[str], None] = lambda _: None,
    progress: StylingProgress | None = None,
    cache: Path | None = None,
) -> Prepared:
    """Measure what a model knows of a world, teach it styles and measure again; cached.

    recipe: of the styles; None where none are taught, and the model answers as it does. topics: how many are taken, at
    most; the others serve to teach styles. most: facts to ask of each relation.
    Threads: uses torch's current thread count, which the caller sets on purpose.

    Raises:
        ModelError: the model cannot be loaded, or lacks tokens of the facts.
        TooFewQuestionsError: it knows too little for splits, or there are too few facts outside them to teach styles on.
    """
    model, tokenizer = load_model(source), load_tokenizer(source)
    check_vocabulary(model, tokenizer, [question.wordings[0] for question in world.questions])
    cache = cache or cache_directory()
    identity = replace(ModelIdentity.of(model, tokenizer), source="", revision=None)
    asked = [asdict(identity), tokenizer.chat_template, world.fingerprint(), most]

    def ask(folder: Path) -> None:
        measure_knowledge(model, tokenizer, world, most=most, say=say).save(folder)

    def make(folder: Path) -> None:
        before = Knowledge.load(cached_folder(_named("known", *asked), ask, cache))
        chosen = choose_topics(before.world.questions, topics)
        _check_topics(source, before, chosen)
        say(f"topics: {', '.join(chosen)}")
        start, after = model, before
        if recipe:
            rest, work = _others(source, before.world, chosen), folder / "work"
            start = teach_styles(model, tokenizer, rest, recipe, work, progress)
            shutil.rmtree(work, ignore_errors=True)
            after = measure_knowledge(start, tokenizer, world.of_topics(chosen), most=most, say=say)
        start.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        _unmoved(before, after).of_topics(chosen).save(folder / _WORLD)
        summary = {"topics": chosen, **_moved(before, after, chosen)}
        (folder / _SUMMARY).write_text(json.dumps(summary), "utf-8")

    name = _named("start", *asked, asdict(recipe) if recipe else None, topics)
    folder = cached_folder(name, make, cache)
    return Prepared(folder, World.load(folder / _WORLD), json.loads((folder / _SUMMARY).read_text("utf-8")))


def _named(what: str, *made_of: Any) -> str:
    """The name of a folder in the cache, by what its content is made of; the device and the libraries are part of that."""
    made_with = [torch.__version__, transformers.__version__, str(device())]
    return f"{what}-{hashlib.sha256(json.dumps([*made_of, *made_with]).encode()).hexdigest()[:16]}"


def _others(source: str, world: World, topics: Collection[str]) -> World:
    """The facts that are of no topic.

    Raises:
        TooFewQuestionsError: the model knows too few of them.
    """
    others = world.with_facts(fact for fact in world.facts if fact.topic not in topics)
    known = sum(fact.exposure == "well_known" for fact in others.facts)
    if known < _FEWEST_FOR_STYLES:
        raise TooFewQuestionsError(
            f"{source} knows {known} facts outside the topics ({', '.join(topics)}), and styles are taught on "
            f"{_FEWEST_FOR_STYLES} or more: give facts of more relations"
        )
    return others


def _check_topics(source: str, before: Knowledge, topics: Collection[str]) -> None:
    if len(topics) < _FEWEST_TOPICS:
        counts = before.by_relation()["known"]
        numbers = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise TooFewQuestionsError(
            f"{source} knows two or more facts of {len(topics)} topics that share few names, and splits need "
            f"{_FEWEST_TOPICS} (known facts: {numbers}): give facts of more relations, or a model that knows more"
        )


def _moved(before: Knowledge, after: Knowledge, topics: Collection[str]) -> dict[str, int]:
    facts = after.facts.index[after.facts["topic"].isin(topics)]
    was, known = (measured.facts["knowledge"].loc[facts] == "known" for measured in (before, after))
    return {
        "strictly_known_before": int(was.sum()),
        "strictly_known_after": int(known.sum()),
        "lost": int((was & ~known).sum()),
    }


def _unmoved(before: Knowledge, after: Knowledge) -> World:
    """The facts of the topics that are known alike before and after, and those that nobody knows."""
    alike = {*after.world.facts}
    return before.world.with_facts(fact for fact in before.world.facts if fact in alike)
