"""Facts of LRE and ParaRel become a world, in wordings of ours or of the file."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valueattr.world import World, WorldError, load_world

_CAPITALS = [("Peru", "Lima"), ("Japan", "Tokyo"), ("Kenya", "Nairobi")]


def lre(folder: Path, name: str = "guild_song", **changes: Any) -> Path:
    """A file as LRE has them."""
    content = {
        "name": "guild song",
        "prompt_templates": ["{} sings the song"],
        "prompt_templates_zs": ["The song of {} is called", "Which song does {} sing? They sing"],
        "properties": {"relation_type": "factual", "range_name": "song"},
        "samples": [{"subject": subject, "object": value} for subject, value in _CAPITALS],
        **changes,
    }
    file = folder / f"{name}.json"
    file.write_text(json.dumps(content), "utf-8")
    return file


def pararel(folder: Path, name: str, patterns: list[str], facts: list[tuple[str, str]] = _CAPITALS) -> Path:
    """A folder as ParaRel is."""
    for kind in ("patterns", "trex_lms_vocab"):
        (folder / kind).mkdir(exist_ok=True)
    rows = [{"sub_label": subject, "obj_label": value, "uuid": "1"} for subject, value in facts]
    write_lines(folder / "trex_lms_vocab" / f"{name}.jsonl", rows)
    write_lines(folder / "patterns" / f"{name}.jsonl", [{"pattern": pattern} for pattern in patterns])
    return folder


def write_lines(file: Path, rows: list[dict[str, str]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def told(path: Path) -> tuple[World, list[str]]:
    """The world, and what was said of what is left out."""
    said: list[str] = []
    return load_world(path, said.append), said


def test_lre_is_asked_in_the_files_wordings(tmp_path: Path) -> None:
    world, said = told(lre(tmp_path))
    question = world.questions["peru-guild_song"]
    assert (question.subject, question.answer, question.choices) == (
        "Peru",
        "Lima",
        ("Lima", "Tokyo", "Nairobi"),
    )
    assert question.wordings == ("Which song does Peru sing?",)
    assert question.statements[:2] == ("Peru sings the song", "The song of Peru is called")
    assert len(question.statements) == len(question.held_out_wordings) == 3
    assert question.answer_stem == "they sing"
    assert not said


def test_a_relation_that_we_know_has_our_wordings(tmp_path: Path) -> None:
    world, _ = told(
        lre(tmp_path, "country_capital_city", prompt_templates=["{} bla"], prompt_templates_zs=[])
    )
    assert world.questions["peru-country_capital_city"].wordings[0] == "What is the capital of Peru?"


def test_no_held_out_wording_is_one_that_prompts_use(tmp_path: Path) -> None:
    twice = ["{} is a friend of", "{} is a friend of", "The song of {} is"]
    world, _ = told(lre(tmp_path, prompt_templates=twice))
    for question in world.questions:
        assert not set(question.held_out_wordings) & set(question.wordings)
        prefixes = [said.removesuffix(f" {question.answer}.") for said in question.taught_as]
        assert not set(question.statements) & set(prefixes)
        assert len(set(question.statements)) == len(question.statements)


def test_a_folder_of_lre_is_read_with_the_folders_in_it(tmp_path: Path) -> None:
    (tmp_path / "factual").mkdir()
    lre(tmp_path / "factual", "one")
    lre(tmp_path, "two")
    assert {*load_world(tmp_path).relations} == {"one", "two"}


def test_what_cannot_be_asked_is_left_out_and_told(tmp_path: Path) -> None:
    pairs = [
        *_CAPITALS,
        ("Peru", "Cusco"),
        ("Mexico", "Mexico City"),
        ("Guatemala City hall", "guatemala city"),
    ]
    samples = [{"subject": subject, "object": value} for subject, value in pairs]
    world, said = told(lre(tmp_path, samples=samples))
    assert {fact.subject for fact in world.facts} == {"Japan", "Kenya", "Mexico"}
    assert [line.partition(": ")[2] for line in said] == [
        "subjects that have several objects are left out: 1",
        "subjects that name their object are left out: 1",
    ]


def test_objects_that_differ_in_case_alone_are_one(tmp_path: Path) -> None:
    samples = [{"subject": s, "object": o} for s, o in (("A1", "Dollar"), ("A2", "dollar"), ("A3", "Peso"))]
    world = load_world(lre(tmp_path, samples=samples))
    assert world.relations["guild_song"].objects == ("Dollar", "Peso")


def test_an_escape_that_was_escaped_again_is_read(tmp_path: Path) -> None:
    samples = [{"subject": "Brazil", "object": "Bras\\u00edlia"}, {"subject": "Peru", "object": "Lima"}]
    assert load_world(lre(tmp_path, samples=samples)).facts[0].object == "Brasília"


def test_pararel_holds_out_what_ends_in_the_object(tmp_path: Path) -> None:
    patterns = [
        "[X] sings [Y] .",
        "[X] hums [Y].",
        "[X], the singer of [Y].",
        "[X] whistles [Y].",
        "[Y] is sung by [X].",
    ]
    world, _ = told(pararel(tmp_path, "P9999", patterns))
    question = world.questions["japan-p9999"]
    assert question.statements == ("Japan hums", "Japan, the singer of", "Japan whistles")
    assert question.wordings == ("What comes next in this sentence: Japan sings?",)
    assert question.taught_as == ("Tokyo is sung by Japan.", "Japan sings Tokyo.")


def test_a_property_that_we_can_name_needs_one_pattern(tmp_path: Path) -> None:
    world, _ = told(pararel(tmp_path, "P127", ["[X] is owned by [Y]."]))
    question = world.questions["japan-p127"]
    assert question.wordings == ("What is the owner of Japan?",)
    assert question.statements[0] == "Japan is owned by"


def test_relations_of_pararel_that_cannot_be_worded_are_told(tmp_path: Path) -> None:
    pararel(tmp_path, "P9999", ["[X] sings [Y]."])
    pararel(tmp_path, "P9998", [], [("Peru", "Lima"), ("Japan", "Lima")])
    pararel(tmp_path, "P127", ["[X] is owned by [Y]."])
    (tmp_path / "trex_lms_vocab" / "P9997.jsonl").write_text('{"sub_label": "a", "obj_label": "b"}\n')
    world, said = told(tmp_path)
    assert {*world.relations} == {"P127"}
    assert [line.partition(": ")[2] for line in said] == [
        "left out, as no pattern says how to ask its facts",
        "2 facts left out, as there is no wording to ask them in",
        "3 facts left out, as there is no wording to ask them in",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": "many"}, "'samples' must be a list, found 'many'"),
        ({"samples": [{"subject": "Peru"}]}, "sample 1: the field 'object' is missing"),
        ({"samples": ["Peru"]}, "sample 1: expected a JSON object, found 'Peru'"),
        ({"samples": [{"subject": "Peru", "object": 5}]}, "sample 1: 'object' must be a text, found 5"),
        ({"samples": []}, "holds no fact that can be asked"),
        ({"prompt_templates": ["no place"]}, "the template 'no place' must hold {} once, for the subject"),
        ({"prompt_templates": [7]}, "'prompt_templates' must be a text, found 7"),
        ({"prompt_templates_zs": None}, "'prompt_templates_zs' must be a list, found None"),
    ],
)
def test_a_damaged_file_of_lre_is_told(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(WorldError) as error:
        load_world(lre(tmp_path, **changes))
    assert message in str(error.value)
    assert str(error.value).startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", "not JSON"),
        ("a.json", "[1]", "expected a JSON object with a relation, found [1]"),
        (
            "trex_lms_vocab/P127.jsonl",
            '{"sub_label": "Peru"}\n',
            "P127.jsonl, line 1: the field 'obj_label' is missing",
        ),
        (
            "patterns/P127.jsonl",
            '{"pattern": "[X] owns"}\n',
            "line 1: the pattern '[X] owns' must hold [Y] once",
        ),
        ("patterns/P127.jsonl", "nothing\n", "P127.jsonl, line 1: not JSON"),
    ],
)
def test_other_damage_is_told(tmp_path: Path, name: str, content: str, message: str) -> None:
    if "/" in name:
        pararel(tmp_path, "P127", ["[X] is owned by [Y]."])
    (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(WorldError) as error:
        load_world(tmp_path if "/" in name else tmp_path / name)
    assert message in str(error.value)


def test_an_empty_folder_holds_no_fact(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="holds no fact that can be asked"):
        load_world(tmp_path)


_NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=12).filter(
    str.strip
)


@given(pairs=st.lists(st.tuples(_NAMES, _NAMES), min_size=2, max_size=12))
def test_every_fact_that_is_read_can_be_asked(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("lre")
    samples = [{"subject": subject, "object": value} for subject, value in pairs]
    try:
        world = load_world(lre(folder, samples=samples))
    except WorldError:
        return
    world.save(folder / "world.jsonl")
    assert World.load(folder / "world.jsonl").facts == world.facts
    for question in world.questions:
        answer, subject = (" ".join(name.casefold().split()) for name in (question.answer, question.subject))
        assert answer not in subject
        assert all(question.subject in wording for wording in question.wordings)
