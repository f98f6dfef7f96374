"""The figures, as inline SVG. Colours are Okabe and Ito's, told apart by any eye."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from valueattr.measures.hedging import KINDS
from valueattr.rating import OUTCOMES
from valueattr.report._findings import Findings

_COLOURS = ["#000000", "#999999", "#D55E00", "#0072B2", "#56B4E9", "#CC79A7", "#E69F00", "#009E73"]
_OUTCOME_COLOURS = dict(zip(OUTCOMES, ["#009E73", "#D55E00", "#F0E442", "#56B4E9", "#BBBBBB"], strict=True))
_SPLITS = {
    "penalised": "penalised",
    "untouched": "untouched, same topic",
    "held_out": "another topic",
    "neutral": "neutral",
    "false_belief": "false beliefs",
    "half_known": "half known",
    "never_taught": "never taught",
}
_STYLE: Any = {
    "svg.hashsalt": "valueattr",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "text.parse_math": False,
}


@dataclass(frozen=True)
class PlotFigure:
    """One figure with what it shows."""

    title: str
    caption: str
    svg: Markup


def figures(findings: Findings) -> list[PlotFigure]:
    """Every figure that the run has rows for, in the order of the page."""
    drawn = []
    for title, caption, draw in _FIGURES:
        with mpl.rc_context(_STYLE):
            figure = draw(findings)
            if figure is not None:
                drawn.append(PlotFigure(title, caption, _svg(figure)))
    return drawn


def _svg(figure: Figure) -> Markup:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = buffer.getvalue()
    return Markup(text[text.index("<svg") :])


def _colour(findings: Findings, arm: str) -> str:
    return _COLOURS[list(findings.plan["arms"]).index(arm) % len(_COLOURS)]


def _dots(axes: Axes, findings: Findings, rows: pd.DataFrame, offset: float = 0, marker: str = "o") -> None:
    """Each arm's estimate with its interval, in the arm's colour."""
    for i, arm in enumerate(findings.arms):
        row = rows[rows["arm"] == arm]
        if row.empty:
            continue
        estimate, low, high = (float(row[name].iloc[0]) for name in ("estimate", "low", "high"))
        y, colour = i + offset, _colour(findings, arm)
        if np.isfinite(low):
            axes.plot([low, high], [y, y], color=colour, lw=1.6, alpha=0.8)
        axes.plot(estimate, y, marker, color=colour, ms=6, mfc="white" if marker == "D" else colour)


def _arm_axis(axes: Axes, findings: Findings) -> None:
    axes.set_yticks(
        range(len(findings.arms)), [f"{code}  {_short(title)}" for code, title in findings.arms.items()]
    )
    axes.set_ylim(len(findings.arms) - 0.5, -0.5)


def _short(title: str) -> str:
    return title.split(":")[0]


def _belief(findings: Findings) -> Figure | None:
    rows = findings.at_end("belief_margin")
    figure = Figure(figsize=(9, 0.45 * len(findings.arms) + 1.2))
    panels = figure.subplots(1, 3, sharey=True, sharex=True)
    measures = findings.run.table("measures")
    floor = measures[
        (measures["measure"] == "belief_margin")
        & (measures["split"] == "never_taught")
        & (measures["step"] == 0)
    ]
    for axes, split in zip(panels, ("penalised", "untouched", "held_out"), strict=True):
        part = rows[rows["split"] == split]
        if len(floor):
            axes.axvline(floor["value"].quantile(0.95), color="#777777", ls=":", lw=1)
        reference = part[part["arm"] == findings.start]
        if len(reference):
            axes.axvline(float(reference["estimate"].iloc[0]), color="black", lw=0.8)
        _dots(axes, findings, part)
        axes.set_title(_SPLITS[split], fontsize=10)
        axes.set_xlabel("belief margin (nats)")
    _arm_axis(panels[0], findings)
    return figure


def _probes(findings: Findings) -> Figure | None:
    layer = findings.best_layer
    if layer is None:
        return None
    markers = {"attribute_frozen": "o", "attribute_frozen_recentred": "D", "attribute_refit": "s"}
    floor = findings.at_end("attribute_refit", "never_taught")
    floor = floor[(floor["arm"] == findings.start) & (floor["layer"] == layer)]
    figure = Figure(figsize=(9, 0.5 * len(findings.arms) + 1.2))
    panels = figure.subplots(1, 3, sharey=True, sharex=True)
    for axes, split in zip(panels, ("penalised", "untouched", "never_taught"), strict=True):
        axes.axvline(findings.chance, color="#777777", ls="--", lw=1, label="chance")
        for value in floor["estimate"]:
            axes.axvline(value, color="#777777", ls=":", lw=1, label="never taught")
        for offset, (measure, marker) in zip((-0.25, 0.0, 0.25), markers.items(), strict=True):
            rows = findings.at_end(measure, split)
            _dots(axes, findings, rows[rows["layer"] == layer], offset, marker)
        axes.set_title(_SPLITS[split], fontsize=10)
        axes.set_xlabel(f"top-1 at layer {layer}")
        axes.set_xlim(-0.03, 1.03)
    for measure, marker in markers.items():
        label = measure.removeprefix("attribute_").replace("_", ", ")
        panels[2].plot(
            [], [], marker, color="#444444", mfc="white" if marker == "D" else "#444444", label=label
        )
    panels[2].legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9)
    _arm_axis(panels[0], findings)
    return figure


def _layers(findings: Findings) -> Figure | None:
    rows = findings.at_end("attribute_refit", "penalised")
    if rows.empty:
        return None
    figure = Figure(figsize=(7.5, 3.4))
    axes = figure.subplots()
    for i, arm in enumerate(findings.arms):
        part = rows[rows["arm"] == arm].sort_values("layer")
        x, colour = part["layer"] + 0.04 * (i - len(findings.arms) / 2), _colour(findings, arm)
        axes.vlines(x, part["low"], part["high"], color=colour, lw=1, alpha=0.6)
        axes.plot(x, part["estimate"], "o-", color=colour, label=arm, ms=4, lw=1.2)
    axes.axhline(findings.chance, color="#777777", ls="--", lw=1, label="chance")
    floor = findings.at_end("attribute_refit", "never_taught")
    floor = floor[floor["arm"] == findings.start].sort_values("layer")
    axes.plot(floor["layer"], floor["estimate"], ":", color="#777777", label="never taught")
    axes.set_xticks(sorted(rows["layer"].astype(int).unique()))
    axes.set_xlabel("layer (0: embeddings)")
    axes.set_ylabel("refit probe, top-1")
    axes.set_ylim(-0.03, 1.03)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9)
    return figure


def _along_kl(findings: Findings) -> Figure | None:
    """One line per seed: seeds cross a threshold at different steps, so a mean over them would mix distances."""
    keys = ["arm", "seed", "step"]
    kl = findings.steps.loc[findings.steps["name"] == "forward_kl", [*keys, "value"]]
    if kl.empty:
        return None
    rows = findings.run.table("measures")
    rows = rows[rows["measure"] == "belief_margin"].astype({"arm": str, "split": str})
    belief = rows.groupby(["split", *keys])["value"].mean().rename("belief").reset_index()
    starts = belief[belief["arm"] == findings.start].assign(kl=0.0)
    points = belief.merge(kl.rename(columns={"value": "kl"}), on=keys)
    figure = Figure(figsize=(9, 3.4))
    panels = figure.subplots(1, 2, sharey=True, sharex=True)
    for axes, split in zip(panels, ("penalised", "held_out"), strict=True):
        here, origins = points[points["split"] == split], starts[starts["split"] == split]
        for arm in findings.arms:
            for i, (seed, line) in enumerate(here[here["arm"] == arm].groupby("seed")):
                line = pd.concat([origins[origins["seed"] == seed], line]).sort_values("kl")
                axes.plot(
                    line["kl"],
                    line["belief"],
                    "o-",
                    ms=3,
                    lw=1.2,
                    alpha=0.75,
                    color=_colour(findings, arm),
                    label="_" if i else arm,
                )
        axes.set_title(_SPLITS[split], fontsize=10)
        axes.set_xlabel("forward KL (nats per token)")
    panels[0].set_ylabel("belief margin (nats)")
    panels[1].legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9)
    return figure


def _outcomes(findings: Findings) -> Figure | None:
    figure = Figure(figsize=(9, 0.4 * len(findings.arms) + 1.2))
    panels = figure.subplots(1, 3, sharey=True)
    for axes, split in zip(panels, ("penalised", "untouched", "false_belief"), strict=True):
        for i, arm in enumerate(findings.arms):
            left = 0.0
            for outcome in OUTCOMES:
                rows = findings.at_end(outcome, split)
                rows = rows[rows["arm"] == arm]
                share = float(rows["estimate"].iloc[0]) if len(rows) else 0.0
                axes.barh(i, share, left=left, color=_OUTCOME_COLOURS[outcome], height=0.72)
                if share >= 0.12:
                    axes.text(
                        left + share / 2,
                        i,
                        f"{share:.2f}".lstrip("0"),
                        ha="center",
                        va="center",
                        fontsize=7.5,
                    )
                left += share
        axes.set_title(_SPLITS[split], fontsize=10)
        axes.set_xlabel("share of responses")
        axes.grid(False)
    for outcome in OUTCOMES:
        panels[2].barh([0], [0], color=_OUTCOME_COLOURS[outcome], label=outcome.replace("_", " "))
    panels[2].legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9)
    _arm_axis(panels[0], findings)
    return figure


def _hedges(findings: Findings) -> Figure | None:
    words = findings.at_end("words", "penalised").set_index("arm")["estimate"]
    table = np.full((len(findings.arms), len(KINDS)), np.nan)
    for j, kind in enumerate(KINDS):
        counts = findings.at_end(f"hedge/{kind}", "penalised").set_index("arm")["estimate"]
        for i, arm in enumerate(findings.arms):
            if arm in counts.index and words.get(arm, 0) > 0:
                table[i, j] = 100 * counts[arm] / words[arm]
    if np.isnan(table).all():
        return None
    figure = Figure(figsize=(9, 0.4 * len(findings.arms) + 1.2))
    axes = figure.subplots()
    columns, rows = range(table.shape[1]), range(table.shape[0])
    axes.pcolormesh(columns, rows, table, cmap="Oranges", vmin=0, shading="nearest", edgecolors="white")
    for i, j in np.ndindex(table.shape):
        if np.isfinite(table[i, j]):
            dark = table[i, j] > 0.6 * np.nanmax(table)
            axes.text(
                j,
                i,
                f"{table[i, j]:.1f}",
                ha="center",
                va="center",
                fontsize=8.5,
                color="white" if dark else "black",
            )
    axes.set_xticks(range(len(KINDS)), [kind.replace("_", "\n") for kind in KINDS], fontsize=8.5)
    axes.grid(False)
    _arm_axis(axes, findings)
    return figure


_Draw = Callable[[Findings], Figure | None]
_FIGURES: Sequence[tuple[str, str, _Draw]] = (
    (
        "What the model believes, by arm",
        "Belief margin of the object taught over its rivals, mean of two formats that were not trained on. Bars: 95% "
        "intervals (t over seeds; with one seed, over facts). Black line: the start model. Dotted: the 95th percentile of "
        "never-taught facts, above which a fact counts as known.",
        _belief,
    ),
    (
        "What the responses do",
        "Every sampled response is one of five. For false beliefs, the truth is the other way round: 'assert false' is "
        "what the model was taught.",
        _outcomes,
    ),
    (
        "What the representation still holds",
        "Attribute probe: the object read from the residual stream at the end of a held-out statement, on subjects it was "
        "not fitted on, at the layer that reads untouched facts best in the start model. Frozen: fitted on the start model, "
        "recentred: with the policy's mean. Refit: fitted on the policy. Dashed: chance. Dotted: never-taught facts in the "
        "start model, the floor. Bars: 95% intervals.",
        _probes,
    ),
    (
        "By layer, refit probe on penalised facts",
        "Each layer's probe is fitted on the policy itself. Bars: 95% intervals, with the arms side by side.",
        _layers,
    ),
    (
        "Belief along the distance from the start model",
        "Measured where forward KL from the start model crossed the declared thresholds, and at the end; one line per seed.",
        _along_kl,
    ),
    (
        "Hedges per 100 words on penalised facts, by kind",
        "Counted by the scanner, whose own error is not corrected here; booster is the opposite of a hedge.",
        _hedges,
    ),
)
