import json
from pathlib import Path

import numpy as np
import pytest

from valueattr.measures.statements import (
    FrozenStatements,
    StatementError,
    load_statements,
    statement_rows,
)
from valueattr.model import load_model, load_tokenizer
from valueattr.world import statement

CITIES = Path(__file__).parents[3] / "shared" / "data" / "truth-is-universal"


def test_csv_and_jsonl_read_the_same(tmp_path):
    (tmp_path / "a.csv").write_text('statement,label\n"Rome, a city, is in Italy.",1\nRome is in Spain.,0\n')
    rows = [
        {"statement": "Rome, a city, is in Italy.", "label": True},
        {"statement": "Rome is in Spain.", "label": 0.0},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    one, other = load_statements(tmp_path / "a.csv"), load_statements(tmp_path / "a.jsonl")
    assert one.texts == other.texts == ("Rome, a city, is in Italy.", "Rome is in Spain.")
    assert one.labels.tolist() == [1, 0]
    assert one.digest == other.digest


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"statement,label\nx,1\ny,\n", "line 3: `label` is ''"),
        ("a.csv", b"statement,label\nx,2\n", "line 2: `label` is '2'"),
        ("a.csv", b"text,label\nx,1\n", "line 2: `statement` is None"),
        ("a.csv", b"statement,label\nx,1\ny,1\n", "both true and false"),
        ("a.jsonl", b'{"statement": "x", "label": 1}\n{\n', "line 2: not JSON"),
        ("a.jsonl", b"[1]\n", "line 1: expected a JSON object"),
        ("a.jsonl", b'{"statement": "", "label": 1}\n', "line 1: `statement`"),
        ("a.jsonl", b'{"statement": "x", "label": 1}\n\xff\n', "line 2: not UTF-8"),
        ("a.txt", b"x", "expected a .csv or .jsonl file"),
        ("a.csv", b"statement,label\nx,1\ny,0\nx ,0\n", "line 4: 'x' is labelled False, and True in line 2"),
        (
            "a.jsonl",
            b'{"statement": "\\ud800", "label": 1}\n',
            "line 1: holds '\\ud800', half a character",
        ),
        ("a.jsonl", b'{"statement": ["x"], "label": 1}\n', "line 1: `statement` is ['x']"),
        ("a.jsonl", b'{"statement": "x", "label": {"a": 1}}\n', "line 1: `label` is {'a': 1}"),
    ],
)
def test_broken_files_are_refused_by_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StatementError) as error:
        load_statements(tmp_path / name)
    assert message in str(error.value)
    assert name in str(error.value)
    with pytest.raises(StatementError, match="no such file"):
        load_statements(tmp_path / "nothing.csv")


def test_marks_and_separators_of_other_systems_are_read(tmp_path):
    lines = ["statement,label", "x\u2028y\u0085z,1", "y,0"]
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    assert load_statements(tmp_path / "a.csv").texts == ("x\u2028y\u0085z", "y")


def test_too_few_statements_for_the_folds_are_refused(tmp_path):
    lines = ["statement,label"] + [f"text {i},{i % 2}" for i in range(60)]
    for count in (3, 4, 61):
        (tmp_path / "a.csv").write_text("\n".join(lines[:count]))
        statements = load_statements(tmp_path / "a.csv")
        if count > 60:
            statements.check_folds()
        else:
            with pytest.raises(StatementError, match="too few"):
                statements.check_folds()


def test_statements_that_were_learned_are_told_from_false_ones(world, start, tmp_path):
    facts = [f for f in world.facts if f.exposure == "well_known"][:60]
    rows = []
    for fact in facts:
        relation = world.relation_of(fact)
        other = next(o for o in relation.objects if o != fact.object)
        rows += [
            {"statement": statement(relation.statements[0], fact, value), "label": value == fact.object}
            for value in (fact.object, other)
        ]
    (tmp_path / "s.jsonl").write_text("\n".join(map(json.dumps, rows)))
    statements = load_statements(tmp_path / "s.jsonl")
    model, tokenizer = load_model(start), load_tokenizer(start)
    frozen = FrozenStatements.of(model, tokenizer, statements)
    found = statement_rows(model, tokenizer, frozen)
    by_measure = {}
    for row in found:
        by_measure.setdefault(row["measure"], []).append(row)
    assert len(by_measure["statement/log_p"]) == 120
    assert by_measure["statement/log_p_auroc"][0]["value"] > 0.9
    refit, same = (by_measure[f"statement/{name}_auroc"] for name in ("refit", "frozen"))
    assert [r["value"] for r in refit] == [r["value"] for r in same]  # the model is the start model
    assert {r["layer"] for r in refit} == set(range(5))


def test_the_same_statement_is_always_in_the_same_fold(tmp_path):
    lines = ["statement,label"] + [f"text {i % 10},{i % 2}" for i in range(40)]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    statements = load_statements(tmp_path / "a.csv")
    folds = {}
    for text, fold in zip(statements.texts, statements.fold, strict=True):
        assert folds.setdefault(text, fold) == fold


@pytest.mark.skipif(not CITIES.is_dir(), reason="the statements are not at hand")
def test_a_real_set_is_read():
    statements = load_statements(next(CITIES.rglob("cities.csv")))
    assert len(statements.texts) == 1496
    assert 0.4 < np.mean(statements.labels) < 0.6
