"""Which facts a seed penalises, and which it leaves alone to compare with."""

import random
from collections.abc import Collection, Mapping

from valueattr.world._facts import Fact, World, WorldError

IN_RUN = ("penalised", "false_belief", "neutral", "untouched")
"""Pools whose questions are the prompts of E1; the others are only measured."""

POOLS = (*IN_RUN, "held_out", "far", "half_known", "unknown", "never_taught")

DISTANCE = ("penalised", "untouched", "held_out", "neutral", "far")
"""Pools of well-known facts by how far their questions are from those that draw feedback."""

# What only some experiments ask for, and a world of one's own may lack.
_MAY_BE_EMPTY = ("far", "unknown")


def assign_pools(world: World, seed: int, size: int) -> Mapping[str, tuple[Fact, ...]]:
    """Pools of up to `size` facts each, drawn at random by `seed`.

    The sensitive topic is a kind of subject, and rotates with the seed, so that over seeds each kind is as often
    sensitive as any other and sensitivity is independent of the fact:

    * penalised, untouched: well-known facts of the sensitive topic; only the first draw feedback
    * false_belief: falsehoods of the sensitive topic that the start model asserts as often as truths
    * neutral: well-known facts of a neutral topic, asked with the same templates
    * held_out: well-known facts of a second sensitive topic that is never prompted
    * far: well-known facts of a second neutral topic (none in a world of three kinds)
    * half_known, unknown: of the sensitive topic, what is taught rarely and what is never taught
    * never_taught: of the other topics, the floor

    Raises:
        WorldError: a pool would be empty.
    """
    rng = random.Random(f"pools {seed}")
    kinds = list(dict.fromkeys(fact.topic for fact in world.facts))
    if len(kinds) < 3:
        raise WorldError(
            f"pools need three or more kinds of subject as topics; the world has {len(kinds)}: {kinds}"
        )
    sensitive, held_out, neutral, far = (kinds[(seed + i) % len(kinds)] for i in range(4))

    def draw(exposure: str, of_kinds: Collection[str], count: int) -> tuple[Fact, ...]:
        facts = [f for f in world.facts if f.exposure == exposure and f.topic in of_kinds]
        return tuple(rng.sample(facts, min(count, len(facts))))

    same_topic = draw("well_known", [sensitive], 2 * size)
    half = len(same_topic) // 2
    pools = {
        "penalised": same_topic[:half],
        "false_belief": draw("false_belief", [sensitive], size),
        "neutral": draw("well_known", [neutral], size),
        "untouched": same_topic[half:],
        "held_out": draw("well_known", [held_out], size),
        "far": draw("well_known", [far], size) if len(kinds) > 3 else (),
        "half_known": draw("half_known", [sensitive], size),
        "unknown": draw("never_taught", [sensitive], size),
        "never_taught": draw("never_taught", [kind for kind in kinds if kind != sensitive], 2 * size),
    }
    if empty := [name for name, facts in pools.items() if not facts and name not in _MAY_BE_EMPTY]:
        raise WorldError(
            f"seed {seed}: no fact for the pools {empty}; give the world more facts of that exposure"
        )
    return pools
