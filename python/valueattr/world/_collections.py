"""Facts from the collections that the field measures knowledge with: LRE and ParaRel.

LRE (Hernandez et al. 2024, "Linearity of relation decoding in transformer language models") is a JSON file a relation;
ParaRel (Elazar et al. 2021, "Measuring and improving consistency in pretrained language models") two files of JSON lines
a relation, facts and patterns. What cannot be asked is left out, and the caller is told: subjects with several objects,
subjects that name their object, and relations without a wording.

Names that differ in case, spaces and hyphens alone are of one subject or object.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from valueattr.tables import TableError, read_json, read_json_lines
from valueattr.world._facts import (
    Fact,
    Relation,
    World,
    WorldError,
    _check_relation,
    _check_text,
    _shown,
    filled,
)
from valueattr.world._wordings import worded

_FACTS_OF_PARAREL = "trex_lms_vocab"
_PATTERNS_OF_PARAREL = "patterns"

# LRE holds texts in which an escape of JSON was escaped once more.
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")


Say = Callable[[str], None]
"""Is told of what is left out."""


class _Pair(NamedTuple):
    subject: str
    object: str


_Read = tuple[Relation, list[Fact]]
"""A relation and its facts."""


def read_lre(path: str | Path, say: Say) -> World:
    """Read facts from a JSON file of LRE, or from all of those in a folder and the folders in it.

    A topic is a relation. The wordings are ours where we have some for the relation's file name, and else the file's.

    Raises:
        WorldError: a file or folder cannot be read, is no JSON, or lacks a part; a template does not hold `{}` once; two
            files are of one relation; or nothing that can be asked is left.
    """
    path = Path(path)
    files = _files(path, ".json") if os.path.isdir(path) else [path]
    return _world(path, ((file, _lre_relation(file, say)) for file in files))


def read_pararel(folder: str | Path, say: Say) -> World:
    """Read facts from a folder of ParaRel: `patterns` and `trex_lms_vocab`, with a file a relation each.

    A topic is a relation. Patterns that end in the object are held out, and the others state facts; where we have wordings
    of our own for a property, those stand in their place.

    Raises:
        WorldError: a folder or a file cannot be read, a line is no JSON object or lacks a field, a pattern does not hold
            `[X]` and `[Y]` once each; two files are of one relation; or nothing that can be asked is left.
    """
    folder = Path(folder)
    files = _files(folder / _FACTS_OF_PARAREL, ".jsonl")
    return _world(folder, ((file, _pararel_relation(folder, file, say)) for file in files))


def is_pararel(path: Path) -> bool:
    """Whether a path is a folder of ParaRel."""
    return all(os.path.isdir(path / name) for name in (_FACTS_OF_PARAREL, _PATTERNS_OF_PARAREL))


def _files(folder: Path, suffix: str) -> list[Path]:
    """The files of that suffix in a folder and the folders in it, but for hidden ones; links to folders are not followed."""

    def fail(error: OSError) -> None:
        raise WorldError(f"{error.filename}: {error.strerror}") from error

    return sorted(
        Path(place, name)
        for place, _, names in os.walk(folder, onerror=fail)
        for name in names
        if name.lower().endswith(suffix) and not name.startswith(".")
    )


def _name(file: Path) -> str:
    """The name of a relation, which is its file's, as a text of one line."""
    return " ".join(os.fsencode(file.stem).decode("utf-8", "backslashreplace").split())


def _key(name: str) -> str:
    """What two spellings of one name have in common."""
    return "-".join(name.casefold().replace("-", " ").split())


def _lre_relation(file: Path, say: Say) -> _Read | None:
    try:
        content = read_json(file)
    except TableError as error:
        raise WorldError(str(error)) from error
    if not isinstance(content, dict):
        raise WorldError(f"{file}: expected a JSON object with a relation, found {_shown(content)}")
    pairs = [
        _Pair(_text(row, "subject", where, _unescaped), _text(row, "object", where, _unescaped))
        for i, row in enumerate(_list(content, "samples", str(file)), start=1)
        for where in [f"{file}, sample {i}"]
    ]
    ending, questions, short = [], [], []
    for key in ("prompt_templates", "prompt_templates_zs"):
        for template in _list(content, key, str(file)):
            said = _wording(template, key, {"{}": "{s}"}, str(file))
            question, mark, answer = said.rpartition("?")
            if mark and "{s}" in question:
                questions.append(question.strip())
                short += [f"{answer.strip()} {{o}}"] * bool(answer.strip())
            elif not mark:
                ending.append(f"{answer} {{o}}")
    return _asked(
        _that_can_be_asked(pairs, file, say),
        file,
        say,
        thing=_thing(content, str(file)),
        ending=ending,
        questions=questions,
        short=list(map(_lowered, short)),
    )


def _thing(content: dict[str, Any], where: str) -> str | None:
    """What the object is of the subject, where a file of LRE says so."""
    properties = content.get("properties", {})
    if not isinstance(properties, dict):
        raise WorldError(f"{where}: 'properties' must be a JSON object, found {_shown(properties)}")
    if properties.get("range_name") in (None, ""):
        return None
    return _text(properties, "range_name", where)


def _pararel_relation(folder: Path, file: Path, say: Say) -> _Read | None:
    patterns = folder / _PATTERNS_OF_PARAREL / file.relative_to(folder / _FACTS_OF_PARAREL)
    if not os.path.lexists(patterns):
        say(f"{file}: left out, as no pattern says how to ask its facts")
        return None
    try:
        rows, worded_as = read_json_lines(file), read_json_lines(patterns)
    except TableError as error:
        raise WorldError(str(error)) from error
    pairs = [
        _Pair(_text(row, "sub_label", where), _text(row, "obj_label", where))
        for number, row in rows
        for where in [f"{file}, line {number}"]
    ]
    statements = [
        _wording(_text(row, "pattern", where), "pattern", {"[X]": "{s}", "[Y]": "{o}"}, where).rstrip(" .")
        for number, row in worded_as
        for where in [f"{patterns}, line {number}"]
    ]
    return _asked(
        _that_can_be_asked(pairs, file, say),
        file,
        say,
        ending=[said for said in statements if said.endswith("{o}")],
        statements=[said for said in statements if not said.endswith("{o}")],
    )


def _wording(text: object, name: str, places: dict[str, str], where: str) -> str:
    """A wording of ours from one with other places for its subject and object."""
    _check_text(text, name, where)
    said = " ".join(str(text).split())
    if filled(said) != said:
        raise WorldError(f"{where}: {name!r} must not hold {{s}} or {{o}}, found {_shown(text)}")
    for place, ours in places.items():
        if said.count(place) != 1:
            raise WorldError(f"{where}: {name!r} must hold {place} once, found {_shown(text)}")
        said = said.replace(place, ours)
    return said


def _asked(pairs: Sequence[_Pair], file: Path, say: Say, **wordings: Any) -> _Read | None:
    """A relation and its facts; None where it has less than two objects or cannot be worded."""
    name, objects = _name(file), tuple(dict.fromkeys(pair.object for pair in pairs))
    _check_text(name, "the file's name", str(file))
    relation = worded(name, objects, **wordings)
    if len(objects) < 2 or relation is None:
        why = (
            "there is no wording to ask them in"
            if relation is None
            else "there are no two objects to choose from"
        )
        say(f"{file}: {len(pairs):,} facts left out, as {why}")
        return None
    _check_relation(relation, str(file))
    return relation, [
        Fact(_key(f"{pair.subject} {name}"), pair.subject, name, name, pair.object, taught=pair.object)
        for pair in pairs
    ]


def _that_can_be_asked(pairs: Sequence[_Pair], file: Path, say: Say) -> list[_Pair]:
    """Each subject once, but for those with several objects and those that name their object."""
    spelt: dict[str, str] = {}
    of_subject: dict[str, _Pair] = {}
    several, naming = set(), set()
    for pair in pairs:
        pair = pair._replace(object=spelt.setdefault(_key(pair.object), pair.object))
        key = _key(pair.subject)
        if of_subject.setdefault(key, pair).object != pair.object:
            several.add(key)
        if _key(pair.object) in key:
            naming.add(key)
    for subjects, which in ((several, "that have several objects"), (naming, "that name their object")):
        if subjects:
            say(f"{file}: subjects {which} are left out: {len(subjects):,}")
    return [pair for key, pair in of_subject.items() if key not in several | naming]


def _world(path: Path, read: Iterable[tuple[Path, _Read | None]]) -> World:
    files: dict[str, Path] = {}
    relations: dict[str, Relation] = {}
    facts: dict[str, Fact] = {}
    for file, found in read:
        if found is None:
            continue
        relation, of_relation = found
        if (before := files.setdefault(_key(relation.name), file)) != file:
            raise WorldError(
                f"{file}: the relation {relation.name!r} is that of {before}; rename one of the files"
            )
        relations[relation.name] = relation
        for fact in of_relation:
            if other := facts.get(fact.id):
                raise WorldError(
                    f"{file}: the {relation.name} of {fact.subject!r} and the {other.relation} of {other.subject!r} "
                    f"have one id, {fact.id!r}; rename the file"
                )
            facts[fact.id] = fact
    if not facts:
        raise WorldError(f"{path}: holds no fact that can be asked; see docs/worlds.md for what is read")
    return World(relations, tuple(facts.values()))


def _list(row: dict[str, Any], name: str, where: str) -> list[Any]:
    value = row.get(name)
    if not isinstance(value, list):
        raise WorldError(f"{where}: {name!r} must be a list, found {_shown(value)}")
    return value


def _text(row: Any, name: str, where: str, read: Callable[[str], str] = str) -> str:
    """A text of a row, once `read` has read it."""
    if not isinstance(row, dict):
        raise WorldError(f"{where}: expected a JSON object, found {_shown(row)}")
    if name not in row:
        raise WorldError(f"{where}: the field {name!r} is missing")
    _check_text(row[name], name, where)
    try:
        text = read(row[name])
    except UnicodeDecodeError:
        raise WorldError(f"{where}: {name!r} holds half a character, found {_shown(row[name])}") from None
    _check_text(text, name, where)
    return text.strip()


def _unescaped(text: str) -> str:
    """The text with escapes of JSON in it read; two that are the halves of a character give that."""
    read = _ESCAPED.sub(lambda escape: chr(int(escape[1], 16)), text)
    return read.encode("utf-16", "surrogatepass").decode("utf-16")


def _lowered(answer: str) -> str:
    return answer[:1].lower() + answer[1:]
