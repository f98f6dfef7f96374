"""Arms that train an adapter in bfloat16, by every method: measured as they are trained, and kept as a whole model."""

from dataclasses import replace

import pytest
import torch

from valueattr.experiments import E3
from valueattr.experiments._context import Context
from valueattr.experiments._records import Records
from valueattr.experiments._training import final_model_of, train_arm
from valueattr.model import load_model
from valueattr.plan import SMOKE
from valueattr.results import RunDirectory
from valueattr.world import synthesise

PRESET = SMOKE.model_copy(
    update={
        "split_size": 4,
        "steps": 2,
        "checkpoint_every": 1,
        "drift_every": 1,
        "learning_rate": 1e-3,
        "lora_rank": 4,
        "precision": "bfloat16",
    }
)
ARMS = {arm.method: arm for arm in E3.arms}


@pytest.fixture(scope="module")
def context(start):
    return Context(replace(E3, probed=False), PRESET, synthesise(0), start)


def trained(run, context, arm):
    records = Records()
    train_arm(run, context, arm, 0, records, lambda step: None)
    return records


@pytest.mark.parametrize("method", ["grpo", "critique", "edit pairs", "well-put answers"])
def test_an_adapter_is_trained_measured_and_kept(method, context, start, tmp_path):
    arm, run = ARMS[method], RunDirectory.create(tmp_path / "run", {}, {})
    records = trained(run, context, arm)
    drift = {row["step"]: row["value"] for row in records.steps if row["name"] == "forward_kl"}
    assert 0 < drift[1] < drift[2] < 1
    kept = final_model_of(run, arm, 0)
    assert not list(kept.glob("adapter*"))
    after, before = load_model(kept).state_dict(), load_model(start).state_dict()
    assert after.keys() == before.keys()
    changed = {name for name in before if not torch.equal(after[name], before[name])}
    assert changed
    assert all("proj" in name for name in changed)  # linear layers alone
    if method == "grpo":
        assert trained(run, context, arm).measures == records.measures  # from the last checkpoint
