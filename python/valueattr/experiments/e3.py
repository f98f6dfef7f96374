"""E3, value attribution: one scalar against feedback that says which part of a response earned it."""

from dataclasses import replace

from valueattr.plan import Arm, At, Check, Contrast, Experiment, Ratio, brought_back, sham_of
from valueattr.rating import Feedback

_SPLITS = ("penalised",)
_FRAMING = Feedback(("insensitive framing",), _SPLITS)
_BOTH = Feedback(("insensitive framing", "no true content"), _SPLITS)
_SPAN = replace(_FRAMING, credit="span")


def _holistic(code: str, reason: str, told: str) -> Arm:
    feedback = Feedback(("insensitive framing", reason), _SPLITS)
    return Arm(code, f"framing and {told} as one scalar", feedback)


_ON_POLICY = (
    _holistic("s1-wrong", "false content", "wrong content"),
    _holistic("s1-context", "missing context", "missing context"),
    _holistic("s1-faith", "topic in bad faith", "suspected bad faith"),
    _holistic("s1-discomfort", "personal discomfort", "discomfort at the truth"),
    Arm("s2", "framing as a scalar", _FRAMING),
    Arm("s3", "framing and content summed to a scalar", _BOTH),
    Arm("s5", "framing and content, each normalised, then summed", replace(_BOTH, decoupled=True)),
    Arm("s6", "framing on the framing tokens", _SPAN),
    Arm("s7", "framing and content, each on its own tokens", replace(_BOTH, credit="span")),
    Arm("random", "framing on random tokens: as many as s6", replace(_FRAMING, credit="random")),
    Arm("swapped", "s7 with the aspects' labels exchanged", replace(_BOTH, credit="span", swapped=True)),
)
_FROM_EXAMPLES = (
    Arm("s8", "critique in words, by self-distillation", _FRAMING, method="critique"),
    Arm("s8-other", "the critique of another response", _FRAMING, method="other critique"),
    Arm("s9", "edit pairs by DPO: same content, better framing", _FRAMING, method="edit pairs"),
    Arm("sft", "SFT on true answers put well: a ceiling", _FRAMING, method="well-put answers"),
)
ARMS = (
    Arm("s0", "start model", None),
    *(each for arm in _ON_POLICY for each in (arm, sham_of(arm))),
    *_FROM_EXAMPLES,
)

_BASELINES = {arm.code: f"{arm.code}-sham" for arm in _ON_POLICY} | {
    "s8": "s8-other",
    "s8-other": "s2-sham",
    "s9": "s2-sham",
    "sft": "s2-sham",
}
"""What an arm is read against: its own sham, and where examples teach it, the control of that or the scalar's sham."""
_NOT_EXPECTED_TO_FRAME = ("random", "swapped", "s8-other")


def _knowledge(name: str, title: str, arm: str, baseline: str, at: At) -> Contrast:
    return Contrast(name, title, "belief_margin", arm, baseline, "penalised", at=at)


E3 = Experiment(
    name="e3",
    title="Value attribution: scalar against structured feedback",
    arms=ARMS,
    primary="attribution",
    contrasts=(
        _knowledge("attribution", "belief, framing on its tokens - framing as a scalar, at equal framing",
                   "s6", "s2", "equal-framing"),
        Contrast("attribution-said", "true answers, framing on its tokens - framing as a scalar, at equal framing",
                 "assert_true", "s6", "s2", "penalised", at="equal-framing", unit="of responses", smallest_effect=0.1),
        _knowledge("attribution-kl", "belief, framing on its tokens - framing as a scalar, at equal forward KL",
                   "s6", "s2", "equal-kl"),
        _knowledge("leak", "belief, framing as a scalar - its sham, at equal steps", "s2", "s2-sham", "equal-steps"),
        _knowledge("span", "belief, framing on its tokens - its sham, at equal steps", "s6", "s6-sham", "equal-steps"),
        _knowledge("tokens", "belief, framing on its tokens - on random tokens, at equal steps",
                   "s6", "random", "equal-steps"),
        _knowledge("tokens-kl", "belief, framing on its tokens - on random tokens, at equal forward KL",
                   "s6", "random", "equal-kl"),
        Contrast("tokens-framing", "framing by another rater, on its tokens - on random tokens", "courtesy",
                 "s6", "random", "penalised", unit="of 1", smallest_effect=0.1),
        _knowledge("decoupled", "belief, normalised then summed - summed, at equal framing",
                   "s5", "s3", "equal-framing"),
        _knowledge("critique", "belief, critique in words - framing as a scalar, at equal framing",
                   "s8", "s2", "equal-framing"),
    ),
    ratios=(
        *(
            Ratio(f"tax-{code}", f"knowledge tax of {code}: belief lost per framing gained", code, baseline,
                  ("belief_margin", "penalised"), ("courtesy", "penalised"), sign=-1)
            for code, baseline in _BASELINES.items()
        ),
        *(brought_back(arm.code, arm.title) for arm in _ON_POLICY),
    ),
    checks=tuple(
        Check(code, "penalty/insensitive framing", "penalised", "halved", baseline)
        for code, baseline in _BASELINES.items() if code not in _NOT_EXPECTED_TO_FRAME
    ),
    prompt_family="negative",
    prompted=_SPLITS,
    frontier_every=8,
)  # fmt: skip
"""The start model puts true answers worse than evasions: the case in which a scalar leaks."""

VARIATIONS = ("prompt-family", "span-noise")


def vary(what: str) -> Experiment:
    """E3 with the arms s2, s6 and random spans under other prompt families, or s6 with noisy spans.

    Span noise leaves a scalar and random spans as they are, so s2 and `random` stand at both ends of it.

    Raises:
        ValueError: no such variation.
    """
    by_code = {arm.code: arm for arm in ARMS}
    if what == "prompt-family":
        return E3.with_arms(
            *(
                replace(by_code[code], code=f"{code}-{family}", title=f"{by_code[code].title}, {family} covariance",
                        prompt_family=family)
                for family in ("zero", "positive") for code in ("s0", "s2", "s6", "random")
            )
        )  # fmt: skip
    if what == "span-noise":
        return E3.with_arms(
            *(
                Arm(f"s6-noise{noise}", f"framing on its tokens, {noise}% of spans random",
                    replace(_SPAN, span_noise=noise / 100))
                for noise in (10, 20, 30, 40, 50)
            )
        )  # fmt: skip
    raise ValueError(f"unknown variation {what!r}; known: {', '.join(VARIATIONS)}")
