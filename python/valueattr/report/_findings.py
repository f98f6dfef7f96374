"""What a run found, in words and rows: the same for the page and the terminal."""

import shlex
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from valueattr.plan import (
    EMBEDDED,
    PLAN_VERSION,
    PRESETS,
    SEEDS_FOR_A_CLAIM,
    STARTS_FOR_A_CLAIM,
    Arm,
    CheckResult,
    ContrastResult,
    Evaluation,
    Plan,
    evaluate,
    plan_version,
)
from valueattr.results import RunDirectory
from valueattr.world import synthesise


@dataclass(frozen=True)
class Findings:
    """The tables of a finished run and what the plan makes of them.

    Raises:
        RunDirectoryError: the run is not finished, or its plan cannot be read.
    """

    run: RunDirectory

    @cached_property
    def plan(self) -> Plan:
        """The sealed plan."""
        return Plan.read(self.run)

    @cached_property
    def arms(self) -> dict[str, Arm]:
        """The arms that have rows, by code, in the plan's order."""
        present = set(self.summary["arm"].astype(str))
        return {arm.code: arm for arm in self.plan.arms if arm.code in present}

    @cached_property
    def start(self) -> str | None:
        """The code of the start model as an arm, if it has rows."""
        return next((code for code, arm in self.arms.items() if arm.feedback is None), None)

    def label(self, code: str) -> str:
        """An arm's code with what it means, for axes, legends and tables."""
        title = short(self.plan.arm(code).title)
        return code if code == title else f"{code}  {title}"

    def in_words(self, code: str) -> str:
        """An arm's code with what it means, for a sentence."""
        title = short(self.plan.arm(code).title)
        return code if code == title else f"{code} ({title})"

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
        return evaluate(self.plan, self.run.table("measures"), self.run.table("steps"), self.run.subjects)

    @cached_property
    def seeds(self) -> list[int]:
        """The seeds that the tables hold."""
        return self.run.seeds_in_tables

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
        checked = {check.declared.arm for check in checks}
        return {arm: all(c.passed for c in checks if c.declared.arm == arm) for arm in checked}

    @cached_property
    def primary(self) -> ContrastResult:
        """The primary contrast."""
        return self.evaluation.contrast(self.plan.primary)

    def standing(self) -> str:
        """What so many seeds are enough for."""
        n = len(self.seeds)
        starts = min(n, self.plan.settings.starts)
        what = "this start model" if starts == 1 else f"start models of this recipe ({starts} of them)"
        if n >= SEEDS_FOR_A_CLAIM and (starts == 1 or starts >= STARTS_FOR_A_CLAIM):
            return f"{n} seeds: enough for a claim about {what} and this world."
        return (
            f"{n} seed{'s' if n > 1 else ''} of {starts} start model{'s' if starts > 1 else ''}: a demonstration, not a "
            f"claim (that takes {SEEDS_FOR_A_CLAIM} seeds)."
        )

    @property
    def more_seeds(self) -> str:
        """How seeds are added to this run."""
        plan, seeds = self.plan, max(3, len(self.seeds) + 1)
        options = "" if plan.world == synthesise().fingerprint() else " --questions FILE"
        options += "" if plan.model == EMBEDDED else f" --model {shlex.quote(plan.model)}"
        if preset := PRESETS.get(plan.preset):
            if plan.model == EMBEDDED and preset.starts != plan.settings.starts:
                options += f" --starts {plan.settings.starts}"
            if (preset.lora_rank is None) != (plan.settings.lora_rank is None):
                options += " --whole-weights" if plan.settings.lora_rank is None else " --lora"
        options += "" if plan.answers == "taught" else f" --answers {plan.answers}"
        options += "" if plan.statements is None else " --statements FILE"
        options += "" if plan.variation is None else f" --vary {plan.variation}"
        if plan.chosen_arms:
            options += f" --arms {','.join(arm.code for arm in plan.arms)}"
        command = f"valueattr run {plan.experiment} --preset {plan.preset} --seeds {seeds}{options}"
        if plan_version(self.run.plan) < PLAN_VERSION:
            return f"{command} makes a run of {seeds} seeds; this one was made by an earlier valueattr."
        return f"{command} --out {shlex.quote(str(self.run.path))} adds seeds to this run."

    def headline(self) -> str:
        """The primary contrast in one plain sentence, or two."""
        c = self.primary
        title = c.declared.title
        what = f"{title[0].upper()}{title[1:]}: "
        if not c.differences:
            return what + "not measured."
        estimate = f"{c.estimate:+.2f} {c.declared.unit}"
        if c.interval is None:
            given = (
                f" ({c.bootstrap.low:+.2f} to {c.bootstrap.high:+.2f} over subjects, given the seed)"
                if c.bootstrap
                else ""
            )
            failed = f" {c.verdict[0].upper()}{c.verdict[1:]}." if "failed" in c.verdict else ""
            if len(c.differences) > 1:
                return f"{what}{estimate}{given}: {c.verdict}."
            return (
                f"{what}{estimate}{given}.{failed} One seed carries no seed-level interval, so no verdict: "
                f"{self.more_seeds}"
            )
        units = "seeds" if c.interval.n == len(c.differences) else "start models"
        bounds = f"95% t interval {c.interval.low:+.2f} to {c.interval.high:+.2f}, n = {c.interval.n} {units}"
        return f"{what}{estimate} ({bounds}): {VERDICTS.get(c.verdict, c.verdict)}."

    def between_starts(self) -> str | None:
        """The share of the primary contrast's variance between start models; None where no two seeds share one."""
        share = self.primary.share_of_starts
        return (
            None
            if share is None
            else f"Of the variance of the primary contrast {share:.0%} lies between start models."
        )


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


def short(title: str) -> str:
    """An arm's title up to its colon."""
    return title.split(":")[0]


def check_text(findings: Findings, check: CheckResult) -> str:
    """What a check asked for, and what was found in each seed."""
    c, other = check.declared, findings.in_words(check.declared.against)
    asked = {
        "halved": f"at most half of that in {other}",
        "rises": f"at least {c.by:g} above that in {other}",
        "kept": f"at least {c.by:g}, beside that in {other}",
    }[c.rule]
    found = "; ".join(f"seed {seed}: {a:.2f} against {b:.2f}" for seed, (a, b) in check.values.items())
    return f"{c.measure} on {c.split}: {asked} ({found or 'not measured'})"
