import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from tests.builders import controls
from valueattr.diagnosis import EVIDENCE, error_of, fit_classifier, held_out_p, p_holds


def test_held_facts_are_told_from_lost_ones_on_a_recipe_and_a_base_that_no_fit_saw():
    table = controls()
    error = error_of(held_out_p(table), table["holds"])
    assert error.auroc > 0.99
    assert error.tpr > 0.95 > 0.05 > error.fpr


def test_nothing_of_the_same_recipe_or_base_is_fitted_on():
    """Labels of one base and recipe are turned about: only its own reading of itself could follow them."""
    table = controls()
    turned = (table["base"] == "b0") & (table["recipe"] == "easy")
    expected = held_out_p(table)
    table.loc[turned, "holds"] = ~table.loc[turned, "holds"]
    same = ~((table["base"] == "b1") & (table["recipe"] == "hard"))  # all others fit without the turned ones
    pd.testing.assert_series_equal(held_out_p(table)[same], expected[same])
    easy = table["recipe"] == "easy"
    assert error_of(expected[easy], table.loc[easy, "holds"]).auroc < 0.6


def test_evidence_that_says_nothing_gives_chance_and_is_not_sure():
    table = controls(separation=0.0, facts=400)
    p = held_out_p(table)
    assert abs(error_of(p, table["holds"]).auroc - 0.5) < 0.05
    assert p.between(0.3, 0.7).all()


def test_one_recipe_alone_is_refused():
    with pytest.raises(ValueError, match="no controls are left to fit on"):
        held_out_p(controls(recipes=("easy",)))


def test_facts_of_one_kind_have_no_error():
    with pytest.raises(ValueError, match="facts that are held and facts that are lost"):
        error_of(pd.Series([0.4, 0.6]), pd.Series([True, True]))


def test_more_of_every_reading_is_more_likely_to_be_held():
    classifier = fit_classifier(controls())
    levels = pd.DataFrame({name: np.linspace(-3, 8, 12) for name in EVIDENCE})
    assert p_holds(classifier, levels).is_monotonic_increasing


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=60))
def test_errors_agree_with_scikit_learn(drawn):
    p, holds = (pd.Series(values) for values in zip(*[*drawn, (0.5, True), (0.5, False)], strict=True))
    error = error_of(p, holds)
    assert error.brier == pytest.approx(brier_score_loss(holds, p))
    share_true, mean_p = calibration_curve(holds, p, n_bins=10)
    assert 0 <= error.calibration <= np.abs(share_true - mean_p).max() + 1e-9
