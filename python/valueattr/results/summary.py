"""Aggregates of the measures table, with intervals where there are seeds to carry them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import stats

from valueattr.results._tables import SUMMARY
from valueattr.stats import resampled_means

_KEYS = ["experiment", "arm", "step", "split", "measure", "layer", "format"]


def summarise(measures: pd.DataFrame, subjects: Mapping[str, str] | None = None) -> pa.Table:
    """Mean over facts within each seed, then over seeds: a row per arm, step, split, measure, layer and format.

    A measure with formats has a row per format and one over both, whose format is null. With two or more seeds at that step
    the interval is t over seeds. With one it is a bootstrap over the subjects of its facts, which says so in `interval`;
    an aggregate that has no facts (an AUROC) then has none. `n` counts the rows behind an estimate; rows without a value
    are not among them.

    subjects: of each fact; None takes each fact for one.
    """
    frame = measures.dropna(subset="value")
    frame = frame.assign(layer=frame["layer"].astype("Float64").fillna(-1).astype(int))
    frame = frame.assign(
        **{k: frame[k].astype(object).fillna("").astype("category") for k in ("format", "fact")}
    )
    pooled = frame[frame["format"] != ""].assign(format="")
    frame = pd.concat([frame.assign(format=frame["format"].astype(object)), pooled], ignore_index=True)
    per_fact = (
        frame.groupby([*_KEYS, "seed", "fact"], observed=True)["value"].agg(["mean", "size"]).reset_index()
    )
    per_seed = per_fact.groupby([*_KEYS, "seed"], observed=True).agg(mean=("mean", "mean"), n=("size", "sum"))
    rows = (
        per_seed.reset_index()
        .groupby(_KEYS, observed=True)
        .agg(estimate=("mean", "mean"), spread=("mean", "std"), seeds=("seed", "nunique"), n=("n", "sum"))
        .reset_index()
    )
    many = rows["seeds"] >= 2
    half = stats.t.ppf(0.975, np.maximum(rows["seeds"] - 1, 1)) * rows["spread"] / np.sqrt(rows["seeds"])
    rows["low"] = (rows["estimate"] - half).where(many)
    rows["high"] = (rows["estimate"] + half).where(many)
    rows["interval"] = ["t over seeds" if enough else None for enough in many]
    named = subjects or {}
    per_fact["subject"] = per_fact["fact"].map(lambda fact: named.get(fact, fact))
    return _as_summary(_with_bootstraps(rows, per_fact))


def _with_bootstraps(rows: pd.DataFrame, per_fact: pd.DataFrame) -> pd.DataFrame:
    """Bootstrap intervals over subjects for the rows that rest on one seed."""
    of_row = {tuple(key): i for i, key in enumerate(rows[_KEYS].itertuples(index=False))}
    bounds = rows[["low", "high"]].to_numpy()
    methods = rows["interval"].tolist()
    single = (rows["seeds"] == 1).to_numpy()
    for key, own in per_fact.groupby(_KEYS, observed=True)[["mean", "subject"]]:
        i = of_row[key]
        if single[i] and own["subject"].nunique() >= 2:
            resampled = resampled_means(own["mean"], own["subject"], 1000, np.random.default_rng(0))
            bounds[i] = np.quantile(resampled, [0.025, 0.975])
            methods[i] = "bootstrap over subjects, given the seeds"
    return rows.assign(low=bounds[:, 0], high=bounds[:, 1], interval=methods)


def _as_summary(rows: pd.DataFrame) -> pa.Table:
    columns: dict[str, Any] = {}
    for field in SUMMARY:
        values = rows[field.name]
        if field.name == "layer":
            columns[field.name] = pa.array(values, pa.int32(), mask=(values < 0).to_numpy())
        elif field.name == "format":
            columns[field.name] = pa.array(values.astype(object).where(values != "", None), pa.string())
        else:
            columns[field.name] = pa.Array.from_pandas(
                values.astype(object) if values.dtype == "category" else values
            )
    return pa.table(columns).cast(SUMMARY)
