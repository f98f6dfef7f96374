"""Draws docs/images/verdict.svg and writes the tables of docs/verdict.md: python docs/plot_verdict.py, after set-up."""

import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
from figure_style import STYLE
from matplotlib.figure import Figure

from valueattr.diagnosis import KINDS, Calibration, error_of, held_out_p

HERE = Path(__file__).parent
READINGS = {
    "all": "together",
    "few_shot": "few-shot",
    "probe": "probe",
    "relearned": "relearned",
}
INKS = {True: "#0072B2", False: "#000000"}


def draw(calibration: Calibration) -> None:
    """Plain belief, which a planted surface hides, and belief after relearning, which it does not."""
    mpl.rcParams.update(STYLE)
    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True, sharex=True)
    truths, rng = calibration.truths, np.random.default_rng(0)
    for axes, column, title in zip(
        panels,
        ("belief", "relearned"),
        ("plain belief", "belief after facts of others were taught again"),
        strict=True,
    ):
        for i, recipe in enumerate(KINDS):
            for holds, ink in INKS.items():
                rows = truths[(truths["recipe"] == recipe) & (truths["holds"] == holds)].iloc[::3]
                y = i + (0.17 if holds else -0.17) + rng.uniform(-0.12, 0.12, len(rows))
                axes.plot(rows[column], y, "o", ms=2, alpha=0.35, color=ink, mew=0)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("margin of the true object (nats)")
    for holds, label in ((True, "held"), (False, "removed from the training text")):
        panels[1].plot([], [], "o", color=INKS[holds], label=label)
    panels[1].legend(frameon=False, fontsize=8.5, loc="center left", bbox_to_anchor=(1.0, 0.5))
    panels[0].set_yticks(range(len(KINDS)), list(KINDS.values()))
    panels[0].invert_yaxis()
    figure.savefig(HERE / "images" / "verdict.svg", metadata={"Date": None})


def tables(calibration: Calibration) -> dict[str, str]:
    """The tables of the page, by name."""
    errors = calibration.errors().set_index(["recipe", "by"])
    unsure = calibration.held_out.between(0.2, 0.8, inclusive="neither")
    aurocs = ["| kind of training | facts | " + " | ".join(READINGS.values()) + " |"]
    aurocs.append("| --- | --- |" + " --- |" * len(READINGS))
    rates = [
        "| kind of training | Brier | calibration error | held called held | lost called held | unsure |"
    ]
    rates.append("| --- | --- | --- | --- | --- | --- |")
    for recipe, title in KINDS.items():
        of_all = errors.loc[(recipe, "all")]
        cells = [f"{errors.loc[(recipe, by), 'auroc']:.3f}" for by in READINGS]
        aurocs.append(f"| {title} | {of_all['facts']:.0f} | " + " | ".join(cells) + " |")
        shares = [f"{of_all[name]:.3f}" for name in ("brier", "calibration", "tpr", "fpr")]
        share = unsure[calibration.truths["recipe"] == recipe].mean()
        rates.append(f"| {title} | " + " | ".join([*shares, f"{share:.3f}"]) + " |")
    return {"auroc": "\n".join(aurocs), "rates": "\n".join(rates), "surfaces": surfaces(calibration)}


def surfaces(calibration: Calibration) -> str:
    """AUROC of held against lost facts, of those that are denied and of those that are evaded."""
    truths, p = calibration.truths, calibration.held_out
    lines = ["| kind of training | denied but held | evaded but held |", "| --- | --- | --- |"]
    for recipe in ("mixed", "cued", "bare"):
        cells = []
        for surface in ("lie", "evasion"):
            rows = truths[(truths["recipe"] == recipe) & (truths["surface"] == surface)]
            cells.append(f"{error_of(p[rows.index], rows['holds']).auroc:.3f}")
        lines.append(f"| {KINDS[recipe]} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def partly_erased(calibration: Calibration) -> str:
    """What becomes of the hard kind where its partly erased facts count as held."""
    controls = calibration.controls[calibration.controls["exposure"] == "well_known"].reset_index(drop=True)
    p = held_out_p(controls)
    hard = controls["recipe"] == "bare"
    share = controls.loc[hard & controls["holds"], "partly_erased"].mean()
    auroc = error_of(p[hard], controls.loc[hard, "holds"]).auroc
    return f"{share:.0%} of the held facts of the hard kind; counted as held, its AUROC is {auroc:.3f}"


def page(text: str, calibration: Calibration) -> str:
    """The page with its figures as they are now."""
    parts = {**tables(calibration), "erased": partly_erased(calibration)}
    for name, part in parts.items():
        gap = " " if name == "erased" else "\n"
        text = re.sub(
            f"<!-- {name} -->.*?<!-- end -->",
            lambda _, name=name, part=part, gap=gap: f"<!-- {name} -->{gap}{part}{gap}<!-- end -->",
            text,
            flags=re.DOTALL,
        )
    return text


if __name__ == "__main__":
    shipped = Calibration.shipped()
    draw(shipped)
    place = HERE / "verdict.md"
    place.write_text(page(place.read_text("utf-8"), shipped), "utf-8")
