"""Every layer, kind of probe, label and seed of a store in one call, with every control."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from valueattr._core import ProbeError
from valueattr.activations import ActivationStore
from valueattr.probing._batch import Kind
from valueattr.probing._codelength import codelength
from valueattr.probing._columns import by_id, classes, column, encoded, matched, row_weights
from valueattr.probing._heldout import (
    KINDS,
    PENALISED,
    Convergence,
    CrossFit,
    Stored,
    Target,
    cross_fit,
    held_out_scores,
    recentred,
)
from valueattr.probing._intervals import Resampling
from valueattr.probing._partitions import (
    Floats,
    Ints,
    control_codes,
    deal,
    leave_one_out,
    leave_two_out,
    prequential,
)

L2 = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)

_CONTROLS = (
    *("real", "control", "selectivity", "selectivity_low", "selectivity_high"),
    *("codelength", "compression"),
)

FITTED = "fitted"
"""In the column `store`: the one that the probes were fitted on."""


def sweep(
    store: ActivationStore,
    labels: str | Sequence[str] | pa.Table | pd.DataFrame,
    groups: str | None = None,
    *,
    capture: str | None = None,
    wordings: str | None = None,
    layers: Sequence[int] | None = None,
    kinds: Sequence[Kind] = ("logistic",),
    l2: Sequence[float] = L2,
    folds: int = 5,
    seeds: Sequence[int] = (0,),
    sample_weight: str | None = None,
    class_weight: Literal["balanced"] | None = None,
    apply_to: Mapping[str, ActivationStore] | None = None,
    resamples: int = 1000,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Probe labels on layers of a store by cross-validation over groups, and measure what can mislead.

    Penalties are chosen for each fold without its rows. Standardisation, sign and threshold come from training rows. A
    class without a row in a fold's training rows counts as missed there, and is left out of the fold's AUROC. The same
    arguments give the same table, whatever `threads`.

    Args:
        store: activations (rows, d) of each layer.
        labels: columns of the store's texts; or a table with a column `id` and a column per label, joined by id. Classes
            are texts, integers or booleans; a row that is null or blank has no part in that label.
        groups: column (here and below, of the store's texts or of the table) of what must not stand in two folds, such as
            the subject; by default the id, so that all rows of a text stay together.
        capture: the one whose rows are probed, and of other stores those of the capture of this name if they have it; by
            default the rows of all captures.
        wordings: column of the wording in which a text puts its group's content, for the control task: see below.
        layers: by default all.
        kinds: of `fit_many`: logistic, ridge, lda, mean-difference, mean-difference-whitened.
        l2: penalties to choose from, above 0.
        folds: at least 2, and 3 where there is a penalty to choose.
        seeds: of the deal of groups to folds, control labels, order of the code, and resampling.
        sample_weight: column of what a row weighs in fits and choices; a row of 0 is as if it were not there. Measures
            count rows alike.
        class_weight: "balanced" lets classes weigh the same in fits and choices.
        apply_to: other stores, by name, on which the same probes are read: the same ids and tokens, held-out rows only.
        resamples: of the groups, for intervals.
        threads: at most so many in the fits; None is one per core.
        progress: called with the cells (layer, kind, label, seed) that are done, and all.

    Returns:
        One line per layer, kind, label, seed, `store` ("fitted", or a name of `apply_to`) and `centre` ("own": the
        probe's training mean is subtracted; "recentred": the other store's mean over the same rows). `attrs` holds the
        settings. Columns:

        - `n` rows, `left_out` rows (without a label, or of weight 0), `groups`, `classes`, `majority` (share of the most frequent class).
        - `accuracy`, `auroc` (macro one-vs-rest for more than two classes; within folds, averaged by rows), each with
          `_low` and `_high`: a 95% percentile interval by bootstrap over groups, given the probes.
        - `real`, `control`, `selectivity` (real - control, with an interval as above), with `wordings`: accuracy on
          wordings left out of the same groups, for the label and for classes dealt to groups at random (Hewitt and Liang
          2019).
        - `codelength` in bits, and `compression` (uniform code over it), of the online code by logistic probes on the
          unweighted rows (Voita and Titov 2020); each block is coded by the penalty that was best on those before it.
        - `l2` chosen, one per fold; `converged`, the share of fits, and `gradient_norm`, the largest among them.

        What does not apply is null.

    Raises:
        SeveralCapturesError: a table of labels has ids of texts in several captures, and `capture` names none.
        ProbeError: labels, groups, layers or settings that cannot be used, an activation that is not finite (layer and
            text are named), or rows that a store of `apply_to` lacks.
        StoreError: a store's files cannot be read.
    """
    others = dict(apply_to or {})
    chosen = tuple(store.layers if layers is None else layers)
    _check_settings(chosen, kinds, l2, folds, seeds, class_weight, resamples)
    _check_stores(store, others, chosen)
    if wordings is not None and groups is None:
        raise ProbeError(
            "wordings need groups: the column of what is put in several wordings, such as the subject"
        )
    index, at = _index(store, capture)
    tables, names = _tables(index, labels, {groups, wordings, sample_weight})
    path = [float(value) for value in l2]
    about = _Columns(tables, groups, wordings, sample_weight)
    studies = [
        _study(about, name, folds, seeds, class_weight == "balanced", _chooses(kinds, path)) for name in names
    ]
    rows_of = {name: _matched(index, other, name, capture) for name, other in others.items()}
    resampling = Resampling(resamples, threads)
    done, total = 0, len(chosen) * len(studies) * len(kinds) * len(seeds)
    lines: list[dict[str, Any]] = []
    for layer in chosen:
        for study in studies:
            applied_to = {name: (other, rows_of[name][study.rows]) for name, other in others.items()}
            for kind in kinds:
                if progress is not None:
                    progress(done, total)
                try:
                    lines += _cell(
                        Stored(store, layer, at[study.rows]),
                        kind,
                        study,
                        path,
                        applied_to,
                        resampling,
                        threads,
                    )
                except ProbeError as error:
                    raise ProbeError(f"label {study.label!r}: {error}") from None
                done += len(seeds)
    if progress is not None:
        progress(done, total)
    table = pd.DataFrame(lines)
    table.attrs = {
        "labels": names,
        "capture": capture,
        "groups": groups,
        "wordings": wordings,
        "l2": path,
        "folds": folds,
        "sample_weight": sample_weight,
        "class_weight": class_weight,
        "resamples": resamples,
    }
    return table


@dataclass(frozen=True)
class _Columns:
    """Where a sweep finds what belongs to the rows."""

    tables: Sequence[pa.Table]
    groups: str | None
    wordings: str | None
    sample_weight: str | None

    def read(self, name: str) -> pa.Array:
        return column(self.tables, name)

    def of_rows(self, name: str, rows: Ints, label: str) -> tuple[Ints, int]:
        """A column on some rows, as codes without gaps, and how many there are."""
        codes = encoded(self.read(name), name).codes[rows]
        if (codes < 0).any():
            raise ProbeError(
                f"label {label!r}: {name!r} is null in {int((codes < 0).sum()):,} rows that have the label"
            )
        return _renumbered(codes)


@dataclass(frozen=True)
class _Control:
    """The control task of one seed, on the rows `at` (of a study's n) whose groups are put in several wordings.

    group, codes: their groups and control labels. part: which wordings are left out together.
    """

    at: Ints
    group: Ints
    codes: Ints
    part: Ints


@dataclass(frozen=True)
class _Study:
    """A label on the rows (n,) of the index that have it: its target, their groups (n,) and, per seed, their folds (n,)."""

    label: str
    rows: Ints
    left_out: int
    target: Target
    group: Ints
    seeds: Sequence[int]
    folds: Sequence[Ints]
    controls: Sequence[_Control]


def _cell(
    activations: Stored,
    kind: Kind,
    study: _Study,
    l2: Sequence[float],
    applied_to: Mapping[str, tuple[ActivationStore, Ints]],
    resampling: Resampling,
    threads: int | None,
) -> list[dict[str, Any]]:
    """The lines of one layer, kind and label."""
    target, layer = study.target, activations.layer
    fitted = cross_fit(target, activations, kind, l2, study.folds, threads)
    counts = np.bincount(target.codes)
    keys = {"layer": layer, "kind": kind, "label": study.label}
    about = {
        "n": len(target.codes),
        "left_out": study.left_out,
        "groups": int(study.group.max()) + 1,
        "classes": target.classes,
        "majority": float(counts.max() / counts.sum()),
    }

    def lines(name: str, centre: str, read: Stored, probes: Sequence[CrossFit]) -> list[dict[str, Any]]:
        scores = held_out_scores(read, probes, target.classes)
        return [
            {**keys, "seed": seed, "store": name, "centre": centre, **about}
            | resampling.measure(scores[i], target.codes, probes[i].fold, study.group, seed)
            | dict.fromkeys(_CONTROLS, np.nan)
            | {"l2": None if (chosen := probes[i].l2) is None else chosen.tolist()}
            | _reached(probes[i].convergence)
            for i, seed in enumerate(study.seeds)
        ]

    result = lines(FITTED, "own", activations, fitted)
    for i, line in enumerate(result):
        convergence = fitted[i].convergence
        if kind == "logistic":
            online = prequential(study.group, target.codes, study.seeds[i])
            bits, of_code = codelength(target, activations, l2, online, threads)
            convergence += of_code
            uniform = len(target.codes) * float(np.log2(target.classes))
            line |= {"codelength": bits, "compression": uniform / bits}
        if study.controls:
            hits, of_control = _hits(study.target, study.controls[i], activations, kind, l2, threads)
            convergence += of_control
            real, control = hits.mean(1)
            line |= {"real": float(real), "control": float(control)}
            line |= resampling.mean("selectivity", hits[0] - hits[1], study.controls[i].group, study.seeds[i])
        line |= _reached(convergence)
    for name, (other, rows) in applied_to.items():
        read = Stored(other, layer, rows)
        result += lines(name, "own", read, fitted)
        result += lines(name, "recentred", read, recentred(read, fitted))
    return result


def _reached(convergence: Convergence) -> dict[str, float]:
    return {
        "converged": convergence.converged / convergence.fits,
        "gradient_norm": convergence.gradient_norm,
    }


def _hits(
    target: Target,
    control: _Control,
    activations: Stored,
    kind: Kind,
    l2: Sequence[float],
    threads: int | None,
) -> tuple[Floats, Convergence]:
    """Which rows are read right when their wording is left out: (2, rows) of 1 or 0, for the label and the control label."""
    read = Stored(activations.store, activations.layer, activations.rows[control.at])
    hits, convergences = [], []
    for of_rows in (target.codes[control.at], control.codes):
        codes, left = _renumbered(of_rows)
        own = Target(codes, left, target.weight[control.at], target.balanced)
        fitted = cross_fit(own, read, kind, l2, [control.part], threads)
        (scores,) = held_out_scores(read, fitted, left)
        hits.append(scores.argmax(1) == codes)
        convergences.append(fitted[0].convergence)
    return np.array(hits, np.float64), convergences[0] + convergences[1]


def _study(
    about: _Columns, name: str, folds: int, seeds: Sequence[int], balanced: bool, chooses: bool
) -> _Study:
    label = classes(about.read(name), name)
    there = label.codes >= 0
    weight = np.ones(len(there))
    if about.sample_weight is not None:
        weight = row_weights(about.read(about.sample_weight), about.sample_weight)
        there &= weight > 0
    rows = np.flatnonzero(there)
    codes, left = _renumbered(label.codes[rows])
    if left < 2:
        raise ProbeError(f"label {name!r} is constant in the rows with a weight above 0")
    target = Target(codes, left, weight[rows], balanced)
    group, found = about.of_rows(about.groups or "id", rows, name)
    if found < folds:
        raise ProbeError(
            f"label {name!r}: {'one group' if found == 1 else f'{found} groups'} by {about.groups or 'id'!r} for "
            f"{folds} folds; expected one or more for each"
        )
    controls = []
    if about.wordings is not None:
        wording, worded = about.of_rows(about.wordings, rows, name)
        if worded < 2 + chooses:
            raise ProbeError(
                f"label {name!r}: {worded} in {about.wordings!r}; the control task needs {2 + chooses} wordings"
                + (" (to choose a penalty), or 2 and one penalty" if chooses else "")
            )
        parts = min(folds, worded)
        controls = [_control(name, group, deal(wording, codes, parts, seed), codes, seed) for seed in seeds]
        for control in controls:
            for of_rows in (codes[control.at], control.codes):
                _check_training(name, "wordings are", control.part, of_rows, chooses)
    dealt = [deal(group, codes, folds, seed) for seed in seeds]
    for part in dealt:
        _check_training(name, "a fold is", part, codes, chooses)
    return _Study(name, rows, len(there) - len(rows), target, group, seeds, dealt, controls)


def _control(label: str, group: Ints, part: Ints, codes: Ints, seed: int) -> _Control:
    """Classes dealt at random to the groups that are put in wordings of several parts."""
    parts_of = np.bincount(np.unique(np.stack([group, part]), axis=1)[0])
    at = np.flatnonzero(parts_of[group] > 1)
    if not len(at):
        raise ProbeError(f"label {label!r}: the control task needs groups that are put in several wordings")
    controlled, _ = _renumbered(group[at])
    of_control = control_codes(controlled, codes[at], seed)
    if len(np.unique(of_control)) < 2:
        raise ProbeError(f"label {label!r}: {controlled.max() + 1} groups are too few for a control task")
    return _Control(at, controlled, of_control, _renumbered(part[at])[0])


def _check_training(label: str, what: str, part: Ints, codes: Ints, chooses: bool) -> None:
    """Raise a `ProbeError` if leaving out a part, or two to choose a penalty, leaves one class to be trained on."""
    for partition in (leave_one_out(part), *([leave_two_out(part)] if chooses else [])):
        member = np.zeros((partition.trains.shape[1], int(codes.max()) + 1), bool)
        member[part, codes] = True
        if ((partition.trains @ member).sum(1) < 2).any():
            two = ", or two to choose a penalty" if chooses else ""
            raise ProbeError(
                f"label {label!r}: one class is left to train on where {what} left out{two}; give fewer folds, "
                "groups and wordings that share classes, or one penalty"
            )


def _renumbered(codes: Ints) -> tuple[Ints, int]:
    """Codes without gaps, in their order, and how many there are."""
    values, renumbered = np.unique(codes, return_inverse=True)
    return renumbered.astype(np.int64), len(values)


def _index(store: ActivationStore, capture: str | None) -> tuple[pa.Table, Ints]:
    """What is known of each row that is probed, and which rows of the store they are."""
    index = store.index()
    if capture is None:
        return index, np.arange(len(index))
    if capture not in store.captures:
        raise ProbeError(
            f"there is no capture {capture!r} in the store; there is {', '.join(store.captures)}"
        )
    at = np.flatnonzero(np.array(index["capture"].to_pylist(), object) == capture)
    return index.take(at), at


def _matched(index: pa.Table, other: ActivationStore, name: str, capture: str | None) -> Ints:
    """Of each row of `index`, the row of the other store."""
    others, at = _index(other, capture if capture in other.captures else None)
    return at[matched(index, others, name)]


def _tables(
    index: pa.Table, labels: str | Sequence[str] | pa.Table | pd.DataFrame, others: set[str | None]
) -> tuple[list[pa.Table], list[str]]:
    """Where columns are looked for, and which are labels."""
    if isinstance(labels, pa.Table | pd.DataFrame):
        joined = by_id(index, labels).drop_columns(["id"])
        names = [name for name in joined.column_names if name not in others]
        tables = [joined, index]
    else:
        names = [labels] if isinstance(labels, str) else list(labels)
        if not all(isinstance(name, str) for name in names):
            raise ProbeError(
                "expected names of columns, or a table with a column `id`: labels are joined by id, never by position"
            )
        tables = [index]
    if not names:
        raise ProbeError("expected a label or more, found none")
    return tables, names


def _check_settings(
    layers: Sequence[int],
    kinds: Sequence[str],
    l2: Sequence[float],
    folds: int,
    seeds: Sequence[int],
    class_weight: str | None,
    resamples: int,
) -> None:
    if not (len(layers) and len(kinds) and len(seeds)):
        raise ProbeError("expected a layer, a kind and a seed or more of each, found none")
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise ProbeError(f"there is no kind of probe {unknown[0]!r}; known: {', '.join(KINDS)}")
    if not len(l2) or not all(0 < value < np.inf for value in l2):
        raise ProbeError(f"l2 is {list(l2)}; expected one number above 0 or more")
    least = 2 + _chooses(kinds, l2)
    if folds < least:
        why = f"choosing among {len(l2)} penalties needs" if least == 3 else "expected"
        raise ProbeError(f"{folds} folds; {why} {least} or more")
    if min(seeds) < 0:
        raise ProbeError(f"seed {min(seeds)}; expected 0 or more")
    if class_weight not in (None, "balanced"):
        raise ProbeError(f"class_weight is {class_weight!r}; expected None or 'balanced'")
    if resamples < 1:
        raise ProbeError(f"{resamples} resamples; expected 1 or more")


def _chooses(kinds: Sequence[str], l2: Sequence[float]) -> bool:
    return len(l2) > 1 and any(kind in PENALISED for kind in kinds)


def _check_stores(
    store: ActivationStore, others: Mapping[str, ActivationStore], layers: Sequence[int]
) -> None:
    if not store.rows:
        raise ProbeError(f"{store.path}: the store has no rows")
    for name, one in {FITTED: store, **others}.items():
        missing = [layer for layer in layers if layer not in one.layers]
        if missing:
            where = "" if one is store else f" {name!r}"
            raise ProbeError(
                f"layer {missing[0]} is not in the store{where}; it has {', '.join(map(str, one.layers))}"
            )
        if one.width != store.width:
            raise ProbeError(f"store {name!r} is {one.width} wide; the probes are fitted on {store.width}")
    if FITTED in others:
        raise ProbeError(f"a store to apply to cannot be called {FITTED!r}: that is the one fitted on")
