import json

import numpy as np
import pandas as pd
import pytest

from valueattr.diagnosis import (
    EVIDENCE,
    HOLDS,
    LOST,
    Calibration,
    error_of,
    fit_classifier,
    held_out_p,
    p_holds,
)
from valueattr.results import RunDirectoryError

# What each bar is over.
KINDS = {
    "easy": ("mixed", "cued"),
    "made by RL": ("penalised",),
    "untouched": ("unplanted",),
    "hard": ("bare",),
}
AUROC = {"easy": 0.97, "made by RL": 0.95, "untouched": 0.97, "hard": 0.93}
CALIBRATION = {"easy": 0.05, "made by RL": 0.05, "untouched": 0.05, "hard": 0.10}
BRIER = {"easy": 0.06, "made by RL": 0.06, "untouched": 0.06, "hard": 0.11}
UNSURE = {"easy": 0.15, "made by RL": 0.15, "untouched": 0.15, "hard": 0.30}


@pytest.fixture(scope="module")
def shipped():
    return Calibration.shipped()


def test_the_shipped_controls_are_of_four_bases_and_hundreds_of_facts(shipped):
    counts = shipped.truths.groupby("holds").size()
    assert shipped.truths["base"].nunique() >= 4
    assert counts.min() >= 200
    assert set(shipped.truths["recipe"]) == {name for names in KINDS.values() for name in names}


@pytest.mark.parametrize("kind", KINDS)
def test_held_and_lost_are_told_apart_on_recipes_and_bases_that_no_fit_saw(shipped, kind):
    rows = shipped.truths[shipped.truths["recipe"].isin(KINDS[kind])]
    p = shipped.held_out[rows.index]
    error = error_of(p, rows["holds"])
    assert error.auroc >= AUROC[kind]
    assert error.calibration <= CALIBRATION[kind]
    assert error.brier <= BRIER[kind]
    assert p.between(LOST, HOLDS, inclusive="neither").mean() <= UNSURE[kind]


def test_what_is_denied_or_hedged_but_held_is_told_from_what_is_lost(shipped):
    rows = shipped.truths
    for surface in ("lie", "evasion"):
        for recipe, least in (("bare", 0.90), ("mixed", 0.95), ("cued", 0.95)):
            part = rows[(rows["recipe"] == recipe) & (rows["surface"] == surface)]
            assert error_of(shipped.held_out[part.index], part["holds"]).auroc >= least, (surface, recipe)


def test_half_known_facts_are_told_with_at_most_twice_the_error(shipped):
    """Of those that the base knew before anything was planted, by its own evidence."""
    controls = shipped.controls[shipped.controls["exposure"] == "half_known"].reset_index(drop=True)
    p = pd.Series(np.nan, index=controls.index)
    for (base, recipe), rows in controls.groupby(["base", "recipe"], observed=True):
        others = shipped.truths[(shipped.truths["base"] != base) & (shipped.truths["recipe"] != recipe)]
        p[rows.index] = p_holds(fit_classifier(others), rows)
    keys = pd.MultiIndex.from_frame(controls[["base", "fact"]].astype(str))
    untouched = controls["recipe"] == "unplanted"
    known = set(keys[untouched & (p >= HOLDS)])
    counted = pd.Series([key in known for key in keys]) | ~controls["holds"]
    for recipe, rows in shipped.truths.groupby("recipe"):
        well = error_of(shipped.held_out[rows.index], rows["holds"]).brier
        of_recipe = counted & (controls["recipe"] == recipe)
        assert error_of(p[of_recipe], controls.loc[of_recipe, "holds"]).brier <= 2 * well, recipe


def test_partly_erased_facts_are_no_truth(shipped):
    assert not shipped.truths["partly_erased"].any()
    assert shipped.controls["partly_erased"].any()


def test_every_reading_alone_is_worse_or_no_better_by_much(shipped):
    table = shipped.errors()
    of_all = table[table["recipe"] == "all"].set_index("by")["auroc"]
    assert set(of_all.index) == {"all", *EVIDENCE}
    assert of_all["all"] >= of_all.drop("all").max() - 0.005


def test_a_calibration_without_relearning_uses_the_other_readings():
    whole = Calibration.shipped()
    evidence = whole.truths[["few_shot", "probe"]].head(5)
    without = whole.by_readings_of(evidence.assign(relearned=np.nan))
    assert whole.by_readings_of(whole.truths) is whole
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


@pytest.mark.parametrize("damage", [lambda b: b[:-40], lambda b: b"", lambda b: b"PAR1" + b[4:-4] + b"????"])
def test_damaged_controls_are_an_error_that_names_the_file(shipped, tmp_path, damage):
    shipped.controls.to_parquet(file := tmp_path / "controls.parquet")
    pd.testing.assert_frame_equal(Calibration.saved(file).controls, shipped.controls)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(damage(file.read_bytes()))
    with pytest.raises(RunDirectoryError, match=r"broken\.parquet is damaged"):
        Calibration.saved(broken)


def test_controls_that_lack_a_reading_are_damaged(shipped, tmp_path):
    shipped.controls.drop(columns="probe").to_parquet(file := tmp_path / "controls.parquet")
    with pytest.raises(RunDirectoryError, match=r"controls\.parquet is damaged"):
        Calibration.saved(file)
