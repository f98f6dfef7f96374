"""Small plans, and plans as they were sealed before plans had a version."""

from valueattr.plan import Arm, Plan, Preset
from valueattr.rating import Feedback

FRAMING = Feedback(("insensitive framing",), ("penalised",))

PRESET = Preset(
    seeds=1,
    split_size=1,
    samples_per_fact=1,
    steps=1,
    prompts_per_step=1,
    group_size=2,
    learning_rate=1e-4,
    beta=0.02,
    checkpoint_every=1,
    drift_every=1,
)


def an_arm(code, feedback=FRAMING, **more):
    return Arm(
        code, f"title of {code}", feedback, **{"prompt_family": "zero", "prompted": ("penalised",), **more}
    )


def small_plan(arms, contrasts, ratios=(), checks=()):
    """A plan of these arms, whose first contrast is the primary one."""
    return Plan(
        experiment="e",
        title="a small experiment",
        preset="smoke",
        world="0" * 64,
        model="embedded",
        statements=None,
        settings=PRESET,
        arms=arms,
        probed=False,
        frontier_every=0,
        kl_thresholds=(0.05, 0.1, 0.2, 0.4),
        primary=contrasts[0].name,
        contrasts=contrasts,
        ratios=ratios,
        checks=checks,
        alpha=0.05,
        decision_rule="as declared",
    )


def as_version_1(plan):
    """The JSON values of a plan as version 1 had them."""
    values = plan.to_json()
    arms = {arm["code"]: arm for arm in values.pop("arms")}
    for arm in arms.values():
        if arm["feedback"]:
            arm["feedback"]["pools"] = arm["feedback"].pop("splits")
    for contrast in values["contrasts"]:
        contrast["family"] = contrast.pop("holm_family")
    values["settings"]["pool_size"] = values["settings"].pop("split_size")
    contrasts, checks = values.pop("contrasts"), values.pop("checks")
    del values["version"]
    return {
        **values,
        "order": list(arms),
        "arms": {code: arm["title"] for code, arm in arms.items()},
        "feedback": {code: arm["feedback"] for code, arm in arms.items()},
        "methods": {code: arm["method"] for code, arm in arms.items()},
        "families": {code: arm["prompt_family"] for code, arm in arms.items()},
        "prompted": {code: arm["prompted"] for code, arm in arms.items()},
        "family": contrasts,
        "manipulation_checks": checks,
    }
