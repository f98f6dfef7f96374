from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from tests.builders import a_store
from valueattr.probing import KINDS, ProbeError, SeveralCapturesError, _heldout, fit_many, sweep
from valueattr.probing._intervals import Resampling
from valueattr.probing._partitions import PREFIXES, control_codes, deal, prequential, resampled_groups

L2 = (0.01, 0.1, 1.0)
FAST = {"l2": L2, "folds": 3, "resamples": 50}


def problem(n=90, d=3, classes=2, seed=0, groups=30, signal=1.0):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, classes, n)
    group = rng.permutation(np.arange(n) % groups)
    X = signal * np.random.default_rng(9).normal(size=(classes, d))[codes] + rng.normal(size=(n, d))
    return X.astype(np.float32), codes, group


def columns(codes, group, **more):
    return {
        "id": [f"t{i}" for i in range(len(codes))],
        "label": codes,
        "subject": [f"s{g}" for g in group],
        **more,
    }


@pytest.fixture
def small(tmp_path):
    X, codes, group = problem()
    return a_store(tmp_path / "s", {0: X, 4: X[:, ::-1] ** 3}, columns(codes, group))


def one(table):
    assert len(table) == 1
    return table.iloc[0]


# --- what a sweep computes, against a naive way to do so


def sklearn_fit(X, codes, weight, l2):
    """scikit-learn on the same objective; scores (n, classes), -inf for a class without a row in training."""
    train = weight > 0
    mean = np.average(X[train], axis=0, weights=weight[train])
    scale = np.sqrt(np.average((X[train] - mean) ** 2, axis=0, weights=weight[train]))
    model = LogisticRegression(C=1 / (l2 * weight.sum()), tol=1e-10, max_iter=20_000)
    model.fit((X[train] - mean) / scale, codes[train], weight[train])
    scores = np.full((len(X), codes.max() + 1), -np.inf)
    found = model.decision_function((X - mean) / scale)
    scores[:, model.classes_] = found if found.ndim == 2 else np.stack([0 * found, found], axis=1)
    return scores


def nats(scores, codes, rows):
    """Log-loss, mixed with the uniform at 1 / (training rows + 1)."""
    own = softmax(scores, axis=1)[np.arange(len(codes)), codes]
    return -np.log((1 - 1 / (rows + 1)) * own + 1 / (rows + 1) / scores.shape[1])


def class_weights(codes, train, weight, balanced):
    if not balanced:
        return weight
    totals = np.bincount(codes[train], weight[train])
    return weight * totals.sum() / (len(totals) * totals[codes])


def naive_scores(X, codes, fold, path, weight=None, balanced=False):
    """Nested cross-validation with a loop for everything: scores by the probe that left each row's fold out."""
    X, weight = X.astype(np.float64), np.ones(len(X)) if weight is None else weight
    scores, chosen = np.empty((len(X), codes.max() + 1)), []
    for test in range(fold.max() + 1):
        losses = []
        for l2 in path:
            loss = 0.0
            for validation in set(range(fold.max() + 1)) - {test}:
                train = (fold != test) & (fold != validation)
                own = class_weights(codes, train, weight, balanced)
                held = fold == validation
                read = sklearn_fit(X, codes, own * train, l2)[held]
                loss += (own[held] * nats(read, codes[held], train.sum())).sum()
            losses.append(loss)
        chosen.append(path[int(np.argmin(losses))])
        train = fold != test
        own = class_weights(codes, train, weight, balanced)
        scores[~train] = sklearn_fit(X, codes, own * train, chosen[-1])[~train]
    return scores, chosen


def naive_auroc(scores, codes, fold):
    """scikit-learn's, within each fold, one class against the rest by log-odds, averaged by rows."""
    total = rows = 0
    for f in np.unique(fold):
        at = np.flatnonzero(fold == f)
        values = []
        for c in [1] if scores.shape[1] == 2 else range(scores.shape[1]):
            positive = codes[at] == c
            p = softmax(scores[at], axis=1)[:, c]
            if positive.any() and not positive.all() and (p > 0).any():
                values.append(roc_auc_score(positive, p))
        if values:
            total, rows = total + len(at) * np.mean(values), rows + len(at)
    return total / rows


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
def test_agrees_with_nested_cross_validation_by_scikit_learn(tmp_path, classes, balanced):
    X, codes, group = problem(classes=classes)
    weight = np.random.default_rng(1).uniform(0.5, 2, len(X))
    store = a_store(tmp_path / "s", {0: X}, columns(codes, group, w=weight))
    found = one(
        sweep(
            store,
            "label",
            "subject",
            **FAST,
            sample_weight="w",
            class_weight="balanced" if balanced else None,
        )
    )
    subject = np.unique([f"s{g}" for g in group], return_inverse=True)[1]
    fold = deal(subject, codes, 3, 0)
    scores, chosen = naive_scores(X, codes, fold, L2[::-1], weight, balanced)
    assert list(found["l2"]) == chosen
    assert found["accuracy"] == pytest.approx((scores.argmax(1) == codes).mean())
    assert found["auroc"] == pytest.approx(naive_auroc(scores, codes, fold), abs=2e-3)
    assert (found["n"], found["groups"], found["classes"]) == (90, 30, classes)
    assert found["majority"] == pytest.approx(np.bincount(codes).max() / 90)
    assert found["converged"] == 1.0


def test_a_class_that_a_fold_was_not_trained_on_is_missed_there_and_left_out_of_its_auroc(tmp_path):
    X, codes, group = problem(classes=2)
    codes = np.where(group == 7, 2, codes)  # in one group only: never in training where it is read
    store = a_store(tmp_path / "s", {0: X}, columns(codes, group))
    found = one(sweep(store, "label", "subject", **FAST))
    subject = np.unique([f"s{g}" for g in group], return_inverse=True)[1]
    fold = deal(subject, codes, 3, 0)
    scores, _ = naive_scores(X, codes, fold, L2[::-1])
    missed = codes == 2
    assert (scores[missed].argmax(1) != 2).all()
    assert found["accuracy"] == pytest.approx((scores.argmax(1) == codes).mean())
    assert found["auroc"] == pytest.approx(naive_auroc(scores, codes, fold), abs=2e-3)
    assert np.isfinite(found["codelength"])


def naive_bits(X, codes, group, path, seed):
    """The online code, block by block."""
    place = np.random.default_rng([seed, 1]).permutation(group.max() + 1)[group]
    ends = []
    for share in PREFIXES:
        count = next(c for c in range(1, group.max() + 2) if (place < c).mean() >= share - 1e-9)
        if len(set(codes[place < count])) > 1 and count not in ends:
            ends.append(count)
    classes = codes.max() + 1
    bits, so_far = (place < ends[0]).sum() * np.log2(classes), np.zeros(len(path))
    for end, following in pairwise(ends):
        train, block = place < end, (place >= end) & (place < following)
        own = [
            nats(
                sklearn_fit(X.astype(np.float64), codes, train.astype(float), l2)[block],
                codes[block],
                train.sum(),
            ).sum()
            for l2 in path
        ]
        bits += own[int(np.argmin(so_far))] / np.log(2)
        so_far += own
    return bits


@pytest.mark.parametrize("seed", [0, 3])
def test_codelength_is_that_of_a_code_block_by_block(tmp_path, seed):
    X, codes, group = problem(n=120, seed=seed)
    store = a_store(tmp_path / "s", {0: X}, columns(codes, group))
    found = one(sweep(store, "label", "subject", seeds=[seed], **FAST))
    subject = np.unique([f"s{g}" for g in group], return_inverse=True)[1]
    assert found["codelength"] == pytest.approx(naive_bits(X, codes, subject, L2[::-1], seed), rel=1e-3)
    assert found["compression"] == pytest.approx(120 / found["codelength"])


def test_a_code_of_random_labels_is_as_long_as_the_uniform_and_of_readable_ones_much_shorter(tmp_path):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, 400)
    X = rng.normal(size=(400, 4)).astype(np.float32)
    X[:, 1] += 20 * codes
    store = a_store(tmp_path / "s", {0: X}, columns(codes, np.arange(400), noise=rng.integers(0, 2, 400)))
    found = sweep(store, ["label", "noise"], resamples=10).set_index("label")
    assert found.loc["noise", "compression"] == pytest.approx(1, abs=0.1)
    assert found.loc["label", "compression"] > 5


def test_every_kind_reads_a_planted_signal_in_its_layer_only(tmp_path):
    X, codes, group = problem(n=200, groups=50, signal=0)
    planted = X.copy()
    planted[:, 0] += 4 * codes
    store = a_store(tmp_path / "s", {0: X, 3: planted}, columns(codes, group))
    table = sweep(store, "label", "subject", kinds=KINDS, **FAST).set_index(["layer", "kind"])
    for kind in KINDS:
        assert table.loc[(3, kind), "accuracy_low"] > 0.9
        assert table.loc[(3, kind), "auroc_low"] > 0.95
        assert table.loc[(0, kind), "accuracy"] < 0.65
        assert (table.loc[(3, kind), "l2"] is None) == kind.startswith("mean")
        assert np.isnan(table.loc[(3, kind), "codelength"]) == (kind != "logistic")


def test_intervals_of_random_labels_cover_chance_in_most_seeds(tmp_path):
    rng = np.random.default_rng(0)
    seeds, covered = 30, {"accuracy": 0, "auroc": 0}
    X = rng.normal(size=(100, 2)).astype(np.float32)
    labels = {f"l{i}": np.tile(rng.permutation([0, 1]), 50) ^ rng.integers(0, 2, 100) for i in range(seeds)}
    store = a_store(tmp_path / "s", {0: X}, {**columns(np.zeros(100), np.arange(100)), **labels})
    table = sweep(store, list(labels), kinds=["mean-difference"], folds=2, resamples=200)
    for name in covered:
        covered[name] = int(((table[f"{name}_low"] <= 0.5) & (table[f"{name}_high"] >= 0.5)).sum())
    assert min(covered.values()) >= 0.8 * seeds


@given(st.integers(0, 10_000), st.integers(2, 4))
@settings(max_examples=10, deadline=None)
def test_measures_are_scikit_learns_and_their_draws_a_resampling_of_groups(seed, classes):
    rng = np.random.default_rng(seed)
    n, groups = 40, 12
    group = np.concatenate([np.arange(groups), rng.integers(0, groups, n - groups)])
    fold = rng.permutation(np.arange(groups) % 2)[group]
    codes = rng.integers(0, classes, n)
    codes[:classes] = range(classes)
    scores = rng.normal(size=(15, classes))[rng.integers(0, 15, n)]  # with ties
    scores[:, 0] = 0 if classes == 2 else scores[:, 0]
    found = Resampling(20).measure(scores, codes, fold, group, seed)
    assert found["accuracy"] == pytest.approx((scores.argmax(1) == codes).mean())
    assert found["auroc"] == pytest.approx(naive_auroc(scores, codes, fold))
    draws = {"accuracy": [], "auroc": []}
    for count in resampled_groups(groups, 20, seed, 0):
        rows = np.repeat(np.arange(n), count[group])
        draws["accuracy"].append((scores.argmax(1) == codes)[rows].mean())
        try:
            draws["auroc"].append(naive_auroc(scores[rows], codes[rows], fold[rows]))
        except ZeroDivisionError:
            continue
    for name, drawn in draws.items():
        low, high = np.quantile(drawn, [0.025, 0.975])
        assert (found[f"{name}_low"], found[f"{name}_high"]) == pytest.approx((low, high))
    for name, value in Resampling(20).mean("accuracy", scores.argmax(1) == codes, group, seed).items():
        assert found[name] == pytest.approx(value)


def test_auroc_keeps_the_order_of_scores_that_a_softmax_rounds_to_1():
    scores = np.array([[0.0, 50, 0], [0, 60, 0], [0, 600, 0], [0, 0, 1]])
    codes = np.array([0, 1, 1, 2])
    found = Resampling(1).measure(scores, codes, np.zeros(4, int), np.arange(4), 0)
    odds = np.stack([s - np.log(np.exp(np.delete(scores, c, 1)).sum(1)) for c, s in enumerate(scores.T)], 1)
    expected = [roc_auc_score(codes == c, odds[:, c]) for c in range(3)]
    assert expected[1] == 1.0
    assert found["auroc"] == pytest.approx(np.mean(expected))


# --- partitions


@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_a_group_is_in_one_fold_and_folds_have_alike_of_each_class(seed, folds, classes):
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(folds, 40))
    group = np.concatenate([np.arange(groups), rng.integers(0, groups, 50)])
    codes = rng.integers(0, classes, groups)[group]
    fold = deal(group, codes, folds, seed)
    assert all(len(set(fold[group == g])) == 1 for g in range(groups))
    of_fold = [len(set(group[fold == f])) for f in range(folds)]
    assert max(of_fold) - min(of_fold) <= 1
    for c in set(codes):
        by_class = [len(set(group[(fold == f) & (codes == c)])) for f in range(folds)]
        assert max(by_class) - min(by_class) <= 2
    np.testing.assert_array_equal(fold, deal(group, codes, folds, seed))


@given(st.integers(0, 10_000), st.integers(2, 5))
@settings(max_examples=60, deadline=None)
def test_blocks_of_the_code_hold_whole_groups_and_two_classes_before_the_second(seed, classes):
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(2, 60))
    group = np.concatenate([np.arange(groups), rng.integers(0, groups, 100)])
    codes = rng.integers(0, classes, len(group))
    codes[:2] = 0, 1
    partition = prequential(group, codes, seed)
    assert all(len(set(partition.part[group == g])) == 1 for g in range(groups))
    assert set(partition.part) == set(range(partition.part.max() + 1))
    for trained, read in zip(partition.training(), partition.reads, strict=True):
        assert len(set(codes[trained])) > 1
        assert not trained[read[partition.part]].any()


@given(st.integers(0, 10_000), st.integers(2, 5))
def test_control_labels_are_one_a_group_and_as_frequent_as_the_label(seed, classes):
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(50), 3)
    codes = rng.integers(0, classes, len(group))
    control = control_codes(group, codes, seed)
    assert all(len(set(control[group == g])) == 1 for g in range(50))
    share = np.bincount(codes, minlength=classes) / len(codes)
    np.testing.assert_allclose(np.bincount(control, minlength=classes) / len(control), share, atol=0.02)


def test_all_tokens_of_a_text_are_in_one_fold(tmp_path):
    rng = np.random.default_rng(0)
    text = rng.normal(size=(40, 8)).astype(np.float32)
    X = np.repeat(text, 5, axis=0)  # the tokens of a text are alike: who has seen one knows the others
    codes = rng.integers(0, 2, 40)
    store = a_store(tmp_path / "s", {0: X}, columns(codes, np.arange(40)), tokens=5)
    found = one(sweep(store, "label", l2=[1e-4], folds=4, resamples=20))
    assert (found["n"], found["groups"]) == (200, 40)
    assert found["accuracy"] < 0.75


# --- control task


def worded(path, X, label, subjects, wordings):
    n = subjects * wordings
    subject, wording = np.arange(n) // wordings, np.arange(n) % wordings
    return a_store(path, {0: X}, columns(label, subject, wording=wording))


def test_a_probe_that_memorises_has_no_selectivity(tmp_path):
    rng = np.random.default_rng(0)
    X = np.repeat(np.eye(60), 4, axis=0) + 0.01 * rng.normal(size=(240, 60))
    store = worded(tmp_path / "s", X, np.repeat(rng.integers(0, 2, 60), 4), 60, 4)
    found = one(sweep(store, "label", "subject", wordings="wording", **FAST))
    assert found["real"] > 0.95
    assert found["control"] > 0.95
    assert abs(found["selectivity"]) < 0.05
    assert found["selectivity_low"] <= 0 <= found["selectivity_high"]
    assert found["accuracy"] < 0.75  # of subjects that it has not seen


def test_a_probe_that_reads_the_label_and_not_the_subject_is_selective(tmp_path):
    rng = np.random.default_rng(0)
    label = np.repeat(rng.integers(0, 2, 60), 4)
    X = np.stack([4 * label + rng.normal(size=240), rng.normal(size=240)], axis=1)
    store = worded(tmp_path / "s", X, label, 60, 4)
    found = one(sweep(store, "label", "subject", wordings="wording", **FAST))
    assert found["real"] > 0.9
    assert 0.2 < found["selectivity_low"] < found["selectivity"] < found["selectivity_high"]
    assert found["selectivity"] == pytest.approx(found["real"] - found["control"])


def test_a_control_task_that_lacks_a_rare_class(tmp_path):
    rng = np.random.default_rng(0)
    label = np.repeat(rng.integers(0, 2, 60), 4)
    label[:2] = 2  # of 240 rows: too few for one of 60 groups
    store = worded(tmp_path / "s", rng.normal(size=(240, 3)), label, 60, 4)
    found = one(sweep(store, "label", "subject", wordings="wording", **FAST))
    assert np.isfinite(found["selectivity"])


# --- labels


@given(st.integers(0, 10_000))
@settings(max_examples=8, deadline=None)
def test_a_table_is_joined_by_id_whatever_its_order(tmp_path_factory, seed):
    X, codes, group = problem(seed=seed)
    ids = [f"t{i}" for i in range(len(X))]
    rng = np.random.default_rng(seed)
    there = rng.permutation(len(X))[:80]
    kept = np.sort(there)
    with_labels = columns(codes, group)
    masked = pa.array(codes, mask=~np.isin(np.arange(len(X)), there))
    folder = tmp_path_factory.mktemp("sweep")
    store = a_store(folder / "s", {0: X}, with_labels | {"label": masked})
    bare = a_store(folder / "bare", {0: X}, {"id": ids})
    own = sweep(store, "label", "subject", kinds=["mean-difference"], **FAST)
    for order in (there, kept):
        table = pd.DataFrame(with_labels).iloc[order]
        joined = sweep(bare, table, "subject", kinds=["mean-difference"], **FAST)
        pd.testing.assert_frame_equal(own, joined)
        arrow = pa.Table.from_pandas(table, preserve_index=False)
        pd.testing.assert_frame_equal(own, sweep(bare, arrow, "subject", kinds=["mean-difference"], **FAST))


@pytest.mark.parametrize(
    "encode",
    [
        lambda c: [bool(v) for v in c],
        lambda c: ["ab"[v] for v in c],
        lambda c: pa.array(["ab"[v] for v in c]).dictionary_encode(),
        lambda c: [float(v) for v in c],
        lambda c: [int(v) * 1000 - 500 for v in c],
    ],
)
def test_classes_are_of_any_kind(tmp_path, small, encode):
    codes = small.index()["label"].to_pylist()
    table = pa.table({"id": small.index()["id"], "label": encode(codes)})
    expected = sweep(small, "label", layers=[0], **FAST)
    pd.testing.assert_frame_equal(sweep(small, table, layers=[0], **FAST), expected)


def test_a_row_without_a_label_has_no_part_in_that_label_only(tmp_path):
    X, codes, group = problem()
    holes = pa.array(codes, mask=np.arange(90) < 30)
    nan = np.where(np.arange(90) < 30, np.nan, codes)
    store = a_store(tmp_path / "s", {0: X}, columns(codes, group, holes=holes, nan=nan))
    table = sweep(store, ["label", "holes", "nan"], "subject", **FAST).set_index("label")
    assert list(table["n"]) == [90, 60, 60]
    alone = a_store(tmp_path / "alone", {0: X[30:]}, {k: v[30:] for k, v in columns(codes, group).items()})
    expected = one(sweep(alone, "label", "subject", **FAST))
    for name in ("accuracy", "auroc", "codelength"):
        assert table.loc["holes", name] == pytest.approx(expected[name], rel=1e-6)
        assert table.loc["nan", name] == table.loc["holes", name]


def test_a_row_of_weight_0_is_as_if_it_were_not_there(tmp_path):
    X, codes, group = problem()
    X[:10] = np.nan
    weight = (np.arange(90) >= 10).astype(float)
    holes = pa.array(codes, mask=weight == 0)
    store = a_store(tmp_path / "s", {0: X}, columns(codes, group, w=weight, holes=holes))
    weighted = sweep(store, "label", "subject", sample_weight="w", **FAST)
    without = sweep(store, "holes", "subject", **FAST)
    pd.testing.assert_frame_equal(weighted.drop(columns="label"), without.drop(columns="label"))


# --- other stores


@pytest.mark.parametrize("kind", KINDS)
def test_probes_are_read_on_another_store_by_id(tmp_path, kind):
    X, codes, group = problem()
    store = a_store(tmp_path / "s", {0: X}, columns(codes, group, w=np.linspace(1, 2, 90)))
    order = np.random.default_rng(0).permutation(120)
    ids = np.array([f"t{i}" for i in range(120)])
    shifted = np.concatenate([X + 3, np.full((30, 3), 7.0)])
    other = a_store(tmp_path / "o", {0: shifted[order]}, {"id": ids[order]}, captures=("another",))
    table = sweep(
        store,
        "label",
        "subject",
        kinds=[kind],
        sample_weight="w",
        class_weight="balanced",
        apply_to={"same": store, "shifted": other},
        **FAST,
    )
    table = table.set_index(["store", "centre"])
    fitted = table.loc[("fitted", "own")]
    measures = ["accuracy", "accuracy_low", "accuracy_high", "auroc", "auroc_low", "auroc_high"]
    for key in [("same", "own"), ("same", "recentred"), ("shifted", "recentred")]:
        np.testing.assert_allclose(table.loc[key, measures].astype(float), fitted[measures].astype(float))
        assert table.loc[key, "l2"] == fitted["l2"]
        assert np.isnan(table.loc[key, "codelength"])
    assert table.loc[("shifted", "own"), "accuracy"] < fitted["accuracy"]


def test_captures_with_the_same_ids_are_told_apart(tmp_path):
    X, codes, group = problem()
    both = columns(codes, group)
    layers = {0: np.concatenate([X, -X])}
    store = a_store(tmp_path / "s", layers, both, both, captures=("a", "b"))
    found = sweep(store, "label", "subject", apply_to={"same": store}, **FAST)
    assert list(found["n"]) == [180] * 3
    assert len(set(found["accuracy"])) == 1
    one_capture = a_store(tmp_path / "o", {0: X}, both, captures=("a",))
    with pytest.raises(ProbeError, match=r"lacks 90 of 180 rows \(by id and token, and capture\)"):
        sweep(store, "label", "subject", apply_to={"o": one_capture}, **FAST)


# --- the same table


def test_neither_threads_nor_blocks_nor_a_repetition_change_the_table(small, monkeypatch):
    asked = {"kinds": ["logistic", "ridge"], "seeds": [0, 5], **FAST}
    table = sweep(small, "label", "subject", **asked)
    pd.testing.assert_frame_equal(table, sweep(small, "label", "subject", threads=1, **asked))
    pd.testing.assert_frame_equal(table, sweep(small, "label", "subject", threads=3, **asked))
    monkeypatch.setattr(_heldout, "_MOST_BLOCK_ROWS", 7)
    pd.testing.assert_frame_equal(table, sweep(small, "label", "subject", **asked))


def test_a_seed_gives_the_same_lines_alone_and_among_others(small):
    both = sweep(small, "label", "subject", seeds=[2, 4], **FAST)
    alone = sweep(small, "label", "subject", seeds=[4], **FAST)
    among = both[both["seed"] == 4].reset_index(drop=True)
    # Fits of another batch end at another point within their tolerance.
    pd.testing.assert_frame_equal(
        *(t.drop(columns="gradient_norm") for t in (among, alone)), check_exact=False, rtol=1e-3
    )


def test_a_store_of_one_feature(tmp_path):
    X, codes, group = problem(d=1, signal=3)
    store = a_store(tmp_path / "s", {0: X}, columns(codes, group))
    table = sweep(store, "label", "subject", kinds=KINDS, **FAST)
    assert (table["accuracy"] > 0.6).all()


def test_progress_counts_cells(small):
    seen = []
    sweep(
        small,
        "label",
        kinds=["logistic", "ridge"],
        seeds=[0, 1],
        progress=lambda *at: seen.append(at),
        **FAST,
    )
    assert seen == [(done, 8) for done in (0, 2, 4, 6, 8)]


def test_the_table_goes_to_parquet_and_back(small, tmp_path):
    table = sweep(small, "label", "subject", kinds=["logistic", "mean-difference"], **FAST)
    table.to_parquet(tmp_path / "p.parquet")
    back = pd.read_parquet(tmp_path / "p.parquet")
    assert back.attrs == table.attrs
    assert [None if v is None else list(v) for v in back["l2"]] == list(table["l2"])


# --- what cannot be used


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_named_by_layer_and_text(tmp_path, value):
    X, codes, group = problem()
    broken = X.copy()
    broken[17, 2] = value
    store = a_store(tmp_path / "s", {0: X, 6: broken}, columns(codes, group))
    found = "NaN" if np.isnan(value) else "inf"
    with pytest.raises(ProbeError, match=rf"layer 6, text 't17', token 0: feature 2 is {found}"):
        sweep(store, "label", "subject", **FAST)
    whole = a_store(tmp_path / "w", {0: X, 6: X}, columns(codes, group))
    with pytest.raises(ProbeError, match="layer 6, text 't17', token 0"):
        sweep(whole, "label", "subject", apply_to={"broken": store}, **FAST)


def test_a_store_that_changes_under_a_sweep(small):
    shard = next(small.path.glob("shard-*.safetensors"))

    def cut(done, total):
        if done == 1:
            with shard.open("r+b") as file:
                file.truncate(shard.stat().st_size - 1)

    with pytest.raises(ProbeError, match=r"shard-.*changed while it was read"):
        sweep(small, "label", "subject", progress=cut, **FAST)


def test_a_store_without_rows(tmp_path):
    store = a_store(tmp_path / "s", {0: np.empty((0, 3))}, {"id": pa.array([], pa.string())})
    with pytest.raises(ProbeError, match="has no rows"):
        sweep(store, "label")


BAD_COLUMNS = {
    "constant": ["a"] * 90,
    "empty": pa.nulls(90, pa.int64()),
    "untyped": pa.nulls(90),
    "number": np.random.default_rng(0).normal(size=90),
    "list": [[1]] * 90,
    "one": ["same"] * 90,
    "two": ["a", "b"] * 45,
    "hole": [None, *"ab" * 44, "a"],
    "negative": [-1.0, *[1.0] * 89],
    "holed": [None, *[1.0] * 89],
}


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ("none", {}, "there is no column 'none'; there is capture, token, id, label"),
        ("label", {"groups": "none"}, "there is no column 'none'"),
        ("label", {"sample_weight": "none"}, "there is no column 'none'"),
        ("label", {"groups": "subject", "wordings": "none"}, "there is no column 'none'"),
        ([], {}, "expected a label or more"),
        (np.zeros(90, int), {}, "joined by id, never by position"),
        ("constant", {}, "label 'constant' is constant: 'a'"),
        ("empty", {}, "label 'empty' is null in every row"),
        ("number", {}, "label 'number' holds 90 different numbers; .* RidgeProbe reads numbers"),
        ("list", {}, "label 'list' holds list<.*>; expected classes"),
        ("untyped", {}, "label 'untyped' is null in every row"),
        ("label", {"groups": "list"}, "column 'list' holds list<.*>; expected texts, integers"),
        ("label", {"groups": "one"}, "one group by 'one' for 3 folds"),
        ("label", {"groups": "two"}, "2 groups by 'two' for 3 folds"),
        ("label", {"groups": "hole"}, "'hole' is null in 1 rows"),
        ("label", {"sample_weight": "negative"}, "the weight in 'negative' is -1.0 at row 0"),
        ("label", {"sample_weight": "holed"}, "the weight in 'holed' is nan at row 0"),
        ("label", {"sample_weight": "subject"}, "the weights in 'subject' hold string; expected numbers"),
        ("label", {"layers": [3]}, "layer 3 is not in the store; it has 0, 4"),
        ("label", {"layers": []}, "expected a layer, a kind and a seed"),
        ("label", {"kinds": ["cubic"]}, "no kind of probe 'cubic'; known: logistic"),
        ("label", {"l2": [0.0]}, r"l2 is \[0.0\]"),
        ("label", {"l2": []}, r"l2 is \[\]"),
        ("label", {"folds": 1, "l2": [1.0]}, "1 folds; expected 2 or more"),
        ("label", {"folds": 2}, "2 folds; choosing among 3 penalties needs 3 or more"),
        ("label", {"seeds": [-1]}, "seed -1; expected 0 or more"),
        ("label", {"class_weight": "even"}, "class_weight is 'even'"),
        ("label", {"resamples": 0}, "0 resamples"),
        ("label", {"wordings": "two"}, "wordings need groups"),
        ("label", {"groups": "subject", "wordings": "two"}, "2 in 'two'; the control task needs 3 wordings"),
        ("label", {"groups": "subject", "wordings": "one", "l2": [1.0]}, "1 in 'one'; .* needs 2 wordings"),
        ("label", {"groups": "id", "wordings": "subject"}, "groups that are put in several wordings"),
    ],
)
def test_what_cannot_be_swept_is_named(tmp_path, labels, options, message):
    X, codes, group = problem()
    store = a_store(tmp_path / "s", {0: X, 4: X}, columns(codes, group, **BAD_COLUMNS))
    with pytest.raises(ProbeError, match=message):
        sweep(store, labels, **{**FAST, **options})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"name": ["t0"], "label": [1]}, "no column `id` to join by; they have name, label"),
        ({"id": ["t0", "t1", "t0"], "label": [1, 0, 1]}, "have the id 't0' twice"),
        ({"id": ["t0", None], "label": [1, 0]}, "row 1 of the labels has no id"),
        (
            {"id": ["t0", "x", "y"], "label": [1, 0, 1]},
            "2 of the 3 ids of the labels are of no text .*, such as 'x'",
        ),
        ({"id": [7, 8], "label": [1, 0]}, "2 of the 2 ids .* such as '7'; there, ids are such as 't0'"),
        ({"id": []}, "expected a label or more"),
        ({"id": [], "label": []}, "label 'label' is null in every row"),
        ({"id": ["t0", "t1"], "label": [1, "a"]}, "values of several kinds in one column"),
    ],
)
def test_a_table_that_cannot_be_joined_is_named(small, table, message):
    with pytest.raises(ProbeError, match=message):
        sweep(small, pd.DataFrame(table), **FAST)


def test_two_classes_of_which_a_fold_leaves_one(tmp_path):
    X, _, group = problem()
    codes = (group == 7).astype(int)
    store = a_store(tmp_path / "s", {0: X}, columns(codes, group))
    with pytest.raises(ProbeError, match="label 'label': one class is left to train on where a fold is"):
        sweep(store, "label", "subject", **FAST)


def test_wordings_that_tell_the_classes(tmp_path):
    label = np.tile([0, 0, 1, 1], 30)
    store = worded(tmp_path / "s", np.random.default_rng(0).normal(size=(120, 3)), label, 30, 4)
    with pytest.raises(ProbeError, match="one class is left to train on where wordings are"):
        sweep(store, "label", "subject", wordings="wording", **FAST | {"folds": 4})


def test_another_store_that_does_not_match_is_named(tmp_path, small):
    X, codes, group = problem(d=5)
    wide = a_store(tmp_path / "wide", {0: X, 4: X}, columns(codes, group))
    layer = a_store(tmp_path / "layer", {0: X[:, :3]}, columns(codes, group))
    short = a_store(tmp_path / "short", {0: X[:50, :3], 4: X[:50, :3]}, columns(codes[:50], group[:50]))
    again = columns(codes, group) | {"id": [f"t{i // 2}" for i in range(len(X))]}
    twice = a_store(tmp_path / "twice", {0: X[:, :3], 4: X[:, :3]}, again)
    for other, message in [
        (wide, "store 'o' is 5 wide; the probes are fitted on 3"),
        (twice, "store 'o' has 't0', token 0 twice"),
        (layer, "layer 4 is not in the store 'o'; it has 0"),
        (short, r"store 'o' lacks 40 of 90 rows \(by id and token\), such as 't50', token 0"),
    ]:
        with pytest.raises(ProbeError, match=message):
            sweep(small, "label", apply_to={"o": other}, **FAST)
    with pytest.raises(ProbeError, match="cannot be called 'fitted'"):
        sweep(small, "label", apply_to={"fitted": small}, **FAST)


def test_a_label_that_names_the_rows_holds_no_classes(tmp_path):
    X, codes, group = problem()
    store = a_store(tmp_path / "s", {0: X}, columns(codes, group, number=np.arange(len(X))))
    with pytest.raises(ProbeError, match="label 'number' has 90 classes in 90 rows"):
        sweep(store, "number", **FAST)


def test_every_fit_behind_a_line_counts_as_converged_or_not(tmp_path, monkeypatch):
    label = np.arange(180) // 6 % 2
    store = worded(tmp_path / "s", np.random.default_rng(0).normal(size=(180, 3)), label, 30, 6)
    counted = []

    def counting(*arguments, **how):
        fits = fit_many(*arguments, **how)
        counted.append((fits.converged.size, fits.gradient_norm.max()))
        return fits

    monkeypatch.setattr("valueattr.probing._heldout.fit_many", counting)
    line = sweep(store, "label", "subject", wordings="wording", **FAST).iloc[0]
    assert line["converged"] == 1.0
    assert line["gradient_norm"] == max(norm for _, norm in counted)
    for broken in range(len(counted)):
        left = iter(range(len(counted)))

        def once(*arguments, broken=broken, left=left, **how):
            return fit_many(
                *arguments, **how | ({"max_iter": 1, "tol": 1e-12} if next(left) == broken else {})
            )

        monkeypatch.setattr("valueattr.probing._heldout.fit_many", once)
        assert sweep(store, "label", "subject", wordings="wording", **FAST)["converged"].item() < 1.0


# --- labels that say less than they seem to


@pytest.mark.parametrize("arrow", [True, False])
@pytest.mark.parametrize("blank", ["", "  ", "\t", "\u00a0", None])
def test_blank_texts_were_a_class(tmp_path, blank, arrow):
    X, codes, group = problem()
    store = a_store(tmp_path / "s", {0: X}, columns(codes, group))
    said = [["no", "yes"][code] for code in codes]
    kept = [name if i % 3 else blank for i, name in enumerate(said)]
    table = pa.table if arrow else pd.DataFrame
    found = one(sweep(store, table({"id": [f"t{i}" for i in range(90)], "label": kept}), **FAST))
    assert (found["n"], found["left_out"], found["classes"]) == (60, 30, 2)
    only = [i for i in range(90) if i % 3]
    alone = {"id": [f"t{i}" for i in only], "label": [said[i] for i in only]}
    pd.testing.assert_series_equal(found, one(sweep(store, pa.table(alone), **FAST)))


def test_a_label_of_blanks_is_no_label(tmp_path):
    X, codes, group = problem()
    store = a_store(tmp_path / "s", {0: X}, columns(codes, group, blank=[" "] * 90))
    with pytest.raises(ProbeError, match="label 'blank' is null or blank in every row"):
        sweep(store, "blank", **FAST)


@pytest.fixture
def two_captures(tmp_path):
    """The ids of both are the same, and name other texts: the signal is in the second one only."""
    X, codes, group = problem(signal=4.0)
    noise = np.random.default_rng(1).normal(size=X.shape).astype(np.float32)
    own = columns(codes, group)
    store = a_store(tmp_path / "s", {0: np.concatenate([noise, X])}, own, own, captures=("a", "b"))
    labels = pa.table({"id": own["id"], "truth": codes})
    return store, labels, a_store(tmp_path / "b", {0: X}, own, captures=("b",))


def test_labels_were_joined_over_captures_whose_ids_collide(two_captures):
    store, labels, alone = two_captures
    with pytest.raises(
        SeveralCapturesError,
        match="90 ids of the labels are of texts in several captures, such as 't0' in 'a' and 'b'",
    ):
        sweep(store, labels, **FAST)
    chosen = sweep(store, labels, capture="b", **FAST)
    pd.testing.assert_frame_equal(chosen, sweep(alone, labels, **FAST))
    assert one(chosen)["accuracy"] > 0.9 > one(sweep(store, labels, capture="a", **FAST))["accuracy"]
    # Ids of other texts than those of the labels may collide, or be of one capture only.
    with pytest.raises(ProbeError, match="there is no capture 'c' in the store; there is a, b"):
        sweep(store, labels, capture="c", **FAST)


def test_a_capture_is_read_on_the_capture_of_its_name_in_another_store(two_captures):
    store, labels, alone = two_captures
    both = sweep(store, labels, capture="b", apply_to={"two": store, "one": alone}, **FAST)
    own = both[both["centre"] == "own"].set_index("store")["accuracy"]
    assert own["two"] == own["one"] == own["fitted"]
    # The other store has no capture "a", and the ids and tokens of its only one are those of the texts.
    read = sweep(store, labels, capture="a", apply_to={"one": alone}, **FAST)
    assert list(read["n"]) == [90] * 3
