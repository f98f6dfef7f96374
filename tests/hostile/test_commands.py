"""Every kind of hostile input and output at every place of every command and reader: no traceback, no signal, no hang, no
wrong result, nothing changed and nothing left behind. docs/robustness.md says what is promised and lists the kinds.
"""

import os
import shutil
import stat
from pathlib import Path

import pytest

from tests.cli.test_app import COMMANDS
from tests.hostile.child import COMPUTING, CRASHED, WAITING
from tests.hostile.commands import OUT, SLOTS, cases, meaning, read_csv
from tests.hostile.kinds import GROUPS, REFUSED, SAME, Given, copied, suffixes
from tests.hostile.readers import READERS
from tests.hostile.robustness import MARK, PAGE, tables

WAYS_TO_WRITE = ("--out", "--store")
# Words that are no input.
FITTING = {
    **{
        "--field": "text",
        "--by": "model",
        "--verdict": "model",
        "--is": "a",
        "COLUMNS": "text",
        "--labels": "label",
        "--layers": "0",
        "--l2": "0.1",
        "--folds": "3",
        "--most": "3",
    },
    **{"--seed": "3", "--threads": "3", "--per-stratum": "3", "TEXT": "It may be."},
}


def contents(folder):
    """What is in a folder, by path: bytes of files, targets of links, and what else there is."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                found[path] = ("link", os.readlink(path))
            elif stat.S_ISREG(mode):
                found[path] = ("file", path.read_bytes())
            else:
                found[path] = (stat.S_IFMT(mode),)
    return found


def stamps(folder):
    """When and how large everything in a folder was written last."""
    paths = (Path(place, name) for place, folders, files in os.walk(folder) for name in (*folders, *files))
    return {path: (path.lstat().st_size, path.lstat().st_mtime_ns) for path in paths}


class Case:
    """One slot with something in its place."""

    def __init__(self, slot, clean, folder):
        self.slot, self.folder = slot, folder / "case"
        self.folder.mkdir()
        self._clean, self._printed = clean, folder / "printed"
        source = clean.paths[slot.clean]
        if "{input}" in slot.words:
            copy = self.folder / f"input{source.suffix}"
            if source.is_dir():
                shutil.copytree(source, copy)
            else:
                copy.write_bytes(source.read_bytes())
            source = copy
        rows, field = clean.rows.get(slot.clean, ((), ""))
        self.given = Given(self.folder, source, rows, field)

    def run(self, server, hostile):
        """How it ends, and what it wrote."""
        places = {
            **self._clean.paths,
            "hostile": hostile,
            "input": self.given.source,
            "out": self.folder / OUT,
        }
        words = [word.format_map(places) for word in self.slot.words.split()]
        self.out = next(
            (Path(text) for text, word in zip(words[1:], words, strict=False) if word == "--out"), self.folder
        )
        return server.run(words, self.folder, self._printed)

    def clean(self):
        """What stands in place of the hostile thing: a new output, a word that fits, or the clean input."""
        if "{input}" in self.slot.words:
            return self.folder / f"new{self.given.source.suffix}"
        if self.slot.place in FITTING:
            return FITTING[self.slot.place]
        return copied(self.given.source, self.folder / f"clean{suffixes(self.given.source)}")

    def result(self, stdout):
        return self.slot.result(self.out, stdout)


def ended_well(done):
    """Whether a case came to an end that commands have."""
    if done.code < 0:
        return f"ended by signal {-done.code} (a hang after {COMPUTING} s of computing or {WAITING} s of waiting)"
    if done.code == CRASHED or "Traceback" in done.stderr:
        return "ended in a traceback"
    return None if done.code in (0, 1, 2) else f"ended with code {done.code}"


def parameters():
    for slot, kind, is_default in cases():
        marks = [pytest.mark.xdist_group("hostile-models" if slot.torch else "hostile-files")]
        if not is_default:
            marks.append(pytest.mark.slow)
        yield pytest.param(slot, kind, marks=marks, id=f"{slot.name}: {kind.name}")


@pytest.mark.parametrize(("slot", "kind"), list(parameters()))
def test_what_is_hostile_is_refused_by_name_or_changes_nothing(slot, kind, clean, results, tmp_path, request):
    server = request.getfixturevalue("heavy" if slot.torch else "light")
    if slot.clean not in clean.paths:
        clean.begin(slot.clean, server, tmp_path / "printed")
    if slot.result is not None and slot.name not in results:
        (tmp_path / "clean").mkdir()
        case = Case(slot, clean, tmp_path / "clean")
        done = case.run(server, case.clean())
        assert done.code == 0, f"the clean input: {done}"
        results[slot.name] = case.result(done.stdout)
    case = Case(slot, clean, tmp_path)
    hostile = kind.make(case.given)
    before, of_clean = contents(case.folder), stamps(clean.folder)

    done = case.run(server, hostile)

    shown = f"{slot.words} {done}"[:3000]
    assert not (wrong := ended_well(done)), f"{wrong}: {shown}"
    means = meaning(slot, kind)
    assert means.says != "refused" or done.code, f"was not refused: {shown}"
    assert means != SAME or not done.code, f"was refused: {shown}"
    if done.code:
        assert done.stderr.strip(), f"says nothing: {shown}"
    if means == REFUSED and isinstance(hostile, Path):
        assert hostile.name in done.stderr.replace("\n", ""), f"does not name {hostile.name}: {shown}"
    assert stamps(clean.folder) == of_clean, "a clean input was changed"
    check_what_is_there(case, hostile, before, done.code)
    if means == SAME:
        assert case.result(done.stdout) == results[slot.name]
    if case.out.suffix == ".csv" and not done.code:
        # The texts hold formulas.
        assert not [cell for row in read_csv(case.out) for cell in row.values() if cell[:1] in {*"=+-@\t\r"}]


def check_what_is_there(case, hostile, before, code):
    """Nothing is lost, changed or left behind but the output, and that only where all went well."""
    after = contents(case.folder)
    own = [case.folder / name for name in case.slot.writes]
    if isinstance(hostile, Path):
        own += [Path(os.path.realpath(hostile)) / name for name in case.slot.writes]
    roots = (
        []
        if code and not case.slot.goes_on
        else [*own, *({Path(os.path.realpath(case.out)), case.out} - {case.folder})]
    )

    def is_own(path):
        real = Path(os.path.realpath(path.parent)) / path.name
        return path.name == ".lock" or any(root in (real, path, *real.parents) for root in roots)

    kept = {path: what for path, what in before.items() if not is_own(path)}
    left = {path: what for path, what in after.items() if not is_own(path)}
    # A folder that an output was to be in may be made.
    made = [path for path in left if path not in kept and not any(path in root.parents for root in roots)]
    assert [str(path) for path in made] == []
    assert {str(path) for path in kept if left.get(path) != kept[path]} == set()


def test_every_command_and_reader_has_a_place_for_hostile_inputs():
    assert {slot.command for slot in SLOTS} == {*COMMANDS, *READERS}


def test_every_way_to_write_is_tried_with_inputs_and_work_in_its_place():
    ways = {
        (name, option)
        for name, command in COMMANDS.items()
        for parameter in command.params
        for option in parameter.opts
        if option in WAYS_TO_WRITE
    }
    tried = {(slot.command, slot.place) for slot in SLOTS if "outputs" in slot.groups}
    assert ways <= tried
    forced = {
        name for name, command in COMMANDS.items() if "--force" in {o for p in command.params for o in p.opts}
    }
    assert {(name, "--out --force") for name in forced} <= tried


def test_every_kind_and_every_place_is_tried_in_each_run_of_the_tests():
    tried = [(slot, kind) for slot, kind, is_default in cases() if is_default]
    assert {kind.name for _, kind in tried} == {kind.name for group in GROUPS.values() for kind in group}
    assert {slot.name for slot, _ in tried} == {slot.name for slot in SLOTS}


def test_no_two_kinds_or_places_have_one_name():
    names = [kind.name for group in (*GROUPS.values(),) for kind in group]
    repeated = {name for name in names if names.count(name) > 1}
    assert {
        name
        for name in repeated
        if len({kind for group in GROUPS.values() for kind in group if kind.name == name}) > 1
    } == set()
    assert len({slot.name for slot in SLOTS}) == len(SLOTS)


def test_exceptions_are_of_kinds_that_are_tried():
    for slot in SLOTS:
        assert set(slot.but) <= {kind.name for group in slot.groups for kind in GROUPS[group]}, slot.name


def test_the_page_on_robustness_counts_what_is_tried():
    """`python -m tests.hostile.robustness` writes the tables of the page anew."""
    assert PAGE.read_text("utf-8").partition(MARK)[2].strip() == tables().strip()
