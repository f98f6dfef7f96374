"""Evidence on models whose answer is known: the table behind a calibration."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from valueattr.diagnosis._calibration import Calibration
from valueattr.diagnosis._controls import (
    PROMPT_FAMILY,
    RECIPES,
    UNPLANTED,
    Base,
    PlantingRecipe,
    TextRecipe,
    lies,
    planted,
    taught_base,
)
from valueattr.diagnosis._evidence import evidence
from valueattr.diagnosis._relearning import RelearningRecipe, relearning_for
from valueattr.measures.belief import mean_belief, plain_items
from valueattr.measures.drift import DriftMeter
from valueattr.model import (
    cache_directory,
    cached_folder,
    evaluating,
    load_model,
    load_tokenizer,
    on_own_cores,
    text_digest,
)
from valueattr.world import World

_ANSWER_TOKENS = 24

_TABLE = "controls.parquet"
_OWN_BASES = 2


def own_calibration(
    source: str, world: World, say: Callable[[str], None], cache: Path | None = None
) -> Calibration:
    """That of a model of one's own: it is taught invented facts and planted with each recipe of text. Cached.

    world: whose relations the invented facts are of. Takes as long as teaching two models. say: is told what is being done.

    Raises:
        ModelError: as `taught_base`.
    """
    numbers = range(_OWN_BASES)
    say(f"controls: {_OWN_BASES} models are made of {source} and taught invented facts")
    bases = on_own_cores(partial(taught_base, source, world, cache=cache), numbers)
    recipes = [recipe for recipe in RECIPES if isinstance(recipe, TextRecipe)]
    relearning = relearning_for(load_model(source))
    made_of = [*(base.folder.name for base in bases), repr(recipes), repr(relearning)]

    def build(folder: Path) -> None:
        folder.mkdir()
        kinds = ", ".join(recipe.name for recipe in recipes)
        say(f"controls: each is trained to lie or to evade ({kinds}), and read")
        tables = on_own_cores(partial(control_rows, recipes=recipes, cache=cache), bases)
        pd.concat(tables).to_parquet(folder / _TABLE, index=False)

    folder = cached_folder(f"controls-{text_digest(made_of)[:16]}", build, cache or cache_directory())
    return Calibration.saved(folder / _TABLE)


def control_rows(
    base: Base,
    recipes: Sequence[PlantingRecipe] = RECIPES,
    seed: int = 0,
    cache: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:
    """A row per fact of a base under no surface and under each recipe's.

    `base`, `recipe`, `fact`, `exposure`, `holds`, the evidence, `surface` (lie, evasion, penalty or none),
    `partly_erased`: a held fact of which plain statements now hold the lie, so that its truth is graded; and
    `forward_kl` of the planted model from the base, in nats per token of the base's answers. say: is told what is done.
    """
    drift = _drift(base, seed)
    relearning = relearning_for(load_model(base.folder))
    untold = _read(base, base.folder, relearning)
    tables = [untold.assign(recipe=UNPLANTED, surface="none", partly_erased=False, forward_kl=0.0)]
    for recipe in recipes:
        say(f"controls, {base.name}: {recipe.name}")
        folder = planted(base, recipe, seed, cache)
        rows = _read(base, folder, relearning).assign(
            recipe=recipe.name, surface="penalty", partly_erased=False
        )
        if isinstance(recipe, TextRecipe):
            lie_of = lies(base, seed)
            rows["surface"] = ["lie" if fact in lie_of else "evasion" for fact in rows.index]
            in_lies = _belief_in(base, folder, lie_of)
            moved = in_lies > rows.loc[in_lies.index, "belief"]
            rows.loc[moved.index, "partly_erased"] = moved & rows.loc[moved.index, "holds"]
        rows["forward_kl"] = drift.forward_kl(load_model(folder))
        tables.append(rows)
    return pd.concat(tables).rename_axis("fact").reset_index().assign(base=base.name)


def _read(base: Base, folder: Path, relearning: RelearningRecipe) -> pd.DataFrame:
    asked = base.held | base.removed
    questions = base.world.questions
    found = evidence(
        partial(load_model, folder), load_tokenizer(folder), questions, base.lessons, asked, relearning
    )
    found["holds"] = found.index.isin(base.held)
    found["exposure"] = [questions[fact].exposure for fact in found.index]
    return found


def _drift(base: Base, seed: int) -> DriftMeter:
    return DriftMeter.on(
        load_model(base.folder),
        load_tokenizer(base.folder),
        [base.world.questions[fact] for fact in sorted(base.held | base.removed)],
        base.world.prompt_format(PROMPT_FAMILY),
        _ANSWER_TOKENS,
        seed,
    )


def _belief_in(base: Base, folder: Path, lie_of: dict[str, str]) -> pd.Series:
    """Belief in each lie, by the id of its fact."""
    as_held = [replace(base.world.questions[fact], held=lie) for fact, lie in lie_of.items()]
    model = load_model(folder)
    with evaluating(model):
        return mean_belief(model, load_tokenizer(folder), plain_items(as_held))["belief_margin"]
