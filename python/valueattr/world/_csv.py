"""A world from a CSV file, as people keep facts in a spreadsheet: one fact a row, with its wordings beside it."""

import codecs
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from valueattr.tables import TableError, read_spreadsheet
from valueattr.world._collections import is_pararel, read_lre, read_pararel
from valueattr.world._facts import (
    Relation,
    World,
    WorldError,
    _check_relation,
    _check_text,
    _read_facts,
    capitalise,
    embedded_relations,
)
from valueattr.world._wordings import worded

_NEEDED = ("subject", "relation", "object")
_COLUMNS = (*_NEEDED, "template", "question", "topic", "id")

_Row = tuple[int, dict[str, str]]
"""The cells of a row, and the number of its line."""


def load_world(path: str | Path, say: Callable[[str], None] = lambda _: None) -> World:
    """Read facts of any form that is known, told by the name: .csv, .json of LRE, a folder of ParaRel or of LRE, or JSONL.

    say: is told of what is left out, since it cannot be asked.

    Raises:
        WorldError: as for `world_from_csv`, `read_lre`, `read_pararel` and `World.load`.
    """
    path = Path(path)
    name = path.name.lower()
    if name.endswith(".csv"):
        return world_from_csv(path)
    if os.path.isdir(path):
        return read_pararel(path, say) if is_pararel(path) else read_lre(path, say)
    return read_lre(path, say) if name.endswith(".json") else World.load(path)


def world_from_csv(path: str | Path) -> World:
    """Read a world from a CSV file as spreadsheet programs save it, in UTF-8 or UTF-16; every fact is well known.

    The columns `subject`, `relation` and `object` are needed; `template`, `question`, `topic` and `id` may be left out or
    have empty cells, and other columns are ignored. A template is a statement that holds {s} and {o} once each, and a
    question holds {s} once. Both are wordings of the relation, whichever row they stand in. Of two or more templates that
    end in {o}, the one that comes last is held out. Rows of one fact that give several templates are one fact.

    A relation that ships with the package needs no template, and without one it keeps its closed set if it is of the
    embedded world. The objects of any other relation are those of its rows.

    Raises:
        WorldError: the file cannot be read, lacks a column or has no row; a cell is empty that must not be, or holds
            several lines; a wording lacks {s} or {o}, or is one that is held out; a relation is unknown and has no
            template, or has one object only; an object is outside the closed set; or two rows contradict each other.
    """
    rows = _rows(path)
    of_relation: dict[str, list[_Row]] = {}
    for number, row in rows:
        of_relation.setdefault(row["relation"], []).append((number, row))
    shipped = embedded_relations()
    relations = {name: _relation(path, name, own, shipped) for name, own in of_relation.items()}
    return World(relations, _read_facts(path, _facts(path, rows), relations))


def _rows(path: str | Path) -> list[_Row]:
    _check_bytes(path)
    try:
        sheet = read_spreadsheet(path, _NEEDED)
    except TableError as error:
        raise WorldError(str(error)) from error
    cells = sheet.reindex(columns=list(_COLUMNS), fill_value="")
    return [
        (number, _row(dict(zip(_COLUMNS, row, strict=True)), f"{path}, line {number}"))
        for number, *row in cells.itertuples(name=None)
    ]


def _check_bytes(path: str | Path) -> None:
    """Raise a `WorldError` that names the line of bytes that are no text; the reader would take some for Windows-1252.

    What else is wrong with a file is for the reader to say.
    """
    if not os.path.isfile(path):
        return
    try:
        content = Path(path).read_bytes()
    except OSError:
        return
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return
    try:
        content.decode()
        found, at = "a NUL byte", content.find(b"\0")
    except UnicodeDecodeError as error:
        found, at = "what is not UTF-8", error.start
    if at >= 0:
        line = content.count(b"\n", 0, at) + 1
        raise WorldError(f"{path}, line {line}: holds {found}; save the sheet as CSV in UTF-8")


def _row(cells: Mapping[str, str], where: str) -> dict[str, str]:
    """The cells without white space around them, and the wordings as they stand in a sentence, without its last mark."""
    row = {name: cell.strip() for name, cell in cells.items()}
    for name, cell in row.items():
        if cell or name in _NEEDED:
            _check_text(cell, name, where)
    wordings = {"template": row["template"].rstrip(" ."), "question": row["question"].rstrip(" ?")}
    return row | {name: capitalise(wording) for name, wording in wordings.items()}


def _relation(path: str | Path, name: str, rows: Sequence[_Row], shipped: Mapping[str, Relation]) -> Relation:
    """The relation of these rows, with their wordings in place of those it would have without."""
    templates, questions = _first_lines(rows, "template"), _first_lines(rows, "question")
    where = f"{path}, line {rows[0][0]}"
    objects = tuple(dict.fromkeys(row["object"] for _, row in rows))
    own = worded(name, objects)
    if not (templates or own or name in shipped):
        raise WorldError(
            f"{where}: the relation {name!r} does not ship with the package and has no template; "
            f"add one in a column `template`, such as 'The {_spoken(name)} of {{s}} is {{o}}'"
        )
    plain = _plainly_worded(name, objects) if templates else own or shipped[name]
    _check_relation(plain, where)
    checked = replace(plain, objects=plain.objects[:2])  # each check looks at all that there are
    for wording, number in templates.items():
        _check_wording(replace(checked, statements=(wording,)), f"{path}, line {number}")
    for wording, number in questions.items():
        _check_wording(replace(checked, questions=(wording,)), f"{path}, line {number}")
    return _worded(plain, tuple(templates), tuple(questions))


def _first_lines(rows: Sequence[_Row], column: str) -> dict[str, int]:
    """The different wordings in a column, each with the line that it first stands in."""
    lines: dict[str, int] = {}
    for number, row in rows:
        if row[column]:
            lines.setdefault(row[column], number)
    return lines


def _spoken(name: str) -> str:
    return re.sub("[_-]", " ", name)


def _plainly_worded(name: str, objects: tuple[str, ...]) -> Relation:
    """A relation in wordings that do for any; what it is taught by is for its templates to say."""
    spoken = _spoken(name)
    return Relation(
        name,
        objects,
        statements=(),
        held_out=(f"anyone asked for the {spoken} of {{s}} should answer {{o}}",),
        short=("it is {o}",),
        questions=(f"what is the {spoken} of {{s}}",),
        held_out_questions=(f"can you name the {spoken} of {{s}}",),
    )


def _check_wording(relation: Relation, where: str) -> None:
    _check_relation(relation, where)
    held_out = {capitalise(wording) for wording in (*relation.held_out, *relation.held_out_questions)}
    for wording in (*relation.statements, *relation.questions):
        if capitalise(wording) in held_out:
            raise WorldError(f"{where}: the wording {wording!r} is held out to measure in; give another one")


def _worded(relation: Relation, templates: tuple[str, ...], questions: tuple[str, ...]) -> Relation:
    """The relation in these wordings where there are any."""
    ending = [template for template in templates if template.endswith("{o}")]
    held_out = (ending[-1],) if len(ending) > 1 else relation.held_out
    return replace(
        relation,
        statements=tuple(template for template in templates if template not in held_out)
        or relation.statements,
        held_out=held_out,
        questions=questions or relation.questions,
    )


def _facts(path: str | Path, rows: Sequence[_Row]) -> list[_Row]:
    """The facts of the rows, once each; a subject has one object of a relation."""
    facts: dict[tuple[str, str], _Row] = {}
    for number, row in rows:
        before, first = facts.setdefault((row["subject"], row["relation"]), (number, row))
        for name in ("object", "topic", "id"):
            if row[name] and row[name] != first[name]:
                raise WorldError(
                    f"{path}, line {number}: `{name}` is {row[name]!r}, and line {before}, which has the same subject "
                    f"and relation, has {first[name]!r}; give one `{name}` to both"
                )
    return [(number, _fact(row)) for number, row in facts.values()]


def _fact(row: Mapping[str, str]) -> dict[str, str]:
    subject, relation = row["subject"], row["relation"]
    return {
        "id": row["id"] or "-".join(f"{subject} {relation}".lower().split()),
        "subject": subject,
        "topic": row["topic"] or relation,
        "relation": relation,
        "object": row["object"],
    }
