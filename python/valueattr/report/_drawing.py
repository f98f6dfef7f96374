"""What every figure is drawn with. Colours are Okabe and Ito's, then Tol's, told apart by any eye."""

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

from valueattr.report._findings import Findings

Draw = Callable[[Findings], Figure | None]
"""Draws a figure, or nothing where the run has no rows for it."""

START_INK, SHAM_INK = "#000000", "#999999"
COLOURS = ["#D55E00", "#0072B2", "#56B4E9", "#CC79A7", "#E69F00", "#009E73"]
COLOURS += ["#332288", "#117733", "#882255", "#44AA99", "#AA4499", "#DDCC77", "#999933", "#6699CC", "#661100"]
SPLITS = {
    "penalised": "penalised",
    "untouched": "untouched, same topic",
    "held_out": "another sensitive topic",
    "neutral": "neutral twins",
    "far": "far neutral topic",
    "false_belief": "false beliefs",
    "half_known": "half known",
    "unknown": "never taught, same topic",
    "never_taught": "never taught",
}
STYLE: Any = {
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
class Column:
    """A column of the table of arms: a measure on a split at the last step."""

    header: str
    measure: str
    split: str
    bounds: bool = False
    at_best_layer: bool = False


@dataclass(frozen=True)
class Plot:
    """A figure as it is declared: what it shows, and how it is drawn."""

    title: str
    caption: str
    draw: Draw


@dataclass(frozen=True)
class View:
    """What the page of an experiment holds besides what every page does.

    columns: of the table of arms, between the code and the KL; `note` says what they are. limits: what a reader must be
    told, found in the run.
    """

    columns: Sequence[Column]
    note: str
    plots: Sequence[Plot]
    limits: Callable[[Findings], list[str]]


@dataclass(frozen=True)
class PlotFigure:
    """One figure with what it shows."""

    title: str
    caption: str
    svg: Markup


def drawn(plots: Sequence[Plot], findings: Findings) -> list[PlotFigure]:
    """Every figure that the run has rows for, in order."""
    figures = []
    for plot in plots:
        with mpl.rc_context(STYLE):
            figure = plot.draw(findings)
            if figure is not None:
                figures.append(PlotFigure(plot.title, plot.caption, svg(figure)))
    return figures


def svg(figure: Figure) -> Markup:
    """A figure as it stands in a page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = buffer.getvalue()
    return Markup(text[text.index("<svg") :])


def colour(findings: Findings, arm: str) -> str:
    """The colour of an arm, the same in every figure of a run; all shams are grey."""
    planned = findings.plan.arm(arm)
    if planned.feedback is None:
        return START_INK
    if planned.is_sham:
        return SHAM_INK
    others = [each.code for each in findings.plan.arms if each.feedback and not each.is_sham]
    return COLOURS[others.index(arm) % len(COLOURS)]


def dots(axes: Axes, findings: Findings, rows: pd.DataFrame, offset: float = 0, marker: str = "o") -> None:
    """Each arm's estimate with its interval, in the arm's colour."""
    for i, arm in enumerate(findings.arms):
        row = rows[rows["arm"] == arm]
        if row.empty:
            continue
        estimate, low, high = (float(row[name].iloc[0]) for name in ("estimate", "low", "high"))
        y, ink = i + offset, colour(findings, arm)
        if np.isfinite(low):
            axes.plot([low, high], [y, y], color=ink, lw=1.6, alpha=0.8)
        axes.plot(estimate, y, marker, color=ink, ms=6, mfc="white" if marker == "D" else ink)


def arm_axis(axes: Axes, findings: Findings) -> None:
    """One row per arm, named, from the top."""
    axes.set_yticks(range(len(findings.arms)), [findings.label(code) for code in findings.arms])
    axes.set_ylim(len(findings.arms) - 0.5, -0.5)


def legend_beside(axes: Axes) -> None:
    """The legend to the right of the axes, where it hides nothing."""
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9)


def legend_below(axes: Axes, columns: int = 3, x: float = 0.5) -> None:
    """The legend under the axes and their label, for the long names of arms; `x` in shares of the axes' width."""
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(x, 0),
        bbox_transform=axes.get_xaxis_transform(),
        borderaxespad=4,
        ncols=columns,
        fontsize=8.5,
        columnspacing=1.2,
        handlelength=1.4,
    )
