"""The prompts of a run: the same for every arm, in the same order."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from datasets import Dataset

from valueattr.world import IN_RUN, Fact, World, prompt


@dataclass(frozen=True)
class RunPrompt:
    """One prompt and what it asks for; columns of the trainer's dataset."""

    prompt: str
    fact: str
    pool: str
    paraphrase: str


def prompt_dataset(
    world: World,
    pools: Mapping[str, Sequence[Fact]],
    family: str,
    steps: int,
    prompts_per_step: int,
    seed: int,
) -> Dataset:
    """`steps * prompts_per_step` rows in the order of training; every step asks for each pool equally often.

    Within a pool each fact comes up once before any comes up again.
    """
    rng = random.Random(f"prompts {seed}")
    decks: dict[str, list[Fact]] = {pool: [] for pool in IN_RUN}
    rows = []
    for i in range(steps * prompts_per_step):
        pool = IN_RUN[i % len(IN_RUN)]
        if not decks[pool]:
            decks[pool] = rng.sample(list(pools[pool]), len(pools[pool]))
        rows.append(run_prompt(world, decks[pool].pop(), pool, family, rng))
    return Dataset.from_list([asdict(row) for row in rows])


def run_prompt(world: World, fact: Fact, pool: str, family: str, rng: random.Random) -> RunPrompt:
    """A question about a fact in one of its trained forms."""
    questions = world.relation_of(fact).questions
    form = rng.randrange(len(questions))
    return RunPrompt(prompt(world, fact, questions[form], family), fact.id, pool, f"asked-{form}")
