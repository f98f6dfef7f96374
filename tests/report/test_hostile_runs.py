"""Whatever models, worlds and plans say is text on the page and in the terminal, and damage is told in one line."""

import json
import shutil
from html.parser import HTMLParser

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from valueattr.cli import app
from valueattr.report import write_overview, write_report
from valueattr.results import FACTS, GENERATIONS, MEASURES, SUMMARY, RunDirectory
from valueattr.results._directory import hash_plan

from .conftest import finished_run

HOSTILE = [
    "<script>alert(1)</script>",
    "</script></style></svg><script>alert(1)",
    "<a href='javascript:alert(1)'>x</a>",
    "javascript:alert(1)",
    '" onmouseover="alert(1)" x="',
    "<img src=x onerror=alert(1)>",
    "<!-- ",
    "]]><script>",
    "{{ 7 * 7 }}{% for x in y %}",
    "$\\frac{1}{0}$ %s %(x)s {0}",
    "[/red] [bold",
    "&lt;script&gt;",
]
"""Attribute values, tags and templates that a page or a terminal could take for its own."""


def report(folder, *options):
    return CliRunner().invoke(app, ["report", str(folder), *options])


class Page(HTMLParser):
    """Tags and attributes of a page, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = set(), [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attributes]

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def run(made, tmp_path):
    return RunDirectory(shutil.copytree(made.path, tmp_path / "run"))


def with_column(run, name, schema, column, value):
    frame = run.table(name)
    frame[column] = value
    run.write_table(name, pa.Table.from_pandas(frame, schema=schema, preserve_index=False))


def test_what_arms_and_models_and_worlds_say_is_text(run):
    hostile = " ".join(HOSTILE)
    plan = run.plan
    plan["title"] = plan["model"] = plan["decision_rule"] = hostile
    for i, row in enumerate((*plan["arms"], *plan["contrasts"])):
        row["title"] = HOSTILE[i % len(HOSTILE)]
    run.write_json("plan.json", {"plan": plan, "sha256": hash_plan(plan)})
    for column in ("response", "prompt", "outcome"):
        with_column(run, "generations", GENERATIONS, column, hostile)
    for column in ("subject", "object"):
        with_column(run, "facts", FACTS, column, hostile)
    run.write_json(
        "environment.json",
        {
            **{name: hostile for name in ("machine", "device", "python")},
            "versions": {hostile: hostile},
            "timing": {hostile: 1.0},
        },
    )
    done = report(run.path)
    assert done.exit_code == 0, done.output
    for title in HOSTILE[: len(plan["arms"])]:
        assert title.partition(":")[0] in done.stdout.replace("\n", " ")
    overview = write_overview([run], run.path.parent)
    for path in (run.path / "report.html", overview):
        page = Page(path.read_text("utf-8"))
        assert not page.tags & {"script", "img", "iframe", "link", "object", "bold"}
        assert not [name for name, value in page.attributes if name.startswith("on") or "alert" in value]
        links = {value for name, value in page.attributes if name == "href" and not value.startswith("#")}
        assert links <= {"run/report.html"}
        assert hostile in page.text


def test_an_edited_plan_is_said_with_its_own_hash(run):
    sealed = run.plan_hash
    text = (run.path / "plan.json").read_text()
    (run.path / "plan.json").write_text(text.replace('"smallest_effect": 0.5', '"smallest_effect": 0.6'))
    done = report(run.path, "--json")
    told = json.loads(done.stdout)
    assert told["plan"] == run.plan_hash != sealed
    assert told["plan_is_sealed"] is False
    assert f"CHANGED since it was sealed as {sealed[:16]}" in done.stderr
    page = (run.path / "report.html").read_text("utf-8")
    assert run.plan_hash[:16] in page
    assert f"CHANGED since it was sealed as {sealed[:16]}" in page


def test_a_report_of_tables_without_parts_says_their_seeds(run):
    """Who keeps the tables alone has lost nothing of the report."""
    whole = write_report(run).read_text("utf-8")
    shutil.rmtree(run.path / "parts")
    assert write_report(run).read_text("utf-8") == whole
    assert json.loads(report(run.path, "--json").stdout)["seeds"] == [0, 1]


def changed(run, **values):
    plan = run.plan | values
    return json.dumps({"plan": plan, "sha256": hash_plan(plan)})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("plan.json", lambda run: "[]", "plan.json is damaged"),
        ("plan.json", lambda run: changed(run, colour="red"), "plan.json: colour: "),
        ("plan.json", lambda run: changed(run, version=99), "plan.json: the plan is of version 99"),
        ("plan.json", lambda run: changed(run, version=1), "plan.json: the plan "),
        ("plan.json", lambda run: changed(run, arms=[]), "plan.json: "),
        ("plan.json", lambda run: changed(run, arms={"a0": 1}), "plan.json: arms"),
        ("plan.json", lambda run: changed(run, title="\ud800"), "plan.json is not readable as JSON"),
        (
            "plan.json",
            lambda run: changed(run, experiment="e9"),
            "there is no page for 'e9'; known: e1, e2, e3",
        ),
        ("environment.json", lambda run: "{}", "environment.json is damaged"),
        ("start_model.json", lambda run: "\x00", "start_model.json is not readable as JSON"),
        ("config.json", lambda run: "{", "config.json is not readable as JSON"),
        ("summary.parquet", lambda run: "PAR1", "summary.parquet is damaged"),
        ("steps.parquet", lambda run: "", "steps.parquet is damaged"),
    ],
)
def test_damage_to_a_run_is_one_line_that_names_the_file(run, name, content, message):
    (run.path / name).write_text(content(run))
    done = report(run.path)
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("code", ["../x", "a/b", "", ".", ".hidden", "a b", "a\n", "x" * 65, "<script>"])
def test_codes_of_arms_that_would_leave_the_run_are_refused(run, code):
    plan = run.plan
    plan["arms"][0]["code"] = code
    (run.path / "plan.json").write_text(json.dumps({"plan": plan, "sha256": hash_plan(plan)}))
    done = report(run.path)
    assert done.exit_code == 1
    assert "plan.json: arms.0.code: " in done.stderr


def test_tables_without_rows_are_no_finished_run(run):
    for name, schema in (("measures", MEASURES), ("summary", SUMMARY), ("generations", GENERATIONS)):
        run.write_table(name, schema.empty_table())
    done = report(run.path)
    assert done.exit_code == 1
    assert "measures.parquet holds no rows: run the experiment again" in done.stderr
