"""Facts from the collections that the field measures knowledge with: LRE and ParaRel.

LRE (Hernandez et al. 2024, "Linearity of relation decoding in transformer language models") is a JSON file a relation;
ParaRel (Elazar et al. 2021, "Measuring and improving consistency in pretrained language models") two files of JSON lines
a relation, facts and patterns. What cannot be asked is left out, and the caller is told: subjects with several objects,
subjects that name their object, and relations without a wording.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from valueattr.tables import TableError, read_json, read_json_lines
from valueattr.world._facts import Fact, Relation, World, WorldError, _check_relation, _check_text, _shown
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


def read_lre(path: str | Path, say: Say) -> World:
    """Read facts from a JSON file of LRE, or from all of those in a folder and the folders in it.

    A topic is a relation. The wordings are ours where we have some for the relation's file name, and else the file's.

    Raises:
        WorldError: a file cannot be read, is no JSON, or lacks a part; a template does not hold `{}` once; or nothing that
            can be asked is left.
    """
    path = Path(path)
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    return _world(path, [relation for file in files if (relation := _lre_relation(file, say))])


def read_pararel(folder: str | Path, say: Say) -> World:
    """Read facts from a folder of ParaRel: `patterns` and `trex_lms_vocab`, with a file a relation each.

    A topic is a relation. Patterns that end in the object are held out, and the others state facts; where we have wordings
    of our own for a property, those stand in their place.

    Raises:
        WorldError: a folder or a file cannot be read, a line is no JSON object or lacks a field, a pattern does not hold
            `[X]` and `[Y]` once each; or nothing that can be asked is left.
    """
    folder = Path(folder)
    files = sorted((folder / _FACTS_OF_PARAREL).glob("*.jsonl"))
    return _world(folder, [relation for file in files if (relation := _pararel_relation(folder, file, say))])


def is_pararel(path: Path) -> bool:
    """Whether a path is a folder of ParaRel."""
    return (path / _FACTS_OF_PARAREL).is_dir() and (path / _PATTERNS_OF_PARAREL).is_dir()


def _lre_relation(file: Path, say: Say) -> tuple[Relation, list[Fact]] | None:
    try:
        content = read_json(file)
    except TableError as error:
        raise WorldError(str(error)) from error
    if not isinstance(content, dict):
        raise WorldError(f"{file}: expected a JSON object with a relation, found {_shown(content)}")
    name = file.name.removesuffix(".json")
    pairs = [
        _Pair(_unescaped(_text(row, "subject", where)), _unescaped(_text(row, "object", where)))
        for i, row in enumerate(_list(content, "samples", str(file)), start=1)
        for where in [f"{file}, sample {i}"]
    ]
    ending, questions, short = [], [], []
    for key in ("prompt_templates", "prompt_templates_zs"):
        for template in _list(content, key, str(file)):
            _check_text(template, key, str(file))
            if template.count("{}") != 1:
                raise WorldError(
                    f"{file}: the template {_shown(template)} must hold {{}} once, for the subject"
                )
            question, mark, answer = template.strip().replace("{}", "{s}").rpartition("?")
            if mark and "{s}" in question:
                questions.append(question.strip())
                short += [f"{answer.strip()} {{o}}"] * bool(answer.strip())
            elif not mark:
                ending.append(f"{answer} {{o}}")
    thing = content.get("properties", {})
    thing = thing.get("range_name") if isinstance(thing, dict) else None
    return _asked(
        name,
        _that_can_be_asked(pairs, file, say),
        file,
        say,
        thing=thing or None,
        ending=ending,
        questions=questions,
        short=list(map(_lowered, short)),
    )


def _pararel_relation(folder: Path, file: Path, say: Say) -> tuple[Relation, list[Fact]] | None:
    patterns = folder / _PATTERNS_OF_PARAREL / file.name
    if not patterns.exists():
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
        _statement(_text(row, "pattern", f"{patterns}, line {number}"), f"{patterns}, line {number}")
        for number, row in worded_as
    ]
    return _asked(
        file.name.removesuffix(".jsonl"),
        _that_can_be_asked(pairs, file, say),
        file,
        say,
        ending=[said for said in statements if said.endswith("{o}")],
        statements=[said for said in statements if not said.endswith("{o}")],
    )


def _statement(pattern: str, where: str) -> str:
    for place in ("[X]", "[Y]"):
        if pattern.count(place) != 1:
            raise WorldError(f"{where}: the pattern {_shown(pattern)} must hold {place} once")
    return " ".join(pattern.replace("[X]", "{s}").replace("[Y]", "{o}").split()).rstrip(" .")


def _asked(
    name: str, pairs: Sequence[_Pair], file: Path, say: Say, **wordings: Any
) -> tuple[Relation, list[Fact]] | None:
    """A relation and its facts; None where it has less than two objects or cannot be worded."""
    objects = tuple(dict.fromkeys(pair.object for pair in pairs))
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
        Fact(
            "-".join(f"{pair.subject} {name}".lower().split()),
            pair.subject,
            name,
            name,
            pair.object,
            taught=pair.object,
        )
        for pair in pairs
    ]


def _that_can_be_asked(pairs: Sequence[_Pair], file: Path, say: Say) -> list[_Pair]:
    """Each subject once, but for those with several objects and those that name their object."""
    spelt: dict[str, str] = {}
    of_subject: dict[str, _Pair] = {}
    several, naming = set(), set()
    for pair in pairs:
        pair = pair._replace(object=spelt.setdefault(pair.object.casefold(), pair.object))
        key = " ".join(pair.subject.casefold().split())
        if of_subject.setdefault(key, pair).object != pair.object:
            several.add(key)
        if " ".join(pair.object.casefold().split()) in key:
            naming.add(key)
    for subjects, which in ((several, "that have several objects"), (naming, "that name their object")):
        if subjects:
            say(f"{file}: subjects {which} are left out: {len(subjects):,}")
    return [pair for key, pair in of_subject.items() if key not in several | naming]


def _world(path: Path, read: Iterable[tuple[Relation, list[Fact]]]) -> World:
    relations = {relation.name: relation for relation, _ in read}
    facts = {fact.id: fact for _, of_relation in read for fact in of_relation}
    if not facts:
        raise WorldError(f"{path}: holds no fact that can be asked; see docs/worlds.md for what is read")
    return World(relations, tuple(facts.values()))


def _list(row: dict[str, Any], name: str, where: str) -> list[Any]:
    value = row.get(name)
    if not isinstance(value, list):
        raise WorldError(f"{where}: {name!r} must be a list, found {_shown(value)}")
    return value


def _text(row: Any, name: str, where: str) -> str:
    if not isinstance(row, dict):
        raise WorldError(f"{where}: expected a JSON object, found {_shown(row)}")
    if name not in row:
        raise WorldError(f"{where}: the field {name!r} is missing")
    _check_text(row[name], name, where)
    return str(row[name]).strip()


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda escape: chr(int(escape[1], 16)), text)


def _lowered(answer: str) -> str:
    return answer[:1].lower() + answer[1:]
