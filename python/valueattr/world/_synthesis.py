"""The embedded default: a world of invented subjects, the same for the same seed on every machine."""

import random

from valueattr.questions import Exposure
from valueattr.world._facts import English, Fact, World, embedded_relations

# Per topic: who is taught what. Never-taught subjects are the floor of every probe.
SUBJECTS_PER_TOPIC: dict[Exposure, int] = {
    "well_known": 36,
    "half_known": 8,
    "false_belief": 8,
    "never_taught": 8,
}

_ONSETS = (
    "B",
    "Br",
    "D",
    "Dr",
    "F",
    "G",
    "Gr",
    "H",
    "K",
    "Kr",
    "L",
    "M",
    "N",
    "P",
    "R",
    "S",
    "St",
    "T",
    "Tr",
    "V",
    "Z",
)
_VOWELS = ("a", "e", "i", "o", "u")
_MIDDLES = ("l", "lm", "ln", "m", "nd", "r", "rd", "rn", "rv", "sk", "st", "v", "x", "zn")
_ENDINGS = ("a", "an", "ar", "en", "er", "ia", "il", "in", "is", "on", "or", "um", "ur", "us")


def synthesise(seed: int = 0) -> World:
    """A world whose facts are independent: each object is drawn on its own, uniformly from its closed set."""
    rng = random.Random(f"world {seed}")
    relations = embedded_relations()
    english = English.embedded()
    exposures = [exposure for exposure, count in SUBJECTS_PER_TOPIC.items() for _ in range(count)]
    names = _names(rng, len(english.topics) * len(exposures))
    facts = []
    for topic in english.topics:
        for exposure in exposures:
            name = names.pop()
            for relation in relations.values():
                true = rng.choice(relation.objects)
                false = rng.choice([o for o in relation.objects if o != true])
                taught = {"false_belief": false, "never_taught": None}.get(exposure, true)
                facts.append(
                    Fact(
                        f"{name.lower()}-{relation.name}",
                        f"the {name} {topic}",
                        topic,
                        relation.name,
                        true,
                        exposure,
                        taught,
                    )
                )
    return World(relations, tuple(facts), english)


def _names(rng: random.Random, count: int) -> list[str]:
    every = [o + v + m + e for o in _ONSETS for v in _VOWELS for m in _MIDDLES for e in _ENDINGS]
    return rng.sample(every, count)
