import logging

import pytest

from valueattr.experiments import Lines
from valueattr.experiments._progress import Timed


def test_by_default_a_run_speaks_to_the_log_of_the_package(caplog, capfd):
    progress = Lines()
    with caplog.at_level(logging.INFO, logger="valueattr"):
        progress.say("100% said")
        with progress.phase("arms", 4, "steps") as bar:
            bar.update(1)
            bar.update(4, "a1 seed 0 done")
    assert [record.name for record in caplog.records] == ["valueattr"] * 2
    assert caplog.messages[0] == "100% said"
    assert caplog.messages[1].startswith("arms: 4/4 steps, ")
    assert caplog.messages[1].endswith("; a1 seed 0 done")
    assert capfd.readouterr() == ("", "")


def test_a_total_may_be_known_later():
    said = []
    with Lines(said.append).phase("teaching", 1, "steps") as bar:
        bar.total = 3
        bar.update(1)
        bar.update(3)
    assert [line.split(",")[0] for line in said] == ["teaching: 3/3 steps"]


def test_phases_are_timed_and_passed_on():
    said = []
    progress = Timed(Lines(said.append))
    progress.say("before")
    with progress.phase("arms", 1, "steps") as bar:
        bar.update(1)
    assert list(progress.seconds) == ["arms"]
    assert progress.seconds["arms"] >= 0
    assert said[0] == "before"
    assert said[1].startswith("arms: 1/1 steps")


def test_a_phase_that_fails_takes_no_time():
    progress = Timed(Lines([].append))
    with pytest.raises(KeyError), progress.phase("arms", 1, "steps"):
        raise KeyError
    assert progress.seconds == {}
