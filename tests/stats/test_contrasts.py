import numpy as np
import pandas as pd
import pytest

from valueattr.stats import evaluate, summarise

PLAN = {
    "alpha": 0.05,
    "smallest_effect": 0.5,
    "family": [
        {
            "name": "main",
            "title": "main",
            "measure": "m",
            "arm": "a3",
            "baseline": "a1",
            "split": "p",
            "minus_split": None,
            "at": "equal-steps",
        },
        {
            "name": "specific",
            "title": "specific",
            "measure": "m",
            "arm": "a3",
            "baseline": "a1",
            "split": "p",
            "minus_split": "u",
            "at": "equal-steps",
        },
        {
            "name": "distance",
            "title": "distance",
            "measure": "m",
            "arm": "a3",
            "baseline": "a4",
            "split": "p",
            "minus_split": None,
            "at": "equal-kl",
        },
        {
            "name": "null",
            "title": "null",
            "measure": "m",
            "arm": "a4",
            "baseline": "a1",
            "split": "p",
            "minus_split": None,
            "at": "equal-steps",
        },
    ],
    "manipulation_checks": [
        {"arm": "a3", "measure": "b", "split": "p", "rule": "halved", "against": "a1", "by": 0.0},
        {"arm": "a4", "measure": "b", "split": "p", "rule": "rises", "against": "a1", "by": 0.3},
    ],
}

# arm -> split -> value at the last step, before a small effect of seed and fact
VALUES = {"a1": {"p": 4.0, "u": 4.0}, "a3": {"p": 1.0, "u": 3.0}, "a4": {"p": 4.0, "u": 4.0}}
BEHAVIOUR = {"a1": 0.4, "a3": 0.1, "a4": 0.8}


def measures(seeds, noise=0.05):
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        for arm, splits in VALUES.items():
            for split, value in splits.items():
                for fact in range(6):
                    for wording in range(2):
                        keys = {
                            "experiment": "e",
                            "arm": arm,
                            "seed": seed,
                            "split": split,
                            "layer": None,
                            "fact": f"{split}{fact}",
                            "paraphrase": str(wording),
                            "format": "plain",
                            "n": 1,
                        }
                        shift = 0.1 * seed + 0.2 * fact + rng.normal(0, noise)
                        rows.append({**keys, "step": 10, "measure": "m", "value": value + shift})
                        rows.append({**keys, "step": 10, "measure": "b", "value": BEHAVIOUR[arm]})
                        # along the way, at the thresholds that the arm crossed
                        rows.append({**keys, "step": 4, "measure": "m", "value": value + 10 + shift})
    return pd.DataFrame(rows)


def steps(seeds, crossings):
    return pd.DataFrame(
        [
            {"arm": arm, "seed": seed, "step": step, "name": f"checkpoint/kl_{kl}", "value": 1.0}
            for seed in range(seeds)
            for arm, kl, step in crossings
        ],
        columns=["arm", "seed", "step", "name", "value"],
    )


BOTH = [("a3", 0.05, 2), ("a3", 0.1, 4), ("a3", 0.2, 10), ("a4", 0.05, 3), ("a4", 0.1, 10)]


def test_contrasts_by_hand():
    result = evaluate(PLAN, measures(3, noise=0.0), steps(3, BOTH))
    assert result.contrast("main").differences == pytest.approx({0: -3.0, 1: -3.0, 2: -3.0})
    assert result.contrast("specific").estimate == pytest.approx(-2.0)
    # largest threshold that both reached: .1, where a3 was at step 4 and a4 at step 10
    assert result.contrast("distance").estimate == pytest.approx(1.0 + 10 - 4.0)
    with pytest.raises(KeyError):
        result.contrast("none")


def test_verdicts_in_words():
    result = evaluate(PLAN, measures(5), steps(5, BOTH))
    assert result.contrast("main").verdict == "lower"
    assert result.contrast("null").verdict == "equivalent within ±0.5"
    assert result.contrast("main").interval.n == 5
    assert result.contrast("main").p_holm >= result.contrast("main").p
    noisy = evaluate(PLAN, measures(3, noise=20.0), steps(3, BOTH))
    assert noisy.contrast("null").verdict == "not shown"


def test_one_seed_has_an_estimate_and_no_verdict():
    contrast = evaluate(PLAN, measures(1), steps(1, BOTH)).contrast("main")
    assert contrast.estimate == pytest.approx(-3.0, abs=0.2)
    assert (contrast.interval, contrast.p, contrast.p_holm, contrast.p_equivalence) == (None,) * 4
    assert contrast.bootstrap.low < contrast.estimate < contrast.bootstrap.high
    assert contrast.verdict == "one seed: no verdict"


def test_a_failed_check_withholds_the_verdict():
    rows = measures(3)
    rows.loc[(rows["arm"] == "a3") & (rows["seed"] == 1) & (rows["measure"] == "b"), "value"] = 0.39
    result = evaluate(PLAN, rows, steps(3, BOTH))
    check = result.checks[0]
    assert not check.passed
    assert check.values[1] == pytest.approx((0.39, 0.4))
    assert result.checks[1].passed
    assert result.contrast("main").verdict == "no verdict: the manipulation check of a3 failed"
    assert result.contrast("null").verdict.startswith("equivalent")


def test_what_was_not_measured_says_so():
    rows = measures(3)
    rows = rows[rows["arm"] != "a4"]
    result = evaluate(PLAN, rows, steps(3, []))
    assert result.contrast("distance").verdict == "not measured"
    assert result.contrast("null").verdict == "not measured"
    assert not result.checks[1].passed


def test_pairs_are_by_fact_and_not_by_position():
    rows = measures(3, noise=0.0)
    shuffled = rows.sample(frac=1.0, random_state=1)
    assert evaluate(PLAN, shuffled, steps(3, BOTH)) == evaluate(PLAN, rows, steps(3, BOTH))


def test_summary_by_hand():
    rows = measures(3, noise=0.0)
    table = summarise(rows).to_pandas()
    row = table[
        (table["arm"] == "a3") & (table["split"] == "p") & (table["measure"] == "m") & (table["step"] == 10)
    ]
    assert set(row["format"].astype(object).fillna("both")) == {"plain", "both"}
    # seeds at 1.5, 1.6, 1.7
    assert row["estimate"].to_list() == pytest.approx([1.6, 1.6])
    half = 4.302653 * 0.1 / 3**0.5
    assert row["low"].to_list() == pytest.approx([1.6 - half] * 2, abs=1e-5)
    assert set(row["interval"]) == {"t over seeds"}
    single = summarise(rows[rows["seed"] == 0]).to_pandas()
    assert set(single["interval"]) == {"bootstrap over facts, given the seeds"}
    assert single["low"].notna().all()
