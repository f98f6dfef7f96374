"""E1, fact retention: penalties on true statements against penalties on their framing alone."""

from valueattr.experiments._declaration import Arm, Contrast, Experiment, ManipulationCheck, Preset
from valueattr.rating import Feedback

_CONTENT = Feedback("true content", pool="penalised")
_FRAMING = Feedback("insensitive framing", pool="penalised")

ARMS = (
    Arm("a0", "start model", None),
    Arm(
        "a1",
        "sham: a3's rewards permuted within each group",
        Feedback("true content", "penalised", permuted=True),
    ),
    Arm("a3", "content penalty: true statement asserted", _CONTENT),
    Arm("a4-scalar", "framing penalty as a scalar", _FRAMING),
    Arm(
        "a4-span",
        "framing penalty on the framing tokens",
        Feedback("insensitive framing", "penalised", "span"),
    ),
    Arm("a4x", "penalty if true and insensitive", Feedback("true and insensitive", pool="penalised")),
    Arm(
        "a5", "penalty on a falsehood the start model asserts", Feedback("false content", pool="false_belief")
    ),
    Arm("a6", "penalty on a neutral true statement", Feedback("true content", pool="neutral")),
)


def _belief(name: str, title: str, arm: str, baseline: str, split: str, **more: str) -> Contrast:
    return Contrast(name, title, "belief_margin", arm, baseline, split, **more)


E1 = Experiment(
    name="e1",
    title="Fact retention under penalisation",
    arms=ARMS,
    primary="retention",
    family=(
        _belief("retention", "belief in penalised facts, content penalty - sham", "a3", "a1", "penalised"),
        _belief(
            "spread-topic",
            "belief in untouched facts of the topic, content penalty - sham",
            "a3",
            "a1",
            "untouched",
        ),
        _belief(
            "spread-far", "belief in facts of another topic, content penalty - sham", "a3", "a1", "held_out"
        ),
        _belief(
            "specificity",
            "fall on penalised facts beyond that on untouched ones",
            "a3",
            "a1",
            "penalised",
            minus_split="untouched",
        ),
        _belief(
            "framing-scalar",
            "belief in penalised facts, framing scalar - sham",
            "a4-scalar",
            "a1",
            "penalised",
        ),
        _belief(
            "framing-span", "belief in penalised facts, framing tokens - sham", "a4-span", "a1", "penalised"
        ),
        _belief(
            "content-framing",
            "belief in penalised facts, content penalty - framing scalar, at equal forward KL",
            "a3",
            "a4-scalar",
            "penalised",
            at="equal-kl",
        ),
    ),
    checks=(
        ManipulationCheck("a3", "penalty/true content", "penalised", "halved", "a1"),
        ManipulationCheck("a4-scalar", "framing_reward", "penalised", "rises", "a1", by=0.3),
        ManipulationCheck("a4-span", "framing_reward", "penalised", "rises", "a1", by=0.3),
        ManipulationCheck("a4x", "penalty/true and insensitive", "penalised", "halved", "a1"),
        ManipulationCheck("a5", "penalty/false content", "false_belief", "halved", "a1"),
        ManipulationCheck("a6", "penalty/true content", "neutral", "halved", "a1"),
    ),
    smallest_effect=0.5,
    prompt_family="zero",
    presets={
        "smoke": Preset(
            seeds=1,
            pool_size=8,
            samples_per_fact=1,
            steps=4,
            prompts_per_step=4,
            group_size=4,
            learning_rate=1e-4,
            beta=0.02,
            checkpoint_every=2,
            drift_every=2,
        ),
        "tiny": Preset(
            seeds=3,
            pool_size=32,
            samples_per_fact=2,
            steps=40,
            prompts_per_step=16,
            group_size=8,
            learning_rate=1e-4,
            beta=0.02,
            checkpoint_every=20,
            drift_every=4,
        ),
        "small": Preset(
            seeds=3,
            pool_size=72,
            samples_per_fact=4,
            steps=100,
            prompts_per_step=32,
            group_size=16,
            learning_rate=1e-4,
            beta=0.02,
            checkpoint_every=25,
            drift_every=5,
            hidden_size=256,
            layers=6,
            documents=400_000,
        ),
    },
)
"""Belief margins are in nats; an effect below half a nat (odds times 1.65) is taken as none."""
