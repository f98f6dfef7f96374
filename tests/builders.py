"""What tests are about, made small: questions, judged responses, activation stores, plans of today and of before."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from valueattr import _core
from valueattr.activations import ActivationStore
from valueattr.diagnosis import EVIDENCE
from valueattr.plan import Arm, Plan, Preset
from valueattr.questions import Question
from valueattr.rating import Feedback, JudgedResponse, Judgement


def a_question(name, answer, choices=("bear", "heron", "owl"), topic="animals", subject=None, **more):
    return Question(
        id=name,
        topic=topic,
        subject=subject or name,
        relation="emblem",
        answer=answer,
        choices=choices,
        wordings=(f"What is the emblem of {name}?", f"Which emblem has {name}?"),
        held_out_wordings=(f"Whose emblem is that of {name}?",),
        statements=(f"The emblem of {name} is the", f"The animal of {name} is the"),
        answer_stem="it is the",
        **more,
    )


def a_judgement(outcome="other", framing=None, hedges=(), asserted=None, spans=None):
    """A verdict; `spans` are (start, end) of the framing and of the content, each alone."""
    found = dict(zip(("framing", "content"), ((span,) for span in spans or ()), strict=False))
    return Judgement(outcome, asserted, framing, hedges, {"framing": (), "content": (), **found})


def a_response(fact, judgement, text="", *, split="penalised", sample=0, unsure=False):
    """An answer to the first wording of a fact's question, with its verdict."""
    return JudgedResponse(fact, split, "asked-0", sample, "Q?", text, judgement, unsure)


def a_store(path, layers, *columns, captures=("texts",), tokens=1, shards=None, dtype="float32"):
    """An activation store.

    layers: {layer: states of shape (rows, width)}, the captures' one after the other
    columns: for each capture those of its texts; a text has `tokens` rows
    shards: the number of texts in each shard of a capture; one of all of them if not given
    """
    states = [torch.from_numpy(np.ascontiguousarray(X)).to(getattr(torch, dtype)) for X in layers.values()]
    writer = _core.StoreWriter(path, list(layers), states[0].shape[1], dtype, False)
    row = 0
    for capture, own in zip(captures, columns, strict=True):
        first = 0
        for texts in [len(own["id"])] if shards is None else shards:
            rows = slice(row, row + texts * tokens)
            raw = [X[rows].reshape(-1).view(torch.uint8).numpy() for X in states]
            text = np.repeat(np.arange(first, first + texts), tokens)
            writer.append(capture, texts, text, np.tile(np.arange(tokens), texts), raw)
            row, first = rows.stop, first + texts
        buffer = pa.BufferOutputStream()
        pq.write_table(pa.table(own), buffer)
        writer.write_beside(f"texts-{capture}.parquet", buffer.getvalue().to_pybytes())
    writer.finish()
    return ActivationStore(path)


FRAMING = Feedback(("insensitive framing",), ("penalised",))

PRESET = Preset(
    seeds=1,
    split_size=1,
    samples_per_fact=1,
    steps=1,
    prompts_per_step=1,
    group_size=2,
    learning_rate=1e-4,
    beta=0.02,
    checkpoint_every=1,
    drift_every=1,
)


def an_arm(code, feedback=FRAMING, **more):
    return Arm(
        code, f"title of {code}", feedback, **{"prompt_family": "zero", "prompted": ("penalised",), **more}
    )


def small_plan(arms, contrasts, ratios=(), checks=()):
    """A plan of these arms, whose first contrast is the primary one."""
    return Plan(
        experiment="e",
        title="a small experiment",
        preset="smoke",
        world="0" * 64,
        model="embedded",
        statements=None,
        settings=PRESET,
        arms=arms,
        probed=False,
        frontier_every=0,
        kl_thresholds=(0.05, 0.1, 0.2, 0.4),
        primary=contrasts[0].name,
        contrasts=contrasts,
        ratios=ratios,
        checks=checks,
        alpha=0.05,
        decision_rule="as declared",
    )


def as_version_2(plan):
    """The JSON values of a plan as version 2 had them."""
    values = {**plan.to_json(), "version": 2}
    del values["rule"]
    for contrast in values["contrasts"]:
        del contrast["minus_arms"], contrast["framing"]
    return values


def as_version_1(plan):
    """The JSON values of a plan as version 1 had them."""
    values = as_version_2(plan)
    arms = {arm["code"]: arm for arm in values.pop("arms")}
    for arm in arms.values():
        if arm["feedback"]:
            arm["feedback"]["pools"] = arm["feedback"].pop("splits")
    for contrast in values["contrasts"]:
        contrast["family"] = contrast.pop("holm_family")
    values["settings"]["pool_size"] = values["settings"].pop("split_size")
    contrasts, checks = values.pop("contrasts"), values.pop("checks")
    del values["version"], values["chosen_arms"]
    values.pop("variation", None)
    return {
        **values,
        "order": list(arms),
        "arms": {code: arm["title"] for code, arm in arms.items()},
        "feedback": {code: arm["feedback"] for code, arm in arms.items()},
        "methods": {code: arm["method"] for code, arm in arms.items()},
        "families": {code: arm["prompt_family"] for code, arm in arms.items()},
        "prompted": {code: arm["prompted"] for code, arm in arms.items()},
        "family": contrasts,
        "manipulation_checks": checks,
    }


def controls(separation=4.0, bases=("b0", "b1"), recipes=("easy", "hard"), facts=60, seed=0):
    """Controls of a diagnosis: held facts stand `separation` above lost ones, whatever the base and recipe."""
    rng = np.random.default_rng(seed)
    rows = []
    for base in bases:
        for recipe in recipes:
            for i in range(facts):
                holds = i % 2 == 0
                readings = separation * holds + rng.normal(size=len(EVIDENCE))
                rows.append(
                    {"base": base, "recipe": recipe, "fact": f"f{i}", "holds": holds}
                    | dict(zip(EVIDENCE, readings, strict=True))
                )
    return pd.DataFrame(rows)
