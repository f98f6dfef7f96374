import errno
import json
import subprocess
import sys
import textwrap
from contextlib import suppress

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from valueattr.results import (
    FACTS,
    GENERATIONS,
    MEASURES,
    STEPS,
    DirectoryTakenError,
    RunDirectory,
    RunDirectoryError,
    as_table,
    start_of_seed,
    write_atomically,
)

PLAN = {"experiment": "e1", "arms": {"a0": "start"}}
ROW = {"arm": "a0", "seed": 0, "step": 1, "name": "loss", "value": 0.5}


@pytest.fixture
def run(tmp_path):
    return RunDirectory.create(tmp_path / "run", PLAN, {"preset": "smoke"})


@pytest.mark.parametrize(("starts", "topics"), [(4, 4), (8, 4), (3, 3)])
def test_seeds_take_start_models_in_turn_and_none_keeps_its_topic(starts, topics):
    """The sensitive topic is the seed's number counted round."""
    found = [start_of_seed(seed, starts) for seed in range(starts * starts)]
    assert found[:starts] == list(range(starts))
    assert {found.count(start) for start in range(starts)} == {starts}
    for start in range(starts):
        assert len({seed % topics for seed, own in enumerate(found) if own == start}) == topics
    assert [start_of_seed(seed, 1) for seed in range(5)] == [0] * 5


def test_the_same_plan_reopens_and_another_is_refused(run):
    assert RunDirectory.create(run.path, PLAN, {}).plan == PLAN
    with pytest.raises(RunDirectoryError, match="holds a run of another plan"):
        RunDirectory.create(run.path, {**PLAN, "alpha": 0.1}, {})


def test_a_plan_that_was_changed_after_sealing_is_seen(run):
    assert run.plan_is_intact
    sealed = json.loads((run.path / "plan.json").read_text())
    sealed["plan"]["arms"]["a0"] = "another"
    (run.path / "plan.json").write_text(json.dumps(sealed))
    assert not RunDirectory(run.path).plan_is_intact


def test_the_hash_of_a_plan_is_of_the_plan_that_is_there(run):
    sealed = run.plan_hash
    file = json.loads((run.path / "plan.json").read_text())
    file["plan"]["arms"]["a0"] = "another"
    (run.path / "plan.json").write_text(json.dumps(file))
    assert run.plan_hash != run.sealed_hash == sealed
    for plan in (PLAN, file["plan"]):  # neither what was sealed nor what it was changed to goes on
        with pytest.raises(DirectoryTakenError, match=r"plan\.json was changed after it was sealed"):
            RunDirectory.create(run.path, plan, {})


@pytest.mark.parametrize("out", ["/dev/null", "/dev/null/run", "/proc/run", "file", f"{'long' * 100}/run"])
def test_a_place_where_no_directory_can_be_is_named(tmp_path, out):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunDirectoryError) as error:
        RunDirectory.create(tmp_path / out, PLAN, {})
    assert out in str(error.value)
    assert (tmp_path / "file").read_text() == "mine"


NO_JSON = [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'"text"', b"[]", b"null"]


@pytest.mark.parametrize(
    ("name", "way_on", "hostile"),
    [
        (
            "plan.json",
            "put the sealed file back",
            [b"{}", b'{"plan": {}}', b'{"plan": [], "sha256": ""}', b'{"plan": {}, "sha256": 1}'],
        ),
        (
            "config.json",
            "write the seeds",
            [b'{"started_with_seeds": "all"}', b'{"started_with_seeds": [[]]}'],
        ),
        (
            "environment.json",
            "remove it and run the experiment again",
            [b"{}", b'{"timing": {"arms": "long"}}'],
        ),
        (
            "start_model.json",
            "remove it and run the experiment again",
            [b"{}", b'{"path": "", "sha256": null}'],
        ),
    ],
)
def test_damaged_json_of_a_run_is_named_with_the_way_on(run, name, way_on, hostile):
    read = {
        "plan.json": lambda: (run.plan, run.plan_hash, run.sealed_hash),
        "config.json": lambda: run.config,
        "environment.json": lambda: run.environment,
        "start_model.json": lambda: run.start_model,
    }[name]
    for content in NO_JSON + hostile:
        (run.path / name).write_bytes(content)
        with pytest.raises(RunDirectoryError) as error:
            read()
        assert str(run.path / name) in str(error.value), content
        assert way_on in str(error.value), content


def test_a_plan_that_is_nested_too_deeply_to_be_hashed_is_damaged(run):
    for depth in (500, 900, 2000, 5000):
        nested = '{"a": ' * depth + "1" + "}" * depth
        (run.path / "plan.json").write_text(f'{{"plan": {nested}, "sha256": ""}}')
        with suppress(RunDirectoryError):
            assert len(run.plan_hash) == 64


def broken_tables(table):
    """Ways in which a Parquet file of steps is not what was written."""
    text = pa.array([str(value) for value in table["value"].to_pylist()])
    return {
        "the column 'value' is missing": table.drop_columns(["value"]),
        "the column 'value' holds string": table.set_column(4, "value", text),
        "the column 'step' holds list": table.set_column(2, "step", pa.array([[1]])),
        "the column 'arm' holds int64": table.set_column(0, "arm", pa.array([1])),
        "damaged (Float value 0.500000 was truncated": table.set_column(2, "step", pa.array([0.5])),
    }


def test_damaged_tables_are_named_with_the_way_on(run):
    tables = {name: as_table(STEPS, [ROW]) for name in ("steps",)}
    run.write_part("a0-s0", tables)
    run.assemble(["a0-s0"])
    top, part = run.path / "steps.parquet", run.path / "parts" / "a0-s0" / "steps.parquet"
    whole = part.read_bytes()
    hostile = {"damaged (": [b"", b"PAR1", whole[:-9], whole[: len(whole) // 2], b"x" * len(whole)]}
    contents = [(message, content) for message, each in hostile.items() for content in each]
    for message, table in broken_tables(pq.read_table(part)).items():
        pq.write_table(table, run.path / "broken")
        contents.append((message, (run.path / "broken").read_bytes()))
    for message, content in contents:
        top.write_bytes(content)
        with pytest.raises(RunDirectoryError, match="run the experiment again, which puts") as error:
            run.table("steps")
        assert f"{top} is " in str(error.value)
        assert message in str(error.value)
        part.write_bytes(content)
        with pytest.raises(RunDirectoryError, match="makes this arm anew") as error:
            run.assemble(["a0-s0"])
        assert f"{part} is " in str(error.value)
        assert f"remove {part.parent}" in str(error.value)
    part.unlink()
    with pytest.raises(RunDirectoryError, match=r"steps\.parquet is missing: remove .*a0-s0"):
        run.check_part("a0-s0", ["steps"])


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_a_changed_byte_of_a_table_is_an_error_and_never_another_number(run, data):
    rows = [{**ROW, "step": step, "value": step / 7} for step in range(50)]
    run.write_table("steps", as_table(STEPS, rows))
    path = run.path / "steps.parquet"
    content = bytearray(path.read_bytes())
    expected = run.table("steps")
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with suppress(RunDirectoryError):
        pd.testing.assert_frame_equal(run.table("steps"), expected, check_exact=True)


def test_what_a_killed_writer_left_is_no_part_and_no_seed(run):
    run.write_part("a0-s0", {"steps": as_table(STEPS, [ROW])})
    for name in (".writing-a0-s1-abc", ".writing-s2", "notes", "a0-sx"):
        (run.path / "parts" / name).mkdir()
    assert run.seeds == [0]


def test_a_folder_with_other_files_is_not_touched(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunDirectoryError, match="is not empty"):
        RunDirectory.create(tmp_path, PLAN, {})
    with pytest.raises(RunDirectoryError, match="is not a run directory"):
        RunDirectory(tmp_path)


def test_one_writer(run):
    with run.locked(), pytest.raises(RunDirectoryError, match="another process"), run.locked():
        pass
    with run.locked():
        pass


def test_parts_are_assembled_in_the_order_asked_for(run):
    for arm in ("b", "a"):
        run.write_part(f"{arm}-s0", {"steps": as_table(STEPS, [{**ROW, "arm": arm}])})
    run.assemble(["a-s0", "b-s0"])
    assert run.table("steps")["arm"].tolist() == ["a", "b"]
    assert run.has_part("a-s0")
    assert not run.has_part("c-s0")
    assert run.seeds == [0]
    assert pq.read_schema(run.path / "measures.parquet").names == MEASURES.names


def test_a_table_that_is_not_there_yet_says_so(run):
    with pytest.raises(RunDirectoryError, match=r"has no measures\.parquet yet"):
        run.table("measures")
    with pytest.raises(RunDirectoryError, match=r"has no environment\.json yet"):
        _ = run.environment
    (run.path / "environment.json").write_text("{")
    with pytest.raises(RunDirectoryError, match="not readable as JSON"):
        _ = run.environment


def renamed_on_disk(path, names):
    table = pq.read_table(path)
    pq.write_table(table.rename_columns([names.get(name, name) for name in table.column_names]), path)


def test_tables_of_earlier_versions_are_read_under_the_names_of_today(run):
    rows = {
        "facts": (FACTS, {"seed": 0, "fact": "f", "topic": "people"}),
        "generations": (GENERATIONS, {"arm": "a0", "seed": 0, "wording": "asked-1"}),
        "measures": (MEASURES, {"arm": "a0", "seed": 0, "wording": "statement-0", "value": 1.5}),
    }
    run.write_part("a0-s0", {name: as_table(schema, [row]) for name, (schema, row) in rows.items()})
    run.assemble(["a0-s0"])
    of_today = {name: run.table(name) for name in rows}
    for name in rows:
        for folder in (run.path, run.path / "parts" / "a0-s0"):
            renamed_on_disk(folder / f"{name}.parquet", {"topic": "kind", "wording": "paraphrase"})
        pd.testing.assert_frame_equal(run.table(name), of_today[name])
    assert of_today["facts"]["topic"].tolist() == ["people"]
    assert of_today["measures"]["wording"].tolist() == ["statement-0"]
    run.assemble(["a0-s0"])
    assert pq.read_schema(run.path / "measures.parquet").names == MEASURES.names
    pd.testing.assert_frame_equal(run.table("generations"), of_today["generations"])


def test_unknown_columns_are_an_error():
    with pytest.raises(KeyError, match="colour"):
        as_table(STEPS, [{**ROW, "colour": "red"}])


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_named_and_leaves_nothing(run, monkeypatch):
    before = sorted(run.path.rglob("*"))
    monkeypatch.setattr(pq, "write_table", full_disk)
    with pytest.raises(RunDirectoryError, match="no space left on the disk"):
        run.write_part("a-s0", {"steps": as_table(STEPS, [ROW])})
    with pytest.raises(RunDirectoryError, match="no space left on the disk"):
        run.write_table("steps", as_table(STEPS, [ROW]))
    (run.path / "parts").rmdir()
    assert sorted(run.path.rglob("*")) == before


def test_a_disk_that_really_fills_leaves_the_old_file(tmp_path):
    """A file-size limit stands in for the disk: the write fails in the middle."""
    code = textwrap.dedent(
        """
        import resource, signal, sys
        from pathlib import Path
        from valueattr.results import RunDirectoryError, write_atomically
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        target = Path(sys.argv[1])
        write_atomically(target, lambda p: p.write_text("old"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            write_atomically(target, lambda p: p.write_text("new" * 1000))
        except RunDirectoryError as error:
            sys.exit(0 if "no space left on the disk" in str(error) else 1)
        sys.exit(1)
        """
    )
    target = tmp_path / "table"
    assert subprocess.run([sys.executable, "-c", code, target], check=False).returncode == 0
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table"]


def test_other_errors_of_the_disk_pass_through(tmp_path):
    def broken(path):
        raise OSError(errno.EIO, "broken")

    with pytest.raises(OSError, match="broken"):
        write_atomically(tmp_path / "x", broken)
    assert not list(tmp_path.iterdir())
