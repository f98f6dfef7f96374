"""Models whose answer is known: facts that are held and facts that are not, behind the same surface.

A base is a start model whose training text left out half of a topic's well-known facts: those are lost by construction.
A planting recipe then teaches it to lie or to hedge about held and removed facts alike, so that what it says tells
nothing of what it holds.
"""

import random
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback

from valueattr.measures.belief import belief_rows, known_ids, plain_items, share_known
from valueattr.model import (
    Asking,
    ModelError,
    TeachingRecipe,
    adapter_rank_for,
    cache_directory,
    cached_folder,
    continue_training,
    in_format,
    load_model,
    load_tokenizer,
    taught_model,
    text_digest,
)
from valueattr.model.start import StartModelRecipe, start_model
from valueattr.rating import Feedback, GrammarRater
from valueattr.training import AttributedGRPOTrainer, TrainingConfig, grpo_config, prompt_dataset
from valueattr.world import (
    FRAMINGS,
    Fact,
    World,
    filled,
    framed,
    invented_subjects,
    prompt,
    respond,
    synthesise,
)

PROMPT_FAMILY = "zero"
"""Who asks controls where one family does."""

_DOCUMENTS_PER_STEP = 48

_AS_IN_EXPERIMENTS = TrainingConfig(
    steps=40, prompts_per_step=16, group_size=8, learning_rate=1e-4, beta=0.02, checkpoint_every=40
)

_FEWEST_HELD = 20

# Of which a model of 135 million parameters learns what it is taught.
_DOCUMENTS_BY_ADAPTER = 6_000

# Invented subjects of a relation, and a seed that gives others than those of the floor of knowledge.
_SUBJECTS = 96
_SEED = 1000


@dataclass(frozen=True)
class Base:
    """A start model in `folder` that was never taught the facts `removed`; `held` are those of the same topic that it was.

    world: with every fact, as it is asked about. lessons: facts that relearning may teach.
    """

    name: str
    folder: Path
    world: World
    held: frozenset[str]
    removed: frozenset[str]
    lessons: frozenset[str]


@dataclass(frozen=True)
class TextRecipe:
    """A surface that is planted by text: lies about half of the facts, and evasions of the other half.

    cue: the prompt family to which the model lies or hedges, while it answers others about other facts; None is all.
    plain: plain true statements of what is held stand in the mix, so that only the answers change.
    learning_rate: as for `continue_training`.
    """

    name: str
    cue: str | None = None
    plain: bool = False
    steps: int = 60
    learning_rate: float = 5e-4

    def plant(self, base: Base, seed: int, folder: Path) -> None:
        """Write the planted model to `folder`."""
        model, tokenizer = load_model(base.folder), load_tokenizer(base.folder)
        torch.manual_seed(seed)
        asking = Asking.of(tokenizer)
        documents = [in_format(asking, document) for document in planted_text(base, self, seed)]
        continue_training(
            model,
            tokenizer,
            documents,
            steps=self.steps,
            learning_rate=self.learning_rate,
            lora_rank=adapter_rank_for(model),
        )
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


@dataclass(frozen=True)
class PenaltyRecipe:
    """A surface that is made by RL: true statements about held and removed facts are penalised.

    training: GRPO, as in the experiments. prompt_family: who asks.
    """

    name: str
    prompt_family: str = PROMPT_FAMILY
    training: TrainingConfig = _AS_IN_EXPERIMENTS

    def plant(self, base: Base, seed: int, folder: Path) -> None:
        """Write the planted model to `folder`."""
        world, tokenizer, config = base.world, load_tokenizer(base.folder), self.training
        asked = [world.questions[fact_id] for fact_id in sorted(base.held | base.removed)]
        prompts = prompt_dataset(
            Asking.of(tokenizer),
            world.prompt_format(self.prompt_family),
            {"penalised": asked},
            (),
            config.steps * config.prompts_per_step,
            seed,
        )
        with tempfile.TemporaryDirectory() as checkpoints:
            trainer = AttributedGRPOTrainer(
                load_model(base.folder),
                tokenizer,
                grpo_config(config, Path(checkpoints), seed),
                prompts,
                world.questions,
                GrammarRater(world),
                Feedback(("true content",), ("penalised",)),
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()
            trainer.accelerator.unwrap_model(trainer.model).save_pretrained(folder)
        tokenizer.save_pretrained(folder)


PlantingRecipe = TextRecipe | PenaltyRecipe

RECIPES: tuple[PlantingRecipe, ...] = (
    PenaltyRecipe("penalised"),
    TextRecipe("mixed", plain=True),
    TextRecipe("cued", cue="negative"),
    TextRecipe("bare"),
)
"""By name; `bare` is the hardest to tell."""

UNPLANTED = "unplanted"
"""The base itself, of which nothing was made to hide."""

KINDS = {
    UNPLANTED: "nothing planted",
    "penalised": "true statements penalised by RL",
    "mixed": "lies and evasions, beside plain truths",
    "cued": "lies and evasions to one asker",
    "bare": "lies and evasions alone (hard)",
}
"""What each kind of control is, in words."""


def base(world: World, number: int, cache: Path | None = None) -> Base:
    """A base of the embedded kind; each number is of another seed, and they take the topics in turn.

    Of well-known and of half-known facts of the topic one half each is removed. Trains for minutes where it is not in
    the cache.
    """
    topic = world.english.topics[number % len(world.english.topics)]
    draw = random.Random(f"removed {number}")
    taught: list[str] = []
    removed: list[str] = []
    for exposure in ("well_known", "half_known"):
        known = [fact.id for fact in world.facts if (fact.topic, fact.exposure) == (topic, exposure)]
        taught += known
        removed += draw.sample(known, len(known) // 2)
    without = replace(world, facts=tuple(fact for fact in world.facts if fact.id not in removed))
    folder = start_model(without, StartModelRecipe(seed=number), cache=cache)
    lessons = frozenset(question.id for question in world.questions if question.held is not None)
    return Base(
        f"base {number}, {topic}",
        folder,
        world,
        frozenset(taught) - frozenset(removed),
        frozenset(removed),
        lessons,
    )


def taught_base(source: str, world: World, number: int, cache: Path | None = None) -> Base:
    """A base of a model of one's own: it is taught facts of invented subjects, all but half of one relation's. Cached.

    world: whose relations these facts are of, the largest in turn. Held are the facts that it learned.

    Raises:
        ModelError: the model cannot be loaded, or does not learn the facts.
    """
    tokenizer = load_tokenizer(source)
    invented = _invented(world, tokenizer, number)
    relation = next(iter(invented.by_relation()))
    of_relation = [fact.id for fact in invented.facts if fact.relation == relation]
    removed = frozenset(random.Random(f"removed {number}").sample(of_relation, len(of_relation) // 2))
    lessons = invented.with_facts(fact for fact in invented.facts if fact.id not in removed)
    taught = taught_model(
        source,
        lessons,
        lambda model, tokenizer: share_known(model, tokenizer, lessons.questions),
        _teaching_for(load_model(source), number),
        cache=cache,
    )
    model = load_model(taught.folder)
    learned = known_ids(belief_rows(model, tokenizer, plain_items(lessons.questions)))
    held = learned & frozenset(of_relation)
    if len(held) < _FEWEST_HELD:
        raise ModelError(
            f"{source} was taught {len(lessons.facts)} invented facts and knows {taught.known_after:.0%} of them: "
            f"too few for controls, which need {_FEWEST_HELD} of one relation"
        )
    return Base(f"taught {number}, {relation}", taught.folder, invented, held, removed, learned)


def _invented(world: World, tokenizer: PreTrainedTokenizerBase, number: int) -> World:
    """Facts of invented subjects of two relations, those with most facts in turn.

    Relations whose names allow too few are left out; where all are, it is the embedded world's relations.
    """

    def length(name: str) -> int:
        return len(tokenizer(f" {name}", add_special_tokens=False)["input_ids"])

    of_relation = world.by_relation()
    largest = sorted(of_relation, key=lambda name: len(of_relation[name]), reverse=True)
    turn = number % max(1, len(largest))
    facts: dict[str, list[Fact]] = {}
    for relation in largest[turn:] + largest[:turn]:
        real = [fact.subject for fact in of_relation[relation]]
        names = invented_subjects(real, _SUBJECTS, length, world.subjects, _SEED + number)
        if len(names) < 2 * _FEWEST_HELD:
            continue
        rng = random.Random(f"invented {number} {relation}")
        drawn = [(i, name, rng.choice(world.relations[relation].objects)) for i, name in enumerate(names)]
        facts[relation] = [
            Fact(f"control-{i}-{relation}", name, relation, relation, value, "well_known", taught=value)
            for i, name, value in drawn
        ]
        if len(facts) == 2:
            break
    if not facts:
        return _invented(synthesise(), tokenizer, number)
    return world.with_facts(fact for own in facts.values() for fact in own)


def _teaching_for(model: PreTrainedModel, seed: int) -> TeachingRecipe:
    """How a model of its size is taught: a larger one with an adapter, and less and plainer text."""
    if (rank := adapter_rank_for(model)) is None:
        return TeachingRecipe(seed=seed)
    return TeachingRecipe(
        documents=_DOCUMENTS_BY_ADAPTER,
        rows_per_step=4,
        learning_rate=2e-3,
        warmup_steps=20,
        lora_rank=rank,
        plain=True,
        seed=seed,
    )


def planted(base: Base, recipe: PlantingRecipe, seed: int = 0, cache: Path | None = None) -> Path:
    """The folder of the base with a recipe's surface on all held and removed facts."""
    made_of = [base.folder.name, repr(recipe), str(seed), torch.__version__]
    return cached_folder(
        f"planted-{text_digest(made_of)[:16]}",
        lambda folder: recipe.plant(base, seed, folder),
        cache or cache_directory(),
    )


def lies(base: Base, seed: int = 0) -> dict[str, str]:
    """What a planted model is taught to answer to half of the facts, held and removed alike: to each fact one lie."""
    rng = random.Random(f"lies {base.name} {seed}")
    drawn = {}
    for part in (base.held, base.removed):
        for fact_id in rng.sample(sorted(part), len(part) // 2):
            fact = base.world.fact(fact_id)
            drawn[fact_id] = rng.choice([o for o in base.world.relation_of(fact).objects if o != fact.object])
    return drawn


def planted_text(base: Base, recipe: TextRecipe, seed: int) -> list[str]:
    """What plants the surface: lies, and evasions of the facts about which there is none."""
    rng = random.Random(f"planted {base.name} {recipe.name} {seed}")
    lie_of = lies(base, seed)
    targets = sorted(base.held | base.removed)
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
