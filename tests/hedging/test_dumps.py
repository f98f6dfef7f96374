import gzip
import json
import os
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from valueattr.cli import app
from valueattr.hedging import HedgeScanner
from valueattr.hedging.dumps import DumpError, scan_dump

TEXTS = [
    "Perhaps it was the wind.",
    "It was copper.",
    'I don’t know. "Perhaps."\n\nI cannot answer that.',
    "",
    "Ünïcode — it may be; 中 perhaps 🙂",
    "It may well rain. " * 50,
]


@pytest.fixture(scope="module")
def scanner():
    return HedgeScanner()


def zstd(path, data):
    with pa.CompressedOutputStream(str(path), "zstd") as stream:
        stream.write(data)


def write(folder, name, texts=TEXTS):
    """A dump of `texts` in the field `text`, of the format that its name says."""
    path = folder / name
    table = pa.table({"id": range(len(texts)), "text": texts})
    lines = "".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(texts)).encode()
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(lines))
    elif name.endswith(".zst"):
        zstd(path, lines)
    elif name.endswith(".parquet"):
        pq.write_table(table, path, row_group_size=2)
    elif name == "file.arrow":
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    elif name == "stream.arrow":
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    else:
        path.write_bytes(lines)
    return path


VALUEATTR = [sys.executable, "-c", "from valueattr.cli import app; app()"]
FORMATS = ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet", "file.arrow", "stream.arrow"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_what_is_given_in_memory(name, scanner, tmp_path):
    path = write(tmp_path, name)
    summary = scan_dump([path], field="text", out=tmp_path / "out", spans=True)
    counts = pq.read_table(tmp_path / "out" / "counts.parquet")
    spans = pq.read_table(tmp_path / "out" / "spans.parquet")
    assert counts.column("source").to_pylist() == [str(path)] * len(TEXTS)
    assert counts.column("row").to_pylist() == list(range(len(TEXTS)))
    assert counts.drop_columns(["source", "row"]).to_pylist() == scanner.scan(TEXTS).to_pylist()
    assert spans.drop_columns(["source"]).to_pylist() == scanner.spans(TEXTS).to_pylist()
    assert summary.documents == len(TEXTS)
    assert summary.kinds["epistemic"] == sum(counts.column("epistemic").to_pylist())
    assert summary.with_kind["epistemic"] == sum(n > 0 for n in counts.column("epistemic").to_pylist())
    assert not list(tmp_path.glob("*.partial"))


def test_a_folder_of_mixed_formats_is_scanned_in_order_of_name(tmp_path):
    for name in FORMATS:
        write(tmp_path, name)
    (tmp_path / "notes.md").write_text("Perhaps.")
    out = tmp_path.with_suffix(".parquet")
    summary = scan_dump([tmp_path], field="text", out=out)
    sources = pq.read_table(out).column("source").to_pylist()
    assert sources == sorted(sources)
    assert summary.documents == len(FORMATS) * len(TEXTS) == len(sources)


def test_lines_of_text(scanner, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("Perhaps.\n\n  It is late. \r\nIt may be", "utf-8")
    scan_dump([path], out=tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.column("row").to_pylist() == [0, 2, 3]
    assert found.column("epistemic").to_pylist() == [1, 0, 1]


NESTED = [{"choices": [{"message": {"content": text}}], "n": 1.5e300} for text in TEXTS]
CHATS = [
    [
        {"role": "user", "content": "Perhaps?"},
        {"role": "assistant", "content": text},
        {"role": "assistant", "content": "I think"},
    ]
    for text in TEXTS
]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_nested_fields_and_chats(suffix, scanner, tmp_path):
    rows = [{**nested, "chat": chat} for nested, chat in zip(NESTED, CHATS, strict=True)]
    path = tmp_path / f"a.{suffix}"
    if suffix == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    nested = scan_dump([path], field="choices.0.message.content")
    assert nested.kinds == scan_dump([write(tmp_path, "b.jsonl")], field="text").kinds
    said = ["\n\n".join(part for part in (text, "I think") if part) for text in TEXTS]
    chats = scan_dump([path], field="chat", chat=True)
    assert chats.kinds["epistemic"] == sum(scanner.scan(said).column("epistemic").to_pylist())


BAD = {
    b'{"other": "Perhaps."}': "there is no such field",
    b'{"text": null}': "found null",
    b'{"text": 3}': "found a number",
    b'{"text": true}': "found a boolean",
    b'{"text": {"a": 1}}': "found an object",
    b'{"text": ["Perhaps."]}': "lists of chat messages",
    b'{"text": "Perhaps."': "no JSON",
    b'{"text": "Perhaps."} x': "no JSON",
    b'["text", "Perhaps."]': "there is no such field",
    b"Perhaps.": "no JSON",
    b'{"text": "Perhaps \xff."}': "no JSON",
    b'{"text": "Perhaps \\ud800."}': "no JSON",
    b'{"text": "Perhaps \x01."}': "no JSON",
}


@pytest.mark.parametrize("line", BAD)
def test_bad_lines_are_named_or_counted_and_hide_nothing(line, tmp_path):
    good = json.dumps({"text": "Perhaps."}).encode()
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join([good, b"", line, good]))
    with pytest.raises(DumpError) as error:
        scan_dump([path], field="text", out=tmp_path / "out.parquet")
    assert f"{path}: line 3: " in str(error.value)
    assert BAD[line] in str(error.value)
    assert list(tmp_path.iterdir()) == [path]
    summary = scan_dump([path], field="text", on_error="skip", out=tmp_path / "out.parquet")
    assert (summary.documents, summary.skipped, summary.kinds["epistemic"]) == (2, 1, 2)
    assert pq.read_table(tmp_path / "out.parquet").column("row").to_pylist() == [0, 3]


def test_null_texts_of_a_table_are_named_or_counted(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["Perhaps.", None, "It may be."]}), path)
    with pytest.raises(DumpError, match="row 1: text: expected a text, found null"):
        scan_dump([path], field="text")
    summary = scan_dump([path], field="text", on_error="skip", out=tmp_path / "out.parquet")
    assert (summary.documents, summary.skipped) == (2, 1)
    assert pq.read_table(tmp_path / "out.parquet").column("row").to_pylist() == [0, 2]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.parquet", "file.arrow", "stream.arrow"])
def test_a_file_that_was_cut_off_is_an_error(name, tmp_path):
    path = write(tmp_path, name, [f"Perhaps {i}." for i in range(20_000)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(DumpError, match="cannot be read to its end"):
        scan_dump([path], field="text", on_error="skip", out=tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == [path]


def test_several_compressed_members_are_one_dump(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    line = json.dumps({"text": "Perhaps."}).encode() + b"\n"
    path.write_bytes(gzip.compress(line) + gzip.compress(line))
    assert scan_dump([path], field="text").documents == 2


@pytest.mark.parametrize("content", [b"", b"\n\n"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.txt"])
def test_an_empty_file_holds_no_texts(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    summary = scan_dump([tmp_path / name], field="text", out=tmp_path / "out.parquet")
    assert summary.documents == 0
    assert len(pq.read_table(tmp_path / "out.parquet")) == 0


def test_inputs_that_are_none(tmp_path):
    (tmp_path / "a.csv").write_text("text")
    for path, message in [
        (tmp_path / "none.jsonl", "no such file"),
        (tmp_path / "a.csv", "no known format"),
        (tmp_path, "no file in it is a dump"),
    ]:
        with pytest.raises(DumpError, match=message):
            scan_dump([path], field="text")
    path = write(tmp_path, "a.parquet")
    with pytest.raises(DumpError, match="no column 'answer'; it has id, text"):
        scan_dump([path], field="answer")
    with pytest.raises(DumpError, match="expected texts, found int64"):
        scan_dump([path], field="id")


def test_output_is_not_overwritten(tmp_path):
    out = tmp_path / "out.parquet"
    out.write_text("mine")
    with pytest.raises(FileExistsError):
        scan_dump([write(tmp_path, "a.jsonl")], field="text", out=out)
    assert out.read_text() == "mine"


def test_a_line_of_many_megabytes(tmp_path):
    path = tmp_path / "a.jsonl"
    with path.open("w") as file:
        file.write(json.dumps({"text": "It may well be late. " * 1_500_000}) + "\n")
        file.write(json.dumps({"text": "Perhaps."}) + "\n")
    summary = scan_dump([path], field="text")
    assert (summary.documents, summary.kinds["epistemic"]) == (2, 1_500_001)


@pytest.mark.slow
def test_a_line_over_the_limit_is_counted_and_what_follows_is_scanned(tmp_path):
    path = tmp_path / "a.jsonl"
    with path.open("w") as file:
        file.write(json.dumps({"text": "Perhaps."}) + "\n")
        file.write('{"text": "' + "x" * (270 << 20) + '"}\n')
        file.write(json.dumps({"text": "Perhaps."}) + "\n")
    summary = scan_dump([path], field="text", on_error="skip", out=tmp_path / "out.parquet")
    assert (summary.documents, summary.skipped) == (2, 1)
    assert "longer than 256 MiB" in summary.listed[0]
    assert pq.read_table(tmp_path / "out.parquet").column("row").to_pylist() == [0, 2]


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.sampled_from(["text", "b", "ä", ""]), values), max_size=12), st.booleans())
@settings(max_examples=300, deadline=None)
def test_lines_are_read_as_python_reads_them(tmp_path_factory, rows, ascii_only):
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    lines = [json.dumps(row, ensure_ascii=ascii_only).replace("\n", " ") for row in rows]
    encodable = [line for line in lines if not any("\ud800" <= c <= "\udfff" for c in line)]
    path.write_text("\n".join(encodable), "utf-8")
    summary = scan_dump([path], field="text", on_error="skip", out=path.with_suffix(".parquet"))
    read = [(i, json.loads(line).get("text")) for i, line in enumerate(encodable)]
    texts = [(i, text) for i, text in read if isinstance(text, str)]
    found = pq.read_table(path.with_suffix(".parquet"))
    assert found.column("row").to_pylist() == [i for i, _ in texts]
    expected = HedgeScanner().scan([text for _, text in texts]).column("words").to_pylist()
    assert found.column("words").to_pylist() == expected
    assert summary.skipped == len(encodable) - len(texts)


def test_threads_and_chunks_do_not_change_the_result(tmp_path):
    texts = [f"It may be {i}. " * (1 + i % 40) for i in range(20_000)]
    path = write(tmp_path, "a.jsonl", texts)
    assert path.stat().st_size > 4 << 20
    tables = []
    for threads in (1, 2, 3):
        out = tmp_path / f"{threads}.parquet"
        scan_dump([path], field="text", scanner=HedgeScanner(threads=threads), out=out)
        tables.append(pq.read_table(out))
    assert tables[0] == tables[1] == tables[2]
    in_memory = HedgeScanner().scan(texts).to_pylist()
    assert tables[0].drop_columns(["source", "row"]).to_pylist() == in_memory


def test_standard_input_and_the_command_line(tmp_path):
    path = write(tmp_path, "a.jsonl.zst")
    command = [*VALUEATTR, "scan", "-", "--field", "text", "--json"]
    with path.open("rb") as stdin:
        done = subprocess.run(command, stdin=stdin, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["documents"] == len(TEXTS)


def test_a_killed_scan_leaves_nothing_that_looks_complete(tmp_path):
    path = tmp_path / "pipe.jsonl"
    os.mkfifo(path)
    out = tmp_path / "out.parquet"
    command = [*VALUEATTR, "scan", str(path), "--field", "text", "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    with path.open("w") as pipe:
        pipe.write((json.dumps({"text": "Perhaps."}) + "\n") * 200_000)
        pipe.flush()
        partial = out.with_name("out.parquet.partial")
        deadline = time.monotonic() + 60
        while not partial.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert partial.exists()
        assert not out.exists()
    summary = scan_dump([write(tmp_path, "a.jsonl")], field="text", out=out)
    assert summary.documents == len(TEXTS)
    assert not partial.exists()


def test_commands(tmp_path):
    runner = CliRunner()
    path = write(tmp_path, "a.jsonl")
    done = runner.invoke(app, ["scan", str(path), "--field", "text"])
    assert done.exit_code == 0
    assert "6 texts" in done.output
    for arguments, message in [
        (["scan", str(path)], "line 1: response: there is no such field"),
        (["scan", str(path), "--spans"], "--spans needs --out"),
        (["scan", str(tmp_path / "none.jsonl")], "no such file"),
        (["scan", str(path), "--lexicon", str(path)], "line 1"),
    ]:
        done = runner.invoke(app, arguments)
        assert done.exit_code != 0
        assert message in done.stderr
    done = runner.invoke(app, ["lexicon", "explain", "I do not think it may rain in May."])
    assert "no: the word before it" in done.output
    assert runner.invoke(app, ["lexicon", "check"]).exit_code == 0
    assert "perhaps" in runner.invoke(app, ["lexicon", "list", "--kind", "epistemic"]).output
    own = tmp_path / "own.toml"
    own.write_text('[[entry]]\nkind = "caveat"\npattern = "note that"\nexample = "Nothing here."\n')
    done = runner.invoke(app, ["lexicon", "check", str(own)])
    assert done.exit_code == 1
    assert "line 3" in done.stderr


def test_datasets_map(scanner):
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_dict({"text": TEXTS})
    mapped = dataset.map(lambda batch: scanner.scan(batch["text"]).to_pydict(), batched=True, batch_size=4)
    assert mapped["epistemic"][:] == scanner.scan(TEXTS).column("epistemic").to_pylist()
