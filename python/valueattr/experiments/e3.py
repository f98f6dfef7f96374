"""E3, value attribution: one scalar against feedback that says which part of a response earned it."""

from dataclasses import replace

from valueattr.plan import Arm, At, Check, Contrast, Experiment, Ratio, brought_back, sham_of
from valueattr.rating import Feedback

_SPLITS = ("penalised",)
_FRAMING = Feedback(("insensitive framing",), _SPLITS)
_BOTH = Feedback(("insensitive framing", "no true content"), _SPLITS)
_CONTENT = Feedback(("no true content",), _SPLITS)
_SPAN = replace(_FRAMING, credit="span")
_EQUAL_FRAMING = (0.45, 0.65)
"""The range of framing over which arms are compared, sealed with the plan: above the start model's level, and short of
where arms end."""


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
    Arm("s4", "content as a scalar: paid for truth alone", _CONTENT),
    Arm("s5", "framing and content, each normalised, then summed", replace(_BOTH, decoupled=True)),
    Arm("s6", "framing on the framing tokens", _SPAN),
    Arm("s7", "framing and content, each on its own tokens", replace(_BOTH, credit="span")),
    Arm(
        "noise",
        "framing on its tokens and noise on the others: s2 without its leak",
        replace(_FRAMING, credit="noise"),
    ),
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
_NOT_EXPECTED_TO_FRAME = ("s4", "random", "swapped", "s8-other")


def _knowledge(
    name: str, title: str, arm: str, baseline: str, at: At, minus_arms: tuple[str, str] | None = None
) -> Contrast:
    framing = _EQUAL_FRAMING if at == "equal-framing" else None
    return Contrast(
        name,
        title,
        "belief_margin",
        arm,
        baseline,
        "penalised",
        minus_arms=minus_arms,
        framing=framing,
        at=at,
    )


def _framing(name: str, title: str, arm: str, baseline: str) -> Contrast:
    return Contrast(name, title, "courtesy", arm, baseline, "penalised", unit="of 1", smallest_effect=0.1)


E3 = Experiment(
    name="e3",
    title="Value attribution: scalar against structured feedback",
    arms=ARMS,
    primary="attribution",
    contrasts=(
        _knowledge("attribution", "belief, framing on its tokens - framing as a scalar, at equal framing",
                   "s6", "s2", "equal-framing"),
        Contrast("attribution-said", "true answers, framing on its tokens - framing as a scalar, at equal framing",
                 "assert_true", "s6", "s2", "penalised", framing=_EQUAL_FRAMING, at="equal-framing",
                 unit="of responses", smallest_effect=0.1),
        _knowledge("attribution-kl", "belief, framing on its tokens - framing as a scalar, at equal forward KL",
                   "s6", "s2", "equal-kl"),
        _knowledge("leak", "belief, framing as a scalar - its sham, at equal steps", "s2", "s2-sham", "equal-steps"),
        _knowledge("span", "belief, framing on its tokens - its sham, at equal steps", "s6", "s6-sham", "equal-steps"),
        _knowledge("noise", "belief, framing as a scalar - the same with noise in place of its leak, at equal steps",
                   "s2", "noise", "equal-steps"),
        _knowledge("noise-kl", "belief, framing as a scalar - the same with noise in place of its leak, at equal "
                   "forward KL", "s2", "noise", "equal-kl"),
        _knowledge("tokens", "belief, framing on its tokens - on random tokens, at equal steps",
                   "s6", "random", "equal-steps"),
        _knowledge("tokens-kl", "belief, framing on its tokens - on random tokens, at equal forward KL",
                   "s6", "random", "equal-kl"),
        _framing("tokens-framing", "framing by another rater, on its tokens - on random tokens", "s6", "random"),
        _knowledge("content-alone", "belief, paid for truth alone - its sham, at equal steps",
                   "s4", "s4-sham", "equal-steps"),
        _framing("framing-added", "framing by another rater, framing and content summed - paid for truth alone",
                 "s3", "s4"),
        _knowledge("tokens-content-kl", "belief, framing and content each on its own tokens - on all tokens, at equal "
                   "forward KL", "s7", "s5", "equal-kl"),
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
    """E3 with the arms s2, s6 and random spans under other prompt families, or s6 with noisy spans; each with its sham.

    Span noise leaves a scalar and random spans as they are, so s2 and `random` stand at both ends of it.

    Raises:
        ValueError: no such variation.
    """
    if what == "prompt-family":
        varied = _under_other_families(("zero", "positive"))
    elif what == "span-noise":
        noisy = [
            Arm(f"s6-noise{noise}", f"framing on its tokens, {noise}% of spans random",
                replace(_SPAN, span_noise=noise / 100))
            for noise in (10, 20, 30, 40, 50)
        ]  # fmt: skip
        varied = E3.with_arms(*(each for arm in noisy for each in (arm, sham_of(arm))))
    else:
        raise ValueError(f"unknown variation {what!r}; known: {', '.join(VARIATIONS)}")
    return replace(varied, variation=what)


def _under_other_families(families: tuple[str, ...]) -> Experiment:
    """Where framing is not bound to content, a leak predicts nothing: each contrast is the difference in difference."""
    codes = ("s0", "s2", "s2-sham", "s6", "s6-sham", "random", "random-sham")
    arms = {arm.code: arm for arm in ARMS}
    more = (
        replace(arms[code], code=f"{code}-{family}", title=f"{arms[code].title}, {family} covariance",
                prompt_family=family)
        for family in families for code in codes
    )  # fmt: skip
    interactions = (
        contrast
        for family in families
        for contrast in (
            _knowledge(f"leak-{family}", f"belief, framing as a scalar - its sham, less that under {family} covariance",
                       "s2", "s2-sham", "equal-steps", (f"s2-{family}", f"s2-sham-{family}")),
            _knowledge(f"attribution-{family}", "belief, framing on its tokens - framing as a scalar, at equal forward "
                       f"KL, less that under {family} covariance",
                       "s6", "s2", "equal-kl", (f"s6-{family}", f"s2-{family}")),
        )
    )  # fmt: skip
    checks = (
        Check(
            f"{code}-{family}", "penalty/insensitive framing", "penalised", "halved", f"{code}-sham-{family}"
        )
        for family in families
        for code in ("s2", "s6")
    )
    return E3.with_arms(*more, contrasts=interactions, checks=checks)
