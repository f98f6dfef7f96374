"""docs/recompute.py, which has nothing but pandas, finds what the package finds; printed tables are those of shipped runs."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.builders import PRESET, an_arm, small_plan
from valueattr.plan import Contrast, Plan, evaluate
from valueattr.results import RunDirectory

DOCS = Path(__file__).parents[2] / "docs"
SHIPPED = sorted(path.parent for path in (DOCS / "results").rglob("measures.parquet"))
PAGES = {"smollm2/e1": "e1-smollm2.md"}


def recomputed(folder):
    """By contrast: estimate, low and high."""
    done = subprocess.run(
        [sys.executable, DOCS / "recompute.py", folder], capture_output=True, text=True, check=True
    )
    rows = (line.split("\t") for line in done.stdout.splitlines())
    return {name: [float(value) for value in values] for name, *values in rows}


def same(found, contrasts):
    assert list(found) == [c.declared.name for c in contrasts]
    for c in contrasts:
        estimate, low, high = found[c.declared.name]
        assert estimate == pytest.approx(c.estimate, abs=1e-4, nan_ok=True)
        if c.interval:
            assert (low, high) == pytest.approx((c.interval.low, c.interval.high), abs=2e-4)
        else:
            assert np.isnan(low)


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda path: "/".join(path.parts[-2:]))
def test_shipped_runs_are_recomputed_without_the_package(folder):
    run = RunDirectory(folder)
    found = evaluate(Plan.read(run), run.table("measures"), run.table("steps"))
    assert found.contrasts
    same(recomputed(folder), found.contrasts)


@pytest.mark.parametrize("starts", [1, 2])
def test_every_kind_of_contrast_is_recomputed(tmp_path, starts):
    arms = [an_arm("s0", None), *(an_arm(code) for code in ("a", "b", "c", "d"))]
    plan = small_plan(
        arms,
        [
            Contrast("end", "t", "m", "a", "b", "p"),
            Contrast("specific", "t", "m", "a", "b", "p", minus_split="u"),
            Contrast("interaction", "t", "m", "a", "b", "p", minus_arms=("c", "d")),
            Contrast("kl", "t", "m", "a", "b", "p", at="equal-kl"),
            Contrast("framing", "t", "m", "a", "b", "p", at="equal-framing", framing=(0.4, 0.6)),
            Contrast("never", "t", "m", "a", "b", "p", at="equal-framing", framing=(0.4, 5.0)),
        ],
    ).model_copy(update={"settings": PRESET.model_copy(update={"starts": starts})})
    rng = np.random.default_rng(0)
    rows, steps = [], []
    for seed in range(4):
        for arm in arms:
            at = (0,) if arm.feedback is None else (4, 8, 12)
            for step in at:
                for split in ("p", "u"):
                    for fact in range(5):
                        keys = {"arm": arm.code, "seed": seed, "step": step, "split": split}
                        keys["fact"] = f"{split}{fact}"
                        rows.append({**keys, "measure": "m", "value": rng.normal()})
                        framing = 0.3 + 0.04 * step + rng.normal(0, 0.05)
                        rows.append({**keys, "measure": "courtesy", "value": framing})
            reached = {"a": 3, "b": 2 + seed % 2}.get(arm.code, 0)
            for kl, step in list(zip((0.05, 0.1, 0.2), (4, 8, 12), strict=True))[:reached]:
                steps.append(
                    {"arm": arm.code, "seed": seed, "step": step, "name": f"checkpoint/kl_{kl}", "value": 1.0}
                )
    run = RunDirectory.create(tmp_path / "run", plan.to_json(), {})
    tables = {"measures": pd.DataFrame(rows), "steps": pd.DataFrame(steps)}
    for name, table in tables.items():
        table.to_parquet(run.path / f"{name}.parquet")
    found = evaluate(plan, *tables.values()).contrasts
    assert found[1].interval.n == (2 if starts == 2 else 4)
    assert found[-1].verdict == "not measured"
    same(recomputed(run.path), found)


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda path: "/".join(path.parts[-2:]))
def test_printed_tables_are_those_of_the_shipped_run(folder):
    page = (DOCS / "results" / PAGES["/".join(folder.parts[-2:])]).read_text("utf-8")
    done = subprocess.run(
        [sys.executable, DOCS / "print_results.py", folder], capture_output=True, text=True, check=True
    )
    tables = re.findall(r"(?:^\|.*\n)+", done.stdout, re.M)
    tables = [table for table in tables if table.count("\n") > 2]  # those that have rows
    assert len(tables) >= 4
    for table in tables:
        assert table in page
