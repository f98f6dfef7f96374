"""What a run found, in words and rows: the same for the page and the terminal."""

import shlex
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from valueattr.plan import CheckResult, ContrastResult, Evaluation, evaluate
from valueattr.results import RunDirectory
from valueattr.world import synthesise

NOT_RECOVERED = "Not tested whether forgotten or hidden: recoverability was not measured."

SEEDS_FOR_A_CLAIM = 8


@dataclass(frozen=True)
class Findings:
    """The tables of a finished run and what the plan makes of them.

    Raises:
        RunDirectoryError: the run is not finished.
    """

    run: RunDirectory

    @cached_property
    def plan(self) -> dict[str, Any]:
        """The sealed plan."""
        return self.run.plan

    @cached_property
    def arms(self) -> dict[str, str]:
        """Title of each arm that has rows, by code, in the plan's order."""
        present = set(self.summary["arm"].astype(str))
        return {code: self.plan["arms"][code] for code in self.plan["order"] if code in present}

    @cached_property
    def start(self) -> str | None:
        """The arm that was not trained, if it has rows."""
        return next((code for code in self.arms if self.plan["feedback"][code] is None), None)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """The summary table, with text columns as plain strings."""
        frame = self.run.table("summary")
        for name in ("arm", "split", "measure", "format", "interval"):
            frame[name] = frame[name].astype(object)
        return frame

    @cached_property
    def steps(self) -> pd.DataFrame:
        """The steps table, with text columns as plain strings."""
        frame = self.run.table("steps")
        return frame.assign(arm=frame["arm"].astype(str), name=frame["name"].astype(str))

    @cached_property
    def evaluation(self) -> Evaluation:
        """The plan's contrasts and checks."""
        return evaluate(self.plan, self.run.table("measures"), self.run.table("steps"))

    @cached_property
    def seeds(self) -> list[int]:
        """Seeds with finished arms."""
        return self.run.seeds

    @cached_property
    def last_step(self) -> dict[str, int]:
        """The last measured step of each arm."""
        return {str(arm): int(step) for arm, step in self.summary.groupby("arm")["step"].max().items()}

    def at_end(self, measure: str, split: str | None = None) -> pd.DataFrame:
        """Summary rows of a measure, over formats, at each arm's last step."""
        rows = self.summary[(self.summary["measure"] == measure) & self.summary["format"].isna()]
        rows = rows[rows["step"] == rows["arm"].map(self.last_step)]
        return rows if split is None else rows[rows["split"] == split]

    @cached_property
    def best_layer(self) -> int | None:
        """The layer at which the start model's refit attribute probe reads untouched facts best."""
        rows = self.at_end("attribute_refit", "untouched")
        rows = rows[rows["arm"] == self.start]
        return int(rows.sort_values("estimate")["layer"].iloc[-1]) if len(rows) else None

    @cached_property
    def chance(self) -> float:
        """Top-1 of guessing the object, mean over the penalised facts."""
        facts = self.run.table("facts")
        objects = facts.groupby("relation")["object"].nunique()
        return float((1 / facts.loc[facts["split"] == "penalised", "relation"].map(objects)).mean())

    @cached_property
    def check_of_arm(self) -> dict[str, bool]:
        """Whether an arm passed all of its manipulation checks, for arms that have one."""
        checks = self.evaluation.checks
        return {arm: all(c.passed for c in checks if c.arm == arm) for arm in {c.arm for c in checks}}

    @cached_property
    def primary(self) -> ContrastResult:
        """The primary contrast."""
        return self.evaluation.contrast(self.plan["primary"])

    @property
    def more_seeds(self) -> str:
        """The command that adds seeds to this run."""
        seeds = max(3, len(self.seeds) + 1)
        options = "" if self.plan["world"] == synthesise().fingerprint() else " --facts FILE"
        options += "" if self.plan["model"] == "embedded" else f" --model {shlex.quote(self.plan['model'])}"
        options += "" if self.plan["statements"] is None else " --statements FILE"
        return (
            f"valueattr run {self.plan['experiment']} --preset {self.plan['preset']} --seeds {seeds}{options} "
            f"--out {shlex.quote(str(self.run.path))}"
        )

    def headline(self) -> str:
        """The primary contrast in one plain sentence, or two."""
        c = self.primary
        what = f"{c.title[0].upper()}{c.title[1:]}: "
        if not c.differences:
            return what + "not measured."
        estimate = f"{c.estimate:+.2f} {c.unit}"
        if c.interval is None:
            given = (
                f" ({c.bootstrap.low:+.2f} to {c.bootstrap.high:+.2f} over facts, given the seed)"
                if c.bootstrap
                else ""
            )
            failed = f" {c.verdict[0].upper()}{c.verdict[1:]}." if "failed" in c.verdict else ""
            return (
                f"{what}{estimate}{given}.{failed} One seed carries no seed-level interval, so no verdict: "
                f"{self.more_seeds} adds seeds to this run."
            )
        bounds = f"95% t interval {c.interval.low:+.2f} to {c.interval.high:+.2f}, n = {c.interval.n} seeds"
        return f"{what}{estimate} ({bounds}): {VERDICTS.get(c.verdict, c.verdict)}."


VERDICTS = {
    "lower": "lower, and shown",
    "higher": "higher, and shown",
    "not shown": "a difference is not shown",
}


def number(value: float | None, signed: bool = False) -> str:
    """Two decimals, or a dash for what is not there."""
    if value is None or pd.isna(value):
        return "–"
    return f"{value:+.2f}" if signed else f"{value:.2f}"


def p_text(value: float | None) -> str:
    """A p value to three decimals."""
    if value is None:
        return "–"
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def bounded(row: "pd.Series[Any]") -> str:
    """An estimate with its interval."""
    text = number(row["estimate"])
    return text if pd.isna(row["low"]) else f"{text} [{number(row['low'])}, {number(row['high'])}]"


def check_text(check: CheckResult) -> str:
    """What a check asked for, and what was found in each seed."""
    asked = (
        f"at most half of {check.against}'s"
        if check.rule == "halved"
        else f"at least {check.by:g} above {check.against}'s"
    )
    found = "; ".join(f"seed {seed}: {a:.2f} against {b:.2f}" for seed, (a, b) in check.values.items())
    return f"{check.measure} on {check.split} {asked} ({found or 'not measured'})"
