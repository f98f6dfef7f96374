import errno
import json
import subprocess
import sys
import textwrap

import pandas as pd
import pyarrow.parquet as pq
import pytest

from valueattr.results import (
    FACTS,
    GENERATIONS,
    MEASURES,
    STEPS,
    RunDirectory,
    RunDirectoryError,
    as_table,
    write_atomically,
)

PLAN = {"experiment": "e1", "arms": {"a0": "start"}}
ROW = {"arm": "a0", "seed": 0, "step": 1, "name": "loss", "value": 0.5}


@pytest.fixture
def run(tmp_path):
    return RunDirectory.create(tmp_path / "run", PLAN, {"preset": "smoke"})


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
