"""A finished run that was not trained: a few rows in every table."""

import numpy as np

from valueattr.experiments import E1
from valueattr.plan import Plan
from valueattr.results import FACTS, GENERATIONS, MEASURES, STEPS, RunDirectory, as_table, part_name
from valueattr.results.summary import summarise

SPLITS = ("penalised", "untouched", "held_out", "never_taught")


def rows_of(arm, seed, rng):
    """Some rows of every table, as a run of one step leaves them."""
    facts, measures, generations = [], [], []
    step = 4 if arm.feedback else 0
    for split in SPLITS:
        for i in range(3):
            fact = f"{split}-{i}"
            facts.append(
                {
                    "seed": seed,
                    "fact": fact,
                    "topic": "people",
                    "relation": "emblem",
                    "object": f"o{i}",
                    "split": split,
                }
            )
            keys = {
                "experiment": "e1",
                "arm": arm.code,
                "seed": seed,
                "step": step,
                "split": split,
                "fact": fact,
                "n": 1,
            }
            for form in ("plain", "question"):
                belief = {
                    "measure": "belief_margin",
                    "wording": f"{form}-0",
                    "format": form,
                    "value": rng.normal(4, 1),
                }
                measures.append({**keys, **belief})
            for measure, value in (
                ("assert_true", 1.0),
                ("penalty/true content", 0.5),
                ("framing_reward", -0.5),
            ):
                measures.append({**keys, "measure": measure, "wording": "asked-0", "value": value})
            for wording in ("asked-1", "asked-0"):
                generations.append(
                    {
                        **{k: keys[k] for k in ("arm", "seed", "step", "split", "fact")},
                        "phase": "evaluation",
                        "wording": wording,
                        "sample": 0,
                        "prompt": f"{wording} of {fact}?",
                        "response": f"{arm.code} on {wording}",
                        "outcome": "assert_true",
                    }
                )
    steps = [{"arm": arm.code, "seed": seed, "step": 4, "name": "forward_kl", "value": 0.1}] if step else []
    return {"facts": facts, "measures": measures, "generations": generations, "steps": steps}


def finished_run(folder, plan=None):
    """A finished run of E1 with two seeds, without training."""
    plan = plan or Plan.of(E1, "smoke", "0" * 64)
    run = RunDirectory.create(folder, plan.to_json(), {"started_with_seeds": [0, 1]})
    schemas = {"facts": FACTS, "measures": MEASURES, "generations": GENERATIONS, "steps": STEPS}
    rng = np.random.default_rng(0)
    for seed in (0, 1):
        for arm in plan.arms:
            rows = rows_of(arm, seed, rng)
            if arm is not plan.arms[0]:
                del rows["facts"]
            tables = {name: as_table(schemas[name], rows[name]) for name in rows}
            run.write_part(part_name(arm.code, seed), tables)
    run.assemble([part_name(arm.code, seed) for seed in (0, 1) for arm in plan.arms])
    run.write_table("summary", summarise(run.table("measures")))
    run.write_json("start_model.json", {"path": "", "sha256": "1" * 64})
    run.write_json(
        "environment.json",
        {"machine": "m", "device": "cpu", "python": "3", "versions": {}, "timing": {"all in": 1.0}},
    )
    return run
