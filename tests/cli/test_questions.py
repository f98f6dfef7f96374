import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.cli.test_app import TERMINAL
from tests.world.test_collections import lre, pararel
from valueattr.cli import app
from valueattr.world import World, load_world

DATA = Path(__file__).parents[3] / "shared" / "data"
COLUMNS = ("relation", "facts", "objects", "commonest", "asked", "measured")
REAL = pytest.mark.skipif(
    not (DATA / "lre").exists() or not (DATA / "pararel").exists(), reason="LRE and ParaRel are not there"
)


def questions(*arguments, **environment):
    return CliRunner().invoke(app, ["questions", *map(str, arguments)], env=environment)


@pytest.fixture(scope="module")
def facts(emblems_of_people):
    return emblems_of_people


@pytest.fixture(scope="module")
def asked(start, facts, tmp_path_factory):
    """What `known --json` printed of them, and the world that it wrote."""
    out = tmp_path_factory.mktemp("known") / "known.jsonl"
    done = questions("known", facts, "--model", start, "--out", out, "--json")
    assert done.exit_code == 0, done.stderr
    return done, out


def test_check_shows_a_relation_as_it_would_be_asked(tmp_path):
    done = questions("check", lre(tmp_path))
    assert done.exit_code == 0
    lines = [line.strip() for line in done.stdout.splitlines()]
    head, row = (line for line in lines if line.startswith(("relation", "guild_song")))
    assert tuple(head.split()) == COLUMNS
    assert row.split()[:4] == ["guild_song", "3", "3", "33%"]
    assert "Which song does Peru sing?" in row
    assert "Peru sings the song ..." in row
    assert done.stdout.splitlines()[-1] == "Facts: 3; relations: 1"
    assert not done.stderr


@pytest.mark.parametrize("form", ["csv", "jsonl", "lre", "pararel"])
def test_check_takes_every_form(form, tmp_path, facts):
    sheet = tmp_path / "facts.csv"
    sheet.write_text("subject,relation,object\nPeru,capital,Lima\nKenya,capital,Nairobi\n")
    (tmp_path / "pararel").mkdir()
    path = {
        "csv": sheet,
        "jsonl": facts,
        "lre": lre(tmp_path),
        "pararel": pararel(tmp_path / "pararel", "P127", ["[X] is owned by [Y]."]),
    }[form]
    done = questions("check", path)
    assert done.exit_code == 0, done.stderr
    number = {"csv": 2, "jsonl": 60, "lre": 3, "pararel": 3}[form]
    assert f"Facts: {number}; relations: 1" in done.stdout


def test_check_says_what_is_left_out_and_why(tmp_path):
    facts = [("A", "Rio"), ("B", "Ulm"), ("A", "Ulm"), ("C", "Rio")]
    facts_of = pararel(tmp_path, "P127", ["[X] is owned by [Y]."], facts) / "trex_lms_vocab"
    pararel(tmp_path, "P9999", ["[X] sings [Y]."])
    done = questions("check", tmp_path)
    assert done.exit_code == 0
    assert done.stderr.splitlines() == [
        f"{facts_of}/P127.jsonl: subjects that have several objects are left out: 1",
        f"{facts_of}/P9999.jsonl: 3 facts left out, as there is no wording to ask them in",
    ]


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_narrow_terminal_hides_nothing_of_check(width, tmp_path):
    shown = questions("check", lre(tmp_path), **{**TERMINAL, "COLUMNS": str(width), "NO_COLOR": "1"}).output
    assert "…" not in shown
    plain = shown.replace("\x1b[1m", "").replace("\x1b[0m", "")
    *table, last = plain.splitlines()
    assert max(map(len, table)) <= width
    assert last == "Facts: 3; relations: 1"
    for word in (*COLUMNS, "guild_song", "33%", "Which", "sing?", "sings"):
        assert word in plain


def test_check_imports_no_torch(tmp_path, modules_after):
    assert not modules_after("questions", "check", lre(tmp_path)) & {"torch", "transformers", "matplotlib"}


def test_markup_and_escapes_of_a_file_are_text(tmp_path):
    samples = [{"subject": s, "object": o} for s, o in (("[red]A\x1b[2J", "x"), ("B\u202e", "y"))]
    done = questions("check", lre(tmp_path, "a\x1b]0;x\x07", samples=samples))
    assert done.exit_code == 0
    assert "[red]A\\x1b[2J" in done.stdout
    assert not {"\x1b", "\x07", "\u202e"} & {*done.output}


@pytest.mark.parametrize("command", ["check", "known"])
def test_facts_that_are_not_there_are_one_line(command, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "array.json").write_text("[1]")
    for name, why in (
        ("none.csv", "no such file"),
        ("none", "no such file"),
        ("empty", "holds no fact that can be asked"),
        ("array.json", "expected a JSON object with a relation"),
    ):
        model = ["--model", tmp_path] if command == "known" else []
        done = questions(command, tmp_path / name, *model)
        assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
        assert done.stderr.startswith(f"valueattr: {tmp_path / name}: {why}")


def test_a_model_that_is_not_there_is_one_line_and_leaves_nothing(facts, tmp_path):
    done = questions("known", facts, "--model", tmp_path / "none", "--out", tmp_path / "known.jsonl")
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert str(tmp_path / "none") in done.stderr
    assert [*tmp_path.iterdir()] == []


def test_known_counts_how_the_start_model_knows_what_it_was_taught(asked):
    done, _ = asked
    assert done.stderr == "asking emblem\n"
    assert done.stdout.count("\n") == 1
    row = json.loads(done.stdout)["relations"]["emblem"]
    classes = ("known", "half_known", "false_belief", "unknown")
    assert sum(row[name] for name in classes) == 60 - row["invented"]
    assert row["known"] > 24
    assert row["false_belief"] > 4
    assert row["invented"] == 8
    assert 0.5 < row["plain"] < 1


def test_what_known_writes_is_read_by_every_command_that_takes_questions(asked, start, tmp_path):
    done, out = asked
    row = json.loads(done.stdout)["relations"]["emblem"]
    held = [fact for fact in load_world(out).facts if fact.exposure != "never_taught"]
    assert len(held) == row["known"] + row["half_known"] + row["false_belief"]
    assert questions("check", out).exit_code == 0
    words = ["--before", start, "--after", start, "--questions", out, "--out", tmp_path / "d"]
    again = CliRunner().invoke(app, ["diagnose", *map(str, words)])
    assert "no verdict" in again.stderr  # of one model


def test_known_prints_a_table_that_fits_a_narrow_terminal(start, facts):
    environment = {**TERMINAL, "COLUMNS": "40", "NO_COLOR": "1"}
    done = questions("known", facts, "--model", start, "--most", 8, **environment)
    assert done.exit_code == 0
    assert "…" not in done.stdout
    for word in ("emblem", "half known", "false belief", "unknown", "invented", "statements", "questions"):
        assert word in done.stdout
    assert "A run needs three topics of which two facts are known, and there are 1" in done.stdout


def test_known_writes_over_nothing(start, facts, tmp_path):
    out = tmp_path / "known.jsonl"
    out.write_text("mine")
    done = questions("known", facts, "--model", start, "--out", out)
    assert done.exit_code == 1
    assert "known.jsonl" in done.stderr
    assert "asking" not in done.stderr
    assert out.read_text() == "mine"
    assert [*tmp_path.iterdir()] == [out]


def test_relations_of_too_many_objects_alone_are_told(start, tmp_path):
    samples = [{"subject": f"s{i}", "object": f"o{i}"} for i in range(300)]
    done = questions("known", lre(tmp_path, samples=samples), "--model", start, "--out", tmp_path / "a.jsonl")
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        "guild_song is left out: it has more than 256 objects to choose among",
        "valueattr: no relation can be asked: each needs facts, and at most 256 objects to choose among",
    ]
    assert not (tmp_path / "a.jsonl").exists()


def test_fewer_than_two_facts_are_bad_usage(facts):
    done = questions("known", facts, "--model", "none", "--most", 1)
    assert done.exit_code == 2
    assert "--most" in done.stderr


@REAL
@pytest.mark.parametrize(("name", "number"), [("lre", 9_000), ("pararel", 20_000)])
def test_the_real_collections_are_read(name, number, tmp_path):
    done = questions("check", DATA / name)
    assert done.exit_code == 0, done.stderr
    world = load_world(DATA / name)
    assert len(world.facts) > number
    assert len(world.relations) > 30
    count, relations = f"{len(world.facts):,}", len(world.relations)
    assert done.stdout.splitlines()[-1] == f"Facts: {count}; relations: {relations}"
    world.save(tmp_path / "world.jsonl")
    assert World.load(tmp_path / "world.jsonl") == world


STORIES = DATA.parent / "models" / "stories260K"


@REAL
@pytest.mark.skipif(not STORIES.is_dir(), reason="the model is not at hand")
def test_a_model_is_asked_real_facts():
    """A model that was taught stories knows nothing of them, and no fact is lost on the way."""
    file = DATA / "lre" / "factual" / "country_capital_city.json"
    done = questions("known", file, "--model", STORIES, "--most", 20, "--json")
    assert done.exit_code == 0, done.stderr
    row = json.loads(done.stdout)["relations"]["country_capital_city"]
    assert row["known"] + row["half_known"] + row["false_belief"] + row["unknown"] == 20
    assert row["known"] < 5
