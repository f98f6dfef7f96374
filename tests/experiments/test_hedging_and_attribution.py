"""E2 and E3 end to end on the smoke preset, and what experiments share."""

import json
import re
import shutil

import numpy as np
import pytest

from valueattr.experiments import E2, E3, vary
from valueattr.experiments._arm import run_arm
from valueattr.experiments._context import Context
from valueattr.hedging import HEDGES
from valueattr.plan import SMOKE, Plan, evaluate
from valueattr.questions import DISTANCE, SPLITS
from valueattr.report._findings import Findings
from valueattr.report.pages import VIEWS
from valueattr.results import RunDirectory
from valueattr.results.summary import summarise

from .conftest import assert_same, refused, tables, valueattr


@pytest.fixture(scope="session", params=["e2", "e3"])
def run(request, everything):
    return RunDirectory(everything[0] / request.param)


def test_every_arm_is_measured_in_every_way(run):
    measures = run.table("measures").astype({"arm": str, "measure": str, "split": str})
    assert set(measures["arm"]) == {arm.code for arm in Plan.read(run).arms}
    last = measures[measures["step"] == measures.groupby("arm")["step"].transform("max")]
    for code, arm in last.groupby("arm"):
        for kind in (*HEDGES, "any"):
            for measure in ("hedged", "density", "first_sentence", "corrected"):
                assert set(arm[arm["measure"] == f"{measure}/{kind}"]["split"]) == set(SPLITS), (code, kind)
        names = set(arm["measure"])
        assert {"over_hedging", "under_hedging", "ece", "hedging_u", "distance_slope"} <= names
        assert {"bits", "bits_without_hedges", "courtesy", "words", "hedge_only/scanned"} <= names
        assert set(arm[arm["measure"] == "hedging_slope"]["split"]) == {"trained topic", "other topics"}


def test_the_summary_corrects_the_scanner_per_arm_and_split(run):
    summary = run.table("summary").astype({"arm": str, "measure": str, "split": str, "interval": object})
    for name, method in (("corrected", "prediction-powered"), ("labelled", "Wilson")):
        rows = summary[summary["measure"] == f"{name}/any"]
        assert len(rows) == len(Plan.read(run).arms) * len(SPLITS)
        assert (rows["low"] <= rows["estimate"]).all()
        assert rows["interval"].str.startswith(method).all()


def test_reports_hold_their_figures_and_ratios(run):
    page = (run.path / "report.html").read_text("utf-8")
    assert page.count("<svg") >= 4
    assert "Declared ratios" in page
    assert "one seed carries no interval" in page
    assert "one seed: no verdict" in page or "no verdict: the manipulation check" in page
    assert not re.search(r"\bnan\b", page, re.IGNORECASE)


def test_e3_logs_where_the_advantage_went_at_every_step(everything):
    run = RunDirectory(everything[0] / "e3")
    steps = run.table("steps").astype({"arm": str, "name": str})
    on_policy = [a.code for a in E3.arms if a.is_trained and a.method == "grpo"]
    for code in on_policy:
        own = steps[steps["arm"] == code]
        for name in ("leakage", "leakage_zero_groups", "on_content", "on_framing", "on_other", "precision"):
            assert len(own[own["name"] == f"advantage/{name}"]) == 4, (code, name)
        assert {"forward_kl", "reverse_kl", "forward_kl_neutral", "reverse_kl_neutral"} <= set(own["name"])
    generations = run.table("generations").astype({"arm": str, "phase": str})
    train = generations[generations["phase"] == "train"]
    assert set(train["arm"]) == set(on_policy) | {"s8", "s8-other"}
    tensors = train[train["arm"] == "s6"]["advantages"]
    assert len(tensors) == 4 * 16
    assert any(np.any(row) for row in tensors)
    assert train[train["arm"] == "s8"]["advantages"].isna().all()
    judged = steps[steps["name"] == "judged_responses"]
    assert dict(zip(judged["arm"], judged["value"], strict=True)) == {"s9": 64.0, "sft": 64.0}
    gates = steps[steps["name"] == "critique_gate"]
    assert set(gates["arm"]) == {"s8", "s8-other"}
    assert (gates["value"] >= 0.3).all()  # this start model follows a critique


def test_what_two_experiments_have_in_common_is_trained_once(everything):
    folder, output = everything
    assert "3 arm(s) were trained in the same way by another experiment" in output
    one, other = (tables(folder / name) for name in ("e1", "e2"))
    for name in ("measures", "generations", "steps"):
        rows = [t[name][t[name]["arm"] == "a3"].reset_index(drop=True) for t in (one, other)]
        columns = [c for c in rows[0] if c not in ("experiment", "arm")]
        assert len(rows[0])
        for column in columns:
            assert rows[0][column].astype(str).tolist() == rows[1][column].astype(str).tolist()
    assert set(other["measures"]["experiment"]) == {"e2"}
    assert (folder / "e2" / "checkpoints" / "a3-s0" / "model.safetensors").is_file()


def test_one_page_over_all(everything):
    folder, output = everything
    page = (folder / "report.html").read_text("utf-8")
    for name in ("e1", "e2", "e3"):
        assert f'href="{name}/report.html"' in page
        assert (folder / name / "report.html").is_file()
    assert page.count("<svg") == 6
    assert "All together:" in output


def test_arms_that_are_gone_are_made_again_as_they_were(everything, tmp_path):
    folder = shutil.copytree(everything[0] / "e3", tmp_path / "e3")
    for arm in ("s8", "s9", "sft"):
        shutil.rmtree(folder / "parts" / f"{arm}-s0")
        shutil.rmtree(folder / "checkpoints" / f"{arm}-s0")
    output, errors = valueattr("run", "e3", "--preset", "smoke", "--out", folder, "--json").communicate(
        timeout=300
    )
    assert "28 arm(s) were finished before" in errors
    assert json.loads(output)["run"] == str(folder)
    assert_same(folder, everything[0] / "e3")


def test_variations_add_their_arms():
    by_family = {arm.code: arm for arm in vary("prompt-family").arms if arm not in E3.arms}
    assert {arm.prompt_family for arm in by_family.values()} == {"zero", "positive"}
    assert {code.split("-")[0] for code in by_family} == {"s0", "s2", "s6", "random"}
    noisy = [arm for arm in vary("span-noise").arms if arm not in E3.arms]
    assert [arm.feedback.span_noise for arm in noisy if not arm.is_sham] == [0.1, 0.2, 0.3, 0.4, 0.5]
    for arms in (noisy, [arm for arm in by_family.values() if arm.feedback]):
        assert sum(arm.is_sham for arm in arms) == len(arms) / 2
    leak = next(c for c in vary("prompt-family").contrasts if c.name == "leak-zero")
    assert leak.pairs == (("s2", "s2-sham"), ("s2-zero", "s2-sham-zero"))
    with pytest.raises(ValueError, match="unknown variation"):
        vary("mood")


def test_variations_are_of_e3_alone(tmp_path):
    for command in (("e1", "prompt-family"), ("e3", "mood")):
        message = "--vary takes prompt-family or span-noise, and only with e3"
        refused(2, message, "run", command[0], "--vary", command[1], "--out", tmp_path / "r")


def test_plans_name_arms_that_exist():
    for experiment in (E2, E3, vary("prompt-family"), vary("span-noise")):
        codes = {arm.code for arm in experiment.arms}
        assert len(codes) == len(experiment.arms)
        for contrast in experiment.contrasts:
            assert contrast.arms <= codes
        for ratio in experiment.ratios:
            assert {ratio.arm, ratio.baseline} <= codes
        for check in experiment.checks:
            assert {check.arm, check.against} <= codes
        assert experiment.primary in {contrast.name for contrast in experiment.contrasts}
    assert {split for splits in DISTANCE for split in splits} <= set(SPLITS)


def test_a_start_model_that_follows_no_critique_makes_the_arm_not_testable(world, untrained, tmp_path):
    """The arm ends without training; its contrasts are not measured, and the report says why."""
    context = Context(E3, SMOKE, world, untrained)
    directory = RunDirectory.create(tmp_path / "run", Plan.of(E3, "smoke", world.fingerprint()).to_json(), {})
    arms = {arm.code: arm for arm in E3.arms}
    for code in ("s0", "s8"):
        run_arm(directory, context, arms[code], 0, lambda step: None)
    directory.assemble(["s0-s0", "s8-s0"])
    steps, measures = directory.table("steps"), directory.table("measures")
    assert (steps[steps["name"] == "critique_gate"]["value"] < 0.3).all()
    assert set(measures["arm"]) == {"s0"}
    assert evaluate(Plan.read(directory), measures, steps).contrast("critique").verdict == "not measured"
    directory.write_table("summary", summarise(measures))
    findings = Findings(directory)
    assert any("not testable" in limit for limit in VIEWS["e3"].limits(findings))
