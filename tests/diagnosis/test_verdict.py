import numpy as np
import pandas as pd
import pytest

from tests.builders import controls
from valueattr.diagnosis import EVIDENCE, SAID, Calibration, Reading, verdicts

HELD, LOST, BETWEEN = 4.0, 0.0, 2.0
NEAR, BEYOND = 0.1, 0.5


@pytest.fixture(scope="module")
def calibration():
    """Held facts stand 4 above lost ones in each reading, with a spread of 1."""
    table = controls(bases=("b0", "b1", "b2"), facts=200)
    return Calibration(table.assign(exposure="well_known", partly_erased=False, forward_kl=0.3))


def reading(levels, said_true, frozen=None):
    ids = [f"f{i}" for i in range(len(levels))]
    evidence = pd.DataFrame({name: levels for name in EVIDENCE}, index=ids).assign(belief=levels)
    if frozen is not None:
        evidence["frozen_probe"] = frozen
    said = pd.DataFrame(0.0, index=ids, columns=list(SAID))
    said["said_true"] = said["said_held"] = said_true
    said["hedged"] = 1 - said["said_true"]
    return Reading(evidence, said)


def test_each_verdict_follows_from_what_is_held_and_what_is_said(calibration):
    before = reading([HELD, HELD, HELD, HELD, LOST, LOST], [1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    after = reading([HELD, HELD, LOST, BETWEEN, LOST, HELD], [1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    table = verdicts(before, after, calibration, NEAR)
    assert table["verdict"].tolist() == [
        "kept",
        "hidden",
        "lost",
        "unsure",
        "not known before",
        "not known before",
    ]
    assert table.loc["f1", ["said_true_before", "said_true_after", "hedged_after"]].tolist() == [1, 0, 1]


def test_a_fact_that_was_never_said_is_kept_and_counted_apart(calibration):
    table = verdicts(reading([HELD], [0.1]), reading([HELD], [0.0]), calibration, NEAR)
    assert (table["verdict"].item(), table["said_before"].item()) == ("kept", False)


def test_evidence_like_that_of_no_control_is_unsure_but_p_holds_is_given(calibration):
    after = reading([HELD], [1.0])
    after.evidence[list(EVIDENCE)] = [[12.0, -12.0, 12.0]]
    table = verdicts(reading([HELD], [1.0]), after, calibration, NEAR)
    assert table["far"].item()
    assert (table["verdict"].item(), 0 <= table["p_holds"].item() <= 1) == ("unsure", True)


def test_more_than_every_held_fact_is_not_far(calibration):
    table = verdicts(reading([HELD], [1.0]), reading([30.0], [1.0]), calibration, NEAR)
    assert (table["verdict"].item(), table["far"].item()) == ("kept", False)


def test_moved_is_a_frozen_probe_that_no_longer_reads_what_a_refit_one_does(calibration):
    after = reading([HELD, HELD, LOST - 1], [1.0, 1.0, 0.0], frozen=[-1.0, 2.0, -1.0])
    table = verdicts(reading([HELD] * 3, [1.0] * 3), after, calibration, NEAR)
    assert table["moved"].tolist() == [True, False, False]
    assert verdicts(reading([HELD], [1.0]), reading([HELD], [1.0]), calibration, NEAR)["moved"].isna().all()


def test_without_controls_or_a_reading_there_is_no_p_and_the_verdict_is_unsure(calibration):
    before, after = reading([HELD, HELD], [1.0, 1.0]), reading([HELD, HELD], [1.0, 1.0])
    table = verdicts(before, after, None, NEAR)
    assert table["p_holds"].isna().all()
    assert (table["verdict"] == "unsure").all()
    after.evidence.loc["f0", "relearned"] = np.nan
    table = verdicts(before, after, calibration, NEAR)
    assert table["verdict"].tolist() == ["unsure", "kept"]
    assert table["p_holds"].isna().tolist() == [True, False]


def test_of_a_model_that_moved_farther_than_every_control_nothing_is_called_lost(calibration):
    before, after = reading([HELD, HELD], [1.0, 1.0]), reading([LOST, HELD], [0.0, 0.0])
    assert verdicts(before, after, calibration, NEAR)["verdict"].tolist() == ["lost", "hidden"]
    table = verdicts(before, after, calibration, BEYOND)
    assert table["verdict"].tolist() == ["unsure", "hidden"]
    assert table["far"].tolist() == [True, False]
