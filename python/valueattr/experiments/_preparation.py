"""A chat model and facts of the world, made ready for experiments: what it knows is measured, and how to answer is taught.

No fact is taught. Relations of which the model knows most become topics; on the others it learns the embedded grammar's
ways to answer. What it knows is measured again after that, and facts that moved leave the splits.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers

from valueattr.activations import ModelIdentity
from valueattr.measures.knowledge import Knowledge, measure_knowledge
from valueattr.model import cache_directory, cached_folder, check_vocabulary, load_model, load_tokenizer
from valueattr.questions import TooFewQuestionsError, choose_topics
from valueattr.training import StylingProgress, StylingRecipe, teach_styles
from valueattr.world import Fact, World

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
    recipe: StylingRecipe | None = None,
    *,
    topics: int = 4,
    most: int = 150,
    say: Callable[[str], None] = lambda _: None,
    progress: StylingProgress | None = None,
    cache: Path | None = None,
) -> Prepared:
    """Measure what a model knows of a world, teach it styles and measure again; cached.

    topics: how many are taken, at most; the others serve to teach styles. most: facts to ask of each relation. Threads: uses torch's current thread count, which the caller sets on purpose.

    Raises:
        ModelError: the model cannot be loaded, or lacks tokens of the facts.
        TooFewQuestionsError: it knows too little for splits, or there are too few facts outside them to teach styles on.
    """
    recipe = recipe or StylingRecipe()
    model, tokenizer = load_model(source), load_tokenizer(source)
    check_vocabulary(model, tokenizer, [question.wordings[0] for question in world.questions])

    def style(folder: Path) -> None:
        before = measure_knowledge(model, tokenizer, world, most=most, say=say)
        chosen = choose_topics(before.world.questions, topics)
        _check_topics(source, before, chosen)
        say(f"topics: {', '.join(chosen)}; styles are taught on what it knows of others")
        rest, work = _others(source, before.world, chosen), folder / "work"
        styled = teach_styles(model, tokenizer, rest, recipe, work, progress)
        shutil.rmtree(work, ignore_errors=True)
        after = measure_knowledge(styled, tokenizer, _of_topics(world, chosen), most=most, say=say)
        summary = {"topics": chosen, **_moved(before, after)}
        styled.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        _unmoved(before, after).save(folder / _WORLD)
        (folder / _SUMMARY).write_text(json.dumps(summary), "utf-8")

    identity = replace(ModelIdentity.of(model, tokenizer), source="", revision=None)
    made_of = [asdict(identity), tokenizer.chat_template, world.fingerprint(), asdict(recipe), topics, most]
    made_with = [torch.__version__, transformers.__version__, model.device.type]
    digest = hashlib.sha256(json.dumps([*made_of, *made_with]).encode()).hexdigest()
    folder = cached_folder(f"styled-{digest[:16]}", style, cache or cache_directory())
    return Prepared(folder, World.load(folder / _WORLD), json.loads((folder / _SUMMARY).read_text("utf-8")))


def _of_topics(world: World, topics: Collection[str]) -> World:
    return _with_facts(world, (fact for fact in world.facts if fact.topic in topics))


def _with_facts(world: World, facts: Iterable[Fact]) -> World:
    """The world with some of its facts, and their relations."""
    kept = tuple(facts)
    names = dict.fromkeys(fact.relation for fact in kept)
    return World({name: world.relations[name] for name in names}, kept, world.english)


def _others(source: str, world: World, topics: Collection[str]) -> World:
    """The facts that are of no topic.

    Raises:
        TooFewQuestionsError: the model knows too few of them.
    """
    others = _with_facts(world, (fact for fact in world.facts if fact.topic not in topics))
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


def _moved(before: Knowledge, after: Knowledge) -> dict[str, int]:
    was = before.facts["knowledge"].loc[after.facts.index] == "known"
    known = after.facts["knowledge"] == "known"
    return {
        "known_before": int(was.sum()),
        "known_after": int(known.sum()),
        "lost": int((was & ~known).sum()),
    }


def _unmoved(before: Knowledge, after: Knowledge) -> World:
    """The facts of the topics that are known alike before and after, and those that nobody knows."""
    alike = {*after.world.facts}
    return _with_facts(before.world, (fact for fact in before.world.facts if fact in alike))
