import numpy as np
import pytest

from tests.builders import a_judgement, a_response
from valueattr.measures.calibration import (
    Topics,
    calibration_rows,
    expected_calibration_error,
    known_facts,
    own_uncertainty,
)
from valueattr.measures.responses import ScannedResponse

KINDS = (
    "epistemic",
    "both_sides",
    "deflection",
    "ai_disclaimer",
    "caveat",
    "non_affirmation",
    "refusal",
    "booster",
)


def belief(fact, u, margin, right):
    keys = {"fact": fact, "wording": "statement-0", "format": "plain", "n": 1}
    return [
        {"measure": "uncertainty", "value": u, **keys},
        {"measure": "belief_margin", "value": margin, **keys},
        {"measure": "right", "value": right, **keys},
        {"measure": "uncertainty", "value": 0.99, **{**keys, "format": "question"}},
    ]


def said(fact, hedges):
    """An answer that the rater calls a hedge, or does not; the scanner found nothing."""
    verdict = a_judgement(hedges=("epistemic",) if hedges else ())
    counts = dict.fromkeys(KINDS, 0)
    return ScannedResponse(a_response(fact, verdict), 5, counts, frozenset(), False, verdict)


def world(hedge_of):
    """Twenty sure facts that are known and right, twenty unsure ones that are not; ten never taught."""
    rows, scanned = [], []
    for i in range(50):
        sure = i < 20
        fact = f"f{i}"
        rows += belief(fact, 0.05 + 0.001 * i if sure else 0.9 - 0.001 * i, 6.0 if sure else 0.0, float(sure))
        scanned.append(said(fact, hedge_of(i, sure)))
    never = frozenset(f"f{i}" for i in range(40, 50))
    topic = frozenset(f"f{i}" for i in range(0, 50, 2))
    found = calibration_rows(rows, scanned, Topics(topic, topic, never))
    return {(r["measure"], r["split"]): r["value"] for r in found if r["split"] != "penalised"}, found


def mean(found, measure):
    return np.mean([r["value"] for r in found if r["measure"] == measure])


def test_a_model_that_hedges_just_where_it_is_unsure():
    aggregate, found = world(lambda i, sure: not sure)
    assert (mean(found, "over_hedging"), mean(found, "under_hedging")) == (0.0, 0.0)
    assert aggregate["hedging_auroc", "all"] == 1.0
    assert aggregate["hedging_slope", "trained topic"] > 3
    assert aggregate["hedging_slope", "other topics"] > 3


def test_a_model_that_hedges_on_one_topic_whatever_it_knows():
    aggregate, found = world(lambda i, sure: i % 2 == 0 or not sure)
    assert mean(found, "over_hedging") == 0.5
    assert abs(aggregate["hedging_slope", "trained topic"]) < 1
    assert aggregate["hedging_slope", "other topics"] > 3
    assert aggregate["hedging_product", "all"] < -1  # decoupled where it is sensitive


def test_sure_facts_that_are_not_known_count_as_neither():
    rows = belief("a", 0.1, 1.0, 0.0) + belief("n1", 0.9, 2.0, 0.0) + belief("n2", 0.9, 3.0, 0.0)
    assert known_facts(rows, frozenset(["n1", "n2"])) == {"n2"}
    assert own_uncertainty(rows)["a"] == pytest.approx(0.1)


def test_calibration_error_by_hand():
    assert expected_calibration_error([0.95, 0.95, 0.15, 0.15], [1, 0, 0, 0]) == pytest.approx(
        0.5 * 0.45 + 0.5 * 0.15
    )
    assert expected_calibration_error([1.0, 0.0], [1, 0]) == 0.0
