"""Whether truth probes transfer between topics and to negations, on a real model: python benches/bench_truth.py DATA MODELS

Statements of the topics of truth-is-universal (Bürger, Hamprecht and Nadler 2024) that come with a negation each, in
DATA/truth-is-universal; the model in MODELS/stories260K. A probe per topic reads every topic's statements at their last
token. Prints AUROCs (row: trained on, column: read) and draws docs/images/truth-transfer.png.

Statements on one subject and their negations share a fold of five. Each is read by probes whose training left its fold out,
at the layer and penalty that were best on the training topic's other folds when those were left out as well: nothing of a
fold has a say in how it is read. AUROCs are within folds, with 95% intervals by drawing subjects. These take probes as
given: a direction that reads something other than truth, such as which words are more frequent in true statements, leaves
.5 as well, and is on the other side of it for negations.
"""

import sys
from dataclasses import dataclass
from itertools import product, takewhile
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from valueattr.activations import ActivationStore, capture
from valueattr.measures.statements import load_statements
from valueattr.probing import fit_many
from valueattr.probing._batch import Kind
from valueattr.probing._intervals import Resampling
from valueattr.probing._partitions import leave_one_out, leave_two_out

FOLDS = 5
# A mean difference has no penalty.
L2: dict[Kind, tuple[float, ...]] = {"mean-difference": (1.0,), "logistic": (1.0, 1e-1, 1e-2, 1e-3)}
DRAWS = 1000
PLOT = Path(__file__).parents[1] / "docs" / "images" / "truth-transfer.png"

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Statements:
    """Labels (n,), 1 if true, with the topic, subject and fold of each (n,), in the order of the store."""

    store: ActivationStore
    topics: list[str]
    label: Ints
    topic: Ints
    subject: Ints
    fold: Ints


def statements_table(folder: Path) -> pa.Table:
    """Of each topic, then of its negation: `id`, `statement`, `label`, `topic` and `subject`.

    A statement and its negation stand in the same line; what they have in common up to the verb is their subject.
    """
    rows = []
    for file in sorted(folder.glob("neg_*.csv")):
        topic = file.stem.removeprefix("neg_")
        if topic.endswith("_de"):
            continue
        plain, negated = load_statements(folder / f"{topic}.csv"), load_statements(file)
        if not np.array_equal(plain.labels, 1 - negated.labels):
            raise SystemExit(f"{file}: not the negations of {topic}.csv, line by line")
        for name, own in ((topic, plain), (file.stem, negated)):
            for line, (text, label) in enumerate(zip(own.texts, own.labels.tolist(), strict=True)):
                words = zip(plain.texts[line].split(), negated.texts[line].split(), strict=False)
                common = takewhile(lambda pair: pair[0] == pair[1], words)
                subject = f"{topic}: {' '.join(word for word, _ in common)}"
                rows.append(
                    {
                        "id": f"{name}-{line}",
                        "statement": text,
                        "label": label,
                        "topic": name,
                        "subject": subject,
                    }
                )
    return pa.Table.from_pylist(rows)


def captured(data: Path, model_folder: Path) -> Statements:
    """Everything about the rows comes back from the store, where it is joined by id."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    table = statements_table(data)
    store = capture(
        AutoModelForCausalLM.from_pretrained(model_folder).eval(),
        AutoTokenizer.from_pretrained(model_folder),
        table["statement"].to_pylist(),
        positions="last",
        table=table.drop_columns("statement"),
    )
    index = store.index()
    topics, first, topic = np.unique(index["topic"].to_numpy(), return_index=True, return_inverse=True)
    order = first.argsort()  # a topic beside its negation
    subjects, subject = np.unique(index["subject"].to_numpy(), return_inverse=True)
    fold_of = np.random.default_rng(0).permutation(len(subjects)) % FOLDS
    return Statements(
        store,
        [str(topics[at]) for at in order],
        index["label"].to_numpy(),
        order.argsort()[topic],
        subject,
        fold_of[subject],
    )


@dataclass(frozen=True)
class Transfer:
    """AUROCs and the ends of their intervals (topics, topics); the layer chosen for each topic and fold."""

    auroc: Floats
    low: Floats
    high: Floats
    layer: Ints

    @property
    def off_chance(self) -> NDArray[np.bool_]:
        return (self.low > 0.5) | (self.high < 0.5)


def read_by_all(rows: Statements, kind: Kind) -> tuple[Floats, Floats]:
    """Scores (layers, penalties, topics, n) of every row by each topic's probe that left out its fold; and how well to
    choose which layer and penalty for each fold, (layers, penalties, topics, folds).
    """
    single, double = leave_one_out(rows.fold), leave_two_out(rows.fold)
    pairs = np.argwhere(double.reads)[:, 1].reshape(-1, 2)
    training = np.concatenate([single.training(), double.training()])
    shape = (len(rows.store.layers), len(L2[kind]), len(rows.topics))
    scores, merit = np.empty((*shape, len(rows.label))), np.zeros((*shape, FOLDS))
    for (at, layer), topic in product(enumerate(rows.store.layers), range(len(rows.topics))):
        own = rows.topic == topic
        weights = (training & own).astype(np.float64)
        fits = fit_many(
            rows.store.layer(layer), rows.label[None], weights, L2[kind], kind=kind, max_iter=1000
        )
        if not fits.converged.all():
            print(f"{kind}, {rows.topics[topic]}, layer {layer}: {fits.converged.mean():.0%} converged")
        of_sets = fits.decision_function(rows.store.read(layer))[:, 0]
        for k in range(FOLDS):
            scores[at, :, topic, rows.fold == k] = of_sets[:, k, rows.fold == k].T
        for of_pair, pair in enumerate(pairs, FOLDS):
            for out, read in (pair, pair[::-1]):
                test = own & (rows.fold == read)
                for p, by_pair in enumerate(of_sets[:, of_pair, test]):
                    merit[at, p, topic, out] += roc_auc_score(rows.label[test], by_pair)
    return scores, merit


def transfer(rows: Statements, kind: Kind) -> Transfer:
    scores, merit = read_by_all(rows, kind)
    count = len(rows.topics)
    layer, penalty = np.unravel_index(merit.reshape(-1, count, FOLDS).argmax(0), merit.shape[:2])
    resampling = Resampling(DRAWS)
    measured = np.empty((3, count, count))
    for trained in range(count):
        of_fold = layer[trained, rows.fold], penalty[trained, rows.fold]
        chosen = scores[*of_fold, trained, np.arange(len(rows.label))]
        for read in range(count):
            own = rows.topic == read
            found = resampling.measure(
                np.column_stack([np.zeros(own.sum()), chosen[own]]),
                rows.label[own],
                rows.fold[own],
                np.unique(rows.subject[own], return_inverse=True)[1],
                seed=0,
            )
            measured[:, trained, read] = [found[name] for name in ("auroc", "auroc_low", "auroc_high")]
    return Transfer(*measured, np.array(rows.store.layers)[layer])


def show(rows: Statements, kind: str, found: Transfer) -> None:
    count = len(rows.topics)
    print(f"{kind}: AUROC, a row per training topic; * where the 95% interval leaves out .5")
    for trained, name in enumerate(rows.topics):
        cells = "".join(
            f"{value:6.2f}{'*' if off else ' '}"
            for value, off in zip(found.auroc[trained], found.off_chance[trained], strict=True)
        )
        print(f"{name:18}{cells}  layers {', '.join(map(str, found.layer[trained]))}")
    own = np.eye(count, dtype=bool)
    partner = np.kron(np.eye(count // 2), 1 - np.eye(2)).astype(bool)
    for what, cells in (
        ("own topic", own),
        ("its negation", partner),
        ("other topics", ~(own | partner)),
    ):
        print(
            f"  {what:13} mean {found.auroc[cells].mean():.3f}, {found.auroc[cells].min():.2f} to "
            f"{found.auroc[cells].max():.2f}; {found.off_chance[cells].sum()} of {cells.sum()} intervals leave out .5 "
            f"({(found.low[cells] > 0.5).sum()} above)"
        )
    print(f"  by chance one in twenty would: {count**2 / 20:.0f} of {count**2}\n")


def draw(rows: Statements, of_kinds: dict[Kind, Transfer]) -> None:
    mpl.rcParams.update({"font.size": 9})
    figure = Figure(figsize=(13.2, 6.6), layout="compressed")
    panels = figure.subplots(1, len(of_kinds), sharey=True)
    names = [f"not {name.removeprefix('neg_')}" if name.startswith("neg_") else name for name in rows.topics]
    for panel, (kind, found) in zip(panels, of_kinds.items(), strict=True):
        image = panel.imshow(found.auroc, cmap="RdBu_r", vmin=0, vmax=1)
        for (trained, read), value in np.ndenumerate(found.auroc):
            off = found.off_chance[trained, read]
            panel.text(
                read,
                trained,
                f"{value:.2f}".lstrip("0"),
                ha="center",
                va="center",
                weight="bold" if off else "normal",
                color=("white" if abs(value - 0.5) > 0.3 else "black") if off else "#777777",
            )
        for edge in range(2, len(names), 2):
            panel.axhline(edge - 0.5, color="black", lw=0.6)
            panel.axvline(edge - 0.5, color="black", lw=0.6)
        panel.set_xticks(range(len(names)), names, rotation=45, ha="right")
        panel.set_yticks(range(len(names)), names)
        panel.set(title=kind, xlabel="read")
        for labels in (panel.get_xticklabels(), panel.get_yticklabels()):
            for label in labels:
                if label.get_text().startswith("not "):
                    label.set(style="italic", color="#AA3377")
    panels[0].set_ylabel("trained on")
    figure.colorbar(image, ax=panels, label="AUROC (bold: its 95% interval leaves out .5)", shrink=0.8)
    figure.savefig(PLOT, dpi=110)


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    data, model = Path(sys.argv[1]) / "truth-is-universal", Path(sys.argv[2]) / "stories260K"
    for folder in (data, model):
        if not folder.is_dir():
            print(f"left out: there is no {folder}")
            return
    rows = captured(data, model)
    topics, subjects = len(rows.topics), rows.subject.max() + 1
    print(f"{len(rows.label):,} statements on {subjects:,} subjects, {topics} topics, {model.name}\n")
    found = {kind: transfer(rows, kind) for kind in L2}
    for kind, of_kind in found.items():
        show(rows, kind, of_kind)
    draw(rows, found)


if __name__ == "__main__":
    main()
