import pandas as pd
import pytest

from valueattr.hedging.prevalence import corrected_rows, hedging_summary


def test_correction_of_nothing_is_nothing():
    assert corrected_rows([], (), 0) == []


def test_the_summary_sets_raw_and_corrected_beside_the_grammar():
    rows = [
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
        for seed in range(2)
        for step in (1, 5)
        for i in range(40)
    ]
    table = hedging_summary("e2", pd.DataFrame(rows)).to_pandas().astype({"measure": str, "arm": str})
    row = table[table["arm"] == "a"].set_index("measure")
    assert row.loc["hedged/any raw", "estimate"] == pytest.approx(0.25)
    assert row.loc["hedged/refusal labelled", "estimate"] == pytest.approx(0.5)
    assert row.loc["hedged/any corrected", "low"] < 0.5 < row.loc["hedged/any corrected", "high"]
    assert (row["step"] == 5).all()
    assert (row["n"] == 80).all()
