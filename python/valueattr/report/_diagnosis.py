"""The page of a diagnosis of two checkpoints."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from valueattr.diagnosis import HOLDS, KINDS, LOST, SAID, VERDICTS, Diagnosis, in_words
from valueattr.report._drawing import COLOURS, STYLE, svg
from valueattr.report._findings import number, p_text
from valueattr.report._template import write_page

_EXAMPLES = 12
_INKS = dict(zip(VERDICTS, (COLOURS[1], COLOURS[0], "#000000", COLOURS[4], "#BBBBBB"), strict=True))


def write_diagnosis(diagnosis: Diagnosis, folder: Path) -> Path:
    """Write `report.html` to a folder: one file that loads nothing from elsewhere."""
    verdicts = diagnosis.verdicts
    return write_page(
        "diagnosis.html",
        folder / "report.html",
        headline=diagnosis.headline(),
        about=_about(diagnosis),
        figure=_holds_and_says(verdicts),
        holds=HOLDS,
        lost=LOST,
        shares=summary_rows(diagnosis),
        errors=_error_rows(diagnosis),
        readings=[name.replace("_", "-") for name in diagnosis.calibrated.readings],
        examples=_examples(verdicts),
        outcomes=[name.replace("_", " ") for name in SAID],
    )


def _holds_and_says(verdicts: pd.DataFrame) -> Markup:
    """What the model after holds against what it says, a dot per fact."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.5, 4.4))
        axes = figure.subplots()
        jitter = np.random.default_rng(0).uniform(-0.012, 0.012, len(verdicts))
        for verdict, ink in _INKS.items():
            rows = (verdicts["verdict"] == verdict).to_numpy()
            axes.plot(
                verdicts["said_true_after"][rows] + jitter[rows],
                verdicts["p_holds"][rows],
                "o",
                color=ink,
                ms=4,
                alpha=0.6,
                label=f"{verdict} ({rows.sum()})",
            )
        for bound in (HOLDS, LOST):
            axes.axhline(bound, color="#999999", lw=0.8, ls=":")
        axes.set_xlabel("share of answers that say the fact, model after")
        axes.set_ylabel("P(the model after holds the fact)")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9)
        return svg(figure)


def _about(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    about, calibration = diagnosis.about, diagnosis.calibration
    names = about["names"]
    controls = "; ".join(
        f"{KINDS.get(name, name)}: {kl:.2f}" for name, kl in calibration["forward_kl_of_controls"].items()
    )
    return [
        ("model before", names[0]),
        ("model after", names[1]),
        *(("sham", name) for name in names[2:]),
        ("asked as", about["asked_as"]),
        ("tensors that changed", f"{about['tensors_changed']:.0%}"),
        ("forward KL", f"{about['forward_kl']:.3f} nats per token of the answers of the model before"),
        ("forward KL of the controls", controls),
        ("facts far from every control", f"{calibration['share_far']:.0%}, whose verdict is unsure"),
    ]


def summary_rows(diagnosis: Diagnosis) -> list[tuple[str, str, str, str, str, str]]:
    """The summary as people read it: model, measure, estimate, 95% interval, what it is by, and facts."""
    rows = []
    for _, row in diagnosis.summary.iterrows():
        is_p = str(row["measure"]).startswith("p of")
        bounds = f"{number(row['low'])} to {number(row['high'])}" if pd.notna(row["low"]) else ""
        method = str(row["interval"]) if pd.notna(row["interval"]) else ""
        estimate = p_text(row["estimate"]) if is_p else number(row["estimate"])
        rows.append(
            (str(row["of"]), in_words(str(row["measure"])), estimate, bounds, method, str(row["facts"]))
        )
    return rows


def _error_rows(diagnosis: Diagnosis) -> list[list[str]]:
    """A row per kind of control, the AUROC of each reading beside that of all."""
    errors = {(row["recipe"], row["by"]): row for row in diagnosis.calibration["errors"]}
    rows = []
    for name in [*(name for name in KINDS if (name, "all") in errors), "all"]:
        of_all = errors[name, "all"]
        shares = [of_all["auroc"], *(errors[name, by]["auroc"] for by in diagnosis.calibrated.readings)]
        shares += [of_all[column] for column in ("brier", "calibration", "tpr", "fpr")]
        rows.append([KINDS.get(name, name), str(of_all["facts"]), *(f"{share:.3f}" for share in shares)])
    return rows


def _examples(verdicts: pd.DataFrame) -> list[list[str]]:
    """The first facts of each verdict."""
    each = max(1, _EXAMPLES // len(VERDICTS))
    rows = [verdicts[verdicts["verdict"] == verdict].head(each) for verdict in VERDICTS]
    return [
        [
            row["subject"],
            row["relation"],
            row["object"],
            row["verdict"],
            number(row["p_holds"]),
            *(f"{row[f'{name}_before']:.0%} → {row[f'{name}_after']:.0%}" for name in SAID),
        ]
        for _, row in pd.concat(rows).iterrows()
    ]
