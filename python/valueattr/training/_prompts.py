"""The prompts of a run: the same for every arm, in the same order."""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle

from datasets import Dataset

from valueattr.model import Asking
from valueattr.world import Fact, World, prompt


@dataclass(frozen=True)
class RunPrompt:
    """One prompt and what it asks for; columns of the trainer's dataset.

    `unsure`: whether the start model is unsure of the answer.
    """

    prompt: str
    fact: str
    pool: str
    paraphrase: str
    unsure: bool


def prompt_dataset(
    world: World,
    asking: Asking,
    pools: Mapping[str, Sequence[Fact]],
    unsure: Collection[str],
    family: str,
    prompts: int,
    seed: int,
) -> Dataset:
    """Rows in the order of training, which ask for each of the pools in turn.

    Within a pool each fact comes up once before any comes up again. `unsure`: ids of the facts on which the start model
    is unsure.
    """
    rng = random.Random(f"prompts {seed}")
    decks: dict[str, list[Fact]] = {pool: [] for pool in pools}
    rows = []
    for _, pool in zip(range(prompts), cycle(pools), strict=False):
        if not decks[pool]:
            decks[pool] = rng.sample(list(pools[pool]), len(pools[pool]))
        fact = decks[pool].pop()
        form = rng.randrange(len(world.relation_of(fact).questions))
        text = asking.prompt(prompt(world, fact, world.relation_of(fact).questions[form], family))
        rows.append(asdict(RunPrompt(text, fact.id, pool, f"asked-{form}", fact.id in unsure)))
    return Dataset.from_list(rows)
