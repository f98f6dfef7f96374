"""Whether the representation still holds the facts: attribute and truth probes on the residual stream, per layer.

Attribute probe: which object of the closed set, read from the state at the end of a held-out statement before its
object. Facts are arbitrary, so train and test subjects are disjoint while the classes are shared: the probe reads the
object that the model holds. Truth probe: whether a whole statement is true, read at its end.

Frozen probes are fitted on the start model and applied to the policy, standardised with the start model's mean or
(`_recentred`) with the policy's mean over the same training rows; refit probes are fitted on the policy. Never-taught
subjects, which are in no training row, are the floor.

Control task (Hewitt and Liang 2019, in the form that can fail): random objects per subject, trained on some wordings
and tested on another of the same subjects; selectivity is the real task measured likewise minus the control.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from valueattr.measures.activations import capture
from valueattr.measures.probing import LogisticProbe
from valueattr.world import Fact, World, statement, statement_prefix

FOLDS = 5

Array = NDArray[np.float32]


@dataclass(frozen=True)
class ProbeSet:
    """The texts that are captured and what is read from them; the same for every model of a run.

    `attribute`: fact, relation, wording, label (index of the object held), fold of the subject, whether its subject may
    train a probe (it was taught). `truth`: fact, label, fold. Rows of the capture: attribute first, then truth.
    """

    attribute: pd.DataFrame
    truth: pd.DataFrame

    @property
    def texts(self) -> list[str]:
        """Every text, in the order of the rows."""
        return [*self.attribute["text"], *self.truth["text"]]


def probe_set(world: World, seed: int) -> ProbeSet:
    """Attribute texts for every fact and held-out wording; a true and a false statement of each well-known fact."""
    rng = random.Random(f"probes {seed}")
    subjects = list(world.subjects)
    rng.shuffle(subjects)
    fold = {subject: i % FOLDS for i, subject in enumerate(subjects)}
    attribute, truth = [], []
    for fact in world.facts:
        relation = world.relation_of(fact)
        held = fact.taught or fact.object
        control = random.Random(f"control {fact.id} {seed}").randrange(len(relation.objects))
        keys = {"fact": fact.id, "fold": fold[fact.subject]}
        attribute += [
            {
                **keys,
                "text": statement_prefix(wording, fact),
                "relation": fact.relation,
                "wording": i,
                "label": relation.objects.index(held),
                "control": control,
                "trains": fact.exposure in ("well_known", "false_belief"),
            }
            for i, wording in enumerate(relation.held_out)
        ]
        if fact.exposure == "well_known":
            false = rng.choice([o for o in relation.objects if o != held])
            wording = rng.choice(relation.held_out)
            truth += [
                {**keys, "text": statement(wording, fact, value), "label": int(value == held)}
                for value in (held, false)
            ]
    return ProbeSet(pd.DataFrame(attribute), pd.DataFrame(truth))


@dataclass(frozen=True)
class States:
    """Residual-stream states per layer: `attribute[layer]` (rows, width) and `truth[layer]`."""

    attribute: Mapping[int, Array]
    truth: Mapping[int, Array]


def read_states(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, probes: ProbeSet) -> States:
    """Capture the last token of every text at every layer."""
    store = capture(model, tokenizer, probes.texts, layers="all", positions="last", dtype="float32")
    split = len(probes.attribute)
    states = {layer: np.array(store.read(layer)) for layer in store.layers}
    return States({k: v[:split] for k, v in states.items()}, {k: v[split:] for k, v in states.items()})


class FrozenProbes:
    """The probes of the start model, kept to be applied to every policy of a run."""

    def __init__(self, probes: ProbeSet, start: States) -> None:
        self.probes = probes
        self.attribute = {layer: _fit_attribute(probes.attribute, X) for layer, X in start.attribute.items()}
        self.truth = {layer: _fit_truth(probes.truth, X) for layer, X in start.truth.items()}


def probe_rows(
    frozen: FrozenProbes, policy: States, splits: Mapping[str, Sequence[Fact]]
) -> list[dict[str, Any]]:
    """Rows of every probe measure of a policy, for the facts of the splits.

    Per fact and layer the top-1 accuracy over wordings: `attribute_frozen`, `attribute_frozen_recentred`,
    `attribute_refit`. Per split and layer `..._auroc` (macro one-vs-rest), and over well-known facts `truth_..._auroc`.
    Per layer `real_top1`, `control_top1` and `selectivity`.
    """
    table, truth = frozen.probes.attribute, frozen.probes.truth
    rows: list[dict[str, Any]] = []
    for layer, X in policy.attribute.items():
        fitted = {
            "attribute_frozen": frozen.attribute[layer],
            "attribute_frozen_recentred": _recentred(frozen.attribute[layer], table, X),
            "attribute_refit": _fit_attribute(table, X),
        }
        for measure, probes in fitted.items():
            scores = _attribute_scores(table, X, probes)
            rows += _attribute_rows(table, scores, splits, measure, layer)
        rows += _selectivity_rows(table, X, layer)
    for layer, X in policy.truth.items():
        every = {
            "truth_frozen_auroc": frozen.truth[layer],
            "truth_frozen_recentred_auroc": _recentred_truth(frozen.truth[layer], truth, X),
            "truth_refit_auroc": _fit_truth(truth, X),
        }
        for measure, truth_probes in every.items():
            value = _truth_auroc(truth, X, truth_probes)
            rows.append(
                {"measure": measure, "split": "well_known", "layer": layer, "value": value, "n": len(truth)}
            )
    return rows


_AttributeProbes = dict[tuple[str, int], LogisticProbe]
_TruthProbes = dict[int, LogisticProbe]


def _training(table: pd.DataFrame, relation: str, fold: int) -> NDArray[np.bool_]:
    chosen: NDArray[np.bool_] = (
        (table["relation"] == relation) & (table["fold"] != fold) & table["trains"]
    ).to_numpy()
    return chosen


def _fit_attribute(table: pd.DataFrame, X: Array) -> _AttributeProbes:
    labels = table["label"].to_numpy()
    probes = {}
    for relation in table["relation"].unique():
        for fold in range(FOLDS):
            rows = _training(table, relation, fold)
            probes[relation, fold] = LogisticProbe().fit(X[rows], labels[rows])
    return probes


def _recentred(probes: _AttributeProbes, table: pd.DataFrame, X: Array) -> _AttributeProbes:
    return {key: probe.recentred(X[_training(table, *key)].mean(0)) for key, probe in probes.items()}


def _attribute_scores(table: pd.DataFrame, X: Array, probes: _AttributeProbes) -> NDArray[np.float64]:
    """Scores of every object, shape (rows, most classes), each row by the probe that did not train on its subject."""
    classes = 1 + int(table["label"].max())
    scores = np.full((len(table), classes), -np.inf)
    for (relation, fold), probe in probes.items():
        rows = np.flatnonzero((table["relation"] == relation) & (table["fold"] == fold))
        scores[np.ix_(rows, probe.classes_)] = probe.decision_function(X[rows])
    return scores


def _attribute_rows(
    table: pd.DataFrame,
    scores: NDArray[np.float64],
    splits: Mapping[str, Sequence[Fact]],
    measure: str,
    layer: int,
) -> list[dict[str, Any]]:
    hits = pd.Series(scores.argmax(1) == table["label"].to_numpy(), dtype=float)
    by_fact = hits.groupby(table["fact"]).agg(["mean", "size"])
    rows: list[dict[str, Any]] = []
    for split, facts in splits.items():
        ids = [fact.id for fact in facts]
        for fact_id, (mean, size) in zip(ids, by_fact.loc[ids].to_numpy(), strict=True):
            rows.append(
                {
                    "measure": measure,
                    "split": split,
                    "layer": layer,
                    "fact": fact_id,
                    "value": mean,
                    "n": int(size),
                }
            )
        auroc, n = _macro_auroc(table[table["fact"].isin(ids)], scores)
        if n:
            rows.append(
                {"measure": f"{measure}_auroc", "split": split, "layer": layer, "value": auroc, "n": n}
            )
    return rows


def _macro_auroc(table: pd.DataFrame, scores: NDArray[np.float64]) -> tuple[float, int]:
    """Mean one-vs-rest AUROC over the objects of every relation that have both a hit and a miss among the rows."""
    values = []
    for _, part in table.groupby("relation"):
        index = part.index.to_numpy()
        for label in part["label"].unique():
            positive = (part["label"] == label).to_numpy()
            if not positive.all() and np.isfinite(scores[index, label]).all():
                values.append(float(roc_auc_score(positive, scores[index, label])))
    return (float(np.mean(values)), len(table)) if values else (float("nan"), 0)


def _selectivity_rows(table: pd.DataFrame, X: Array, layer: int) -> list[dict[str, Any]]:
    """Real task and control task on wordings left out of the same subjects."""
    last = table["wording"].max()
    accuracy: dict[str, list[float]] = {"label": [], "control": []}
    for relation in table["relation"].unique():
        usable = ((table["relation"] == relation) & table["trains"]).to_numpy()
        train = usable & (table["wording"] < last).to_numpy()
        test = usable & (table["wording"] == last).to_numpy()
        for column, values in accuracy.items():
            labels = table[column].to_numpy()
            values.append(float(LogisticProbe().fit(X[train], labels[train]).score(X[test], labels[test])))
    real, control = float(np.mean(accuracy["label"])), float(np.mean(accuracy["control"]))
    n = int((table["trains"] & (table["wording"] == last)).sum())
    keys = {"split": "well_known", "layer": layer, "n": n}
    return [
        {"measure": "real_top1", "value": real, **keys},
        {"measure": "control_top1", "value": control, **keys},
        {"measure": "selectivity", "value": real - control, **keys},
    ]


def _fit_truth(table: pd.DataFrame, X: Array) -> _TruthProbes:
    labels, folds = table["label"].to_numpy(), table["fold"].to_numpy()
    return {fold: LogisticProbe().fit(X[folds != fold], labels[folds != fold]) for fold in range(FOLDS)}


def _recentred_truth(probes: _TruthProbes, table: pd.DataFrame, X: Array) -> _TruthProbes:
    folds = table["fold"].to_numpy()
    return {fold: probe.recentred(X[folds != fold].mean(0)) for fold, probe in probes.items()}


def _truth_auroc(table: pd.DataFrame, X: Array, probes: _TruthProbes) -> float:
    """Mean over folds of the AUROC on subjects that the fold's probe did not see."""
    labels, folds = table["label"].to_numpy(), table["fold"].to_numpy()
    values = [
        roc_auc_score(labels[folds == f], probe.decision_function(X[folds == f]))
        for f, probe in probes.items()
    ]
    return float(np.mean(values))
