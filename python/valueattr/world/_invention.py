"""Subjects that nobody has heard of, spelt like those of a relation: the floor of what a model can know of it."""

import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

# A letter follows so many before it. Fewer where names are so few that three would only repeat them.
_CONTEXTS = (3, 2)
_TRIES = 200
_EDGE = "\n"
_LONGEST = 200
"""Letters of a subject whose spelling is looked at, at most; a longer one is no name, and would take minutes."""


def invented_subjects(
    subjects: Sequence[str],
    count: int,
    length: Callable[[str], int],
    taken: Collection[str] = (),
    seed: int = 0,
) -> list[str]:
    """Up to `count` names in the spelling of others: each letter is drawn as it follows the letters before it in them.

    length: of a name in tokens; an invented one is as long as a real one that was drawn first. taken: names that are real.
    Fewer come back where the spelling allows no more. A name may happen to be one that somebody has, and parts of names
    tell what they tell of real ones ("Lambda" of a star): that is part of the floor.
    """
    rng = random.Random(f"invented {seed}")
    real = {name.casefold() for name in (*subjects, *taken)}
    subjects = [name for name in subjects if len(name) <= _LONGEST]
    if not subjects:
        return []
    found: dict[str, None] = {}
    for context in _CONTEXTS:
        following = _following(subjects, context)
        for _ in range(_TRIES * count):
            if len(found) == count:
                return list(found)
            name, wanted = _drawn(following, context, rng), rng.choice(subjects)
            if length(name) == length(wanted) and not _is_part(name, real):
                found.setdefault(name)
    return list(found)


def _following(names: Iterable[str], context: int) -> Mapping[str, Sequence[str]]:
    """The letters that follow each few letters in some names, as often as they do."""
    following: dict[str, list[str]] = defaultdict(list)
    for name in names:
        padded = _EDGE * context + name + _EDGE
        for i in range(context, len(padded)):
            following[padded[i - context : i]].append(padded[i])
    return following


def _drawn(following: Mapping[str, Sequence[str]], context: int, rng: random.Random) -> str:
    name = _EDGE * context
    while (letter := rng.choice(following[name[-context:]])) != _EDGE:
        name += letter
    return name[context:]


def _is_part(name: str, real: Collection[str]) -> bool:
    """Whether the name is a real one, part of one, or holds one."""
    folded = name.casefold()
    return any(folded in other or other in folded for other in real)
