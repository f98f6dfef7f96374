"""The smallest effect that a plan shows: against the textbook, against its own rule, and against what was measured."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from valueattr.experiments import E1, E2, E3
from valueattr.plan import Plan, power_in_words, smallest_shown
from valueattr.plan._power import SPREADS, standardised_effect
from valueattr.stats import holm, p_value

PAGES = Path(__file__).parents[2] / "docs" / "results"


@pytest.mark.parametrize("units", [3, 8, 16])
def test_one_test_alone_has_the_power_of_the_textbook(units):
    effect = standardised_effect(units, 1, 0.05)
    critical = stats.t.ppf(0.975, units - 1)
    noncentral = stats.nct(units - 1, effect * units**0.5)
    assert noncentral.sf(critical) + noncentral.cdf(-critical) == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(("units", "family"), [(3, 6), (8, 17)])
def test_in_a_family_holm_shows_it_four_times_in_five(units, family):
    effect = standardised_effect(units, family, 0.05)
    rng = np.random.default_rng(1)
    shown = 0
    for _ in range(1000):
        p = [p_value(rng.normal(effect, 1, units)), *rng.uniform(size=family - 1)]
        shown += holm(p)[0] < 0.05
    assert shown / 1000 == pytest.approx(0.8, abs=0.04)


def test_more_seeds_show_less_and_one_shows_nothing():
    plan = Plan.of(E1, "tiny", "0" * 64)
    few, many = ([s.effect for s in smallest_shown(plan, seeds)] for seeds in (3, 8))
    assert all(more > less for more, less in zip(few, many, strict=True))
    primary, *others = smallest_shown(plan, 8)
    assert primary.declared.name == plan.primary
    assert all(primary.effect < other.effect for other in others if other.declared.unit == "nats")
    assert {s.effect for s in smallest_shown(plan, 1)} == {None}
    shared = plan.model_copy(update={"settings": plan.settings.model_copy(update={"starts": 3})})
    assert [s.effect for s in smallest_shown(shared, 8)] == few


def test_a_run_is_told_in_a_sentence_what_it_can_show():
    plan = Plan.of(E2, "tiny", "0" * 64)
    said = power_in_words(plan, 8)
    primary, *others = smallest_shown(plan, 8)
    assert said.startswith(
        f"8 seeds show with a probability of 80% differences from {primary.effect:.2g} of responses"
    )
    assert f"{max(o.effect for o in others if o.declared.unit == 'bits'):.2g} bits" in said
    assert "one seed is a demonstration" in power_in_words(plan, 1)
    assert "was measured for runs of tiny" in power_in_words(plan.model_copy(update={"model": "./mine"}), 8)


def test_the_printed_table_is_what_the_rule_gives():
    of = {
        "belief": "belief_margin",
        "true answers": "assert_true",
        "responses": "corrected",
        "information": "bits",
    }
    page = (PAGES.parent / "science.md").read_text("utf-8")
    rows = re.findall(r"^\| (E[123]): ([^|]+) \|(.+)\|$", page, re.M)
    assert len(rows) == 8
    for name, title, cells in rows:
        plan = Plan.of({"E1": E1, "E2": E2, "E3": E3}[name], "tiny", "0" * 64)
        plan = plan.model_copy(update={"settings": plan.settings.model_copy(update={"starts": 16})})
        measure = next(m for words, m in of.items() if title.startswith(words))
        for seeds, cell in zip((3, 8, 16), cells.split("|"), strict=True):
            effects = [
                s.effect
                for s in smallest_shown(plan, seeds)
                if s.declared.measure.partition("/")[0] == measure
                and (s.declared.name == plan.primary) == ("primary" in title)
                and s.declared.holm_family == "main"
            ]
            assert float(cell.split()[0]) == pytest.approx(max(effects), rel=0.05)


def test_every_declared_measure_has_a_spread():
    for experiment in (E1, E2, E3):
        for contrast in experiment.contrasts:
            assert contrast.measure.partition("/")[0] in SPREADS


def test_the_spreads_are_those_of_the_published_runs():
    measures = {c.title: c.measure.partition("/")[0] for e in (E1, E2, E3) for c in e.contrasts}
    variances = {}
    for page in PAGES.glob("e?-tiny.md"):
        for title, low, high in re.findall(
            r"^\| ([^|]+) \| [^|]+ \| ([-+][\d.]+) to ([-+][\d.]+) \(n = 3\)", page.read_text("utf-8"), re.M
        ):
            half = (float(high) - float(low)) / 2
            measure = measures.get(title, "distance_slope" if "distance" in title else None)
            variances.setdefault(measure, []).append(3 * (half / stats.t.ppf(0.975, 2)) ** 2)
    found = {measure: np.mean(of_measure) ** 0.5 for measure, of_measure in variances.items() if measure}
    assert found == pytest.approx(SPREADS, rel=0.05)
