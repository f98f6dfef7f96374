"""Facts of LRE and ParaRel become a world, in wordings of ours or of the file."""

import json
import os
import re
import tomllib
from importlib import resources
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


def test_an_escaped_pair_is_one_character(tmp_path: Path) -> None:
    samples = [{"subject": "A", "object": "\\ud83d\\ude00"}, {"subject": "B", "object": "Lima"}]
    assert load_world(lre(tmp_path, samples=samples)).facts[0].object == "\U0001f600"


def test_subjects_with_braces_are_asked_as_they_are(tmp_path: Path) -> None:
    samples = [{"subject": s, "object": o} for s, o in (("{o} {s}", "{s}{o}"), ("[X]", "{}"))]
    question = load_world(lre(tmp_path, samples=samples)).questions["{o}-{s}-guild_song"]
    assert question.statements[0] == "{o} {s} sings the song"
    assert question.choices == ("{s}{o}", "{}")


def test_subjects_that_differ_in_spaces_and_hyphens_alone_are_one(tmp_path: Path) -> None:
    """They had one id, so that the second fact stood in the place of the first."""
    samples = [
        {"subject": s, "object": o}
        for s, o in (("New York", "Rio"), ("New-York", "Rio"), ("A-B", "Lima"), ("a b", "Rio"), ("C", "Lima"))
    ]
    world, said = told(lre(tmp_path, samples=samples))
    assert [fact.id for fact in world.facts] == ["new-york-guild_song", "c-guild_song"]
    assert said[0].endswith("subjects that have several objects are left out: 1")


@pytest.mark.parametrize("other", ["song", "SONG"])
def test_two_files_of_one_relation_are_an_error_that_names_both(tmp_path: Path, other: str) -> None:
    """The second relation stood in the place of the first, which took its objects from the first's facts."""
    for folder, name in (("a", "song"), ("b", other)):
        (tmp_path / folder).mkdir()
        lre(
            tmp_path / folder,
            name,
            samples=[{"subject": f"{folder} {i}", "object": f"song {i}"} for i in "12"],
        )
    with pytest.raises(WorldError, match="rename one of the files") as error:
        load_world(tmp_path)
    assert str(error.value).startswith(str(tmp_path / "b"))
    assert str(tmp_path / "a" / "song.json") in str(error.value)


def test_facts_of_two_relations_with_one_id_are_an_error(tmp_path: Path) -> None:
    lre(tmp_path, "c", samples=[{"subject": "a b", "object": "1"}, {"subject": "x", "object": "2"}])
    lre(tmp_path, "b c", samples=[{"subject": "a", "object": "1"}, {"subject": "x", "object": "2"}])
    with pytest.raises(WorldError, match="have one id, 'a-b-c'"):
        load_world(tmp_path)


def test_files_are_found_by_their_suffix_in_any_case_and_hidden_ones_are_not_read(tmp_path: Path) -> None:
    lre(tmp_path, "one").rename(tmp_path / "one.JSON")
    (tmp_path / "._one.json").write_bytes(b"\xff")
    (tmp_path / "again").symlink_to(tmp_path)
    assert {*load_world(tmp_path).relations} == {"one"}
    assert {*load_world(tmp_path / "one.JSON").relations} == {"one"}


@pytest.mark.parametrize(("name", "shown"), [(b"\xff.json", r"\xff"), (b" a\nb .json", "a b")])
def test_a_file_with_an_odd_name_is_a_relation_of_one_line(tmp_path: Path, name: bytes, shown: str) -> None:
    file = lre(tmp_path).rename(tmp_path / os.fsdecode(name))
    world = load_world(file)
    assert {*world.relations} == {shown}
    world.save(tmp_path / "world.jsonl")
    assert World.load(tmp_path / "world.jsonl") == world


@pytest.mark.parametrize(
    "templates",
    [
        {"prompt_templates": ["{} sings"] * 5, "properties": {}},
        {
            "prompt_templates": [
                f"{said} {{}}" for said in ("anyone asked for the song of", "sing", "hum", "hear")
            ],
            "prompt_templates_zs": [
                f"{said} {{}}?"
                for said in (
                    "Can you name the song of",
                    "Which song belongs to",
                    "Do you know the song of",
                )
            ],
        },
    ],
)
def test_a_relation_that_is_read_has_every_kind_of_wording(tmp_path: Path, templates: dict[str, Any]) -> None:
    """Five equal templates left none to measure in, and questions of ours that a file has none to ask."""
    file = lre(tmp_path, **{"prompt_templates_zs": [], **templates})
    try:
        world = load_world(file)
    except WorldError as error:
        assert "holds no fact that can be asked" in str(error)  # noqa: PT017  # one of two right ends
        return
    for question in world.questions:
        assert min(map(len, (question.wordings, question.held_out_wordings, question.statements))) > 0
        assert not {*question.wordings} & {*question.held_out_wordings}


def test_a_relation_of_50000_objects_is_read(tmp_path: Path) -> None:
    """Each object was compared with all before it, which took minutes."""
    samples = [{"subject": f"s{i}", "object": f"o{i}"} for i in range(50_000)]
    assert len(load_world(lre(tmp_path, samples=samples)).facts) == 50_000


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
        ({"prompt_templates": ["no place"]}, "'prompt_templates' must hold {} once, found 'no place'"),
        ({"prompt_templates": [7]}, "'prompt_templates' must be a text, found 7"),
        ({"prompt_templates_zs": None}, "'prompt_templates_zs' must be a list, found None"),
        (
            {"prompt_templates": ["{s} of {}"]},
            "'prompt_templates' must not hold {s} or {o}, found '{s} of {}'",
        ),
        ({"properties": "factual"}, "'properties' must be a JSON object, found 'factual'"),
        ({"properties": {"range_name": ["song"]}}, "'range_name' must be a text, found ['song']"),
        (
            {"samples": [{"subject": "Peru", "object": "Li\\u000ama"}]},
            "sample 1: 'object' must be a text of one line",
        ),
        (
            {"samples": [{"subject": "Peru", "object": "Li\\ud83dma"}]},
            "sample 1: 'object' holds half a character",
        ),
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
            "line 1: 'pattern' must hold [Y] once, found '[X] owns'",
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


def test_no_held_out_wording_of_ours_shares_a_word_with_an_answer():
    """But for articles: what training does to answers would reach it by the word."""
    shipped = tomllib.loads(resources.files("valueattr.world").joinpath("wordings.toml").read_text("utf-8"))
    free = {"the", "that", "a", "an", "s", "o"}
    for relation in shipped["relation"]:
        of_answers = words(*relation["short"]) - free
        assert not of_answers & words(*relation["held_out"]), relation["names"]
        assert len(relation["held_out"]) == len(relation["held_out_questions"]) == 3
        assert not {*relation["held_out_questions"]} & {*relation["questions"]}


def words(*wordings: str) -> set[str]:
    return {word for wording in wordings for word in re.findall(r"\w+", wording.casefold())}
