"""Krippendorff's alpha, against the examples of his own paper and against its definition over pairs."""

import math
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valueattr.stats import agreement

# Krippendorff (2011), sections A to C: a line for each observer, a letter for each unit, a point for no label.
PAPER = {
    "two observers, two values": (["0100000010", "1110010000"], 0.095),
    "two observers, many values": (["aabbdcccedda", "babbbccceddd"], 0.692),
    "four observers, values missing": (
        ["123321412...", "1233224125.3", ".3332342251.", "12332441251."],
        0.743,
    ),
}


def units(observers):
    return [[None if label == "." else label for label in unit] for unit in zip(*observers, strict=True)]


@pytest.mark.parametrize("name", PAPER)
def test_the_examples_of_the_paper(name):
    observers, alpha = PAPER[name]
    assert agreement(units(observers)) == pytest.approx(alpha, abs=5e-4)


def naive(labels):
    """Over ordered pairs: of two labels of one unit, and of any two that can be paired."""
    paired = [own for unit in labels if len(own := [label for label in unit if label is not None]) > 1]
    every = [label for unit in paired for label in unit]
    n = len(every)
    observed = sum(sum(a != b for a, b in permutations(unit, 2)) / (len(unit) - 1) for unit in paired) / n
    expected = sum(a != b for a, b in permutations(every, 2)) / (n * (n - 1))
    return 1 - observed / expected


label = st.sampled_from(["right", "wrong", 3, None])


@given(st.integers(2, 4).flatmap(lambda raters: st.lists(st.tuples(*[label] * raters), max_size=12)))
def test_it_is_one_minus_the_observed_over_the_expected_disagreement(labels):
    try:
        expected = naive(labels)
    except ZeroDivisionError:
        expected = math.nan
    assert agreement(labels) == pytest.approx(expected, nan_ok=True)
    assert agreement([unit[::-1] for unit in labels[::-1]]) == pytest.approx(expected, nan_ok=True)


def test_raters_who_always_agree_have_one_and_what_nobody_else_labelled_does_not_count():
    labels = [("a", "a"), ("b", "b"), ("c", None)]
    assert agreement(labels) == 1
    assert agreement([*labels, (math.nan, "d")]) == 1


def test_opposites_are_below_chance():
    assert agreement([("a", "b"), ("b", "a")] * 10) < -0.8


@pytest.mark.parametrize("labels", [[], [("a",)], [("a", None), (None, "b")], [("a", "a"), ("a", "a")]])
def test_it_is_not_a_number_where_nothing_can_differ(labels):
    assert math.isnan(agreement(labels))
