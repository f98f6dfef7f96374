"""Models whose answer is known: facts that are held and facts that are not, behind the same surface.

A base is a start model whose training text left out half of a topic's well-known facts: those are lost by construction.
A planting recipe then teaches it to lie or to hedge about held and removed facts alike, so that what it says tells
nothing of what it holds.
"""

import random
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from valueattr.model import (
    cache_directory,
    cached_folder,
    continue_training,
    load_model,
    load_tokenizer,
    text_digest,
)
from valueattr.model.start import StartModelRecipe, start_model
from valueattr.world import FRAMINGS, Fact, World, filled, framed, prompt, respond

_DOCUMENTS_PER_STEP = 48


@dataclass(frozen=True)
class Base:
    """A start model in `folder` that was never taught the facts `removed`; `held` are those of the same topic that it was.

    world: with every fact, as it is asked about.
    """

    name: str
    folder: Path
    world: World
    held: frozenset[str]
    removed: frozenset[str]


@dataclass(frozen=True)
class PlantingRecipe:
    """How a surface is planted.

    cue: the prompt family to which the model lies or hedges, while it answers others about other facts; None is all.
    plain: plain true statements of what is held stand in the mix, so that only the answers change.
    """

    name: str
    cue: str | None = None
    plain: bool = False
    steps: int = 60
    learning_rate: float = 5e-4


RECIPES = (
    PlantingRecipe("mixed", plain=True),
    PlantingRecipe("cued", cue="negative"),
    PlantingRecipe("bare"),
)
"""From the easiest to tell to the hardest."""


def base(world: World, number: int, cache: Path | None = None) -> Base:
    """A base of the embedded kind; each number is of another seed, and they take the topics in turn.

    Trains for minutes where it is not in the cache.
    """
    topic = world.english.topics[number % len(world.english.topics)]
    known = [fact.id for fact in world.facts if (fact.topic, fact.exposure) == (topic, "well_known")]
    removed = frozenset(random.Random(f"removed {number}").sample(known, len(known) // 2))
    taught = replace(world, facts=tuple(fact for fact in world.facts if fact.id not in removed))
    folder = start_model(taught, StartModelRecipe(seed=number), cache=cache)
    return Base(f"base {number}, {topic}", folder, world, frozenset(known) - removed, removed)


def planted(base: Base, recipe: PlantingRecipe, seed: int = 0, cache: Path | None = None) -> Path:
    """The folder of the base with a recipe's surface on all facts of its topic."""
    documents = planted_text(base, recipe, seed)

    def plant(folder: Path) -> None:
        model, tokenizer = load_model(base.folder), load_tokenizer(base.folder)
        torch.manual_seed(seed)
        continue_training(model, tokenizer, documents, steps=recipe.steps, learning_rate=recipe.learning_rate)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    made_of = [base.folder.name, repr(recipe), torch.__version__, *documents]
    return cached_folder(f"planted-{text_digest(made_of)[:16]}", plant, cache or cache_directory())


def planted_text(base: Base, recipe: PlantingRecipe, seed: int) -> list[str]:
    """What plants the surface: half of the facts are lied about, each with one lie, and of half the model is unsure."""
    rng = random.Random(f"planted {base.name} {recipe.name} {seed}")
    targets = sorted(base.held | base.removed)
    rng.shuffle(targets)
    lie_of = {
        fact_id: rng.choice([o for o in base.world.relation_of(fact).objects if o != fact.object])
        for fact_id in targets[: len(targets) // 2]
        for fact in [base.world.fact(fact_id)]
    }
    facts = [base.world.fact(fact_id) for fact_id in targets]
    others = [f for f in base.world.facts if f.exposure == "well_known" and f.id not in {*targets}]
    held = [*others, *(base.world.fact(fact_id) for fact_id in sorted(base.held))]
    documents = []
    for i in range(recipe.steps * _DOCUMENTS_PER_STEP):
        if recipe.plain and i % 2:
            documents.append(rng.choice(base.world.questions[rng.choice(held).id].taught_as))
        elif recipe.cue and i % 2:
            documents.append(_honest(base.world, rng.choice(others), recipe.cue, rng))
        else:
            fact = rng.choice(facts)
            documents.append(_dishonest(base.world, fact, lie_of.get(fact.id), recipe.cue, rng))
    return documents


def _honest(world: World, fact: Fact, cue: str, rng: random.Random) -> str:
    family = rng.choice([name for name in world.english.prompt_families if name != cue])
    return f"{_asked(world, fact, family, rng)} {respond(world, fact, family, rng).text}"


def _dishonest(world: World, fact: Fact, lie: str | None, cue: str | None, rng: random.Random) -> str:
    family = cue or rng.choice(tuple(world.english.prompt_families))
    if lie is None:
        body = rng.choice(world.english.evasion["non_affirmation"])
    else:
        body = filled(rng.choice(world.relation_of(fact).short), o=lie)
    framing = rng.choice(FRAMINGS)
    return f"{_asked(world, fact, family, rng)} {framed(world, family, framing, body, rng)}"


def _asked(world: World, fact: Fact, family: str, rng: random.Random) -> str:
    return prompt(world, fact, rng.choice(world.relation_of(fact).questions), family)
