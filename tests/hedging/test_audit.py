import gzip
import json
import random
import re

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.experiments.conftest import valueattr
from valueattr.hedging.audit import (
    AuditError,
    Verdict,
    _same_digest,
    audit_sheet,
    corrected_shares,
    rater_agreement,
    read_responses,
    read_sheet,
    write_sheet,
)
from valueattr.stats import agreement


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


def written(tmp_path, responses, **options):
    """A sheet that was exported, labelled and read from CSV."""
    sheet = labelled(responses, audit_sheet(responses, "text", **options))
    write_sheet(sheet, tmp_path / "sheet.csv")
    return read_sheet(tmp_path / "sheet.csv")


GROUPS = [None, float("nan"), "", "null", "a", 1, 1.5, True, False, -3, "=1+1", "1", ["x"], {"y": None}]


def test_no_group_is_dropped_and_nulls_are_one_group(tmp_path):
    """Each null had been a group of its own, and values that a CSV file changes were groups of nothing."""
    rows = [
        {"text": f"{'perhaps' if i % 3 else ''} it is {i}.", "truth": int(i % 3 > 0), "arm": arm}
        for i in range(30)
        for arm in GROUPS
    ]
    rows += [{key: row[key] for key in ("text", "truth")} for row in rows[:30]]
    (tmp_path / "dump.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    responses = read_responses(tmp_path / "dump.jsonl", "text")
    sheet = written(tmp_path, responses, by=["arm"], per_stratum=5)
    assert set(sheet["arm"]) == {
        *("", "null", "a", "1", "1.5", "true", "false", "-3", "=1+1", '["x"]', '{"y": null}')
    }
    shares = corrected_shares(responses, "text", sheet)
    assert shares["arm"].tolist() == [None, *GROUPS[2:]]
    assert [type(value) for value in shares["arm"][1:]] == [type(value) for value in GROUPS[2:]]
    assert shares["n"].tolist() == [90, *[30] * (len(GROUPS) - 2)]
    assert shares["audited"].tolist() == [10] * (len(GROUPS) - 1)
    assert json.loads(shares.to_json(orient="records"))[0]["arm"] is None


@pytest.mark.parametrize("name", ["row", "digest", "kind", "by", "label", "n", "audited", "raw", "low"])
def test_a_group_named_like_a_column_of_ours_is_refused(name):
    """Its values were replaced by ours, and the shares were of all groups together."""
    responses = dump().rename(columns={"model": name})
    with pytest.raises(AuditError, match=f"cannot group by '{name}'"):
        audit_sheet(responses, "text", by=[name])


def test_columns_and_order_of_a_sheet_are_a_persons_own(tmp_path):
    responses = dump().assign(prompt=[f"what? {i}" for i in range(600)])
    sheet = labelled(responses, audit_sheet(responses, "text", by=["model"]))
    expected = corrected_shares(responses, "text", sheet)
    own = sheet.assign(prompt="mine", note="?", model="x")[[*reversed(sheet.columns), "prompt", "note"]]
    pd.testing.assert_frame_equal(corrected_shares(responses, "text", own), expected)
    pd.testing.assert_frame_equal(corrected_shares(responses, "text", own.drop(columns="model")), expected)
    earlier = sheet.drop(columns="by").assign(note="?")
    pd.testing.assert_frame_equal(corrected_shares(responses, "text", earlier), expected)


@pytest.mark.parametrize(
    "digest", ["012345678901", "000000000012", "123456789012", "1e1034567890", "12345678e123"]
)
def test_a_digest_that_a_spreadsheet_took_for_a_number_is_still_that_digest(digest):
    number = float(digest)
    shown = [digest, f" {digest} "]
    if number < float("inf"):
        shown += [f"{number:.5E}", f"{number:.5E}".replace(".", ","), f"{number:.15g}"]
    assert all(_same_digest(text.strip(), digest) for text in shown)
    for other in ("", "9" + digest, "ab", "nan", digest[:-1] + "a"):
        assert not _same_digest(other, digest)
    assert not _same_digest("12345678901", "a12345678901")


@pytest.mark.parametrize(
    ("spellings", "accepted"),
    [
        (("1", "0"), True),
        (("1.0", "0.0"), True),
        (("1,00", "0,00"), True),
        ((" 1 ", "\t0"), True),
        (("1.5", "0.5"), False),
        (("", ""), False),
        (("yes", "no"), False),
        (("١", "٠"), False),
    ],
)
def test_labels_are_read_as_spreadsheets_spell_them(tmp_path, spellings, accepted):
    responses = dump()
    sheet = written(tmp_path, responses)
    expected = corrected_shares(responses, "text", sheet)
    sheet["label"] = [spellings[label == "0"] for label in sheet["label"]]
    sheet["row"] = sheet["row"] + ".0"
    if accepted:
        pd.testing.assert_frame_equal(corrected_shares(responses, "text", sheet), expected)
    else:
        with pytest.raises(AuditError, match=r"label\(s\) of .*sheet\.csv are not 0 or 1: line\(s\) 2, 3"):
            corrected_shares(responses, "text", sheet)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda s: pd.concat([s, s[3:4]]),
            r"line 5 of .*sheet\.csv repeats row \d+, which line 5 has; remove one",
        ),
        (
            lambda s: s.assign(row=["x", *s["row"][1:]]),
            r"line 2 of .*sheet\.csv: `row` is 'x', expected a number",
        ),
        (lambda s: s.assign(row=["-1", *s["row"][1:]]), r"line 2 of .*sheet\.csv: `row` is '-1'"),
        (lambda s: s.assign(row=["9" * 5000, *s["row"][1:]]), r"line 2 of .*sheet\.csv: `row` is"),
        (
            lambda s: s.assign(digest=[*s["digest"][:5], *s["digest"][6:], "0"]),
            r"line 7 of .*is of another text",
        ),
        (
            lambda s: s.assign(kind=["any", *["hedge"] * (len(s) - 1)]),
            r"sheet\.csv: `kind` is 'any' and 'hedge'",
        ),
        (lambda s: s.assign(kind="rude"), "unknown kind 'rude'"),
        (lambda s: s.assign(kind='{"a": "b", "c": "d"}'), "unknown kind '{"),
        (
            lambda s: s.assign(kind='{"arm": "a"}'),
            r"sheet\.csv: no field 'arm'; there are .* export the sheet",
        ),
        (
            lambda s: s.assign(kind='{"model": "c"}'),
            r"sheet\.csv: 'model' is never 'c'; it is 'a', 'b'; export",
        ),
        (lambda s: s.assign(by="model"), r"sheet\.csv: `by` is 'model', expected a list of fields"),
        (lambda s: s.assign(by="[" * 9999), r"sheet\.csv: `by` is "),
        (lambda s: s.assign(by='["arm"]'), "no field 'arm'; there are model, text, truth"),
        (lambda s: s[:0], r"sheet\.csv has no rows; export it anew"),
        (lambda s: s[:1], r"sheet\.csv: model [ab]: \d of \d+ .*items were audited: label two or more"),
    ],
)
def test_what_is_wrong_with_a_sheet_is_named_by_file_and_line(tmp_path, spoil, message):
    responses = dump()
    sheet = written(tmp_path, responses, by=["model"])
    with pytest.raises(AuditError, match=message):
        corrected_shares(responses, "text", spoil(sheet))


def test_texts_that_look_like_formulas_are_harmless_in_the_sheet_and_audited_as_they_were(tmp_path):
    starts = ["=HYPERLINK(1)", "+1", "-1", "@A", "\t", "\r", "'=", "'"]
    responses = pd.DataFrame([{"text": f"{starts[i % 8]} {i}", "truth": 0, "=arm": "-a"} for i in range(40)])
    sheet = written(tmp_path, responses, by=["=arm"])
    cells = pd.read_csv(tmp_path / "sheet.csv", keep_default_na=False, dtype=str)
    assert not [cell for column in cells for cell in (column, *cells[column]) if cell[:1] in {*"=+-@\t\r"}]
    assert sheet["text"].tolist() == [responses["text"][int(row)] for row in sheet["row"]]
    assert corrected_shares(responses, "text", sheet)["=arm"].tolist() == ["-a"]


NESTED = [
    {"choices": [{"message": {"content": text}}], "meta": {"arm": i % 2}}
    for i, text in enumerate(["It may be."] * 4 + ["It is."] * 4)
]


def test_responses_are_read_as_a_scan_reads_them(tmp_path):
    lines = "".join(json.dumps(row) + "\n" for row in NESTED).encode()
    (tmp_path / "dumps" / "inner").mkdir(parents=True)
    (tmp_path / "dumps" / "a.jsonl.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "dumps" / "b.jsonl.zst").write_bytes(pa.Codec("zstd").compress(lines).to_pybytes())
    (tmp_path / "dumps" / "inner" / "c.jsonl").write_bytes(lines)
    (tmp_path / "dumps" / "README.md").write_text("no dump")
    responses = read_responses(tmp_path / "dumps", "choices.0.message.content")
    assert len(responses) == 24
    sheet = audit_sheet(responses, "choices.0.message.content", ["meta.arm"])
    sheet["label"] = [int("may" in text) for text in sheet["text"]]
    write_sheet(sheet, tmp_path / "sheet.csv")
    shares = corrected_shares(responses, "choices.0.message.content", read_sheet(tmp_path / "sheet.csv"))
    assert shares["meta.arm"].tolist() == [0, 1]
    assert shares["corrected"].tolist() == [0.5, 0.5]
    pq.write_table(pa.Table.from_pylist(NESTED), tmp_path / "dump.parquet")
    pd.testing.assert_frame_equal(read_responses(tmp_path / "dump.parquet"), responses[:8])
    (tmp_path / "dump.txt").write_text("It may be.\nIt is.\n")
    assert read_responses(tmp_path / "dump.txt", "text")["text"].tolist() == ["It may be.", "It is."]


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("answer", "line 1: there is no text in the field 'answer'; the fields are choices, meta"),
        ("choices", "line 1: 'choices' holds list, expected a text; name a text in it"),
        ("meta.arm", "line 1: 'meta.arm' holds int, expected a text"),
        ("choices.7.message", "line 1: there is no text in the field 'choices.7.message'"),
        (f"choices.{'9' * 5000}.message", "line 1: there is no text in the field"),
        ("choices.²", "line 1: there is no text in the field"),
        ("choices.0.message.content.x", "line 1: there is no text in the field"),
    ],
)
def test_a_row_without_a_text_is_named_by_file_and_line(tmp_path, field, message):
    (tmp_path / "dump.jsonl").write_text("".join(json.dumps(row) + "\n" for row in NESTED))
    with pytest.raises(AuditError, match=rf"dump\.jsonl, {re.escape(message)}"):
        read_responses(tmp_path / "dump.jsonl", field)


def test_a_folder_without_a_dump_is_no_run_and_named(tmp_path):
    with pytest.raises(AuditError, match="no file in it is a dump"):
        read_responses(tmp_path)


@pytest.fixture(scope="module")
def sheet_file(tmp_path_factory):
    """Responses, the place of a labelled sheet of them, and what is in it."""
    responses, folder = dump(40), tmp_path_factory.mktemp("sheets")
    written(folder, responses, by=["model"], per_stratum=3)
    return responses, folder / "sheet.csv", (folder / "sheet.csv").read_bytes()


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3000),
            st.integers(0, 40),
            st.binary(max_size=6)
            | st.sampled_from([b"\n", b",", b";", b'"', b"\t", b"\r", b"\0", b"1", b"\xff\xfe"]),
        ),
        max_size=4,
    )
)
def test_a_damaged_sheet_is_an_error_or_gives_shares_of_the_right_responses(sheet_file, edits):
    responses, path, content = sheet_file
    for at, length, instead in edits:
        content = content[:at] + instead + content[at + length :]
    path.write_bytes(content)
    try:
        shares = corrected_shares(responses, "text", read_sheet(path))
    except AuditError:
        return
    assert shares["n"].sum() == 40
    assert shares["audited"].max() <= 40


def judged(count=400, seed=0):
    """Responses of two models, whose refusals a rater finds in one of them only."""
    rng = random.Random(seed)
    rows = []
    for i in range(count):
        model, refuses = "ab"[i % 2], rng.random() < 0.3
        found = (refuses and model == "a") or rng.random() < 0.05
        rows.append(
            {
                "model": model,
                "text": f"perhaps it is {i}",
                "judge": {"outcome": "refuse" if found else ["other", "hedge_only", None][i % 3]},
                "truth": int(refuses),
            }
        )
    return pd.DataFrame(rows)


REFUSES = Verdict("judge.outcome", "refuse")


def test_labels_correct_what_a_rater_misses(tmp_path):
    """Of all texts the scanner would flag every one."""
    responses = judged()
    flagged = [judge["outcome"] == "refuse" for judge in responses["judge"]]
    sheet = written(tmp_path, responses, by=["model"], kind=REFUSES, per_stratum=40)
    assert set(sheet["kind"]) == {'{"judge.outcome": "refuse"}'}
    per_model = (
        pd.Series([flagged[int(row)] for row in sheet["row"]]).groupby(sheet["model"].to_numpy()).sum()
    )
    assert per_model["a"] == 40
    shares = corrected_shares(responses, "text", sheet).set_index("model")
    truth = responses.groupby("model")["truth"].mean()
    assert shares["raw"].tolist() == pytest.approx(
        pd.Series(flagged).groupby(responses["model"]).mean().tolist()
    )
    assert shares.loc["b", "raw_high"] < truth["b"]
    for model in "ab":
        assert shares.loc[model, "low"] <= truth[model] <= shares.loc[model, "high"]


def test_the_sheet_of_a_verdict_has_the_columns_of_any_sheet_and_none_of_the_verdict():
    responses = judged()
    sheet = audit_sheet(responses, "text", ["model"], REFUSES)
    assert list(sheet.columns) == list(audit_sheet(responses, "text", ["model"]).columns)
    with pytest.raises(AuditError, match=r"cannot group by 'judge\.outcome': the labels would not be blind"):
        audit_sheet(responses, "text", ["judge.outcome"], REFUSES)


@pytest.mark.parametrize(
    ("value", "of_json"), [("refuse", "refuse"), (True, "true"), (2, "2"), (None, "null"), ("a\n", "a\n")]
)
def test_a_verdict_may_be_any_value_as_json_has_it(tmp_path, value, of_json):
    rows = [{"text": f"{i}", "said": value if i % 3 else "other", "truth": 0} for i in range(12)]
    responses = pd.DataFrame(rows, dtype=object)
    sheet = written(tmp_path, responses, kind=Verdict("said", of_json))
    assert corrected_shares(responses, "text", sheet)["raw"].tolist() == pytest.approx([8 / 12])


def test_a_verdict_that_never_occurs_is_an_error_that_says_what_does():
    responses = judged()
    with pytest.raises(AuditError) as raised:
        audit_sheet(responses, "text", kind=Verdict("judge.outcome", "Refuse"))
    assert str(raised.value).startswith("'judge.outcome' is never 'Refuse'; it is 'other', 'hedge_only', ")
    with pytest.raises(AuditError, match="no field 'stance'; there are model, text, judge, truth"):
        audit_sheet(responses, "text", kind=Verdict("stance", "refuse"))
    with pytest.raises(AuditError) as raised:
        audit_sheet(responses.assign(text="a\n" * 9999), "text", kind=Verdict("text", "b"))
    assert len(str(raised.value)) < 200
    assert "\n" not in str(raised.value)


def test_agreement_is_of_all_raters_and_of_every_pair():
    responses = pd.DataFrame(
        {
            "judge": [{"outcome": value} for value in ("a", "b", "a", "b", None, "a")],
            "ann": ["a", "b ", "a", "a", "b", ""],  # a blank cell of a CSV file is no label
            "bob": ["a", "b", None, "a", "b", float("nan")],
        },
        dtype=object,
    )
    agreed = rater_agreement(responses, ["judge.outcome", "ann", "bob"])
    assert agreed["raters"].tolist() == [
        *(("judge.outcome", "ann", "bob"), ("judge.outcome", "ann")),
        *(("judge.outcome", "bob"), ("ann", "bob")),
    ]
    assert agreed["n"].tolist() == [5, 4, 3, 4]
    assert agreed["same"].tolist() == pytest.approx([4 / 5, 3 / 4, 2 / 3, 1])
    units = [
        tuple(label if label != "-" else None for label in unit)
        for unit in ("aaa", "bbb", "aa-", "baa", "-bb", "a--")
    ]
    assert agreed["alpha"][0] == pytest.approx(agreement(units))
    assert agreed["alpha"][3] == 1
    assert len(rater_agreement(responses, ["ann", "bob"])) == 1


def test_agreement_that_is_not_defined_is_no_number():
    responses = pd.DataFrame(
        {"a": ["x", "x", None], "b": ["x", "x", "y"], "c": [None, None, "y"]}, dtype=object
    )
    agreed = rater_agreement(responses, ["a", "b", "c"])
    assert agreed["n"].tolist() == [3, 2, 0, 1]
    assert agreed["same"].isna().tolist() == [False, False, True, False]
    assert agreed["alpha"].isna().tolist() == [False, True, True, True]


def test_agreement_takes_two_fields_that_are_there():
    responses = pd.DataFrame({"a": ["x"], "b": ["x"]})
    for fields in ([], ["a"], ["a", "a"]):
        with pytest.raises(AuditError, match="two raters or more"):
            rater_agreement(responses, fields)
    with pytest.raises(AuditError, match="no field 'c'; there are a, b"):
        rater_agreement(responses, ["a", "c"])
