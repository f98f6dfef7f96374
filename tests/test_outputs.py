import os
import subprocess
import sys
from contextlib import suppress

import pytest

from valueattr.outputs import OutputError, OutputExistsError, new_output


def test_an_output_appears_when_it_is_whole_and_leaves_nothing_beside_it(tmp_path):
    with new_output(tmp_path / "deep" / "a.txt") as place:
        place.write_text("whole")
        assert not (tmp_path / "deep" / "a.txt").exists()
    assert (tmp_path / "deep" / "a.txt").read_text() == "whole"
    assert os.listdir(tmp_path / "deep") == ["a.txt"]


def test_an_output_that_failed_leaves_what_was_there(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with suppress(ZeroDivisionError), new_output(tmp_path / "a.txt", overwrite=True) as place:
        place.write_text("half")
        raise ZeroDivisionError
    assert (tmp_path / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_no_input_and_no_work_is_written_over(tmp_path):
    work, link = tmp_path / "a.txt", tmp_path / "link.txt"
    work.write_text("labels")
    link.symlink_to(work)
    for path in (work, link):
        with pytest.raises(OutputExistsError, match="exists"), new_output(path):
            pass
        with pytest.raises(OutputError, match="is an input"), new_output(path, inputs=[work], overwrite=True):
            pass
    with (
        pytest.raises(OutputError, match="neither a file nor a folder"),
        new_output("/dev/null", overwrite=True),
    ):
        pass
    assert work.read_text() == "labels"
    with new_output(link, overwrite=True) as place:
        place.write_text("new")
    assert work.read_text() == "new"
    assert link.is_symlink()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_link_to_itself_is_no_place_for_a_folder(tmp_path, overwrite):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with (
        pytest.raises(OutputError, match="is a link to itself"),
        new_output(tmp_path / "loop", overwrite=overwrite) as place,
    ):
        place.mkdir()
    assert os.listdir(tmp_path) == ["loop"]


def test_a_folder_that_holds_an_input_is_not_replaced(tmp_path):
    (tmp_path / "dumps" / "deep").mkdir(parents=True)
    given = tmp_path / "dumps" / "deep" / "a.txt"
    given.write_text("input")
    with (
        pytest.raises(OutputError, match="dumps holds an input"),
        new_output(tmp_path / "dumps", inputs=[given], overwrite=True),
    ):
        pass
    assert given.read_text() == "input"


@pytest.mark.parametrize("folder", [False, True])
def test_of_two_writers_the_first_to_finish_has_the_place_and_the_other_one_fails(tmp_path, folder):
    def write(place, text):
        if folder:
            place.mkdir()
        (place / "x" if folder else place).write_text(text)

    slow = new_output(tmp_path / "a")
    write(slow.__enter__(), "slow")
    with new_output(tmp_path / "a") as quick:
        write(quick, "quick")
    with pytest.raises(OutputExistsError, match="was written by another process"):
        slow.__exit__(None, None, None)
    assert (tmp_path / "a" / "x" if folder else tmp_path / "a").read_text() == "quick"
    assert os.listdir(tmp_path) == ["a"]


def test_a_folder_is_replaced_whole(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old").touch()
    with new_output(tmp_path / "a", overwrite=True) as place:
        place.mkdir()
        (place / "new").touch()
    assert os.listdir(tmp_path / "a") == ["new"]
    assert os.listdir(tmp_path) == ["a"]


def test_what_a_killed_writer_left_goes_with_the_next_one(tmp_path):
    killed = (
        "import os, signal, sys; from valueattr.outputs import new_output\n"
        "with new_output(sys.argv[1]) as place: place.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", killed, tmp_path / "a"], check=False)
    assert len(os.listdir(tmp_path)) == 1
    with new_output(tmp_path / "a") as place:
        assert len(os.listdir(tmp_path)) == 1
        place.write_text("whole")
    assert os.listdir(tmp_path) == ["a"]


def test_a_place_that_may_not_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file is no folder"), new_output(tmp_path / "file" / "a.txt"):
        pass
