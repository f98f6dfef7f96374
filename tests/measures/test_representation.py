import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from valueattr.measures.representation import FrozenProbes, ProbedStates, macro_auroc, probe_rows, probe_set
from valueattr.questions import assign_splits


@pytest.fixture(scope="module")
def probes(world):
    return probe_set(world.questions, seed=0)


def planted(probes, noise=0.1, seed=0):
    """States in which every object has its own direction, for subjects that were taught; noise for the others."""
    rng = np.random.default_rng(seed)
    table = probes.attribute
    directions = {r: rng.normal(size=(16, 24)) for r in table["relation"].unique()}
    X = rng.normal(scale=noise, size=(len(table), 24))
    for i, (relation, label, trains) in enumerate(
        zip(table["relation"], table["label"], table["trains"], strict=True)
    ):
        X[i] += directions[relation][label] if trains else rng.normal(size=24)
    truth = rng.normal(size=(len(probes.truth), 24))
    truth[:, 0] += 4 * probes.truth["label"]
    return ProbedStates({0: X.astype(np.float32)}, {0: truth.astype(np.float32)})


def values(rows, measure, split):
    return np.mean([row["value"] for row in rows if row["measure"] == measure and row["split"] == split])


def test_reads_what_is_there_and_nothing_of_never_taught_subjects(probes, world):
    states = planted(probes)
    rows = probe_rows(FrozenProbes(probes, states), states, assign_splits(world.questions, 0, 32))
    assert values(rows, "attribute_refit", "penalised") > 0.99
    assert values(rows, "attribute_refit", "never_taught") < 0.2
    assert values(rows, "attribute_refit_auroc", "untouched") > 0.99
    assert values(rows, "truth_refit_auroc", "well_known") > 0.95


def test_frozen_probes_lose_a_rotated_model_and_refit_ones_do_not(probes, world):
    start, moved = planted(probes), planted(probes, seed=1)
    rows = probe_rows(FrozenProbes(probes, start), moved, assign_splits(world.questions, 0, 32))
    assert values(rows, "attribute_frozen", "penalised") < 0.3
    assert values(rows, "attribute_refit", "penalised") > 0.99


def test_recentring_undoes_a_shift(probes, world):
    start = planted(probes)
    moved = ProbedStates({0: start.attribute[0] + 5.0}, {0: start.truth[0] + 5.0})
    rows = probe_rows(FrozenProbes(probes, start), moved, assign_splits(world.questions, 0, 32))
    assert values(rows, "attribute_frozen_recentred", "penalised") > 0.99
    assert values(rows, "attribute_frozen", "penalised") < values(
        rows, "attribute_frozen_recentred", "penalised"
    )


def test_the_control_task_can_fail(probes, world):
    """States that hold the object alone cannot tell subjects apart, so a control task on them is near chance."""
    states = planted(probes)
    rows = probe_rows(FrozenProbes(probes, states), states, assign_splits(world.questions, 0, 32))
    assert values(rows, "real_top1", "well_known") > 0.99
    assert values(rows, "control_top1", "well_known") < 0.35
    assert values(rows, "selectivity", "well_known") > 0.6


def test_train_and_test_subjects_are_disjoint_and_never_taught_train_nothing(probes, world):
    table = probes.attribute
    subject = {fact.id: fact.subject for fact in world.facts}
    assert (table.groupby(table["fact"].map(subject))["fold"].agg(set).map(len) == 1).all()
    never = {fact.id for fact in world.facts if fact.exposure in ("never_taught", "half_known")}
    assert not table[table["fact"].isin(never)]["trains"].any()


def test_item_ids_do_not_shift(probes, world):
    """The label of every row is the object that its own fact was taught."""
    for row in probes.attribute.itertuples():
        fact = world.fact(row.fact)
        assert world.relation_of(fact).objects[row.label] == (fact.taught or fact.object)
        assert fact.subject.casefold() in row.text.casefold()


@given(st.integers(0, 10_000), st.integers(2, 5), st.booleans())
@settings(max_examples=100, deadline=None)
def test_auroc_agrees_with_scikit_learn(seed, classes, ties):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, 30)
    relation = pd.Series(rng.choice(["a", "b"], 30))
    scores = rng.normal(size=(30, classes)).round(1 if ties else 9)
    expected = []
    for name in relation.unique():
        rows = (relation == name).to_numpy()
        for value in np.unique(label[rows]):
            if 0 < (label[rows] == value).sum() < rows.sum():
                expected.append(roc_auc_score(label[rows] == value, scores[rows, value]))
    found = macro_auroc(relation, label, scores)
    assert found == (pytest.approx(np.mean(expected)) if expected else None)


def test_the_start_models_probes(start, world):
    """Read the objects of known facts far above, and those of never-taught ones at, the floor."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from valueattr.measures.representation import read_states

    probes = probe_set(world.questions, seed=0)
    model = AutoModelForCausalLM.from_pretrained(start).eval()
    states = read_states(model, AutoTokenizer.from_pretrained(start), probes)
    rows = probe_rows(FrozenProbes(probes, states), states, assign_splits(world.questions, 0, 32))
    last = [row for row in rows if row["layer"] == max(states.attribute)]
    assert values(last, "attribute_refit", "penalised") > 0.6
    # chance is 1/16; 64 facts of 3 wordings each
    assert values(last, "attribute_refit", "never_taught") < 1 / 16 + 3 * (1 / 16 * 15 / 16 / 64) ** 0.5
    assert values(last, "selectivity", "well_known") > 0.1
