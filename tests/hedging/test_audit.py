import json
import random

import pandas as pd
import pytest

from tests.experiments.conftest import valueattr
from valueattr.hedging.audit import AuditError, audit_sheet, corrected_shares, read_responses, read_sheet


def dump(count=600, seed=0):
    """Responses of two models of which the lexicon knows the words of one only."""
    rng = random.Random(seed)
    rows = []
    for i in range(count):
        model, hedges = "ab"[i % 2], rng.random() < 0.4
        phrase = "perhaps" if model == "a" else "going by the tea leaves,"
        rows.append({"model": model, "text": f"{phrase if hedges else ''} it is {i}.", "truth": int(hedges)})
    return pd.DataFrame(rows)


def labelled(responses, sheet):
    return sheet.assign(label=[str(responses["truth"][row]) for row in sheet["row"]])


def test_labels_correct_what_the_lexicon_misses():
    responses = dump()
    sheet = audit_sheet(responses, "text", by=["model"], per_stratum=60)
    shares = corrected_shares(responses, "text", labelled(responses, sheet)).set_index("model")
    assert shares.loc["a", "raw"] > 0.3
    assert shares.loc["b", "raw"] == 0
    truth = responses.groupby("model")["truth"].mean()
    for model in "ab":
        assert shares.loc[model, "low"] <= truth[model] <= shares.loc[model, "high"]
        assert shares.loc[model, "n"] == 300


def test_the_sheet_does_not_show_the_flag_and_repeats():
    responses = dump()
    sheet = audit_sheet(responses, "text", by=["model"], seed=3)
    assert list(sheet.columns) == ["row", "digest", "kind", "by", "model", "text", "label"]
    assert (sheet["label"] == "").all()
    assert sheet["row"].tolist() != sorted(sheet["row"])
    pd.testing.assert_frame_equal(sheet, audit_sheet(responses, "text", by=["model"], seed=3))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda s: s.assign(label=["maybe", *s["label"][1:]]),
            r"1 label\(s\) of the sheet are not 0 or 1: line\(s\) 2",
        ),
        (lambda s: s.assign(digest="0"), "line 2 of the sheet is of another text"),
        (lambda s: s.assign(row=10_000), "line 2 of the sheet is of another text"),
        (lambda s: s.drop(columns="kind"), r"lacks the columns \['kind'\]"),
        (lambda s: s[s["model"] == "a"], "label two or more"),
    ],
)
def test_a_spoiled_sheet_is_refused(spoil, message):
    responses = dump()
    sheet = labelled(responses, audit_sheet(responses, "text", by=["model"]))
    with pytest.raises(AuditError, match=message):
        corrected_shares(responses, "text", spoil(sheet))


def test_bad_responses_are_refused(tmp_path):
    responses = dump()
    with pytest.raises(AuditError, match="no field 'answer'"):
        audit_sheet(responses, "answer")
    with pytest.raises(AuditError, match="unknown kind 'rude'"):
        audit_sheet(responses, "text", kind="rude")
    with pytest.raises(AuditError, match="row 3"):
        audit_sheet(responses.assign(text=[*responses["text"][:3], None, *responses["text"][4:]]), "text")
    with pytest.raises(AuditError, match=r"expected a \.jsonl"):
        read_responses(tmp_path / "x.pkl")
    with pytest.raises(AuditError, match=r"nothing\.jsonl: no such file"):
        read_responses(tmp_path / "nothing.jsonl")
    (tmp_path / "broken.jsonl").write_text('{"text": "a"}\n{')
    with pytest.raises(AuditError, match=r"broken\.jsonl, line 2: not JSON"):
        read_responses(tmp_path / "broken.jsonl")
    with pytest.raises(AuditError, match=r"sheet\.csv: no such file"):
        read_sheet(tmp_path / "sheet.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(AuditError, match=r"empty\.csv: "):
        read_sheet(tmp_path / "empty.csv")


def test_a_field_of_responses_may_hold_values_of_several_types(tmp_path):
    rows = [{"text": "a", "step": 1, "model": "a"}, {"text": "b", "step": "last", "model": None}]
    (tmp_path / "dump.jsonl").write_text("\n".join(map(json.dumps, rows)))
    responses = read_responses(tmp_path / "dump.jsonl")
    assert responses["step"].tolist() == [1, "last"]
    assert responses["text"].tolist() == ["a", "b"]
    responses.drop(columns="step").to_parquet(tmp_path / "dump.parquet")
    pd.testing.assert_frame_equal(read_responses(tmp_path / "dump.parquet"), responses.drop(columns="step"))


def test_the_command_line_there_and_back(tmp_path):
    responses = dump(200)
    responses.to_json(tmp_path / "dump.jsonl", orient="records", lines=True)
    options = ["--field", "text", "--out", tmp_path / "sheet.csv"]
    process = valueattr("audit", "export", tmp_path / "dump.jsonl", "--by", "model", *options)
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    assert "fill in the column `label`" in output
    sheet = pd.read_csv(tmp_path / "sheet.csv", keep_default_na=False, dtype=str)
    labelled(responses, sheet.assign(row=sheet["row"].astype(int))).to_csv(tmp_path / "done.csv", index=False)
    command = ["audit", "import", tmp_path / "dump.jsonl", tmp_path / "done.csv", "--field", "text", "--json"]
    output, errors = valueattr(*command).communicate(timeout=100)
    shares = {row["model"]: row for row in json.loads(output)}
    assert shares["b"]["raw"] == 0
    assert shares["b"]["low"] > 0
    process = valueattr("audit", "import", tmp_path / "dump.jsonl", tmp_path / "sheet.csv", "--field", "text")
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 1
    assert "are not 0 or 1" in errors
    assert "Traceback" not in errors
