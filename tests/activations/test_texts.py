"""The tables of texts beside the shards, and what users hand in for them."""

import pandas as pd
import pyarrow as pa
import pytest

from tests.activations.conftest import TEXTS, build
from valueattr.activations import ActivationStore, CaptureError, StoreError, _texts, capture

LABELS = {"id": [f"t{i}" for i in range(len(TEXTS))], "label": ["yes", "no", "no"] * 5}


@pytest.fixture
def folder(tmp_path, tokenizer):
    capture(build("llama"), tokenizer, TEXTS, store=tmp_path / "s", table=pa.table(LABELS))
    return tmp_path / "s"


def test_verify_covers_the_texts(folder):
    store = ActivationStore(folder)
    assert store.verify() == (1, ("texts",), ())
    file = folder / "texts-texts.parquet"
    whole = file.read_bytes()
    for at in range(0, len(whole), 97):
        torn = bytearray(whole)
        torn[at] ^= 1 << at % 8
        file.write_bytes(torn)
        for read in (store.verify, store.index, lambda: store.texts("texts")):
            with pytest.raises(StoreError, match=r"texts-texts\.parquet: checksum"):
                read()


@pytest.mark.parametrize("content", [b"", b"PAR1", b"nothing of the kind"])
def test_a_broken_table_is_an_error_with_its_file(folder, tokenizer, content):
    (folder / "texts-texts.parquet").write_bytes(content)
    for checksum in (True, False):
        if not checksum:
            (folder / "texts-texts.parquet.xxh3").unlink()
        with pytest.raises(StoreError, match=r"texts-texts\.parquet"):
            ActivationStore(folder).index()
        with pytest.raises(StoreError, match=r"texts-texts\.parquet"):
            capture(build("llama"), tokenizer, TEXTS, store=folder, table=pa.table(LABELS))


def test_rows_whose_texts_are_lost_do_not_get_other_texts(folder, tokenizer):
    (folder / "texts-texts.parquet").unlink()
    for read in (ActivationStore(folder).index, ActivationStore(folder).verify):
        with pytest.raises(StoreError, match=r"texts-texts\.parquet is missing"):
            read()
    with pytest.raises(StoreError, match=r"texts-texts\.parquet is missing"):
        capture(build("llama"), tokenizer, ["other"] * len(TEXTS), store=folder)
    assert not (folder / "texts-texts.parquet").exists()


def test_a_table_that_is_too_short_for_the_rows_is_an_error(folder):
    _texts.pq.write_table(pa.table({"id": ["a"], "text": ["b"]}), folder / "texts-texts.parquet")
    (folder / "texts-texts.parquet.xxh3").unlink()
    for read in (ActivationStore(folder).index, ActivationStore(folder).verify):
        with pytest.raises(StoreError, match="the table is another one"):
            read()


def test_a_table_without_a_checksum_is_read_and_named(folder):
    (folder / "texts-texts.parquet.xxh3").unlink()
    assert ActivationStore(folder).verify() == (1, (), ("texts",))


def test_a_kill_between_checksum_and_table_leaves_a_table_that_is_right(folder, tokenizer, monkeypatch):
    class StoppedError(Exception):
        pass

    class Stopping:
        def __init__(self, writer):
            self.writer = writer

        def write_beside(self, name, content):
            if name.endswith(".parquet"):
                raise StoppedError
            self.writer.write_beside(name, content)

    write = _texts.write_texts
    monkeypatch.setattr(
        "valueattr.activations._shards.write_texts", lambda writer, *rest: write(Stopping(writer), *rest)
    )
    more = {"id": [*LABELS["id"], "new"], "label": [*LABELS["label"], "no"]}
    with pytest.raises(StoppedError):
        capture(build("llama"), tokenizer, [*TEXTS, "new"], store=folder, table=pa.table(more))
    ActivationStore(folder).verify()
    monkeypatch.undo()
    capture(build("llama"), tokenizer, [*TEXTS, "new"], store=folder, table=pa.table(more)).verify()


def test_a_table_of_pandas_is_a_table(folder, tmp_path, tokenizer):
    frame = pd.DataFrame(LABELS, index=range(100, 100 + len(TEXTS)))
    store = capture(build("llama"), tokenizer, pd.Series(TEXTS), store=tmp_path / "other", table=frame)
    assert store.index() == ActivationStore(folder).index()
    assert capture(build("llama"), tokenizer, TEXTS, store=folder, table=frame).rows == len(TEXTS)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"text": ["x", "y"]}, "a column 'text', which the store has of its own"),
        ({"token": [1, 2]}, "a column 'token', which the store has of its own"),
        ({"capture": ["x", "y"]}, "a column 'capture', which the store has of its own"),
        ({"id": [None, "x"]}, "row 0 of the table has no id"),
        ({"id": [["x"], ["y"]]}, "the ids hold list"),
        ({"mixed": [1, "x"]}, "a column holds values of several kinds"),
    ],
)
def test_columns_named_like_ours_or_that_cannot_be_kept(tokenizer, table, message):
    with pytest.raises(CaptureError, match=message):
        capture(build("llama"), tokenizer, ["the", "was"], table=pd.DataFrame(table))


def test_a_table_without_columns_is_none(tokenizer):
    empty = pa.table({"text": ["the", "was"]}).drop_columns(["text"])
    assert capture(build("llama"), tokenizer, ["the", "was"], table=empty).rows == 2


def test_one_name_for_two_columns_is_an_error(tokenizer):
    table = pa.Table.from_arrays([pa.array([1, 2]), pa.array([3, 4])], names=["label", "label"])
    with pytest.raises(CaptureError, match="two columns are called 'label'"):
        capture(build("llama"), tokenizer, ["the", "was"], table=table)


def test_spans_do_not_replace_other_columns_of_their_name(tokenizer):
    table = pa.table({"start": [7, 7]})
    with pytest.raises(CaptureError, match="a column 'start' with other numbers"):
        capture(build("llama"), tokenizer, ["the", "was"], positions=[(0, 1), (0, 2)], table=table)


def test_columns_of_two_kinds_in_two_captures(folder, tokenizer):
    numbers = pa.table({"label": [[1], [2]]})
    store = capture(build("llama"), tokenizer, ["the", "was"], store=folder, name="b", table=numbers)
    with pytest.raises(StoreError, match="a column of one name and two kinds"):
        store.index()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (7, "text 1 is int, expected a text"),
        ("x\ud800", "text 1 has half of a surrogate pair at character 1"),
    ],
)
def test_what_is_no_text_is_named(tokenizer, text, message):
    with pytest.raises(CaptureError, match=message):
        capture(build("llama"), tokenizer, ["the", text])
