"""How many responses hedge, with the scanner's own error corrected by labels that the rater gives."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.stats import linregress

from valueattr.hedging._scanner import HEDGES
from valueattr.results import SUMMARY
from valueattr.stats import Interval, audit_sample, corrected_prevalence, raw_prevalence

AUDITED_PER_STRATUM = 50
"""Audited responses per arm, seed, split and stratum: what one person labels in an afternoon, not all there are."""


def corrected_rows(
    kinds: Sequence[tuple[str, Collection[str], Collection[str]]],
    distance: Sequence[Collection[str]],
    seed: int,
) -> list[dict[str, Any]]:
    """Per split and kind of hedge, and for `any`, the share of responses that hedge with the scanner's error corrected.

    `corrected/<kind>`: the prediction-powered estimate from an audit sample whose labels are the rater's. Split "all":
    `distance_slope`, the slope of `corrected/any` on how far a split is from what is trained, its group in `distance`.

    kinds: of each response its split, the kinds that the scanner found, and those by the rater.
    """
    shares: dict[tuple[str, str], float] = {}
    rows: list[dict[str, Any]] = []
    for split in dict.fromkeys(split for split, _, _ in kinds):
        own = [(scanned, labelled) for of, scanned, labelled in kinds if of == split]
        for kind in ("any", *HEDGES):
            flags = _holds((scanned for scanned, _ in own), kind)
            labels = _holds((labelled for _, labelled in own), kind)
            share = _corrected(flags, labels, seed).estimate
            shares[split, kind] = share
            rows.append({"measure": f"corrected/{kind}", "split": split, "value": share, "n": len(own)})
    reached = [
        (i, shares[split, "any"])
        for i, splits in enumerate(distance)
        for split in splits
        if (split, "any") in shares
    ]
    if len({i for i, _ in reached}) > 1:
        slope = linregress([i for i, _ in reached], [share for _, share in reached]).slope
        rows.append({"measure": "distance_slope", "split": "all", "value": float(slope), "n": len(reached)})
    return rows


def hedging_summary(experiment: str, generations: pd.DataFrame) -> pa.Table:
    """How many responses hedge, by kind and for `any`, per arm and split at its last step, over all seeds.

    `labelled/<kind>`: the rater's share among all responses. `corrected/<kind>`: of arms with one seed, with the interval
    that holds given that seed; with more seeds its interval is over them (see `summarised_over_seeds`).
    """
    answers = generations[generations["phase"] == "evaluation"]
    answers = answers[answers["step"] == answers.groupby("arm", observed=True)["step"].transform("max")]
    rows: list[dict[str, Any]] = []
    for (arm, split), part in answers.groupby(["arm", "split"], observed=True, sort=False):
        keys = {"experiment": experiment, "arm": arm, "step": int(part["step"].iloc[0]), "split": split}
        keys |= {"seeds": part["seed"].nunique(), "n": len(part)}
        for kind in ("any", *HEDGES):
            flags, labels = (_holds(part[column], kind) for column in ("scanned", "labelled"))
            found = {"labelled": raw_prevalence(labels)}
            if keys["seeds"] == 1:
                found["corrected"] = _corrected(flags, labels, int(part["seed"].iloc[0]))
            rows += [
                {**keys, "measure": f"{name}/{kind}", **_given_seeds(interval)}
                for name, interval in found.items()
            ]
    return pa.Table.from_pylist(rows, schema=SUMMARY)


def summarised_over_seeds(measures: pd.DataFrame) -> pd.DataFrame:
    """The rows of a measures table but for the corrected shares of arms with one seed, which `hedging_summary` has."""
    alone = measures.groupby("arm", observed=True)["seed"].transform("nunique") == 1
    return measures[~(alone & measures["measure"].astype(str).str.startswith("corrected/"))]


def _corrected(flags: NDArray[np.bool_], labels: NDArray[np.bool_], seed: int) -> Interval:
    """The share of responses that hedge, with an audit sample drawn by `seed`."""
    audited = audit_sample(flags, AUDITED_PER_STRATUM, seed)
    return corrected_prevalence(flags, audited, labels[audited])


def _holds(kinds: Iterable[Collection[str]], kind: str) -> NDArray[np.bool_]:
    wanted = set(HEDGES) if kind == "any" else {kind}
    return np.array([bool(wanted & set(found)) for found in kinds])


def _given_seeds(interval: Interval) -> dict[str, Any]:
    return {
        "estimate": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "interval": f"{interval.method}, given the seeds",
    }
