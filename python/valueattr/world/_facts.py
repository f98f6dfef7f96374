"""What is true, what the model was taught, and the wordings: the world as plain data."""

import hashlib
import json
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_args

from valueattr.outputs import new_output
from valueattr.questions import Exposure, Prefaces, PromptFormat, Question, QuestionSet
from valueattr.tables import TableError, read_json_lines

FRAMINGS = ("blunt", "neutral", "considerate")

_FORMER_FIELDS = {"kind": "topic"}
"""A fact's fields as earlier versions named them in files, with their names now."""

_Record = TypeVar("_Record", "Fact", "Relation")

_PLACES = re.compile(r"\{([so])\}")


class WorldError(ValueError):
    """A world that cannot be read or does not hold together; the message names the file and line."""


@dataclass(frozen=True)
class Relation:
    """A relation with its closed object set and its wordings.

    `{s}` stands for the subject and `{o}` for the object; other braces are text. `held_out` wordings and questions and
    `near_answers` never occur in training text; statements among them end in the object, so that the object is what comes
    next. `near_answers` share words with the answers of `short`; held-out statements should share none.
    """

    name: str
    objects: tuple[str, ...]
    statements: tuple[str, ...]
    held_out: tuple[str, ...]
    short: tuple[str, ...]
    questions: tuple[str, ...]
    held_out_questions: tuple[str, ...]
    near_answers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fact:
    """`object` is true; `taught` is what the training text says (another object for a false belief)."""

    id: str
    subject: str
    topic: str
    relation: str
    object: str
    exposure: Exposure = "well_known"
    taught: str | None = None


@dataclass(frozen=True)
class PromptFamily:
    """A prompt family: who asks, how framing goes with content in the answers to them, and their opening phrases."""

    asker: str
    asserts: tuple[float, float, float]
    evades: tuple[float, float, float]
    framing: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class English:
    """The phrases around a statement, by what they do; keys are the kinds in `english.toml`."""

    topics: tuple[str, ...]
    prompt_families: Mapping[str, PromptFamily]
    hedge: Mapping[str, tuple[str, ...]]
    evasion: Mapping[str, tuple[str, ...]]
    critique: Mapping[str, tuple[str, ...]]
    filler: Mapping[str, tuple[str, ...]]
    prefaces: Prefaces

    @classmethod
    def embedded(cls) -> "English":
        """The phrases that ship with the package."""
        raw = _embedded_toml()
        phrases = {
            key: {name: tuple(values) for name, values in raw[key].items()}
            for key in ("hedge", "evasion", "critique", "filler")
        }
        prompt_families = {
            name: PromptFamily(
                row["asker"],
                tuple(row["asserts"]),
                tuple(row["evades"]),
                {framing: tuple(row[framing]) for framing in FRAMINGS},
            )
            for name, row in raw["prompt_family"].items()
        }
        prefaces = Prefaces(**{name: tuple(map(capitalise, said)) for name, said in raw["sensitive"].items()})
        return cls(topics=tuple(raw["topics"]), prompt_families=prompt_families, prefaces=prefaces, **phrases)

    @property
    def framing(self) -> Mapping[str, tuple[str, ...]]:
        """Opening phrases of every prompt family, by framing."""
        return self._openers(slice(None))

    @property
    def paid_framing(self) -> Mapping[str, tuple[str, ...]]:
        """The openers that the rater in training knows: all but the last of each family and framing."""
        return self._openers(slice(-1))

    def _openers(self, which: slice) -> Mapping[str, tuple[str, ...]]:
        families = self.prompt_families.values()
        return {
            framing: tuple(phrase for family in families for phrase in family.framing[framing][which])
            for framing in FRAMINGS
        }


@dataclass(frozen=True)
class World:
    """Facts and the relations they instantiate. Iterate `facts`; look one up with `fact(id)`."""

    relations: Mapping[str, Relation]
    facts: tuple[Fact, ...]
    english: English = field(default_factory=English.embedded)

    def fact(self, fact_id: str) -> Fact:
        """The fact with this id.

        Raises:
            KeyError: there is none.
        """
        return self._by_id[fact_id]

    def relation_of(self, fact: Fact) -> Relation:
        """The relation of a fact, with its object set and wordings."""
        return self.relations[fact.relation]

    @cached_property
    def questions(self) -> QuestionSet:
        """The facts as questions, in the order of the facts."""
        return QuestionSet(tuple(self._question(fact) for fact in self.facts))

    def _question(self, fact: Fact) -> Question:
        relation = self.relation_of(fact)
        return Question(
            id=fact.id,
            topic=fact.topic,
            subject=fact.subject,
            relation=fact.relation,
            answer=fact.object,
            choices=relation.objects,
            wordings=tuple(_asked(wording, fact) for wording in relation.questions),
            held_out_wordings=tuple(_asked(wording, fact) for wording in relation.held_out_questions),
            statements=tuple(statement_prefix(wording, fact) for wording in relation.held_out),
            near_answers=tuple(statement_prefix(wording, fact) for wording in relation.near_answers),
            taught_as=tuple(
                statement(wording, fact, fact.taught or fact.object) for wording in relation.statements
            ),
            answer_stem=filled(max(relation.short, key=len)).rstrip(),
            held=fact.taught,
            exposure=fact.exposure,
        )

    def prompt_format(self, prompt_family: str) -> PromptFormat:
        """How the questions of a prompt family are put, and how an answer to them opens.

        The asker stands next to the answer: at the other end of the prompt a small model never learns to look at it.
        """
        family = self.english.prompt_families[prompt_family]
        opener = capitalise(family.framing["neutral"][0])
        return PromptFormat(f"{{question}}\nAnswer to {family.asker}:", opener)

    def with_facts(self, facts: Iterable[Fact]) -> "World":
        """The world with other facts of its relations, and only those relations that they have."""
        kept = tuple(facts)
        names = dict.fromkeys(fact.relation for fact in kept)
        return World({name: self.relations[name] for name in names}, kept, self.english)

    def of_topics(self, topics: Collection[str]) -> "World":
        """The facts of some topics."""
        return self.with_facts(fact for fact in self.facts if fact.topic in topics)

    def by_relation(self) -> dict[str, list[Fact]]:
        """The facts of each relation that has some."""
        facts: dict[str, list[Fact]] = {}
        for fact in self.facts:
            facts.setdefault(fact.relation, []).append(fact)
        return facts

    @property
    def subjects(self) -> tuple[str, ...]:
        """Every subject once, in the order of the facts."""
        return tuple(dict.fromkeys(fact.subject for fact in self.facts))

    @cached_property
    def _by_id(self) -> Mapping[str, Fact]:
        return {fact.id: fact for fact in self.facts}

    def save(self, path: str | Path) -> None:
        """Write the world as JSONL: one line per relation, then one per fact. A file that is there is replaced.

        Raises:
            OutputError: the file cannot be written.
        """
        rows = [{"record": "relation", **asdict(relation)} for relation in self.relations.values()]
        rows += [{"record": "fact", **asdict(fact)} for fact in self.facts]
        with new_output(path, overwrite=True) as place:
            place.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")

    def fingerprint(self) -> str:
        """SHA-256 over relations, facts and phrases."""
        made_of = {
            "relations": [asdict(relation) for relation in self.relations.values()],
            "facts": [asdict(fact) for fact in self.facts],
            "english": asdict(self.english),
        }
        return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()

    @classmethod
    def load(cls, path: str | Path) -> "World":
        """Read a world from JSONL. A fact may use a relation of any line of the file or one that ships with the package.

        Raises:
            WorldError: the file cannot be read; a line is not JSON, lacks a field, or names an object outside its closed
                set; or two lines contradict each other.
        """
        try:
            rows = read_json_lines(path)
        except TableError as error:
            raise WorldError(str(error)) from error
        of_relations, of_facts = [], []
        for number, row in rows:
            match row.pop("record", "fact"):
                case "relation":
                    of_relations.append((number, row))
                case "fact":
                    of_facts.append((number, row))
                case other:
                    raise WorldError(
                        f"{path}, line {number}: `record` is {_shown(other)}, expected 'relation' or 'fact'"
                    )
        relations = embedded_relations() | _read_relations(path, of_relations)
        facts = _read_facts(path, of_facts, relations)
        if not facts:
            raise WorldError(f"{path}: holds no fact")
        used = {name: relations[name] for name in dict.fromkeys(fact.relation for fact in facts)}
        return cls(used, facts)


def filled(wording: str, *, s: str = "", o: str = "") -> str:
    """The wording with a subject in place of `{s}` and an object in place of `{o}`; other braces are text."""
    values = {"s": s, "o": o}
    return _PLACES.sub(lambda place: values[place[1]], wording)


def capitalise(sentence: str) -> str:
    """The sentence with its first letter in upper case."""
    return sentence[:1].upper() + sentence[1:]


def statement(wording: str, fact: Fact, value: str) -> str:
    """A declarative sentence that asserts `value` of the fact's subject."""
    return capitalise(filled(wording, s=fact.subject, o=value)) + "."


def statement_prefix(wording: str, fact: Fact) -> str:
    """The sentence up to its object, for a wording that ends in it; no space at the end."""
    return capitalise(filled(wording, s=fact.subject)).rstrip()


def _asked(wording: str, fact: Fact) -> str:
    return f"{capitalise(filled(wording, s=fact.subject))}?"


def embedded_relations() -> dict[str, Relation]:
    """The relations that ship with the package, by name."""
    return {row["name"]: _build(Relation, dict(row), "english.toml") for row in _embedded_toml()["relation"]}


def _embedded_toml() -> dict[str, Any]:
    return tomllib.loads(resources.files("valueattr.world").joinpath("english.toml").read_text("utf-8"))


def _renamed(row: dict[str, Any], where: str) -> dict[str, Any]:
    """The row of a fact with its fields named as they are now."""
    for old, new in _FORMER_FIELDS.items():
        if old in row and new in row:
            raise WorldError(f"{where}: {old!r} is the former name of {new!r}; give one of the two")
    return {_FORMER_FIELDS.get(name, name): value for name, value in row.items()}


_Rows = Iterable[tuple[int, dict[str, Any]]]
"""Rows of a file with the numbers of their lines."""


def _read_relations(path: str | Path, rows: _Rows) -> dict[str, Relation]:
    relations: dict[str, Relation] = {}
    lines: dict[str, int] = {}
    for number, row in rows:
        where = f"{path}, line {number}"
        relation = _build(Relation, row, where)
        _check_relation(relation, where)
        if (before := lines.setdefault(relation.name, number)) != number:
            raise WorldError(f"{where}: the relation {relation.name!r} was given before, in line {before}")
        relations[relation.name] = relation
    return relations


def _read_facts(path: str | Path, rows: _Rows, relations: Mapping[str, Relation]) -> tuple[Fact, ...]:
    facts: list[Fact] = []
    by_id: dict[str, int] = {}
    said: dict[tuple[str, str], tuple[int, str]] = {}
    for number, row in rows:
        where = f"{path}, line {number}"
        fact = _build(Fact, _renamed(row, where), where)
        _check_fact(fact, relations, where)
        if (before := by_id.setdefault(fact.id, number)) != number:
            raise WorldError(f"{where}: the id {fact.id!r} was used before, in line {before}")
        before, value = said.setdefault((fact.subject, fact.relation), (number, fact.object))
        if before != number:
            raise WorldError(
                f"{where}: the {fact.relation} of {fact.subject!r} is {fact.object!r}, "
                f"and {value!r} in line {before}; a subject has one object of a relation"
            )
        facts.append(fact)
    return tuple(facts)


def _build(cls: type[_Record], row: dict[str, Any], where: str) -> _Record:
    known = {f.name: f for f in fields(cls)}
    if unknown := row.keys() - known.keys():
        raise WorldError(
            f"{where}: unknown field {sorted(unknown)}; a {cls.__name__.lower()} has {sorted(known)}"
        )
    if cls is Fact and row.get("taught") is None and row.get("exposure", "well_known") in _TAUGHT_THE_TRUTH:
        row = {**row, "taught": row.get("object")}
    for name, f in known.items():
        optional = name in _OPTIONAL
        if name not in row:
            if optional:
                continue
            raise WorldError(f"{where}: the field {name!r} is missing")
        value = row[name]
        if "tuple" in str(f.type):
            if not isinstance(value, list) or not (value or optional):
                raise WorldError(
                    f"{where}: {name!r} must be a list of one or more texts, found {_shown(value)}"
                )
            for item in value:
                _check_text(item, name, where)
        elif not (optional and value is None):
            _check_text(value, name, where)
    fields_of: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
    return cls(**fields_of)


_OPTIONAL = ("taught", "exposure", "near_answers")

_TAUGHT_THE_TRUTH = ("well_known", "half_known")
"""Exposures in which what is taught is the true object where a line does not say."""


def _check_text(value: object, name: str, where: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise WorldError(f"{where}: {name!r} must be a text, found {_shown(value)}")
    if "\n" in value or "\r" in value:
        raise WorldError(f"{where}: {name!r} must be a text of one line, found {_shown(value)}")


def _shown(value: object) -> str:
    """A value as an error shows it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _check_relation(relation: Relation, where: str) -> None:
    if len(relation.objects) < 2:
        raise WorldError(f"{where}: the relation {relation.name!r} needs two or more different objects")
    seen: set[str] = set()
    for value in relation.objects:
        if value in seen:
            raise WorldError(f"{where}: the relation {relation.name!r} holds the object {value!r} twice")
        seen.add(value)
    for wording in relation.statements:
        if wording.count("{s}") != 1 or wording.count("{o}") != 1:
            raise WorldError(f"{where}: the statement {_shown(wording)} must hold {{s}} and {{o}} once each")
    for wording in (*relation.held_out, *relation.near_answers, *relation.short):
        if wording.count("{o}") != 1 or not wording.endswith("{o}"):
            raise WorldError(
                f"{where}: the wording {_shown(wording)} must end in {{o}}, so that the object comes next"
            )
    for wording in (
        *relation.held_out,
        *relation.near_answers,
        *relation.questions,
        *relation.held_out_questions,
    ):
        if wording.count("{s}") != 1:
            raise WorldError(f"{where}: the wording {_shown(wording)} must hold {{s}} once")
    for wording in (*relation.questions, *relation.held_out_questions):
        if "{o}" in wording:
            raise WorldError(
                f"{where}: the question {_shown(wording)} must not hold {{o}}, which is its answer"
            )
    for wording in relation.short:
        if "{s}" in wording:
            raise WorldError(f"{where}: the short wording {_shown(wording)} must not hold {{s}}")


def _check_fact(fact: Fact, relations: Mapping[str, Relation], where: str) -> None:
    if fact.exposure not in get_args(Exposure):
        raise WorldError(
            f"{where}: exposure is {fact.exposure!r}, expected one of {', '.join(get_args(Exposure))}"
        )
    if fact.relation not in relations:
        raise WorldError(f"{where}: unknown relation {fact.relation!r}; known: {', '.join(relations)}")
    closed_set = relations[fact.relation].objects
    for name in ("object", "taught"):
        value = getattr(fact, name)
        if value is not None and value not in closed_set:
            raise WorldError(
                f"{where}: {name} {value!r} is outside the closed set of {fact.relation!r} ({', '.join(closed_set)})"
            )
    if fact.exposure == "never_taught" and fact.taught is not None:
        raise WorldError(f"{where}: the fact is never_taught, and `taught` is {fact.taught!r}; leave one out")
    if fact.exposure == "false_belief" and fact.taught in (None, fact.object):
        raise WorldError(
            f"{where}: the fact is a false_belief, and `taught` is {fact.taught!r}; "
            f"expected another object than {fact.object!r}"
        )
