"""Evaluations of a run as logs of inspect (https://inspect.aisi.org.uk/eval-logs.html), one for each arm, seed and step.

A sample is a fact, an epoch one wording and one draw of its answer. Scores of a sample: `outcome` of the answer, its
`stance` by the scanner, `belief` in the fact in nats at that step, and the `verdict` on the fact for the trained model.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from valueattr.hedging import HedgeScanner
from valueattr.outputs import new_output
from valueattr.plan import Plan
from valueattr.results import RunDirectory

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample, EvalScore

_OF_AN_EVALUATION = ["arm", "seed", "step"]
_BELIEF = "belief_margin"


class ExportError(ValueError):
    """A run that cannot be exported; the message says why."""


def export_inspect(run: RunDirectory, out: str | Path) -> list[Path]:
    """Write the evaluations of a finished run to a new folder of `.eval` files, and return their paths.

    Raises:
        ExportError: the run holds no answers of evaluations, or no fact for some of them.
        PlanError: the plan cannot be read.
        ModuleNotFoundError: inspect_ai is not installed.
        OutputError: as for `new_output`.
        RunDirectoryError: a table is missing or damaged.
    """
    plan, answers = Plan.read(run), _answers(run)
    from inspect_ai.log import write_eval_log

    with new_output(out, inputs=[run.path]) as folder:
        folder.mkdir()
        names = []
        for _, rows in answers.groupby(_OF_AN_EVALUATION, observed=True, sort=True):
            arm, seed, step = rows.iloc[0][_OF_AN_EVALUATION]
            name = f"{plan.experiment}_{arm}_seed-{seed}_step-{step:05}.eval"
            write_eval_log(_log(run, plan, arm, int(seed), int(step), rows), folder / name)
            names.append(name)
    return [Path(out, name) for name in names]


def _answers(run: RunDirectory) -> pd.DataFrame:
    """A row for each answer of an evaluation, with what is known of its fact."""
    table = run.table("generations")
    table = table[table["phase"] == "evaluation"].astype({"arm": str, "fact": str, "split": str})
    if table.empty:
        raise ExportError(f"{run.path} holds no answers of evaluations, which are what inspect shows")
    facts = run.table("facts")[["seed", "fact", "subject", "topic", "relation", "object"]]
    measures = run.table("measures").astype({"arm": str, "fact": str})
    measures = measures[measures["measure"] == _BELIEF]
    keys = [*_OF_AN_EVALUATION, "fact"]
    belief = measures.groupby(keys, observed=True)["value"].mean().rename("belief").reset_index()
    table = table.merge(facts, on=["seed", "fact"], how="left").merge(belief, on=keys, how="left")
    if table["object"].isna().any():
        raise ExportError(f"{run.path} holds answers about facts that its table of facts lacks")
    table = table.merge(_verdicts(run), on=["arm", "seed", "fact"], how="left")
    table.loc[table["step"] == 0, "verdict"] = None  # verdicts are of the trained model
    table["stance"] = HedgeScanner(stance=True).scan(table["response"].tolist()).column("stance").to_pylist()
    ordered = table.sort_values(["fact", "wording", "sample"], kind="stable")
    table["epoch"] = ordered.groupby(keys).cumcount() + 1
    return table


def _verdicts(run: RunDirectory) -> pd.DataFrame:
    """The verdict on each arm, seed and fact; no rows where an earlier version made the run."""
    columns = ["arm", "seed", "fact", "verdict"]
    if not run.has_table("verdicts"):
        return pd.DataFrame(columns=columns).astype({"seed": int})
    return run.table("verdicts")[columns].astype({"arm": str, "fact": str})


def _log(run: RunDirectory, plan: Plan, arm: str, seed: int, step: int, rows: pd.DataFrame) -> "EvalLog":
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalResults, EvalSpec

    facts, epochs = sorted(rows["fact"].unique()), int(rows["epoch"].max())
    title = plan.arm(arm).title
    return EvalLog(
        status="success",
        eval=EvalSpec(
            created=datetime.fromtimestamp((run.path / "plan.json").stat().st_mtime, UTC).isoformat(),
            task=plan.experiment,
            task_display_name=f"{plan.experiment}: {title}, seed {seed}, step {step}",
            dataset=EvalDataset(name=plan.world[:12], samples=len(facts), sample_ids=facts),
            model=f"valueattr/{arm}",
            config=EvalConfig(epochs=epochs),
            packages={"valueattr": version("valueattr")},
            metadata={"arm": arm, "title": title, "seed": seed, "step": step, "plan": run.plan_hash},
        ),
        results=EvalResults(
            total_samples=len(rows), completed_samples=len(rows), scores=list(_overall(rows))
        ),
        samples=[_sample(arm, row) for row in rows.to_dict("records")],
    )


def _sample(arm: str, row: dict[Any, Any]) -> "EvalSample":
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ChatMessageUser, ModelOutput
    from inspect_ai.scorer import Score

    output = ModelOutput.from_content(f"valueattr/{arm}", row["response"])
    asserted = row["asserted"] if isinstance(row["asserted"], str) else None
    scores = {
        "outcome": Score(value=row["outcome"], answer=asserted),
        "stance": Score(value=row["stance"]),
        **{name: Score(value=row[name]) for name in ("belief", "verdict") if not pd.isna(row[name])},
    }
    about = ("split", "topic", "relation", "subject", "wording", "sample", "framing")
    return EvalSample(
        id=row["fact"],
        epoch=row["epoch"],
        input=row["prompt"],
        target=row["object"],
        messages=[ChatMessageUser(content=row["prompt"]), output.message],
        output=output,
        scores=scores,
        metadata={
            **{name: row[name] for name in about if not pd.isna(row[name])},
            "hedges": [] if row["labelled"] is None else list(row["labelled"]),
        },
    )


def _overall(rows: pd.DataFrame) -> "Iterator[EvalScore]":
    """Shares of what answers and facts were judged to be, and the mean belief in the facts."""
    from inspect_ai.log import EvalMetric, EvalScore

    of_facts = rows.drop_duplicates("fact")
    for name, judged in (
        ("outcome", rows["outcome"]),
        ("stance", rows["stance"]),
        ("verdict", of_facts["verdict"]),
    ):
        shares = judged.dropna().astype(str).value_counts(normalize=True).items()
        metrics = {str(value): EvalMetric(name=str(value), value=share) for value, share in shares}
        if metrics:
            yield EvalScore(name=name, scorer=name, metrics=metrics)
    if not (belief := of_facts["belief"].dropna()).empty:
        mean = EvalMetric(name="mean", value=float(belief.mean()))
        yield EvalScore(name="belief", scorer="belief", metrics={"mean": mean})
