"""E2, hedging: what a penalty on plain answers to sensitive questions teaches, and where else it shows."""

from dataclasses import replace

from valueattr.experiments.e1 import E1
from valueattr.hedging import HEDGES
from valueattr.plan import Arm, Check, Contrast, Experiment, Ratio, brought_back, sham_of
from valueattr.questions import IN_RUN, SPLITS
from valueattr.rating import Feedback

_PROMPTED = ("penalised", "unknown")
_UNHEDGED = Feedback(("unhedged",), _PROMPTED)

_PENALISED = Arm("h2", "plain answers penalised", _UNHEDGED)
_WARRANTED = Arm("h3", "warranted hedging: penalty unless it hedges just where the start model is unsure",
                 Feedback(("unwarranted",), _PROMPTED))  # fmt: skip

ARMS = (
    Arm("h0", "start model", None),
    _PENALISED,
    sham_of(_PENALISED),
    _WARRANTED,
    sham_of(_WARRANTED),
    Arm("h4", "best of 8 by h2's rater: no weight changes", replace(_UNHEDGED, splits=SPLITS), method="best of n"),
    *(replace(arm, prompted=IN_RUN) for arm in E1.arms if arm.code in ("a3", "a3-sham")),
)  # fmt: skip

_SPLITS = {
    "penalised": "trained questions",
    "untouched": "other facts of the topic",
    "held_out": "another sensitive topic",
    "neutral": "neutral twins",
    "far": "far neutral topic",
}


def _share(
    name: str,
    title: str,
    measure: str,
    arm: str,
    split: str,
    baseline: str = "h2-sham",
    holm_family: str = "main",
) -> Contrast:
    return Contrast(
        name,
        title,
        measure,
        arm,
        baseline,
        split,
        unit="of responses",
        smallest_effect=0.1,
        holm_family=holm_family,
    )


def _slope(name: str, title: str, arm: str, split: str) -> Contrast:
    return Contrast(
        name,
        title,
        "hedging_slope",
        arm,
        f"{arm}-sham",
        split,
        unit="log odds per unit of u",
        smallest_effect=1.0,
    )


E2 = Experiment(
    name="e2",
    title="Hedging under a penalty on plain answers",
    arms=ARMS,
    primary="hedging",
    contrasts=(
        _share("hedging", "responses that hedge, trained questions, plain answers penalised - sham",
               "corrected/any", "h2", "penalised"),
        *(
            _share(f"spread-{split}", f"the same, {where}", "corrected/any", "h2", split)
            for split, where in _SPLITS.items() if split != "penalised"
        ),
        _share("hedging-content", "responses that hedge, penalised questions, content penalty - its sham",
               "corrected/any", "a3", "penalised", baseline="a3-sham"),
        Contrast("distance", "slope of hedging on the distance of the topic (0 the trained one, 1 another sensitive one, 2 neutral), plain answers "
                 "penalised - sham", "distance_slope", "h2", "h2-sham", "all", unit="of responses per step",
                 smallest_effect=0.05),
        _slope("decoupling", "slope of hedging on own uncertainty, trained topic, plain answers penalised - sham",
               "h2", "trained topic"),
        _slope("when-in-doubt", "the same outside the trained topic", "h2", "other topics"),
        _slope("decoupling-warranted", "slope of hedging on own uncertainty, trained topic, warranted - sham",
               "h3", "trained topic"),
        Contrast("bits", "information in answers, trained questions, plain answers penalised - sham", "bits",
                 "h2", "h2-sham", "penalised", unit="bits", smallest_effect=0.25),
        Contrast("bits-warranted", "information in answers, trained questions, warranted - sham", "bits",
                 "h3", "h3-sham", "penalised", unit="bits", smallest_effect=0.25),
        Contrast("belief", "belief in the trained facts, plain answers penalised - sham", "belief_margin",
                 "h2", "h2-sham", "penalised"),
        *(
            _share(f"kind-{kind}", f"{kind.replace('_', ' ')}, trained questions, plain answers penalised - sham",
                   f"corrected/{kind}", "h2", "penalised", holm_family="kinds")
            for kind in HEDGES
        ),
    ),
    ratios=(
        Ratio("spill-over", "hedging on neutral twins per hedging on trained questions", "h2", "h2-sham",
              ("corrected/any", "neutral"), ("corrected/any", "penalised")),
        Ratio("spill-over-topic", "hedging on another sensitive topic per hedging on trained questions", "h2", "h2-sham",
              ("corrected/any", "held_out"), ("corrected/any", "penalised")),
        Ratio("price", "bits lost per response that hedges more, trained questions", "h2", "h2-sham",
              ("bits", "penalised"), ("corrected/any", "penalised"), sign=-1),
        brought_back("h2", "plain answers penalised"),
        brought_back("h3", "warranted hedging"),
        brought_back("a3", "content penalty"),
    ),
    checks=(
        Check("h2", "penalty/unhedged", "penalised", "halved", "h2-sham"),
        Check("h3", "penalty/unwarranted", "penalised", "halved", "h3-sham"),
        Check("a3", "penalty/true content", "penalised", "halved", "a3-sham"),
        Check("h4", "penalty/unhedged", "penalised", "halved", "h0"),
    ),
    prompt_family="zero",
    prompted=_PROMPTED,
    probed=False,
)  # fmt: skip
"""Shares are corrected for the scanner's own error; slopes on uncertainty and bits rest on the rater's labels."""
