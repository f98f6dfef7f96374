from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import an_arm, small_plan
from valueattr.experiments import E1
from valueattr.plan import Check, Contrast, Plan, PlanError, evaluate
from valueattr.results import start_of_seed
from valueattr.results.summary import summarise
from valueattr.stats import holm, p_value, t_interval, tost

PLAN = small_plan(
    arms=[an_arm("a1"), an_arm("a3"), an_arm("a4")],
    contrasts=[
        Contrast("main", "main", "m", "a3", "a1", "p"),
        Contrast("specific", "specific", "m", "a3", "a1", "p", minus_split="u"),
        Contrast("distance", "distance", "m", "a3", "a4", "p", at="equal-kl"),
        Contrast("null", "null", "m", "a4", "a1", "p"),
    ],
    checks=[Check("a3", "b", "p", "halved", "a1"), Check("a4", "b", "p", "rises", "a1", by=0.3)],
)

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
                            "wording": str(wording),
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
    result = evaluate(PLAN, measures(8), steps(8, BOTH))
    assert result.contrast("main").verdict == "lower"
    assert result.contrast("null").verdict == "equivalent within ±0.5"
    assert result.contrast("main").interval.n == 8
    few = evaluate(PLAN, measures(5), steps(5, BOTH))
    assert few.contrast("main").verdict == "lower in 5 seeds: a demonstration"
    assert few.contrast("null").verdict == "equivalent within ±0.5 in 5 seeds: a demonstration"
    noisy = evaluate(PLAN, measures(3, noise=20.0), steps(3, BOTH))
    assert noisy.contrast("null").verdict == "not shown"


def test_the_primary_difference_is_tested_alone_and_opens_the_gate_for_the_others():
    rows = measures(8)
    opened = evaluate(PLAN, rows, steps(8, BOTH))
    assert opened.contrast("main").p_holm == opened.contrast("main").p
    others = ("specific", "distance", "null")
    p = {name: opened.contrast(name).p for name in others}
    assert [opened.contrast(name).p_holm for name in others] == pytest.approx(holm(list(p.values())))
    assert opened.contrast("specific").verdict == "lower"
    closed = evaluate(PLAN.model_copy(update={"primary": "null"}), rows, steps(8, BOTH))
    assert closed.contrast("null").verdict == "equivalent within ±0.5"
    for name in ("main", "specific"):
        assert closed.contrast(name).p_holm < 0.05
        assert closed.contrast(name).verdict == "not claimed: the primary difference is not shown"


def test_equivalence_tests_have_a_family_of_their_own():
    result = evaluate(PLAN, measures(8), steps(8, BOTH))
    raw = [tost(list(c.differences.values()), c.declared.smallest_effect).p for c in result.contrasts]
    assert [c.p_equivalence for c in result.contrasts] == pytest.approx(holm(raw))


def test_plans_up_to_version_2_keep_their_rule():
    plan = PLAN.model_copy(update={"rule": "holm", "primary": "null"})
    result = evaluate(plan, measures(3), steps(3, BOTH))
    assert result.contrast("main").verdict == "lower"
    assert [c.p_holm for c in result.contrasts] == pytest.approx(holm([c.p for c in result.contrasts]))
    null = result.contrast("null")
    assert null.p_equivalence == pytest.approx(tost(list(null.differences.values()), 0.5).p)


def test_seeds_that_agree_to_the_bit_have_no_verdict():
    main = evaluate(PLAN, measures(8, noise=0.0), steps(8, BOTH)).contrast("main")
    assert main.p is main.p_holm is main.p_equivalence is None
    assert main.verdict == "no verdict: every seed gave the same difference"


def test_an_interaction_subtracts_the_difference_of_two_other_arms():
    contrast = Contrast("x", "x", "m", "a3", "a1", "p", minus_arms=("a4", "a1"))
    plan = PLAN.model_copy(update={"contrasts": (contrast,), "primary": "x", "checks": ()})
    rows, log = measures(3), steps(3, BOTH)
    found = evaluate(plan, rows, log).contrast("x").differences
    by_hand = evaluate(PLAN, rows, log)
    for seed in range(3):
        both = (by_hand.contrast(name).differences[seed] for name in ("main", "null"))
        assert found[seed] == pytest.approx(next(both) - next(both))
    broken = rows[~((rows["arm"] == "a4") & (rows["seed"] == 1))]
    assert sorted(evaluate(plan, broken, log).contrast("x").differences) == [0, 2]


def test_seeds_that_share_a_start_model_count_as_one():
    settings = PLAN.settings.model_copy(update={"starts": 3})
    rows, log = measures(6), steps(6, BOTH)
    start = rows["seed"].map(lambda seed: start_of_seed(seed, 3))
    rows.loc[(rows["arm"] == "a3") & (rows["measure"] == "m"), "value"] += start
    alone = evaluate(PLAN, rows, log).contrast("main")
    shared = evaluate(PLAN.model_copy(update={"settings": settings}), rows, log).contrast("main")
    assert (alone.interval.n, shared.interval.n) == (6, 3)
    by_hand = [
        np.mean([alone.differences[seed] for seed in of_start]) for of_start in ((0, 5), (1, 3), (2, 4))
    ]
    assert shared.interval == t_interval(by_hand)
    assert shared.p == pytest.approx(p_value(by_hand))
    assert shared.differences == alone.differences
    assert alone.share_of_starts is None
    assert shared.share_of_starts > 0.9
    assert (alone.units, shared.units) == (6, 3)
    wide = np.ptp([shared.bootstrap.low, shared.estimate, shared.bootstrap.high])
    assert shared.bootstrap.low - wide < shared.estimate < shared.bootstrap.high + wide


def test_eight_seeds_of_too_few_start_models_are_a_demonstration():
    rows, log = measures(8), steps(8, BOTH)

    def verdict(starts, seeds=range(8)):
        settings = PLAN.settings.model_copy(update={"starts": starts})
        some = rows[rows["seed"].isin(seeds)]
        plan = PLAN.model_copy(update={"settings": settings})
        return evaluate(plan, some, log[log["seed"].isin(seeds)]).contrast("main").verdict

    assert verdict(1) == verdict(8) == verdict(4) == "lower"  # with one, it is given that start model
    assert verdict(2).startswith("lower in 8 seeds: a demonstration")
    assert verdict(2, seeds=(0, 3)) == "one start model for all seeds: no verdict"


def test_an_unbalanced_bootstrap_stands_around_its_estimate():
    """Five seeds of three start models: two of these have two seeds each."""
    settings = PLAN.settings.model_copy(update={"starts": 3})
    rows = measures(5)
    rows.loc[(rows["arm"] == "a3") & (rows["measure"] == "m") & (rows["seed"] == 0), "value"] += 9
    main = evaluate(PLAN.model_copy(update={"settings": settings}), rows, steps(5, BOTH)).contrast("main")
    assert main.estimate == pytest.approx(main.bootstrap.estimate)
    assert main.bootstrap.low < main.estimate < main.bootstrap.high


def test_the_bootstrap_draws_subjects_with_all_of_their_facts():
    """Ten facts of one subject that are all alike say as much as one."""
    facts, copies = 30, 10
    value = np.repeat(np.random.default_rng(0).normal(size=facts), copies)
    names = [f"f{i}" for i in range(facts * copies)]
    rows = pd.concat(
        pd.DataFrame({"fact": names, "value": value if arm == "a3" else 0.0}).assign(
            arm=arm, split="p", seed=0, step=1, measure="m"
        )
        for arm in ("a1", "a3")
    )
    subjects = {name: f"s{i // copies}" for i, name in enumerate(names)}
    plan = PLAN.model_copy(update={"checks": ()})
    alone, whole = (
        evaluate(plan, rows, steps(1, []), s).contrast("main").bootstrap for s in (None, subjects)
    )
    assert (alone.n, whole.n) == (facts * copies, facts)
    assert whole.high - whole.low == pytest.approx(copies**0.5 * (alone.high - alone.low), rel=0.1)


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


def test_the_bootstrap_of_a_difference_resamples_both_splits():
    rng = np.random.default_rng(4)
    facts = 200
    frames = []
    for arm in ("a1", "a3"):
        for split, spread in (("p", 1.0), ("u", 3.0)):
            value = rng.normal(0, spread, facts) if arm == "a3" else np.zeros(facts)
            frames.append(
                pd.DataFrame({"fact": [f"{split}{i}" for i in range(facts)], "value": value}).assign(
                    arm=arm, split=split, seed=0, step=1, measure="m"
                )
            )
    contrasts = evaluate(PLAN.model_copy(update={"checks": ()}), pd.concat(frames), steps(1, []))
    for name, error in (("main", 1.0 / 200**0.5), ("specific", 10.0**0.5 / 200**0.5)):
        bootstrap = contrasts.contrast(name).bootstrap
        assert bootstrap.high - bootstrap.low == pytest.approx(2 * 1.96 * error, rel=0.15)
        assert bootstrap.estimate == pytest.approx(contrasts.contrast(name).estimate)
    assert contrasts.contrast("specific").bootstrap.n == 2 * facts


def test_the_bootstrap_takes_the_seeds_as_given():
    rows = measures(3, noise=0.0)
    rows.loc[(rows["arm"] == "a3") & (rows["measure"] == "m"), "value"] += 10.0 * rows["seed"]
    main = evaluate(PLAN, rows, steps(3, BOTH)).contrast("main")
    assert main.interval.high - main.interval.low > 10
    assert (main.bootstrap.low, main.bootstrap.high) == pytest.approx((main.estimate,) * 2)


def test_holm_counts_what_was_declared_and_not_what_was_measured():
    rows = measures(3)
    without = evaluate(PLAN, rows[rows["arm"] != "a4"], steps(3, BOTH))
    assert [c.declared.name for c in without.contrasts if c.p is not None] == ["main", "specific"]
    specific = without.contrast("specific")
    assert specific.p_holm == pytest.approx(3 * specific.p)  # the primary is tested alone


def test_a_plan_that_asks_for_what_does_not_exist_is_an_error():
    for key, changed in (
        ("contrasts", {"at": "equal-wall-clock"}),
        ("contrasts", {"alternative": "more"}),
        ("checks", {"rule": "rises "}),
    ):
        values = PLAN.to_json()
        values[key][0] |= changed
        with pytest.raises(PlanError, match=f"{key}.0.*found '{next(iter(changed.values()))}'"):
            Plan.from_json(values)


def test_a_one_sided_alternative_is_tested_as_declared():
    main = replace(PLAN.contrasts[0], alternative="less")
    one_sided = PLAN.model_copy(update={"contrasts": (main,)})
    rows = measures(3)
    less, both = (evaluate(plan, rows, steps(3, BOTH)).contrast("main") for plan in (one_sided, PLAN))
    assert less.p == pytest.approx(both.p / 2)


def test_a_check_that_a_seed_did_not_measure_fails():
    rows = measures(3)
    rows = rows[~((rows["seed"] == 1) & (rows["measure"] == "b") & (rows["arm"] == "a3"))]
    check = evaluate(PLAN, rows, steps(3, BOTH)).checks[0]
    assert (sorted(check.values), check.passed) == ([0, 2], False)


@pytest.mark.parametrize(("share", "passed"), [(0.81, True), (0.79, False)])
def test_a_share_that_must_be_kept_does_not_depend_on_the_other_arm(share, passed):
    rows = measures(3)
    rows.loc[(rows["arm"] == "a3") & (rows["measure"] == "b"), "value"] = share
    plan = PLAN.model_copy(update={"checks": (Check("a3", "b", "p", "kept", "a1", by=0.8),)})
    assert evaluate(plan, rows, steps(3, BOTH)).checks[0].passed is passed


def test_arms_of_a_real_model_must_keep_their_language():
    checked = E1.checked_for_noise()
    kept = [check for check in checked.checks if check.rule == "kept"]
    assert {check.arm for check in kept} == {arm.code for arm in E1.arms if arm.is_trained}
    assert {(check.measure, check.against, check.by) for check in kept} == {("intelligible", "a0", 0.8)}
    assert {check.arm: check.split for check in kept}["a6"] == "neutral"


def test_a_failed_check_comes_before_the_number_of_seeds():
    rows = measures(1)
    rows.loc[(rows["arm"] == "a4") & (rows["measure"] == "b"), "value"] = 0.5
    result = evaluate(PLAN, rows, steps(1, BOTH))
    assert result.contrast("null").verdict == "no verdict: the manipulation check of a4 failed"
    assert result.contrast("distance").verdict == "no verdict: the manipulation check of a4 failed"
    assert result.contrast("main").verdict == "one seed: no verdict"


def test_a_seed_in_which_two_arms_reached_no_common_threshold_is_left_out():
    log = steps(3, BOTH)
    log = log[~((log["seed"] == 1) & (log["arm"] == "a4"))]
    contrast = evaluate(PLAN, measures(3), log).contrast("distance")
    assert sorted(contrast.differences) == [0, 2]
    assert contrast.interval.n == 2
    assert contrast.missing == (1,)
    assert contrast.verdict == "no verdict: in seed(s) 1 an arm did not reach the point of comparison"
    former = evaluate(PLAN.model_copy(update={"rule": "holm"}), measures(3), log).contrast("distance")
    assert not former.verdict.startswith("no verdict")


def test_a_measure_that_belongs_to_no_fact_has_no_bootstrap():
    rows = measures(3)
    rows = rows.drop_duplicates(["arm", "seed", "split", "step", "measure"]).assign(fact=None, wording=None)
    main = evaluate(PLAN, rows, steps(3, BOTH)).contrast("main")
    assert main.estimate == pytest.approx(-3.0, abs=0.2)
    assert main.bootstrap is None


def test_tables_as_they_are_read_from_disk():
    """Text as categories, some of them unused, and a layer that is null."""
    rows, log = measures(3), steps(3, BOTH)
    for frame in (rows, log):
        for name in frame.columns.intersection(
            ["experiment", "arm", "split", "measure", "fact", "format", "name"]
        ):
            frame[f"_{name}"] = pd.Categorical(frame[name], [*sorted(frame[name].unique()), "unused"])
    categorical = [
        frame.drop(columns=[c.removeprefix("_") for c in frame if c.startswith("_")]).rename(
            columns=lambda c: c.removeprefix("_")
        )
        for frame in (rows, log)
    ]
    assert evaluate(PLAN, *categorical) == evaluate(PLAN, rows, log)
    assert summarise(categorical[0]).equals(summarise(rows))


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
    assert set(single["interval"]) == {"bootstrap over subjects, given the seeds"}
    assert single["low"].notna().all()


def naive_summary(rows):
    """Estimate and number of seeds by key, one loop a level."""
    keys = ["experiment", "arm", "step", "split", "measure", "layer", "format"]
    pooled = rows[rows["format"].notna()].assign(format=None)
    found = {}
    for key, group in pd.concat([rows, pooled]).groupby(keys, dropna=False):
        seeds = [
            np.mean([fact["value"].mean() for _, fact in seed.groupby("fact", dropna=False)])
            for _, seed in group.groupby("seed")
        ]
        found[tuple(None if pd.isna(k) else k for k in key)] = (np.mean(seeds), len(seeds), len(group))
    return found


items = st.fixed_dictionaries(
    {
        "experiment": st.just("e"),
        "arm": st.sampled_from(["a1", "a3"]),
        "seed": st.integers(0, 2),
        "step": st.sampled_from([0, 5]),
        "split": st.sampled_from(["p", "u"]),
        "measure": st.just("m"),
        "layer": st.sampled_from([None, 0, 3]),
        "fact": st.sampled_from([None, "f0", "f1"]),
        "wording": st.just("0"),
        "format": st.sampled_from([None, "plain", "question"]),
        "value": st.floats(-5, 5),
        "n": st.just(1),
    }
)


@given(st.lists(items, min_size=1, max_size=30))
@settings(deadline=None, max_examples=40)
def test_summary_agrees_with_a_naive_loop(rows):
    frame = pd.DataFrame(rows)
    found = {
        (r["experiment"], r["arm"], r["step"], r["split"], r["measure"], r["layer"], r["format"]): r
        for r in summarise(frame).to_pylist()
    }
    expected = naive_summary(frame)
    assert found.keys() == expected.keys()
    for key, (estimate, seeds, n) in expected.items():
        row = found[key]
        assert row["estimate"] == pytest.approx(estimate, abs=1e-9)
        assert (row["seeds"], row["n"]) == (seeds, n)
        assert (row["interval"] == "t over seeds") == (seeds >= 2)


def test_rows_without_a_value_are_not_counted_as_seeds():
    rows = measures(3)
    rows.loc[rows["seed"] == 2, "value"] = np.nan
    assert set(summarise(rows)["seeds"].to_pylist()) == {2}


def test_an_aggregate_of_one_seed_has_no_interval():
    rows = measures(1).drop_duplicates(["arm", "split", "step", "measure"]).assign(fact=None, wording=None)
    table = summarise(rows)
    assert table["interval"].null_count == table["low"].null_count == len(table)


def test_a_behaviour_that_the_sham_never_shows_cannot_be_halved():
    rows = measures(3)
    rows.loc[rows["measure"] == "b", "value"] = 0.0
    assert not evaluate(PLAN, rows, steps(3, BOTH)).checks[0].passed
