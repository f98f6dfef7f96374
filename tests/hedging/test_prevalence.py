import pandas as pd
import pytest

from valueattr.hedging.prevalence import corrected_rows, hedging_summary, summarised_over_seeds


def test_correction_of_nothing_is_nothing():
    assert corrected_rows([], (), 0) == []


def responses(seeds):
    """Half of the last responses refuse by the rater; the scanner finds every other refusal."""
    return pd.DataFrame(
        {
            "arm": arm,
            "seed": seed,
            "step": step,
            "phase": "evaluation",
            "split": "penalised",
            "scanned": ["refusal"] if i % 4 == 0 and step == 5 else ["booster"],
            "labelled": ["refusal"] if i % 2 == 0 else [],
        }
        for arm in "ab"
        for seed in range(seeds)
        for step in (1, 5)
        for i in range(40)
    )


def test_the_summary_sets_corrected_beside_labelled_shares():
    table = hedging_summary("e2", responses(seeds=1)).to_pandas().astype({"measure": str, "arm": str})
    row = table[table["arm"] == "a"].set_index("measure")
    assert row.loc["labelled/refusal", "estimate"] == pytest.approx(0.5)
    assert row.loc["corrected/any", "low"] < 0.5 < row.loc["corrected/any", "high"]
    assert (row["step"] == 5).all()
    assert (row["n"] == 40).all()


def test_the_corrected_share_stands_once_in_a_summary():
    """Over seeds where there are several, given the seed where there is one; by one audit in both."""
    for seeds in (1, 2):
        rows = [
            {"arm": "a", "seed": seed, **row}
            for seed in range(seeds)
            for row in corrected_rows(
                [
                    ("penalised", r.scanned, r.labelled)
                    for r in responses(seeds).itertuples()
                    if (r.arm, r.seed, r.step) == ("a", seed, 5)
                ],
                ("penalised",),
                seed,
            )
        ]
        over_seeds = summarised_over_seeds(pd.DataFrame(rows))
        given_one = hedging_summary("e2", responses(seeds)).to_pandas().astype({"measure": str, "arm": str})
        given_one = given_one[(given_one["arm"] == "a") & (given_one["measure"] == "corrected/any")]
        assert (over_seeds["measure"] == "corrected/any").sum() == (0 if seeds == 1 else 2)
        assert len(given_one) == (1 if seeds == 1 else 0)
        if seeds == 1:
            one_audit = next(row["value"] for row in rows if row["measure"] == "corrected/any")
            assert given_one["estimate"].iloc[0] == one_audit
