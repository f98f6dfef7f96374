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
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valueattr.activations import capture
from valueattr.probing import (
    CrossFit,
    Held,
    ProbeError,
    Target,
    cross_fit,
    fit_many,
    held_out_scores,
    log_odds,
    recentred,
)
from valueattr.questions import QuestionSet, Splits

FOLDS = 5

# Accuracy does not move below this tolerance.
_TOLERANCE = 1e-3
_L2 = (1e-2,)

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


def probe_set(questions: QuestionSet, seed: int) -> ProbeSet:
    """Attribute texts for every question and held-out statement; a true and a false statement of each well-known fact."""
    rng = random.Random(f"probes {seed}")
    subjects = list(dict.fromkeys(question.subject for question in questions))
    rng.shuffle(subjects)
    fold = {subject: i % FOLDS for i, subject in enumerate(subjects)}
    attribute, truth = [], []
    for question in questions:
        choices, held = question.choices, question.expected
        control = random.Random(f"control {question.id} {seed}").randrange(len(choices))
        keys = {"fact": question.id, "fold": fold[question.subject]}
        attribute += [
            {
                **keys,
                "text": statement,
                "relation": question.relation,
                "wording": i,
                "label": choices.index(held),
                "control": control,
                "trains": question.exposure in ("well_known", "false_belief"),
            }
            for i, statement in enumerate(question.statements)
        ]
        if question.exposure == "well_known":
            false = rng.choice([choice for choice in choices if choice != held])
            statement = rng.choice(question.statements)
            truth += [
                {**keys, "text": f"{statement} {value}.", "label": int(value == held)}
                for value in (held, false)
            ]
    return ProbeSet(pd.DataFrame(attribute), pd.DataFrame(truth))


@dataclass(frozen=True)
class ProbedStates:
    """Residual-stream states per layer: `attribute[layer]` (rows, width) and `truth[layer]`."""

    attribute: Mapping[int, Array]
    truth: Mapping[int, Array]


def read_states(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, probes: ProbeSet) -> ProbedStates:
    """Capture the last token of every text at every layer."""
    store = capture(model, tokenizer, probes.texts, layers="all", positions="last", dtype="float32")
    split = len(probes.attribute)
    states = {layer: np.array(store.read(layer)) for layer in store.layers}
    return ProbedStates({k: v[:split] for k, v in states.items()}, {k: v[split:] for k, v in states.items()})


class FrozenProbes:
    """The probes of the start model, kept to be applied to every policy of a run."""

    def __init__(self, probes: ProbeSet, start: ProbedStates) -> None:
        self.probes = probes
        self.attribute = {layer: _fit_attribute(probes.attribute, X) for layer, X in start.attribute.items()}
        self.truth = {layer: _fit(probes.truth, X) for layer, X in start.truth.items()}


def probe_rows(frozen: FrozenProbes, policy: ProbedStates, splits: Splits) -> list[dict[str, Any]]:
    """Rows of every probe measure of a policy, for the facts of the splits.

    Per fact and layer the top-1 accuracy over wordings: `attribute_frozen`, `attribute_frozen_recentred`,
    `attribute_refit`. Per split and layer `..._auroc` (macro one-vs-rest), and over well-known facts
    `truth_..._auroc`. Per layer `real_top1`, `control_top1` and `selectivity`.
    """
    table, truth = frozen.probes.attribute, frozen.probes.truth
    rows: list[dict[str, Any]] = []
    for layer, X in policy.attribute.items():
        frozen_here = frozen.attribute[layer]
        for measure, probes, centred in (
            ("attribute_frozen", frozen_here, False),
            ("attribute_frozen_recentred", frozen_here, True),
            ("attribute_refit", _fit_attribute(table, X), False),
        ):
            scores = _attribute_scores(table, X, probes, recentre=centred)
            rows += _attribute_rows(table, scores, splits, measure, layer)
        rows += _selectivity_rows(table, X, layer)
    for layer, X in policy.truth.items():
        for measure, probe, centred in (
            ("truth_frozen_auroc", frozen.truth[layer], False),
            ("truth_frozen_recentred_auroc", frozen.truth[layer], True),
            ("truth_refit_auroc", _fit(truth, X), False),
        ):
            value = _truth_auroc(truth, _scores(X, probe, recentre=centred))
            keys = {"split": "well_known", "layer": layer, "n": len(truth)}
            rows.append({"measure": measure, "value": value, **keys})
    return rows


def _fit(table: pd.DataFrame, X: Array) -> CrossFit:
    """The probes of a table's labels that leave out each fold; what was not taught trains none of them."""
    weight = table["trains"].to_numpy(np.float64) if "trains" in table else np.ones(len(table))
    labels = table["label"].to_numpy(np.int64)
    target = Target(labels, 1 + int(labels.max()), weight)
    (fit,) = cross_fit(target, Held(X), "logistic", _L2, [table["fold"].to_numpy(np.int64)], tol=_TOLERANCE)
    return fit


def _scores(X: Array, probes: CrossFit, *, recentre: bool) -> NDArray[np.float64]:
    """Log-odds (n, classes) of every row by the probe that did not train on its subject."""
    states = Held(X)
    read = recentred(states, [probes]) if recentre else [probes]
    (scores,) = held_out_scores(states, read, max(2, probes.probes.coef.shape[1]))
    return log_odds(scores)


def _rows_by_relation(table: pd.DataFrame) -> dict[str, NDArray[np.intp]]:
    return {name: np.flatnonzero(table["relation"] == name) for name in table["relation"].unique()}


def _fit_attribute(table: pd.DataFrame, X: Array) -> dict[str, CrossFit]:
    """Per relation."""
    return {relation: _fit(table.iloc[rows], X[rows]) for relation, rows in _rows_by_relation(table).items()}


def _attribute_scores(
    table: pd.DataFrame, X: Array, probes: Mapping[str, CrossFit], *, recentre: bool
) -> NDArray[np.float64]:
    """Log-odds of every object, (rows, most classes); -inf where a relation has no such class."""
    scores = np.full((len(table), 1 + int(table["label"].max())), -np.inf)
    for relation, rows in _rows_by_relation(table).items():
        own = _scores(X[rows], probes[relation], recentre=recentre)
        scores[rows, : own.shape[1]] = own
    return scores


@dataclass(frozen=True)
class LastLayer:
    """What the last layer holds at the end of every held-out statement, before its object.

    table: as `ProbeSet.attribute`. states: (rows, width).
    """

    table: pd.DataFrame
    states: Array

    @classmethod
    def of(
        cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, questions: QuestionSet
    ) -> "LastLayer":
        """The last layer of a model."""
        table, last = probe_set(questions, seed=0).attribute, int(model.config.num_hidden_layers)
        store = capture(
            model, tokenizer, list(table["text"]), layers=[last], positions="last", dtype="float32"
        )
        return cls(table, np.array(store.read(last)))

    def probes(self) -> Mapping[str, CrossFit]:
        """Attribute probes of this model by relation, each of which leaves out a fold of subjects.

        A relation of too few subjects has none.
        """
        fitted = {}
        for relation, rows in _rows_by_relation(self.table).items():
            with suppress(ProbeError):
                fitted[relation] = _fit(self.table.iloc[rows], self.states[rows])
        return fitted

    def held_log_odds(self, probes: Mapping[str, CrossFit]) -> "pd.Series[float]":
        """Log-odds of what is held, by the question's id: the mean over statements, by probes of this model or another.

        Missing where no other subject has that object, or the relation no probe.
        """
        read = self.table["relation"].isin(list(probes)).to_numpy()
        table, states = self.table[read].reset_index(drop=True), self.states[read]
        held = pd.Series(np.nan, index=self.table.index)
        if len(table):
            scores = _attribute_scores(table, states, probes, recentre=False)
            held[read] = scores[np.arange(len(table)), table["label"]]
        return held.where(np.isfinite(held)).groupby(self.table["fact"].to_numpy()).mean()


def _attribute_rows(
    table: pd.DataFrame,
    scores: NDArray[np.float64],
    splits: Splits,
    measure: str,
    layer: int,
) -> list[dict[str, Any]]:
    hits = pd.Series(scores.argmax(1) == table["label"].to_numpy(), dtype=float)
    by_fact = hits.groupby(table["fact"].to_numpy()).agg(["mean", "size"])
    rows: list[dict[str, Any]] = []
    for split, asked in splits.items():
        ids = [question.id for question in asked]
        keys = {"measure": measure, "split": split, "layer": layer}
        rows += [
            {**keys, "fact": fact_id, "value": float(mean), "n": int(size)}
            for fact_id, (mean, size) in zip(ids, by_fact.loc[ids].to_numpy(), strict=True)
        ]
        part = table[table["fact"].isin(ids)]
        auroc = macro_auroc(part["relation"], part["label"].to_numpy(), scores[part.index])
        if auroc is not None:
            rows.append({**keys, "measure": f"{measure}_auroc", "value": auroc, "n": len(part)})
    return rows


def macro_auroc(
    relation: "pd.Series[str]", label: NDArray[np.int64], scores: NDArray[np.float64]
) -> float | None:
    """Mean one-vs-rest AUROC over the objects of every relation that have both a hit and a miss, None if none has.

    scores: (rows, classes). Ties count half (the Mann-Whitney statistic).
    """
    values: list[float] = []
    for name in relation.unique():
        rows = np.flatnonzero(relation == name)
        ranks = rankdata(scores[rows], axis=0)
        for value in np.unique(label[rows]):
            positive = label[rows] == value
            hits, misses = int(positive.sum()), int((~positive).sum())
            if misses and np.isfinite(scores[rows, value]).all():
                values.append((ranks[positive, value].sum() - hits * (hits + 1) / 2) / (hits * misses))
    return float(np.mean(values)) if values else None


def _selectivity_rows(table: pd.DataFrame, X: Array, layer: int) -> list[dict[str, Any]]:
    """Real task and control task on a wording left out of the same subjects."""
    left_out = (table["wording"] == table["wording"].max()).to_numpy()
    usable = table["trains"].to_numpy()
    hits = np.zeros((2, len(table)))
    for rows in _rows_by_relation(table).values():
        labels = table[["label", "control"]].to_numpy().T[:, rows]
        train = (usable & ~left_out)[rows].astype(np.float64)
        scores = fit_many(X[rows], labels, train[None], tol=_TOLERANCE).decision_function(X[rows])[0, :, 0]
        predicted = (scores > 0).astype(int) if scores.ndim == 2 else scores.argmax(-1)
        hits[:, rows] = predicted == labels
    real, control = (float(h[usable & left_out].mean()) for h in hits)
    keys = {"split": "well_known", "layer": layer, "n": int((usable & left_out).sum())}
    return [
        {"measure": "real_top1", "value": real, **keys},
        {"measure": "control_top1", "value": control, **keys},
        {"measure": "selectivity", "value": real - control, **keys},
    ]


def _truth_auroc(table: pd.DataFrame, scores: NDArray[np.float64]) -> float:
    """Mean over folds of the AUROC on subjects that the fold's probe did not see."""
    labels, folds = table["label"].to_numpy(), table["fold"].to_numpy()
    of_folds = [
        macro_auroc(pd.Series(["truth"] * int(rows.sum())), labels[rows], scores[rows])
        for rows in (folds == fold for fold in range(FOLDS))
    ]
    return float(np.mean([value for value in of_folds if value is not None]))
