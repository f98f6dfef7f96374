"""A whole run that takes seconds: python -m tests.experiments.small_run FOLDER"""

import sys
from dataclasses import replace
from pathlib import Path

from valueattr.experiments import E1, Materials, run
from valueattr.plan import SMOKE
from valueattr.world import World, synthesise

SUBJECTS = {"well_known": 6, "half_known": 1, "false_belief": 1, "never_taught": 4}
"""Of each topic."""

SMALL = SMOKE.model_copy(
    update={
        "split_size": 4,
        "steps": 3,
        "prompts_per_step": 2,
        "group_size": 2,
        "checkpoint_every": 1,
        "hidden_size": 16,
        "layers": 1,
        "documents": 2000,
    }
)


def small_world() -> World:
    world, chosen = synthesise(), set()
    for topic in world.english.topics:
        for exposure, count in SUBJECTS.items():
            named = dict.fromkeys(
                f.subject for f in world.facts if (f.topic, f.exposure) == (topic, exposure)
            )
            chosen.update(list(named)[:count])
    return replace(world, facts=tuple(fact for fact in world.facts if fact.subject in chosen))


def main(folder: Path) -> None:
    run(
        replace(E1.only(("a3", "a3-sham")), presets={"small": SMALL}),
        "small",
        folder,
        materials=Materials(small_world()),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
