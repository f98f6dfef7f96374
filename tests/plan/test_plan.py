"""A plan is the same declared, sealed and read again, whichever version sealed it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.builders import an_arm, as_version_1, as_version_2, small_plan
from valueattr.experiments import E1, E2, E3, vary
from valueattr.plan import PLAN_VERSION, Check, Contrast, Plan, PlanError, Ratio, plan_version
from valueattr.results import RunDirectory, RunDirectoryError

PUBLISHED = Path(__file__).parents[2] / "docs" / "results" / "tiny"
EXPERIMENTS = [E1, E2, E3, vary("prompt-family"), vary("span-noise")]


@pytest.fixture(params=EXPERIMENTS, ids=["e1", "e2", "e3", "e3-family", "e3-span-noise"])
def plan(request):
    return Plan.of(request.param, "smoke", "0" * 64)


def test_a_sealed_plan_reads_as_it_was_declared(plan, tmp_path):
    run = RunDirectory.create(tmp_path / "run", plan.to_json(), {})
    assert Plan.read(run) == plan
    assert run.plan_is_intact


def test_a_plan_that_is_read_seals_to_the_same_bytes(plan, tmp_path):
    run = RunDirectory.create(tmp_path / "run", plan.to_json(), {})
    again = RunDirectory.create(tmp_path / "again", Plan.read(run).to_json(), {})
    assert again.plan_hash == run.plan_hash
    assert (again.path / "plan.json").read_bytes() == (run.path / "plan.json").read_bytes()


@pytest.mark.parametrize("former", [as_version_1, as_version_2])
def test_a_plan_of_an_earlier_version_is_the_same_plan_under_its_own_rule(plan, former):
    contrasts = tuple(replace(contrast, minus_arms=None, framing=None) for contrast in plan.contrasts)
    same = plan.model_copy(update={"rule": "holm", "contrasts": contrasts})
    if former is as_version_1:
        same = same.model_copy(update={"variation": None})
    assert Plan.from_json(json.loads(json.dumps(former(plan)))) == same


@pytest.mark.parametrize("name", ["e1", "e2", "e3"])
def test_the_published_plans_are_read(name):
    run = RunDirectory(PUBLISHED / name)
    assert run.plan_is_intact
    plan = Plan.read(run)
    assert (plan.experiment, plan.preset, plan.settings.split_size) == (name, "tiny", 32)
    assert plan.rule == "holm"
    if plan_version(run.plan) == 1:
        assert [arm.code for arm in plan.arms] == run.plan["order"]
        assert as_version_1(plan) == run.plan
    else:
        assert as_version_2(plan) == run.plan


def test_an_adapter_is_sealed_where_one_is_trained(plan):
    whole = plan.to_json()
    assert not {"lora_rank", "precision"} & whole["settings"].keys()
    settings = plan.settings.model_copy(update={"lora_rank": 16, "precision": "bfloat16"})
    adapted = plan.model_copy(update={"settings": settings})
    assert adapted.to_json()["settings"] == {**whole["settings"], "lora_rank": 16, "precision": "bfloat16"}
    assert Plan.from_json(adapted.to_json()) == adapted


def test_plans_of_both_versions_are_published():
    assert {plan_version(RunDirectory(folder).plan) for folder in PUBLISHED.glob("e?")} == {1, 2}


def test_a_plan_fills_in_what_the_experiment_says_of_every_arm():
    plan = Plan.of(E2, "tiny", "0" * 64)
    assert {arm.prompt_family for arm in plan.arms} == {"zero"}
    assert plan.arm("h2").prompted == E2.prompted != plan.arm("a3").prompted
    assert plan.start.code == "h0"
    with pytest.raises(KeyError):
        plan.arm("h9")


def test_a_plan_of_a_later_version_says_what_to_do(tmp_path):
    values = {**Plan.of(E1, "smoke", "0" * 64).to_json(), "version": PLAN_VERSION + 1}
    run = RunDirectory.create(tmp_path / "run", values, {})
    with pytest.raises(PlanError, match=rf"plan\.json: .*version {PLAN_VERSION + 1}.*update valueattr"):
        Plan.read(run)
    assert issubclass(PlanError, RunDirectoryError)


@pytest.mark.parametrize("version", [0, "2", None, 2.5, True])
def test_a_version_that_is_none_is_an_error(version):
    with pytest.raises(PlanError, match="version"):
        Plan.from_json({**Plan.of(E1, "smoke", "0" * 64).to_json(), "version": version})


def test_what_is_missing_unknown_or_wrong_in_a_plan_is_named():
    values = small_plan(
        [an_arm("a0", None), an_arm("a1")], [Contrast("c", "t", "m", "a1", "a0", "p")]
    ).to_json()
    former = as_version_1(Plan.from_json(values))
    for broken, message in (
        ({k: v for k, v in values.items() if k != "alpha"}, "alpha: Field required"),
        ({**values, "colour": "red"}, "colour: .*found 'red'"),
        ({**values, "arms": [{**values["arms"][0], "family": "zero"}]}, "arms.0.family"),
        ({**values, "settings": {**values["settings"], "steps": 0}}, "settings.steps: .*found 0"),
        ({**values, "primary": "d"}, "primary contrast 'd' is not declared"),
        ({**values, "arms": [*values["arms"], values["arms"][0]]}, "the same code: a0"),
        ({**values, "arms": [{**a, "prompted": None} for a in values["arms"]]}, "arm a0 lacks"),
        ({k: v for k, v in former.items() if k != "methods"}, "lacks 'methods'"),
        ({**former, "settings": values["settings"] | {"pool_size": "many"}}, "settings.split_size"),
    ):
        with pytest.raises(PlanError, match=message):
            Plan.from_json(broken)


def test_a_plan_compares_only_arms_that_it_declares():
    arms, contrast = [an_arm("a0", None), an_arm("a1")], Contrast("c", "t", "m", "a1", "a0", "p")
    for more in (
        {"contrasts": [contrast, Contrast("d", "t", "m", "a9", "a0", "p")]},
        {"ratios": [Ratio("r", "t", "a1", "a9", ("m", "p"), ("n", "p"))]},
        {"checks": [Check("a1", "m", "p", "halved", "a9")]},
    ):
        with pytest.raises(ValueError, match="does not declare: a9"):
            small_plan(**{"arms": arms, "contrasts": [contrast], **more})
