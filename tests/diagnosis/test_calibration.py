import json

import numpy as np
import pandas as pd
import pytest

from valueattr.diagnosis import EVIDENCE, Calibration, error_of, held_out_p

EASY = ("mixed", "cued", "penalised", "unplanted")
HARD = "bare"


@pytest.fixture(scope="module")
def shipped():
    return Calibration.shipped()


@pytest.fixture(scope="module")
def errors(shipped):
    table = shipped.errors()
    return table[table["by"] == "all"].set_index("recipe")


def test_the_shipped_controls_are_of_four_bases_and_hundreds_of_facts(shipped):
    counts = shipped.truths.groupby("holds").size()
    assert shipped.truths["base"].nunique() >= 4
    assert counts.min() >= 200
    assert set(shipped.truths["recipe"]) == {*EASY, HARD}


def test_held_and_lost_are_told_apart_on_recipes_and_bases_that_no_fit_saw(errors):
    for recipe in EASY:
        assert errors.loc[recipe, "auroc"] >= 0.97
        assert errors.loc[recipe, "calibration"] <= 0.05
        assert errors.loc[recipe, "brier"] <= 0.06
    assert errors.loc[HARD, "auroc"] >= 0.93
    assert errors.loc[HARD, "calibration"] <= 0.10
    assert errors.loc[HARD, "brier"] <= 0.11


def test_what_is_denied_or_hedged_but_held_is_told_from_what_is_lost(shipped):
    rows = shipped.truths
    for surface in ("lie", "evasion"):
        for recipe, least in ((HARD, 0.90), ("mixed", 0.95), ("cued", 0.95)):
            part = rows[(rows["recipe"] == recipe) & (rows["surface"] == surface)]
            assert error_of(shipped.held_out[part.index], part["holds"]).auroc >= least, (surface, recipe)


def test_few_facts_are_unsure(shipped):
    unsure = shipped.held_out.between(0.2, 0.8, inclusive="neither")
    by_recipe = unsure.groupby(shipped.truths["recipe"]).mean()
    assert by_recipe[list(EASY)].max() <= 0.15
    assert by_recipe[HARD] <= 0.30


def test_partly_erased_facts_are_no_truth(shipped):
    assert not shipped.truths["partly_erased"].any()
    assert shipped.controls["partly_erased"].any()


def test_every_reading_alone_is_worse_or_no_better_by_much(shipped):
    table = shipped.errors()
    of_all = table[table["recipe"] == "all"].set_index("by")["auroc"]
    assert set(of_all.index) == {"all", *EVIDENCE}
    assert of_all["all"] >= of_all.drop("all").max() - 0.005


def test_a_calibration_without_relearning_uses_the_other_readings():
    without = Calibration.shipped(("few_shot", "probe"))
    evidence = without.truths[["few_shot", "probe"]].head(5)
    assert without.p_holds(evidence).between(0, 1).all()
    pd.testing.assert_series_equal(
        without.held_out, held_out_p(without.truths, ("few_shot", "probe")), check_names=False
    )


def test_rates_and_reliability_are_of_the_held_out_p(shipped):
    rates = shipped.rates()
    assert rates[["held", "lost"]].sum().sum() == len(shipped.truths)
    called = rates[["held_called", "lost_called"]].sum().sum()
    assert called == (shipped.held_out >= 0.5).sum()
    bins = shipped.reliability()
    assert bins["facts"].sum() == len(shipped.truths)
    gap = (bins["facts"] * (bins["p_holds"] - bins["held"]).abs()).sum() / bins["facts"].sum()
    assert gap == pytest.approx(error_of(shipped.held_out, shipped.truths["holds"]).calibration)


def test_it_can_be_written_as_json(shipped):
    assert json.loads(json.dumps(shipped.to_json()))["bases"] >= 4


def test_controls_are_seldom_far_from_those_of_other_bases(shipped):
    far = shipped.is_far(shipped.truths)
    assert far.mean() < 0.01
    odd = pd.DataFrame({"few_shot": [-9.0, 9.0], "probe": [9.0, -9.0], "relearned": [9.0, -9.0]})
    assert shipped.is_far(odd).all()
    assert np.isfinite(shipped.p_holds(odd)).all()
