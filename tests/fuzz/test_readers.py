# ruff: noqa: PT017  # an error is one of two right ends
"""Damaged files are read as what they say, or refused by an error of ours that names them.

`make fuzz` runs each of these for minutes; a run of all tests looks at a few examples.
"""

import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from hypothesis import example, given
from hypothesis import strategies as st

from tests.report.conftest import finished_run
from valueattr.hedging import HedgeScanner
from valueattr.hedging.audit import AuditError, audit_sheet, corrected_shares, read_responses, read_sheet
from valueattr.hedging.audit import write_sheet as write
from valueattr.hedging.dumps import DumpError, scan_dump
from valueattr.measures.statements import StatementError, load_statements
from valueattr.questions import PromptFormat, TooFewQuestionsError, assign_splits
from valueattr.report import headline, write_report
from valueattr.results import RunDirectory, RunDirectoryError
from valueattr.tables import TableError, read_texts
from valueattr.world import World, WorldError, load_world, synthesise

from .mutations import damaged, edits

TEXTS = [
    "Perhaps it is copper.",
    "I'm not sure, but it may be.",
    "",
    "Ja, č; \u2028 “perhaps”",
    "It is.\nIt may be.",
]
SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".txt", ".parquet", ".arrow")


@cache
def scanner():
    return HedgeScanner(threads=1)


@cache
def dump(suffix):
    """A dump of TEXTS in a format, as bytes."""
    rows = [{"id": i, "text": text, "meta": {"text": "x", "n": [i, None]}} for i, text in enumerate(TEXTS)]
    table, sink = pa.table({"id": range(len(TEXTS)), "text": TEXTS}), pa.BufferOutputStream()
    match suffix:
        case ".jsonl":
            return "".join(json.dumps(row) + "\n" for row in rows).encode()
        case ".json":
            return json.dumps(rows).encode()
        case ".csv" | ".tsv":
            options = pyarrow.csv.WriteOptions(delimiter="," if suffix == ".csv" else "\t")
            pyarrow.csv.write_csv(table, sink, options)
        case ".txt":
            return "\n".join(text.replace("\n", " ") for text in TEXTS).encode()
        case ".parquet":
            pq.write_table(table, sink)
        case ".arrow":
            with pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
    return sink.getvalue().to_pybytes()


@given(st.sampled_from(SUFFIXES), edits, st.booleans())
@example(".txt", [(0.0, 0, b"\r"), (0.5, 9, b"\n")], False)  # a place in a line counted from its first letter
@example(".txt", [(0.0, 60, b"\n"), (0.0, 0, b"\t")], False)  # a blank line is no text
@example(".arrow", [(0.95703125, 1, b"\x80")], False)  # the name of a column is not UTF-8
def test_scan(suffix, edited, skip):
    """What two readers take for texts they take for the same ones; each row is counted or left out."""
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder, f"dump{suffix}"), Path(folder, "out.parquet")
        content = damaged(dump(suffix), edited)
        path.write_bytes(content)
        try:
            summary = scan_dump(
                [path], field="text", scanner=scanner(), out=out, on_error="skip" if skip else "fail"
            )
        except DumpError as error:
            assert path.name in str(error)
            assert not out.exists()
            return
        finally:
            assert path.read_bytes() == content
        counts = pq.read_table(out)
        assert counts.num_rows == summary.documents
        assert skip or not summary.skipped
        try:
            texts, _ = read_texts(path, "text")
        except TableError as error:
            assert path.name in str(error)
            return
        if not summary.skipped:
            expected = pa.Table.from_batches([scanner().scan(texts)])
            assert counts.select(expected.column_names).to_pydict() == expected.to_pydict()


@cache
def sheet():
    """Responses and a labelled sheet of them, as bytes."""
    rows = [
        {"text": TEXTS[i % 2] + f" {i}" if i % 3 else f"It is {i}.", "model": "ab"[i % 2]} for i in range(40)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "dump.jsonl")
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        responses = read_responses(path, "text")
        drawn = audit_sheet(responses, "text", by=["model"], per_stratum=3)
        drawn["label"] = ["1" if i % 2 else "0" for i in range(len(drawn))]
        write(drawn, Path(folder, "sheet.csv"))
        return responses, Path(folder, "sheet.csv").read_bytes()


@given(edits, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]), st.sampled_from(",;\t"))
def test_audit_import(edited, encoding, separator):
    """A damaged sheet gives shares of all responses, from no more labels than it has, or an error that names it."""
    responses, content = sheet()
    text = content.decode("utf-8-sig").replace(",", separator)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sheet.csv")
        path.write_bytes(damaged(text.encode(encoding, errors="replace"), edited))
        try:
            shares = corrected_shares(responses, "text", read_sheet(path))
        except AuditError as error:
            assert "sheet" in str(error)
            return
    assert shares["n"].sum() == len(responses)
    assert shares["audited"].sum() <= content.count(b"\n") - 1
    assert ((shares["low"] <= shares["corrected"]) & (shares["corrected"] <= shares["high"])).all()


@cache
def world_file():
    """A small world, as bytes."""
    every = synthesise(0)
    topics, facts = {}, []
    for fact in every.facts:
        if fact.relation == "emblem" and topics.setdefault((fact.topic, fact.exposure), 0) < 2:
            topics[fact.topic, fact.exposure] += 1
            facts.append(fact)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "world.jsonl")
        World({"emblem": every.relations["emblem"]}, tuple(facts)).save(path)
        return path.read_bytes()


def read_world(folder, edited):
    """A world of a damaged file; None where it was refused."""
    return read_facts(Path(folder, "world.jsonl"), damaged(world_file(), edited))


def read_facts(path, content):
    """The world of a file of these bytes; None where it was refused."""
    path.write_bytes(content)
    try:
        return load_world(path)
    except WorldError as error:
        assert str(error).startswith(str(path))
        return None


def check_holds_together(world, folder):
    """A world that was read is the same after it was saved, and holds each fact once."""
    again = Path(folder, "again.jsonl")
    world.save(again)
    assert World.load(again) == world
    assert World.load(again).fingerprint() == world.fingerprint()
    assert len({(fact.subject, fact.relation) for fact in world.facts}) == len(world.facts)
    assert len({fact.id for fact in world.facts}) == len(world.facts)
    assert len(world.questions) == len(world.facts)
    for question in world.questions:
        assert question.wordings
        assert question.held_out_wordings
        assert question.statements


@given(edits)
def test_worlds(edited):
    """A world of a damaged file holds together."""
    with tempfile.TemporaryDirectory() as folder:
        if (world := read_world(folder, edited)) is not None:
            check_holds_together(world, folder)


FACTS = """\
subject,relation,object,template,question,topic,id
Nord,capital,Kiel,The capital of {s} is {o},What is the capital of {s}?,places,
Süd,capital,"München",The government of {s} sits in {o},,places,f2
West,river,Rhein,{o} is the water of {s}.,,,
Süd,river,Donau,,Which river runs through {s},,
the Velmar people,emblem,bear,,,people,
the Torvil people,emblem,owl,,,people,
"""


@given(edits, st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]), st.sampled_from(",;\t"))
def test_sheets_of_facts(edited, encoding, separator):
    """A world of a damaged sheet holds together."""
    content = FACTS.replace(",", separator).encode(encoding)
    with tempfile.TemporaryDirectory() as folder:
        world = read_facts(Path(folder, "facts.csv"), damaged(content, edited))
        if world is not None:
            check_holds_together(world, folder)


PLACES = {"Nord": "Kiel", "S\\u00fcd": "München", "West-{s}": "Rhein", "Ost": "Zürich"}
SINGERS = ("sings", "hums", "whistles", "always ends the song", "likes the song")
LRE = json.dumps(
    {
        "prompt_templates": [f"{{}} {said}" for said in SINGERS],
        "prompt_templates_zs": ["Which song does {} sing? They sing"],
        "properties": {"range_name": "song"},
        "samples": [{"subject": subject, "object": value} for subject, value in PLACES.items()],
    },
    ensure_ascii=False,
).encode()
PARAREL = {
    "trex_lms_vocab": [{"sub_label": subject, "obj_label": value} for subject, value in PLACES.items()],
    "patterns": [{"pattern": f"[X] {said} [Y] ."} for said in (*SINGERS, "and")],
}


@given(edits, st.sampled_from(["song", "country_currency"]))
def test_lre(edited, name):
    """A world of a damaged file of LRE holds together."""
    with tempfile.TemporaryDirectory() as folder:
        world = read_facts(Path(folder, f"{name}.json"), damaged(LRE, edited))
        if world is not None:
            check_holds_together(world, folder)


@given(edits, edits, st.sampled_from(["P9999", "P127"]))
def test_pararel(edited_facts, edited_patterns, name):
    """A world of a damaged folder of ParaRel holds together."""
    with tempfile.TemporaryDirectory() as folder:
        for (of, rows), edited in zip(PARAREL.items(), (edited_facts, edited_patterns), strict=True):
            Path(folder, of).mkdir()
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
            Path(folder, of, f"{name}.jsonl").write_bytes(damaged(lines, edited))
        try:
            world = load_world(folder)
        except WorldError as error:
            assert str(error).startswith(folder)
            return
        check_holds_together(world, folder)


STATEMENTS = "".join(
    json.dumps({"statement": f"The emblem of {i} is the {'bear' if i % 2 else 'owl'}.", "label": bool(i % 2)})
    + "\n"
    for i in range(12)
).encode()


@given(edits, edits)
@example([(0.25, 0, b"'")], [])  # a world that is too small to be split
def test_questions(edited_world, edited_statements):
    """Questions of a damaged world hold their answer among the choices, each in one split; statements have a label."""
    with tempfile.TemporaryDirectory() as folder:
        world = read_world(folder, edited_world)
        if world is not None:
            for question in world.questions:
                assert question.answer in question.choices
                assert question.expected in question.choices
                for wording in (*question.wordings, *question.held_out_wordings):
                    assert wording in PromptFormat().turn(wording)
            try:
                splits = assign_splits(world.questions, 0, 2)
            except TooFewQuestionsError:
                splits = {}  # what is left of the world does not fill them
            assigned = [question.id for split in splits for question in splits[split]]
            assert set(assigned) <= {question.id for question in world.questions}
        path = Path(folder, "statements.jsonl")
        path.write_bytes(damaged(STATEMENTS, edited_statements))
        try:
            statements = load_statements(path)
        except StatementError as error:
            assert str(error).startswith(str(path))
            return
        assert set(statements.labels.tolist()) <= {0, 1}
        assert len(statements.texts) == len(statements.labels)


@cache
def finished():
    """A run directory that no test changes."""
    folder = Path(tempfile.mkdtemp(prefix="fuzzed-run-"))
    run = finished_run(folder / "run")
    write_report(run)
    return (
        run.path,
        headline(run),
        {name: run.table(name) for name in ("facts", "measures", "generations", "steps")},
    )


FILES = (
    *("plan.json", "environment.json", "start_model.json", "facts.parquet", "measures.parquet"),
    *("generations.parquet", "steps.parquet", "summary.parquet"),
)


@given(st.sampled_from(FILES), edits, st.integers(0, 19))
def test_run_directories(name, edited, number):
    """A damaged run is refused by an error that names the file, or its tables are as they were."""
    whole, said, tables = finished()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run")
        shutil.copytree(whole, path)
        (path / name).write_bytes(damaged((path / name).read_bytes(), edited))
        try:
            run = RunDirectory(path)
            if number == 0:  # since a page takes a second
                write_report(run)
            now = headline(run)
            read = {table: run.table(table) for table in tables}
        except RunDirectoryError as error:
            assert name in str(error)
            return
        for table in tables:
            assert read[table].equals(tables[table])
        assert now == said or name == "plan.json"
