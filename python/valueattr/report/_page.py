"""Puts the page together."""

from pathlib import Path
from typing import Any

import pandas as pd

from valueattr.plan import EMBEDDED, ContrastResult, Plan, RatioResult
from valueattr.report._drawing import Column, drawn
from valueattr.report._findings import (
    Findings,
    bounded,
    check_text,
    number,
    p_text,
    short,
)
from valueattr.report._holding import COLUMNS as HELD_COLUMNS
from valueattr.report._holding import holding_rows, holding_sentence
from valueattr.report._template import write_page
from valueattr.report.pages import view_of
from valueattr.results import RunDirectory
from valueattr.stats import Interval

_EXAMPLE_FACTS = 3

_OF_THE_EMBEDDED_WORLD = "The embedded world is invented and its model tiny: the size of an effect here is no forecast for a large model."


def headline(run: RunDirectory) -> str:
    """The run's finding in plain words.

    Raises:
        RunDirectoryError: the run is not finished.
    """
    return Findings(run).headline()


def forgotten_or_hidden(run: RunDirectory) -> str:
    """What the run says of whether facts are forgotten or hidden, in plain words.

    Raises:
        RunDirectoryError: the run is not finished.
    """
    return holding_sentence(Findings(run))


def headline_table(run: RunDirectory) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the per-arm table for a terminal: belief in nats with intervals, the rest without.

    Raises:
        RunDirectoryError: the run is not finished.
    """
    return _arm_table(Findings(run), bounds_everywhere=False)


def table_note(run: RunDirectory) -> str:
    """What the columns of the per-arm table are, and what its arms."""
    plan = Plan.read(run)
    arms = "; ".join(f"{arm.code} {short(arm.title)}" for arm in plan.arms)
    return f"{view_of(plan).note} {arms}."


def changed_plan(run: RunDirectory) -> str:
    """What to say of a plan that is not the one that was sealed; nothing where it is."""
    return "" if run.plan_is_intact else f"CHANGED since it was sealed as {run.sealed_hash[:16]}"


def write_report(run: RunDirectory) -> Path:
    """Write `report.html`: one file that loads nothing from elsewhere.

    Raises:
        RunDirectoryError: the run is not finished.
    """
    findings = Findings(run)
    view = view_of(findings.plan)
    columns, rows = _arm_table(findings, bounds_everywhere=True)
    return write_page(
        "template.html",
        run.path / "report.html",
        plan=findings.plan,
        headline=findings.headline(),
        holding=holding_sentence(findings),
        holding_columns=HELD_COLUMNS,
        holding_rows=holding_rows(findings),
        standing=findings.standing(),
        changed=changed_plan(run),
        counts=_counts(findings),
        figures=drawn(view.plots, findings),
        arm_note=view.note,
        arm_columns=columns,
        arm_rows=rows,
        contrasts=[_contrast_row(c) for c in findings.evaluation.contrasts],
        ratios=[_ratio_row(r) for r in findings.evaluation.ratios],
        checks=[
            (findings.label(c.declared.arm), "passed" if c.passed else "failed", check_text(findings, c))
            for c in findings.evaluation.checks
        ],
        examples=_examples(findings),
        limits=_limits(findings),
        provenance=_provenance(findings),
    )


def _counts(findings: Findings) -> str:
    """What every mean on the page is over."""
    facts = findings.run.table("facts").dropna(subset=["split"])
    sizes = facts.groupby(["split", "seed"], sort=False).size().groupby("split", sort=False).mean()
    return f"Means over {len(findings.seeds)} seed(s); facts per seed: " + ", ".join(
        f"{size:.0f} {str(split).replace('_', ' ')}" for split, size in sizes.items()
    )


def _arm_table(findings: Findings, *, bounds_everywhere: bool) -> tuple[list[str], list[list[str]]]:
    columns = view_of(findings.plan).columns
    tables = [_column_rows(findings, column) for column in columns]
    passed = findings.check_of_arm
    rows = []
    for code in findings.arms:
        cells = [
            _of_arm(table, code, bounds=bounds_everywhere or column.bounds)
            for column, table in zip(columns, tables, strict=True)
        ]
        check = {True: "passed", False: "FAILED"}[passed[code]] if code in passed else ""
        rows.append([code, *cells, number(_final_kl(findings, code)), check])
    return ["arm", *(column.header for column in columns), "KL", "check"], rows


def _column_rows(findings: Findings, column: Column) -> pd.DataFrame:
    rows = findings.at_end(column.measure, column.split)
    return rows[rows["layer"] == findings.best_layer] if column.at_best_layer else rows


def _of_arm(rows: pd.DataFrame, arm: str, *, bounds: bool = True) -> str:
    rows = rows[rows["arm"] == arm]
    if rows.empty:
        return number(None)
    return bounded(rows.iloc[0]) if bounds else number(rows.iloc[0]["estimate"])


def _final_kl(findings: Findings, arm: str) -> float | None:
    rows = findings.steps[(findings.steps["arm"] == arm) & (findings.steps["name"] == "forward_kl")]
    return float(rows.sort_values("step").groupby("seed")["value"].last().mean()) if len(rows) else None


def _interval(interval: Interval | None) -> str:
    return f"{interval.low:+.2f} to {interval.high:+.2f} (n = {interval.n})" if interval else "none"


def _ratio_row(r: RatioResult) -> list[str]:
    estimate = number(r.estimate, signed=True)
    if r.interval is None:
        return [r.declared.title, estimate, r.reason, ""]
    bounds = f"{r.interval.low:+.2f} to {r.interval.high:+.2f}"
    return [r.declared.title, estimate, bounds, str(r.interval.n)]


def _contrast_row(c: ContrastResult) -> list[str]:
    return [
        c.declared.title,
        f"{number(c.estimate, signed=True)} {c.declared.unit}" if c.differences else "–",
        _interval(c.interval),
        _interval(c.bootstrap),
        p_text(c.p),
        p_text(c.p_holm),
        p_text(c.p_equivalence),
        c.verdict,
    ]


def _examples(findings: Findings) -> list[dict[str, Any]]:
    """Answers of every arm to the same questions: one wording of a fact, the first sample."""
    rows = findings.run.table("generations")
    rows = rows[
        (rows["phase"] == "evaluation") & (rows["split"] == "penalised") & (rows["seed"] == findings.seeds[0])
    ]
    rows = rows.astype({"arm": str, "fact": str, "wording": str})
    rows = rows[(rows["sample"] == 0) & (rows["step"] == rows["arm"].map(findings.last_step))]
    rows = rows.sort_values("wording", kind="stable").drop_duplicates(["arm", "fact"])
    examples = []
    for fact in sorted(rows["fact"].unique())[:_EXAMPLE_FACTS]:
        answers = rows[rows["fact"] == fact].set_index("arm")
        examples.append(
            {
                "prompt": str(answers.iloc[0]["prompt"]),
                "answers": [
                    (
                        findings.label(code),
                        str(answers.loc[code, "response"]).strip(),
                        str(answers.loc[code, "outcome"]),
                    )
                    for code in findings.arms
                    if code in answers.index
                ],
            }
        )
    return examples


def _limits(findings: Findings) -> list[str]:
    limits = [
        *([_OF_THE_EMBEDDED_WORLD] if findings.plan.model == EMBEDDED else []),
        findings.standing(),
        *([between] if (between := findings.between_starts()) else []),
        "Intervals marked 'over subjects, given the seeds' say nothing about another training seed.",
        *_own_model(findings),
        *view_of(findings.plan).limits(findings),
    ]
    for check in findings.evaluation.checks:
        if not check.passed:
            limits.append(
                f"The manipulation check of {findings.in_words(check.declared.arm)} failed: its outcomes say nothing. "
                f"{check_text(findings, check)}."
            )
    return limits


def _own_model(findings: Findings) -> list[str]:
    """Whether a user's own model knows what it is asked, and how it finds their statements."""
    start, limits = findings.run.start_model, []
    if "known_after" in start:
        limits.append(
            f"{findings.plan.model} knew {start['known_before']:.0%} of the taught facts and knows "
            f"{start['known_after']:.0%} after continued pretraining, in wordings that it was not taught"
            + (
                ": too few for a fall in knowledge to be measured well."
                if start["known_after"] < 0.5
                else "."
            )
        )
    if "no_longer_known" in start:
        limits.append(
            f"{findings.plan.model} knew {start['strictly_known_before']} facts of the topics strictly "
            f"({', '.join(start['topics'])})."
            + (
                f" It was then taught how to answer, on facts that are in no split; {start['no_longer_known']} facts that it "
                "knew less well after that are left out."
                if findings.plan.answers == "styled"
                else ""
            )
        )
    auroc = findings.at_end("statement/log_p_auroc", "statements")
    if len(auroc):
        listed = ", ".join(
            f"{findings.in_words(str(row.arm))} {row.estimate:.2f}" for row in auroc.itertuples()
        )
        limits.append(f"Own statements, true against false by their likelihood (AUROC): {listed}.")
    return limits


def _provenance(findings: Findings) -> list[tuple[str, str]]:
    run = findings.run
    environment = run.environment
    intact = changed_plan(run) or "unchanged since before the first step"
    rows = [("plan", f"{run.plan_hash[:16]}, {intact}"), ("seeds", ", ".join(map(str, findings.seeds)))]
    if added := sorted(set(findings.seeds) - set(run.config.get("started_with_seeds") or findings.seeds)):
        rows.append(
            (
                "seeds added after the first start",
                ", ".join(map(str, added)) + " (a departure if results were seen before)",
            )
        )
    rows.append(("start models", ", ".join(digest[:16] for digest in run.starts)))
    rows.append(
        ("machine", f"{environment['machine']}, {environment['device']}, Python {environment['python']}")
    )
    rows.append(("versions", ", ".join(f"{k} {v}" for k, v in environment["versions"].items())))
    rows.append(("seconds", ", ".join(f"{k} {v:.0f}" for k, v in environment["timing"].items())))
    return rows
