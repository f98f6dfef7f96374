"""A chat model and facts of the world, made ready for experiments: what it knows is measured, and how to answer is taught.

No fact is taught. Relations of which the model knows most become topics; on other relations, and on facts of the topics
that are set aside, it learns the embedded grammar's ways to answer. What it knows is measured again after that, and facts
that moved leave the splits.
"""

import hashlib
import inspect
import json
import random
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from valueattr.activations import ModelIdentity
from valueattr.experiments._progress import Progress, steps_on
from valueattr.measures.knowledge import Knowledge, measure_knowledge
from valueattr.model import (
    ModelError,
    cache_directory,
    cached_folder,
    check_vocabulary,
    device,
    load_model,
    load_tokenizer,
)
from valueattr.questions import FEWEST_TOPICS, TooFewQuestionsError, choose_topics, share_names
from valueattr.training import StylingRecipe, teach_styles
from valueattr.world import Fact, World, invented_subjects

_FEWEST_FOR_STYLES = 20
"""Well-known facts that are in no split, on which styles are taught."""

# What decides over what is cached, beside what is given; of the code the files that these stand in.
_LIBRARIES = ("torch", "transformers", "trl", "peft")
_OF_KNOWLEDGE: tuple[Any, ...] = (measure_knowledge, invented_subjects)
_OF_START: tuple[Any, ...] = (*_OF_KNOWLEDGE, choose_topics, teach_styles)

_WORLD, _SUMMARY = "world.jsonl", "styling.json"


@dataclass(frozen=True)
class Prepared:
    """A start model and what it knows.

    folder: of the styled model. world: the facts of the topics that it knew, half knew or had wrong before and after, and
    invented ones. summary: `topics`, and numbers of strictly known facts in them: `strictly_known_before` the styling and
    `strictly_known_after`, `no_longer_known` and `newly_known`.
    """

    folder: Path
    world: World
    summary: dict[str, Any]


def prepare(
    source: str,
    world: World,
    recipe: StylingRecipe | None,
    *,
    most: int,
    display: Progress,
    cache: Path | None = None,
) -> Prepared:
    """Measure what a model knows of a world, teach it styles and measure again; cached.

    recipe: of the styles; None where none are taught, and the model answers as it does. most: facts to ask of each
    relation. Three relations become topics; a quarter of their facts, and relations of other names, teach the styles.
    Threads: uses torch's current thread count, which the caller sets on purpose.

    Raises:
        ModelError: the model cannot be loaded, or lacks tokens of the facts; or what is cached is damaged.
        NotFiniteError, TrainingConfigError: as for `teach_styles`.
        TooFewQuestionsError: it knows too little for splits, or too few facts to teach styles on.
    """
    model, tokenizer = load_model(source), load_tokenizer(source)
    check_vocabulary(model, tokenizer, [question.wordings[0] for question in world.questions])
    cache = cache or cache_directory()
    identity = replace(ModelIdentity.of(model, tokenizer), source="", revision=None)
    tokens = [tokenizer.chat_template, tokenizer.eos_token_id]
    asked = [asdict(identity), tokens, world.fingerprint(), most]

    def ask(folder: Path) -> None:
        measure_knowledge(model, tokenizer, world, most=most, say=display.say).save(folder)

    def make(folder: Path) -> None:
        known = cached_folder(_named("known", _OF_KNOWLEDGE, *asked), ask, cache)
        with _whole(known):
            before = Knowledge.load(known)
        chosen = choose_topics(before.world.questions)
        _check_topics(source, before, chosen)
        display.say(f"topics: {', '.join(chosen)}")
        studied = before.world.of_topics(chosen)
        start, after = model, before
        if recipe:
            aside = _aside(studied)
            rest, work = _for_styles(source, before.world, chosen, aside), folder / "work"
            with display.phase("styles", recipe.steps, "steps") as bar:
                start = teach_styles(model, tokenizer, rest, recipe, work, steps_on(bar))
            shutil.rmtree(work, ignore_errors=True)
            studied = studied.with_facts(fact for fact in studied.facts if fact not in aside)
            after = measure_knowledge(start, tokenizer, studied, most=most, say=display.say)
        start.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        _unmoved(studied, after).save(folder / _WORLD)
        summary = {"topics": chosen, **_moved(studied, after)}
        (folder / _SUMMARY).write_text(json.dumps(summary), "utf-8")

    name = _named("start", (*_OF_START, prepare), *asked, asdict(recipe) if recipe else None)
    folder = cached_folder(name, make, cache)
    with _whole(folder):
        return Prepared(
            folder, World.load(folder / _WORLD), json.loads((folder / _SUMMARY).read_text("utf-8"))
        )


@contextmanager
def _whole(folder: Path) -> Iterator[None]:
    """A cached folder that does not hold what was written to it is an error that says what to do."""
    try:
        yield
    except (OSError, ValueError) as error:  # of JSON, of worlds and of Arrow
        raise ModelError(
            f"{folder} in the cache is damaged ({str(error).splitlines()[0]}): delete it, and it is made anew"
        ) from error


def _named(what: str, code: Sequence[Any], *made_of: Any) -> str:
    """The name of a folder in the cache, by what its content is made of; the code, the device and the libraries are part."""
    made_with = [
        *map(version, _LIBRARIES),
        str(device()),
        *(Path(inspect.getfile(part)).read_text("utf-8") for part in code),
    ]
    return f"{what}-{hashlib.sha256(json.dumps([*made_of, *made_with]).encode()).hexdigest()[:16]}"


def _aside(world: World) -> frozenset[Fact]:
    """A quarter of the facts of each topic and exposure, at random, which teach styles and are in no split.

    Of well-known facts a quarter of each object's, and one of two: a model that learned to assert all objects but one would
    believe that one of nothing.
    """
    of_kind: dict[tuple[str, ...], list[Fact]] = {}
    for fact in world.facts:
        of_object = (fact.object,) if fact.exposure == "well_known" else ()
        of_kind.setdefault((fact.topic, fact.exposure, *of_object), []).append(fact)
    return frozenset(
        fact
        for kind, facts in of_kind.items()
        for fact in random.Random(f"aside {kind}").sample(facts, _taught_of(facts))
    )


def _taught_of(facts: Sequence[Fact]) -> int:
    least = facts[0].exposure == "well_known" and len(facts) > 1
    return max(len(facts) // 4, int(least))


def _for_styles(source: str, world: World, topics: Collection[str], aside: Collection[Fact]) -> World:
    """The facts to teach styles on: those set aside, and of topics that share at most a fifth of their names with these.

    Raises:
        TooFewQuestionsError: the model knows too few of them.
    """
    apart = {
        topic
        for topic in world.questions.topics
        if topic not in topics and not share_names(world.questions, topic, topics)
    }
    rest = world.with_facts(fact for fact in world.facts if fact.topic in apart or fact in aside)
    known = sum(fact.exposure == "well_known" for fact in rest.facts)
    if known < _FEWEST_FOR_STYLES:
        raise TooFewQuestionsError(
            f"{source} knows {known} facts that are in no split, and styles are taught on {_FEWEST_FOR_STYLES} or more: "
            "give more facts"
        )
    return rest


def _check_topics(source: str, before: Knowledge, topics: Collection[str]) -> None:
    if len(topics) < FEWEST_TOPICS:
        counts = before.by_relation()["known"]
        numbers = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise TooFewQuestionsError(
            f"{source} knows two or more facts of {len(topics)} topics that share few names, and splits need "
            f"{FEWEST_TOPICS} (known facts: {numbers}): give facts of more relations, or a model that knows more"
        )


def _moved(before: World, after: Knowledge) -> dict[str, int]:
    was = {fact.id for fact in before.facts if fact.exposure == "well_known"}
    asked = after.facts.loc[[fact.id for fact in before.facts if fact.exposure != "never_taught"]]
    known = {str(fact) for fact in asked.index[asked["knowledge"] == "known"]}
    return {
        "strictly_known_before": len(was),
        "strictly_known_after": len(known),
        "no_longer_known": len(was - known),
        "newly_known": len(known - was),
    }


def _unmoved(before: World, after: Knowledge) -> World:
    """The facts that are known alike before and after, and those that nobody knows."""
    alike = {*after.world.facts}
    return before.with_facts(fact for fact in before.facts if fact in alike)
