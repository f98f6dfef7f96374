"""Real statements, labelled true or false: how likely the model finds them, and whether its states tell them apart."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valueattr.activations import capture
from valueattr.model import log_p_per_token
from valueattr.probing import CrossFit, Held, Target, cross_fit, held_out_scores, log_odds
from valueattr.tables import TableError, read_rows

FOLDS = 5
SPLIT = "statements"

_LABELS = {"1": 1, "1.0": 1, "true": 1, "0": 0, "0.0": 0, "false": 0}


class StatementError(ValueError):
    """Statements that cannot be read; the message names the file, the line and what was expected."""


@dataclass(frozen=True)
class Statements:
    """`texts` with their `labels` (n,), 1 if true; `fold` (n,) is the same for texts that are the same."""

    texts: tuple[str, ...]
    labels: NDArray[np.int64]

    @property
    def fold(self) -> NDArray[np.int64]:
        """Which fold tests each statement."""
        return np.array([hashlib.sha256(text.encode()).digest()[0] % FOLDS for text in self.texts])

    def check_folds(self) -> None:
        """Truth probes leave each fold out; what is left, and one fold at least, must have true and false statements.

        Raises:
            StatementError: there are too few.
        """
        of_fold = [set(self.labels[self.fold == k].tolist()) for k in range(FOLDS)]
        of_rest = [set(self.labels[self.fold != k].tolist()) for k in range(FOLDS)]
        if not any(len(labels) == 2 for labels in of_fold) or any(len(labels) < 2 for labels in of_rest):
            raise StatementError(
                f"{len(self.texts)} statements are too few for {FOLDS} folds with true and false ones; give more"
            )

    @property
    def digest(self) -> str:
        """SHA-256 over texts and labels."""
        return hashlib.sha256(json.dumps([self.texts, self.labels.tolist()]).encode()).hexdigest()


def load_statements(path: str | Path) -> Statements:
    """Read a .jsonl or .csv file with the fields `statement` and `label` (1 or true, 0 or false).

    Raises:
        StatementError: the file cannot be read, a field of a line is not as expected, all labels are the same, or
            the same statement has two labels.
    """
    try:
        rows = read_rows(path)
    except TableError as error:
        raise StatementError(str(error)) from error
    said: dict[str, tuple[int, int]] = {}
    texts, labels = [], []
    for line, row in rows:
        text, label = row.get("statement"), str(row.get("label", "")).strip().lower()
        if not isinstance(text, str) or not text.strip():
            raise StatementError(f"{path}, line {line}: `statement` is {text!r}, expected a text")
        if label not in _LABELS:
            raise StatementError(
                f"{path}, line {line}: `label` is {row.get('label')!r}, expected true or false"
            )
        before, value = said.setdefault(text.strip(), (line, _LABELS[label]))
        if value != _LABELS[label]:
            raise StatementError(
                f"{path}, line {line}: {text.strip()!r} is labelled {bool(_LABELS[label])}, "
                f"and {bool(value)} in line {before}"
            )
        texts.append(text.strip())
        labels.append(_LABELS[label])
    if len(set(labels)) < 2:
        raise StatementError(f"{path}: needs both true and false statements, found {len(labels)} of one kind")
    return Statements(tuple(texts), np.array(labels))


StatementProbes = Mapping[int, CrossFit]
"""Per layer, the probes that leave out each fold."""


@dataclass(frozen=True)
class FrozenStatements:
    """Statements, and the start model's truth probes on them, kept to be applied to every policy of a run."""

    statements: Statements
    probes: StatementProbes

    @classmethod
    def of(
        cls, start: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, statements: Statements
    ) -> "FrozenStatements":
        """With probes fitted on the start model."""
        states = statement_states(start, tokenizer, statements)
        return cls(statements, fit_statement_probes(statements, states))


StatesByLayer = Mapping[int, NDArray[np.float32]]
"""Per layer, the state at each statement's last token, shape (n, width)."""


def statement_states(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, statements: Statements
) -> StatesByLayer:
    """The residual stream at the end of every statement."""
    store = capture(model, tokenizer, statements.texts, layers="all", positions="last")
    return {layer: np.array(store.read(layer)) for layer in store.layers}


def fit_statement_probes(statements: Statements, states: StatesByLayer) -> StatementProbes:
    """A logistic truth probe per layer and fold, trained on the other folds."""
    target = Target(statements.labels, 2, np.ones(len(statements.labels)))
    return {
        layer: cross_fit(target, Held(X), "logistic", (1e-2,), [statements.fold], tol=1e-3)[0]
        for layer, X in states.items()
    }


def statement_rows(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    frozen: FrozenStatements,
) -> list[dict[str, Any]]:
    """Rows of a model. Per statement `statement/log_p`, in nats per token. Over all: `statement/log_p_auroc`, of true against
    false ones by it; per layer `statement/refit_auroc` and `statement/frozen_auroc`, of truth probes fitted on the model
    itself and on the start model (`frozen`), each statement by the fold that did not train on it.
    """
    statements = frozen.statements
    log_p = log_p_per_token(model, tokenizer, statements.texts)
    keys = {"split": SPLIT, "n": 1}
    rows: list[dict[str, Any]] = [
        {"measure": "statement/log_p", "value": float(value), "fact": f"statement-{i}", **keys}
        for i, value in enumerate(log_p)
    ]
    over_all = {"split": SPLIT, "n": len(log_p)}
    auroc = float(roc_auc_score(statements.labels, log_p))
    rows.append({"measure": "statement/log_p_auroc", "value": auroc, **over_all})
    states = statement_states(model, tokenizer, statements)
    for name, probes in (("refit", fit_statement_probes(statements, states)), ("frozen", frozen.probes)):
        for layer, X in states.items():
            value = _held_out_auroc(statements, probes[layer], X)
            rows.append({"measure": f"statement/{name}_auroc", "value": value, "layer": layer, **over_all})
    return rows


def _held_out_auroc(statements: Statements, probes: CrossFit, X: NDArray[np.float32]) -> float:
    (scores,) = held_out_scores(Held(X), [probes], 2)
    truth, fold = log_odds(scores)[:, 1], statements.fold
    of_folds = [
        roc_auc_score(statements.labels[fold == k], truth[fold == k])
        for k in range(FOLDS)
        if len(set(statements.labels[fold == k].tolist())) == 2
    ]
    return float(np.mean(of_folds))
