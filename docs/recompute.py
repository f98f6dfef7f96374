"""The declared contrasts of a run from its tables and its plan, with pandas alone.

python docs/recompute.py docs/results/smollm2/e1
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

run = Path(sys.argv[1])
plan = json.loads((run / "plan.json").read_text("utf-8"))["plan"]
measures, steps = (pd.read_parquet(run / f"{name}.parquet") for name in ("measures", "steps"))
by_fact = measures.groupby(
    ["measure", "arm", "seed", "step", "split", "fact"], observed=True, dropna=False
).value.mean()
last = measures.groupby(["arm", "seed"], observed=True).step.max()
crossings = steps[steps.name.astype(str).str.startswith("checkpoint/kl_")]
crossings = crossings.assign(kl=crossings.name.astype(str).str.removeprefix("checkpoint/kl_").astype(float))


def step_of(c, arm, other, seed):
    """Where an arm is compared: at its end, or at the largest forward KL that both arms reached."""
    if c["at"] == "equal-steps":
        return last[arm, seed]
    of = {
        code: crossings.query("arm == @code and seed == @seed").set_index("kl").step for code in (arm, other)
    }
    return of[arm][max(set(of[arm].index) & set(of[other].index))]


def over_framings(c, arm, seed):
    """Mean of the measure over the sealed framings, each where training first reached it."""
    family = {a["code"]: a["prompt_family"] for a in plan["arms"]}
    start = next(a["code"] for a in plan["arms"] if not a["feedback"] and family[a["code"]] == family[arm])
    rows = measures[
        measures.arm.isin([arm, start]) & (measures.seed == seed) & (measures.split == c["split"])
    ]
    means = rows.astype({"measure": str}).pivot_table(index="step", columns="measure", values="value")
    framing, value = (
        means[["courtesy", c["measure"]]].dropna()[x].to_numpy() for x in ("courtesy", c["measure"])
    )
    every = []
    for wanted in np.linspace(*c["framing"], 101):
        i = int(np.flatnonzero(framing >= wanted)[0])  # an IndexError where it was not reached
        share = (wanted - framing[i - 1]) / (framing[i] - framing[i - 1]) if i else 0
        every.append(value[i] if not i else value[i - 1] + share * (value[i] - value[i - 1]))
    return np.mean(every)


def difference(c, arm, baseline, seed, split):
    """Mean over facts of the arm minus its baseline."""
    if c["at"] == "equal-framing":
        return over_framings(c, arm, seed) - over_framings(c, baseline, seed)
    a, b = (
        by_fact[c["measure"], x, seed, step_of(c, x, y, seed), split]
        for x, y in ((arm, baseline), (baseline, arm))
    )
    return (a - b).mean()


for c in plan["contrasts"]:
    pairs = [(c["arm"], c["baseline"]), *([c["minus_arms"]] if c.get("minus_arms") else [])]
    splits = [c["split"], *([c["minus_split"]] if c["minus_split"] else [])]
    found = pd.Series(dtype=float)
    for seed in sorted(measures.seed.unique()):
        try:
            parts = [[difference(c, *pair, seed, split) for pair in pairs] for split in splits]
        except (
            KeyError,
            IndexError,
            ValueError,
        ):  # not measured under this seed, or no forward KL that both reached
            continue
        of_splits = [arms[0] - sum(arms[1:]) for arms in parts]
        found[seed] = of_splits[0] - sum(of_splits[1:])
    starts = plan["settings"].get("starts", 1)
    seeds = found.index
    units = found.groupby((seeds + seeds // starts) % starts if starts > 1 else seeds).mean()
    half = stats.t.ppf(0.975, len(units) - 1) * units.sem() if len(units) > 1 else float("nan")
    print(f"{c['name']}\t{units.mean():+.4f}\t{units.mean() - half:+.4f}\t{units.mean() + half:+.4f}")
