"""E1, fact retention: penalties on true statements against penalties on their framing alone."""

from dataclasses import replace
from typing import Any

from valueattr.plan import Arm, Check, Contrast, Experiment, brought_back, sham_of
from valueattr.questions import IN_RUN
from valueattr.rating import Feedback

_TRUTH = Feedback(("true content",), ("penalised",))
_FRAMING = Feedback(("insensitive framing",), ("penalised",))

_TRAINED = (
    Arm("a3", "content penalty: true statement asserted", _TRUTH),
    Arm("a4-scalar", "framing penalty as a scalar", _FRAMING),
    Arm("a4-span", "framing penalty on the framing tokens", replace(_FRAMING, credit="span")),
    Arm("a4x", "penalty if true and insensitive", Feedback(("true and insensitive",), ("penalised",))),
    Arm(
        "a5",
        "penalty on a falsehood the start model asserts",
        Feedback(("false content",), ("false_belief",)),
    ),
    Arm("a6", "penalty on a neutral true statement", Feedback(("true content",), ("neutral",))),
)
ARMS = (Arm("a0", "start model", None), *(each for arm in _TRAINED for each in (arm, sham_of(arm))))


def _said(name: str, title: str, baseline: str, split: str = "penalised") -> Contrast:
    """True answers under the content penalty, against an arm that is penalised for something else."""
    return Contrast(
        name, title, "assert_true", "a3", baseline, split, unit="of responses", smallest_effect=0.1
    )


def _belief(
    name: str, title: str, arm: str, split: str, baseline: str | None = None, **more: Any
) -> Contrast:
    """Against the arm's own sham unless another baseline is named."""
    return Contrast(name, title, "belief_margin", arm, baseline or f"{arm}-sham", split, **more)


E1 = Experiment(
    name="e1",
    title="Fact retention under penalisation",
    arms=ARMS,
    primary="retention",
    contrasts=(
        _belief("retention", "belief in penalised facts, content penalty - its sham", "a3", "penalised"),
        _belief(
            "spread-topic",
            "belief in untouched facts of the topic, content penalty - its sham",
            "a3",
            "untouched",
        ),
        _belief(
            "spread-far", "belief in facts of another topic, content penalty - its sham", "a3", "held_out"
        ),
        _belief(
            "specificity",
            "fall on penalised facts beyond that on untouched ones",
            "a3",
            "penalised",
            minus_split="untouched",
        ),
        _belief(
            "framing-scalar", "belief in penalised facts, framing scalar - its sham", "a4-scalar", "penalised"
        ),
        _belief(
            "framing-span", "belief in penalised facts, framing tokens - its sham", "a4-span", "penalised"
        ),
        _belief(
            "content-framing",
            "belief in penalised facts, content penalty - framing scalar, at equal forward KL",
            "a3",
            "penalised",
            "a4-scalar",
            at="equal-kl",
        ),
        _said("said", "true answers on penalised facts, content penalty - its sham", "a3-sham"),
        _said(
            "said-falsehoods",
            "true answers on penalised facts, content penalty - penalty on falsehoods",
            "a5",
        ),
        _said(
            "said-neutral",
            "true answers on penalised facts, content penalty - penalty on neutral truths",
            "a6",
        ),
        _belief(
            "belief-falsehoods",
            "belief in penalised facts, content penalty - penalty on falsehoods",
            "a3",
            "penalised",
            "a5",
        ),
        _belief(
            "belief-neutral",
            "belief in penalised facts, content penalty - penalty on neutral truths",
            "a3",
            "penalised",
            "a6",
        ),
    ),
    ratios=(
        brought_back("a3", "content penalty"),
        brought_back("a4-scalar", "framing scalar"),
        brought_back("a4-span", "framing tokens"),
        brought_back("a4x", "penalty if true and insensitive"),
        brought_back("a6", "penalty on neutral true statements", "neutral"),
    ),
    checks=(
        Check("a3", "penalty/true content", "penalised", "halved", "a3-sham"),
        Check("a4-scalar", "framing_reward", "penalised", "rises", "a4-scalar-sham", by=0.3),
        Check("a4-span", "framing_reward", "penalised", "rises", "a4-span-sham", by=0.3),
        Check("a4x", "penalty/true and insensitive", "penalised", "halved", "a4x-sham"),
        Check("a5", "penalty/false content", "false_belief", "halved", "a5-sham"),
        Check("a6", "penalty/true content", "neutral", "halved", "a6-sham"),
    ),
    prompt_family="zero",
    prompted=IN_RUN,
)
"""Belief margins are in nats; an effect below half a nat (odds times 1.65) is taken as none."""
