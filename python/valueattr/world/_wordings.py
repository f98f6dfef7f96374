"""Relations of other people's facts: in wordings of our own where there are any, and else in theirs and plain ones."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from valueattr.world._facts import Relation, capitalise

MEASURED_WORDINGS = 3
"""Held-out wordings of each format in which knowledge is measured, at most."""


def worded(
    name: str,
    objects: tuple[str, ...],
    *,
    thing: str | None = None,
    ending: Sequence[str] = (),
    statements: Sequence[str] = (),
    questions: Sequence[str] = (),
    short: Sequence[str] = (),
) -> Relation | None:
    """A relation in our wordings of that name, or else in those that are given, with plain ones where they are too few.

    thing: what the object is of the subject, such as "capital", where we have no name for it. ending: statements that end
    in the object, which are held out. statements: others. short: answers. None where there is no wording: too few are
    given and the thing is unknown.
    """
    if own := _ours().get(name):
        return Relation(name=name, objects=objects, **own)
    if thing := _things().get(name) or thing:
        stated = _different(*statements, f"the {thing} of {{s}} is {{o}}")
        held_out = _without(ending, stated)
        plain = _without(_plain_statements(thing), held_out)
        held_out += plain[: max(0, MEASURED_WORDINGS - len(held_out))]
        plainly = f"what is the {thing} of {{s}}"
        asked = [
            f"can you name the {thing} of {{s}}",
            f"which {thing} belongs to {{s}}",
            f"do you know the {thing} of {{s}}",
        ]
    elif len(ending := _different(*ending)) > MEASURED_WORDINGS:
        first, *held_out = ending
        stated = _different(*statements, first)
        plainly = f"what comes next in this sentence: {_beginning(first)}"
        asked = [f"how does this sentence go on: {_beginning(said)}" for said in held_out[:MEASURED_WORDINGS]]
    else:
        return None
    return Relation(
        name,
        objects,
        statements=tuple(stated),
        held_out=tuple(held_out),
        short=tuple(_different(*short, "it is {o}")),
        questions=tuple(_without(questions, asked) or [plainly]),
        held_out_questions=tuple(asked),
    )


def _plain_statements(thing: str) -> list[str]:
    """Held-out statements that do for any relation."""
    return [
        f"anyone asked for the {thing} of {{s}} should answer {{o}}",
        f"people who know the {thing} of {{s}} will say {{o}}",
        f"look up the {thing} of {{s}} and you will find {{o}}",
    ]


def _beginning(statement: str) -> str:
    """A statement up to its object, which ends it."""
    return statement.removesuffix("{o}").rstrip()


def _different(*wordings: str) -> list[str]:
    """Each wording once. One with a capital at its start is no other one."""
    return list({capitalise(wording): wording for wording in wordings}.values())


def _without(wordings: Iterable[str], others: Iterable[str]) -> list[str]:
    """The different wordings that are none of the others."""
    unwanted = {capitalise(wording) for wording in others}
    return [wording for wording in _different(*wordings) if capitalise(wording) not in unwanted]


@cache
def _ours() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """Our wordings of a relation, by each of its names."""
    return {
        name: {key: tuple(said) for key, said in row.items() if key not in ("names", "thing")}
        for row in _shipped()["relation"]
        for name in row["names"]
    }


@cache
def _things() -> Mapping[str, str]:
    """What the object is of the subject in a relation, by its name."""
    things: Mapping[str, str] = _shipped()["things"]
    return things


def _shipped() -> dict[str, Any]:
    return tomllib.loads(resources.files("valueattr.world").joinpath("wordings.toml").read_text("utf-8"))
