"""Forgotten or hidden: what a run's verdicts come to, in words and rows."""

import pandas as pd

from valueattr.diagnosis import EVIDENCE, Calibration, corrected_share, known_before, said_instead
from valueattr.report._findings import Findings
from valueattr.stats import Interval

NOT_TESTED = "Not tested whether forgotten or hidden: this run was made before verdicts were measured."
NO_CONTROLS = (
    "No verdict whether forgotten or hidden: this run has no controls of its start model. "
    "`valueattr diagnose` makes them and compares two checkpoints."
)

COLUMNS = (
    "arm",
    "split",
    "known before",
    "still held",
    "kept",
    "hidden",
    "lost",
    "unsure",
    "said before",
    "said after",
    "instead",
)

_MOST, _FEW = 0.8, 0.2
_INSTEAD = {"said_false": "falsehoods", "hedged": "hedges", "refused": "refusals", "other": "other answers"}


def holding_sentence(findings: Findings) -> str:
    """Whether the arm of the primary contrast forgot or hides, in plain words."""
    if not findings.run.has_table("verdicts"):
        return NOT_TESTED
    arm, split = findings.primary.declared.arm, findings.primary.declared.split
    facts = _known(findings, arm, split)
    if facts["p_holds"].isna().all():
        return NO_CONTROLS
    before, after = (float(facts[f"said_held_{when}"].mean()) for when in ("before", "after"))
    held = _still_held(findings, facts)
    return (
        f"{findings.in_words(arm)}: the model {_says(before, after)} the {split.replace('_', ' ')} facts "
        f"({before:.0%} of answers before, {after:.0%} after); it {_holds(held.estimate)} "
        f"({held.estimate:.0%}, 95% interval {held.low:.0%} to {held.high:.0%} over facts and controls)."
    )


def holding_rows(findings: Findings) -> list[list[str]]:
    """A row per trained arm and split that its feedback is about; columns as in `COLUMNS`."""
    if not findings.run.has_table("verdicts"):
        return []
    rows = []
    for arm in findings.arms.values():
        for split in arm.feedback.splits if arm.feedback else ():
            facts = _known(findings, arm.code, split)
            if len(facts) and facts["p_holds"].notna().any():
                rows.append([findings.label(arm.code), split.replace("_", " "), *_cells(findings, facts)])
    return rows


def _known(findings: Findings, arm: str, split: str) -> pd.DataFrame:
    """The facts of a split, over seeds, that the start model held."""
    table = findings.run.table("verdicts").astype({"arm": str, "split": str, "verdict": str})
    return known_before(table[(table["arm"] == arm) & (table["split"] == split)])


def _still_held(findings: Findings, facts: pd.DataFrame) -> Interval:
    """Corrected by the error of the readings that the run has."""
    own = findings.run.controls
    calibration = Calibration.saved(own) if own.is_file() else Calibration.shipped()
    every = findings.run.table("verdicts")
    read = every[[f"{name}_before" for name in EVIDENCE]].set_axis(list(EVIDENCE), axis=1)
    return corrected_share(facts["p_holds"].dropna(), calibration.by_readings_of(read).rates())


def _cells(findings: Findings, facts: pd.DataFrame) -> list[str]:
    held = _still_held(findings, facts)
    shares = [
        f"{float((facts['verdict'] == name).mean()):.0%}" for name in ("kept", "hidden", "lost", "unsure")
    ]
    said = [f"{float(facts[f'said_held_{when}'].mean()):.0%}" for when in ("before", "after")]
    return [
        str(len(facts)),
        f"{held.estimate:.0%} [{held.low:.0%}, {held.high:.0%}]",
        *shares,
        *said,
        _instead(facts),
    ]


def _instead(facts: pd.DataFrame) -> str:
    """What most of the answers about hidden facts are."""
    hidden = facts[facts["verdict"] == "hidden"]
    if hidden.empty:
        return "–"
    most, share = said_instead(hidden)
    return f"{_INSTEAD[most]} ({share:.0%})"


def _says(before: float, after: float) -> str:
    if after <= before / 2:
        return "stopped saying"
    return "says less of" if after < _MOST * before else "still says"


def _holds(share: float) -> str:
    if share >= _MOST:
        return "still holds most of those that it knew"
    return (
        "has lost most of those that it knew" if share <= _FEW else "still holds some of those that it knew"
    )
