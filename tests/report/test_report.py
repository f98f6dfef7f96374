import re
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.report.conftest import finished_run
from valueattr.experiments import E1, vary
from valueattr.plan import Plan, evaluate
from valueattr.report import headline, headline_table, write_report
from valueattr.report._findings import Findings
from valueattr.results import MEASURES, RunDirectory
from valueattr.results.summary import summarise
from valueattr.world import synthesise


@pytest.fixture
def run(smoke, tmp_path):
    return RunDirectory(shutil.copytree(smoke[0], tmp_path / "run"))


def with_measures(run, frame):
    """The run with other measures and the summary that follows from them."""
    run.write_table("measures", pa.Table.from_pandas(frame, schema=MEASURES, preserve_index=False))
    run.write_table("summary", summarise(frame))
    return RunDirectory(run.path)


def with_seeds(run, seeds):
    """The run as if every seed had given nearly the same: a shift of .01 nats a seed on every belief."""
    frame = run.table("measures")
    parts = []
    for seed in range(seeds):
        part = frame.copy()
        part["seed"] = seed
        part.loc[part["measure"] == "belief_margin", "value"] += 0.01 * seed * (part["arm"] == "a3")
        parts.append(part)
        for arm in Plan.read(run).arms:
            (run.path / "parts" / f"{arm.code}-s{seed}").mkdir(exist_ok=True)
    import pandas as pd

    return with_measures(run, pd.concat(parts, ignore_index=True))


def codes(run):
    return {arm.code for arm in Plan.read(run).arms}


def page(run):
    return write_report(run).read_text("utf-8")


def test_one_file_that_loads_nothing(run):
    text = page(run)
    assert not re.search(r"<script|<link|<img|<iframe|@import|url\((?!#)", text)
    # matplotlib names its namespaces; nothing else may point outside
    assert not [u for u in re.findall(r'(?:src|href)="([^"]+)"', text) if not u.startswith("#")]
    assert text.count("<svg") >= 5


def test_the_same_run_gives_the_same_page(run):
    assert page(run) == page(run)


def test_one_seed_carries_no_interval_and_says_how_to_add_more(run):
    text = headline(run)
    assert "One seed carries no seed-level interval" in text
    assert f"valueattr run e1 --preset smoke --seeds 3 --out {run.path}" in text
    assert re.search(r"a3 \(content penalty\): the model [^<]+ the penalised facts", page(run))
    assert "Not tested" not in page(run)


def test_the_headline_holds_the_contrasts_numbers(run):
    run = with_seeds(run, 3)
    contrast = evaluate(Plan.read(run), run.table("measures"), run.table("steps")).contrast("retention")
    text = headline(run)
    assert f"{contrast.estimate:+.2f} nats" in text
    assert f"{contrast.interval.low:+.2f} to {contrast.interval.high:+.2f}, n = 3 seeds" in text
    assert "demonstration, not a claim" in page(run)


def test_a_failed_check_withholds_the_verdict_on_the_page(run):
    frame = run.table("measures")
    frame.loc[(frame["measure"] == "penalty/true content") & (frame["arm"] == "a3"), "value"] = 1.0
    run = with_seeds(with_measures(run, frame), 3)
    text = page(run)
    assert "no verdict: the manipulation check of a3 failed" in headline(run)
    assert '<td class="failed">failed</td>' in text
    assert "its outcomes say nothing" in text


def test_hostile_responses_are_escaped(run):
    frame = run.table("generations")
    frame["response"] = "<script>alert(1)</script>"
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), run.path / "generations.parquet")
    text = page(RunDirectory(run.path))
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_a_changed_plan_and_added_seeds_are_reported(run):
    assert "unchanged since before the first step" in page(run)
    sealed = (run.path / "plan.json").read_text()
    (run.path / "plan.json").write_text(sealed.replace('"smallest_effect": 0.5', '"smallest_effect": 0.6'))
    run = with_seeds(RunDirectory(run.path), 2)
    text = page(run)
    assert "CHANGED since it was sealed" in text
    assert "seeds added after the first start" in text


def test_arms_that_are_missing_are_left_out(run):
    frame = run.table("measures")
    run = with_measures(run, frame[~frame["arm"].isin(["a5", "a4-span"])])
    assert "not measured" in page(run)
    assert {row[0] for row in headline_table(run)[1]} == codes(run) - {"a5", "a4-span"}


def test_the_terminal_table_fits(run):
    columns, rows = headline_table(run)
    assert all(len(row) == len(columns) for row in rows)
    assert max(sum(len(cell) + 3 for cell in row) for row in rows) <= 120


def test_a_probe_that_cannot_read_is_named(run):
    assert "The truth probe cannot read this start model" in page(run)


def test_the_command_for_more_seeds_has_every_option_of_the_run(tmp_path):
    plan = Plan.of(E1.in_natural_answers(), "real-smoke", "0" * 64, "models/small.gguf", "natural", "1" * 64)
    command = Findings(finished_run(tmp_path / "run", plan)).more_seeds
    assert command.startswith(
        "valueattr run e1 --preset real-smoke --seeds 3 --questions FILE --model models/small.gguf --answers natural "
        "--statements FILE --arms a0,a3,a3-sham,"
    )
    plan = Plan.of(vary("span-noise").with_adapter(8).with_starts(2), "tiny", synthesise().fingerprint())
    command = Findings(finished_run(tmp_path / "varied", plan)).more_seeds
    assert command.startswith(
        "valueattr run e3 --preset tiny --seeds 3 --starts 2 --lora --vary span-noise --out"
    )


@pytest.mark.parametrize(("model", "said"), [("embedded", True), ("./mine", False)])
def test_only_a_run_of_the_embedded_model_is_said_to_be_of_an_invented_world(tmp_path, model, said):
    run = finished_run(tmp_path / "run", Plan.of(E1, "smoke", "0" * 64, model))
    assert ("The embedded world is invented" in write_report(run).read_text("utf-8")) == said
