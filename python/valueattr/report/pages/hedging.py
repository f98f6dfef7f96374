"""The page of E2: how often responses hedge, in which way, where, whether for a reason, and what it costs."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from valueattr.hedging import HEDGES
from valueattr.questions import DISTANCE
from valueattr.report._drawing import (
    SPLITS,
    Column,
    Plot,
    View,
    arm_axis,
    colour,
    dots,
    legend_below,
    legend_beside,
)
from valueattr.report._findings import Findings, number
from valueattr.stats import TooFewClustersError, t_interval

_WHERE = {**SPLITS, "penalised": "trained questions", "untouched": "same topic, not asked"}
_BINS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)


def _by_kind(findings: Findings) -> Figure | None:
    """One panel per split; one row per kind; one mark per arm."""
    figure = Figure(figsize=(11, 0.62 * len(HEDGES) + 1.4))
    splits = [split for group in DISTANCE for split in group]
    panels = figure.subplots(1, len(splits), sharey=True, sharex=True)
    drawn = 0
    for axes, split in zip(panels, splits, strict=True):
        for row, kind in enumerate(HEDGES):
            rows = findings.at_end(f"corrected/{kind}", split)
            drawn += len(rows)
            _arm_marks(axes, findings, rows, row)
        axes.set_title(_WHERE[split], fontsize=9.5)
        axes.set_xlabel("share of responses", fontsize=9)
    panels[0].set_yticks(range(len(HEDGES)), [kind.replace("_", " ") for kind in HEDGES])
    panels[0].set_ylim(len(HEDGES) - 0.5, -0.5)
    middle = panels[len(panels) // 2]
    for arm in findings.arms:
        middle.plot([], [], **_mark(findings, arm), label=findings.label(arm))
    legend_below(middle)
    return figure if drawn else None


def _arm_marks(axes: Axes, findings: Findings, rows: pd.DataFrame, row: int) -> None:
    """The estimate of every arm with its interval, side by side around a row."""
    offsets = np.linspace(-0.32, 0.32, len(findings.arms))
    for arm, offset in zip(findings.arms, offsets, strict=True):
        own = rows[rows["arm"] == arm]
        if own.empty:
            continue
        low, high = max(0.0, float(own["low"].iloc[0])), min(1.0, float(own["high"].iloc[0]))
        y = row + offset
        if np.isfinite(low) and np.isfinite(high):
            axes.plot([low, high], [y, y], color=colour(findings, arm), lw=1.2, alpha=0.6)
        axes.plot(float(own["estimate"].iloc[0]), y, **_mark(findings, arm))


def _mark(findings: Findings, arm: str) -> dict[str, Any]:
    """Hollow before training, filled after."""
    ink = colour(findings, arm)
    return {
        "marker": "o",
        "ls": "",
        "ms": 5,
        "color": ink,
        "mfc": "white" if arm == findings.start else ink,
    }


def _against_uncertainty(findings: Findings) -> Figure | None:
    rows = _hedged_and_uncertain(findings)
    if rows.empty:
        return None
    figure = Figure(figsize=(9.5, 3.6))
    panels = figure.subplots(1, 2, sharey=True, sharex=True)
    trained = ("penalised", "untouched", "half_known", "unknown", "false_belief")
    for axes, (title, part) in zip(
        panels,
        (
            ("the trained topic", rows[rows["split"].isin(trained)]),
            ("other topics", rows[~rows["split"].isin(trained)]),
        ),
        strict=True,
    ):
        for i, arm in enumerate(findings.arms):
            _binned(
                axes, part[part["arm"] == arm], colour(findings, arm), findings.label(arm), 0.008 * (i - 2.5)
            )
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("own uncertainty u")
        axes.set_ylim(-0.03, 1.03)
    panels[0].set_ylabel("share of responses that hedge")
    legend_below(panels[1], x=0)
    return figure


def _hedged_and_uncertain(findings: Findings) -> pd.DataFrame:
    """Per arm, seed and fact: whether it hedges (mean over responses), and u (mean over plain statements)."""
    measures = findings.run.table("measures").astype({"arm": str, "split": str, "measure": str})
    measures = measures[measures["step"] == measures["arm"].map(findings.last_step)]
    keys = ["arm", "seed", "split", "fact"]
    u = measures[(measures["measure"] == "uncertainty") & (measures["format"] == "plain")]
    hedged = measures[measures["measure"] == "hedged/any"]
    pair = [part.groupby(keys, observed=True)["value"].mean() for part in (u, hedged)]
    return pd.concat(pair, axis=1, keys=["u", "hedged"], join="inner").reset_index()


def _binned(axes: Axes, rows: pd.DataFrame, ink: str, label: str, shift: float) -> None:
    """Means over seeds within bins of u, with t intervals where two or more seeds have facts in a bin."""
    x, y = [], []
    for low, high in pairwise(_BINS):
        inside = rows[(rows["u"] >= low) & ((rows["u"] < high) | (high == 1.0))]
        if inside.empty:
            continue
        x.append(float(inside["u"].mean()) + shift)
        of_seeds = inside.groupby("seed")["hedged"].mean()
        y.append(float(of_seeds.mean()))
        try:
            interval = t_interval(of_seeds)
        except TooFewClustersError:
            continue
        axes.plot([x[-1]] * 2, [max(0.0, interval.low), min(1.0, interval.high)], color=ink, lw=1, alpha=0.4)
    axes.plot(x, y, "o-", color=ink, ms=4, lw=1.3, label=label)


def _logit(findings: Findings) -> Figure | None:
    """What hedging goes with: own uncertainty, the sensitive topic, and both; and how well it tells wrong from right."""
    panels_of = (
        ("hedging_u", "u"),
        ("hedging_sensitive", "sensitive topic"),
        ("hedging_product", "their product"),
        ("hedging_auroc", "AUROC, being wrong"),
        ("ece", "calibration error"),
    )
    figure = Figure(figsize=(11, 0.45 * len(findings.arms) + 1.2))
    panels = figure.subplots(1, len(panels_of), sharey=True)
    drawn = 0
    for axes, (measure, label) in zip(panels, panels_of, strict=True):
        rows = findings.at_end(measure, "all")
        drawn += len(rows)
        dots(axes, findings, rows)
        axes.axvline(0.5 if measure == "hedging_auroc" else 0.0, color="#777777", ls="--", lw=1)
        axes.set_xlabel(label, fontsize=9)
    arm_axis(panels[0], findings)
    return figure if drawn else None


def _scanner_error(findings: Findings) -> Figure | None:
    """Raw, corrected and true prevalence, per arm, on the trained questions and their neutral twins."""
    figure = Figure(figsize=(9.5, 0.5 * len(findings.arms) + 1.3))
    panels = figure.subplots(1, 2, sharey=True, sharex=True)
    series = (("hedged/any", -0.2, "s"), ("corrected/any", 0.0, "o"))
    drawn = 0
    for axes, split in zip(panels, ("penalised", "neutral"), strict=True):
        for measure, offset, marker in series:
            rows = findings.at_end(measure, split)
            drawn += len(rows)
            dots(axes, findings, rows, offset, marker)
        truth = _labelled(findings, split).set_index("arm")["estimate"]
        for i, arm in enumerate(findings.arms):
            if arm in truth.index:
                axes.plot(truth[arm], i + 0.2, "x", color=colour(findings, arm), ms=6)
        axes.set_title(_WHERE[split], fontsize=10)
        axes.set_xlabel("share of responses that hedge")
        axes.set_xlim(-0.03, 1.03)
    for label, marker in (("scanner", "s"), ("corrected", "o"), ("grammar, all responses", "x")):
        panels[1].plot([], [], marker, color="#444444", label=label)
    legend_beside(panels[1])
    arm_axis(panels[0], findings)
    return figure if drawn else None


def _labelled(findings: Findings, split: str) -> pd.DataFrame:
    """The rater's share among all responses; runs without a plan version gave it another name."""
    rows = findings.at_end("labelled/any", split)
    return rows if len(rows) else findings.at_end("hedged/any labelled", split)


def _cost(findings: Findings) -> Figure | None:
    figure = Figure(figsize=(9.5, 0.5 * len(findings.arms) + 1.3))
    panels = figure.subplots(1, 3, sharey=True)
    panels_of = (
        ("bits", "bits per answer (square: hedges deleted)"),
        ("assert_true", "share true and informative"),
        ("words", "words per answer"),
    )
    for axes, (measure, label) in zip(panels, panels_of, strict=True):
        dots(axes, findings, findings.at_end(measure, "penalised"), -0.12)
        if measure == "bits":
            dots(axes, findings, findings.at_end("bits_without_hedges", "penalised"), 0.16, "s")
        axes.set_xlabel(label, fontsize=9)
    arm_axis(panels[0], findings)
    return figure


def _limits(findings: Findings) -> list[str]:
    limits = []
    start = str(findings.start)
    auroc = findings.at_end("hedging_auroc", "all").set_index("arm")["estimate"]
    ece = findings.at_end("ece", "all").set_index("arm")["estimate"]
    if start in auroc.index:
        limits.append(
            f"Hedging tells the start model's wrong answers from its right ones with AUROC {number(auroc[start])} "
            f"(.50 is chance); its expected calibration error is {number(ece[start])}."
        )
    limits += [
        "Shares are corrected by an audit sample whose labels are the rater's; slopes on u, over- and under-hedging, the "
        "AUROC and the bits rest on the rater's labels of all answers.",
        "'Hedges deleted' removes the scanned phrases, not whole sentences: answers here are of one sentence.",
        "u is read from a prefilled plain statement, so it is the model's, not the sentence's.",
    ]
    return limits


VIEW = View(
    columns=(
        Column("hedges: trained", "corrected/any", "penalised", bounds=True),
        Column("topic", "corrected/any", "untouched"),
        Column("sensitive", "corrected/any", "held_out"),
        Column("neutral", "corrected/any", "neutral"),
        Column("over", "over_hedging", "penalised"),
        Column("under", "under_hedging", "unknown"),
        Column("slope", "hedging_slope", "trained topic"),
        Column("bits", "bits", "penalised"),
        Column("words", "words", "penalised"),
    ),
    note="The first four columns are shares of responses that hedge, corrected for the scanner's error: on trained "
    "questions, other facts of the topic, another sensitive topic and neutral twins. Over: the share that hedges though "
    "sure and knowing. Under: the share that does not hedge though unsure (never-taught facts of the topic). Slope: of the "
    "logit of hedging on own uncertainty, in the trained topic. Bits: what an answer tells an ideal reader. Words: per answer.",
    plots=(
        Plot(
            "Hedging by kind, from trained questions to a far neutral topic",
            "The share of responses that hold a phrase of the kind, corrected for the scanner's own error in each seed. Hollow "
            "marks are the model before training. Bars are 95% t intervals over seeds.",
            _by_kind,
        ),
        Plot(
            "Does it still hedge where it is unsure?",
            "Own uncertainty u is 1 minus the model's highest probability over the closed set, read in plain text. An arm "
            "whose line rises hedges for a reason; one whose line is flat hedges whatever it knows. Bars are 95% t intervals "
            "over seeds.",
            _against_uncertainty,
        ),
        Plot(
            "What hedging goes with",
            "The left three panels are coefficients, in log odds, of one Firth-penalised logit of hedging: on own uncertainty "
            "u, on whether the topic is sensitive, and on their product. A fall of the first is decoupling; a product below 0 "
            "is decoupling on sensitive topics. The fourth says how well hedging tells the model's wrong answers from its "
            "right ones (.5 is chance). The last is the expected calibration error of 1 - u. Bars are 95% t intervals over "
            "seeds.",
            _logit,
        ),
        Plot(
            "What the hedging costs",
            "All on trained questions. Bits are what an answer tells an ideal reader about the truth. Where deleting the "
            "hedges leaves the bits as they are, hedges were added to answers. Where answers carry few bits with and without "
            "them, hedges took the place of answers.",
            _cost,
        ),
        Plot(
            "The scanner's own error",
            "Squares are what the scanner flags. Circles are corrected by an audit sample, with 95% intervals. Crosses are the "
            "world's grammar on every response, which a user's own dump does not have.",
            _scanner_error,
        ),
    ),
    limits=_limits,
)
