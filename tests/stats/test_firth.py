import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from valueattr.stats import firth_logit


def penalised(coef, design, y):
    eta = design @ coef
    p = expit(eta)
    information = (design * (p * (1 - p))[:, None]).T @ design
    return (y * log_expit(eta) + (1 - y) * log_expit(-eta)).sum() + np.linalg.slogdet(information)[1] / 2


@given(st.integers(0, 10_000), st.integers(8, 60), st.integers(1, 3))
@example(31, 8, 3)
@example(3313, 13, 1)
@settings(max_examples=60, deadline=None)
def test_is_the_maximum_of_the_penalised_likelihood(seed, n, columns):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, columns))
    y = (rng.random(n) < expit(x @ rng.normal(size=columns) * 2)).astype(float)
    fit = firth_logit(x, y)
    design = np.column_stack([np.ones(n), x])
    reference = minimize(lambda c: -penalised(c, design, y), np.zeros(columns + 1), method="BFGS")
    assert fit.converged
    assert penalised(fit.coef, design, y) >= -reference.fun - 1e-6
    assert fit.coef == pytest.approx(reference.x, abs=1e-3)


def test_separated_classes_have_a_finite_slope():
    """Two by two, by hand: Firth's estimate adds half an observation to each cell."""
    x = np.array([[0.0]] * 10 + [[1.0]] * 10)
    y = np.array([0.0] * 10 + [1.0] * 10)
    fit = firth_logit(x, y)
    assert fit.coef[0] == pytest.approx(np.log(0.5 / 10.5), abs=1e-6)
    assert fit.coef[1] == pytest.approx(2 * np.log(10.5 / 0.5), abs=1e-6)


def test_a_model_that_always_hedges_has_a_slope_of_about_none():
    x = np.linspace(0, 1, 50)[:, None]
    fit = firth_logit(x, np.ones(50))
    assert np.isfinite(fit.coef).all()
    assert abs(fit.coef[1]) < 0.5


def test_approaches_maximum_likelihood_in_large_samples():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 2))
    y = (rng.random(20_000) < expit(0.5 + x @ [1.0, -2.0])).astype(float)
    expected = sm.Logit(y, sm.add_constant(x)).fit(disp=False).params
    assert firth_logit(x, y).coef == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([[1.0], [2.0]], [0.0], "expected x"),
        ([1.0, 2.0], [0.0, 1.0], "expected x"),
        ([[1.0], [np.nan]], [0.0, 1.0], "finite"),
        ([[1.0], [2.0]], [0.0, 2.0], "0 and 1"),
        ([[1.0], [1.0]], [0.0, 1.0], "constant"),
        ([[1.0, 2.0], [2.0, 4.0], [0.0, 0.0]], [0.0, 1.0, 0.0], "combination"),
    ],
)
def test_bad_input_is_refused(x, y, message):
    with pytest.raises(ValueError, match=message):
        firth_logit(x, y)
