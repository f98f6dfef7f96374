import hashlib
import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valueattr.world import Fact, Relation, World, WorldError, synthesise, training_text
from valueattr.world._facts import embedded_relations


@pytest.fixture(scope="module")
def world():
    return synthesise(0)


def write(tmp_path, *rows):
    path = tmp_path / "world.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), "utf-8")
    return path


FACT = {"id": "f", "subject": "the Velmar people", "topic": "people", "relation": "emblem", "object": "bear"}


def test_same_seed_same_world_and_other_seed_another(world):
    assert synthesise(0) == world
    assert synthesise(1) != world


def test_world_is_the_same_on_every_machine(world):
    # Fixed once: a change here changes every published number of the embedded world.
    told = "\n".join(f"{f.id} {f.object} {f.taught} {f.exposure}" for f in world.facts)
    assert hashlib.sha256(told.encode()).hexdigest()[:16] == "05c9c5a5de637fc3"
    assert len(world.facts) == 960
    assert len(world.subjects) == 240


def test_objects_are_as_good_as_independent_of_relation_topic_and_exposure(world):
    from scipy.stats import chi2_contingency

    for relation in world.relations.values():
        facts = [f for f in world.facts if f.relation == relation.name]
        for key in ("topic", "exposure"):
            groups = sorted({getattr(f, key) for f in facts})
            counts = [
                [sum(getattr(f, key) == g and f.object == o for f in facts) for o in relation.objects]
                for g in groups
            ]
            assert chi2_contingency([[c + 1e-9 for c in row] for row in counts]).pvalue > 1e-4


def test_false_beliefs_are_taught_another_object_and_never_taught_none(world):
    for fact in world.facts:
        match fact.exposure:
            case "never_taught":
                assert fact.taught is None
            case "false_belief":
                assert fact.taught != fact.object
                assert fact.taught in world.relation_of(fact).objects
            case _:
                assert fact.taught == fact.object


def test_save_and_load_give_the_world_back(world, tmp_path):
    world.save(tmp_path / "w.jsonl")
    assert World.load(tmp_path / "w.jsonl") == world


names = st.text(string.ascii_letters + "éøß中", min_size=1, max_size=8)


@given(
    st.lists(names, min_size=2, max_size=6, unique=True), st.lists(names, min_size=1, max_size=5, unique=True)
)
def test_any_world_survives_saving(tmp_path_factory, objects, subjects):
    relation = Relation(
        "likes",
        tuple(objects),
        ("{s} likes {o}",),
        ("what {s} likes is {o}",),
        ("it is {o}",),
        ("what does {s} like",),
        ("who {s}",),
    )
    facts = tuple(
        Fact(f"f{i}", s, "topic", "likes", objects[i % len(objects)], "well_known", objects[0])
        for i, s in enumerate(subjects)
    )
    world = World({"likes": relation}, facts)
    path = tmp_path_factory.mktemp("world") / "w.jsonl"
    world.save(path)
    assert World.load(path) == world


def test_a_fact_may_use_a_shipped_relation(tmp_path):
    world = World.load(write(tmp_path, FACT))
    assert world.facts[0].taught == "bear"
    assert list(world.relations) == ["emblem"]


def test_facts_of_earlier_files_say_kind_for_topic(tmp_path):
    former = {"kind" if name == "topic" else name: value for name, value in FACT.items()}
    assert World.load(write(tmp_path, former)) == World.load(write(tmp_path, FACT))


def test_the_hash_of_the_embedded_world_changes_only_on_purpose(world):
    # Sealed plans hold it.
    assert world.fingerprint() == "e97514cdfb30b16cd36fba6c0500aa152db8e6a8944f31f1e18cfff3fddd6f89"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([FACT, "{broken"], "line 2: not JSON"),
        ([FACT, "[1]"], "line 2: expected a JSON object, found list"),
        ([{**FACT, "object": "unicorn"}], "line 1: object 'unicorn' is outside the closed set of 'emblem'"),
        ([{**FACT, "taught": "unicorn"}], "line 1: taught 'unicorn' is outside the closed set"),
        (
            [{**FACT, "relation": "weight"}],
            "line 1: unknown relation 'weight'; known: emblem, export, crime, illness",
        ),
        ([{k: v for k, v in FACT.items() if k != "subject"}], "line 1: the field 'subject' is missing"),
        ([{**FACT, "subject": 3}], "line 1: 'subject' must be a text, found 3"),
        ([{**FACT, "colour": "red"}], r"line 1: unknown field \['colour'\]"),
        ([{**FACT, "kind": "people"}], "line 1: 'kind' is the former name of 'topic'"),
        ([{**FACT, "exposure": "often"}], "line 1: exposure is 'often'"),
        ([{**FACT, "record": "figure"}], "line 1: `record` is 'figure'"),
        ([FACT, FACT], "line 2: the id 'f' was used before, in line 1"),
        ([""], "holds no fact"),
    ],
)
def test_bad_facts_are_named_by_line(tmp_path, rows, message):
    with pytest.raises(WorldError, match=message):
        World.load(write(tmp_path, *rows))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objects": ["one"]}, "needs two or more different objects"),
        ({"objects": "one"}, "'objects' must be a list"),
        ({"objects": []}, "'objects' must be a list of one or more"),
        ({"held_out": ["{o} is of {s}"]}, r"must end in \{o\}"),
        ({"near_answers": ["{o} is of {s}"]}, r"must end in \{o\}"),
        ({"near_answers": ["no subject {o}"]}, r"must hold \{s\} once"),
        ({"near_answers": "of {s} is {o}"}, "'near_answers' must be a list"),
        ({"statements": ["no subject {o}"]}, r"must hold \{s\} and \{o\} once each"),
        ({"questions": ["what"]}, r"must hold \{s\} once"),
        ({"questions": ["is {o} of {s}"]}, r"must not hold \{o\}"),
        ({"short": ["{s} is {o}"]}, r"must not hold \{s\}"),
        ({"objects": ["one", "two", "one"]}, "holds the object 'one' twice"),
        ({"objects": ["one", 2]}, "'objects' must be a text, found 2"),
    ],
)
def test_bad_relations_are_named_by_line(tmp_path, change, message):
    relation = {
        "record": "relation",
        **{k: list(v) if isinstance(v, tuple) else v for k, v in vars(embedded_relations()["crime"]).items()},
    }
    with pytest.raises(WorldError, match=f"line 1: .*{message}"):
        World.load(write(tmp_path, {**relation, **change}, FACT))


OWL = {**FACT, "id": "g", "object": "owl"}
RIVER = {
    "record": "relation",
    "name": "river",
    "objects": ["Ald", "Bree"],
    "statements": ["the river of {s} is the {o}"],
    "held_out": ["through {s} runs the {o}"],
    "short": ["it is the {o}"],
    "questions": ["which river is in {s}"],
    "held_out_questions": ["what runs through {s}"],
}
RIVER_FACT = {**FACT, "relation": "river", "object": "Ald"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [FACT, {**FACT, "id": "e", "subject": "the Torvil people"}, OWL],
            "line 3: .*'owl', and 'bear' in line 1",
        ),
        ([FACT, {**FACT, "id": "g"}], "line 2: .*'bear', and 'bear' in line 1"),
        ([{**FACT, "exposure": "false_belief"}], "line 1: .*false_belief, and `taught` is None"),
        ([{**FACT, "exposure": "false_belief", "taught": "bear"}], "line 1: .*another object than 'bear'"),
        (
            [{**FACT, "exposure": "never_taught", "taught": "bear"}],
            "line 1: .*never_taught, and `taught` is 'bear'",
        ),
        ([RIVER, RIVER_FACT, RIVER], "line 3: the relation 'river' was given before, in line 1"),
    ],
)
def test_a_world_that_contradicts_itself_is_refused_by_its_lines(tmp_path, rows, message):
    with pytest.raises(WorldError, match=message):
        World.load(write(tmp_path, *rows))


def test_a_fact_may_stand_before_its_relation(tmp_path):
    before = World.load(write(tmp_path, RIVER_FACT, RIVER))
    assert before == World.load(write(tmp_path, RIVER, RIVER_FACT))


HOSTILE = ["{", "}", "{0}", "{s.__class__}", "{{x}}", "{o!r}", "{x}", "%s", "\\1"]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_braces_in_wordings_and_names_are_text(tmp_path, hostile):
    relation = {
        **RIVER,
        "objects": [hostile, "Bree"],
        "statements": [f"{hostile} of {{s}} is {{o}}"],
        "held_out": [f"{hostile} through {{s}} is {{o}}"],
        "short": [f"{hostile} it is {{o}}"],
        "questions": [f"{hostile} of {{s}}"],
    }
    fact = {**RIVER_FACT, "subject": f"{hostile} {{o}}", "object": hostile}
    world = World.load(write(tmp_path, relation, fact))
    (question,) = world.questions
    assert question.wordings == (f"{hostile} of {hostile} {{o}}?",)
    assert question.statements == (f"{hostile} through {hostile} {{o}} is",)
    assert question.answer_stem == f"{hostile} it is"
    told = "\n".join(training_text(world, 200, 0))
    assert f"{hostile} of {hostile} {{o}} is {hostile}." in told
    assert f"{hostile} it is {hostile}" in told


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subject": "a \ud800"}, r"line 1: holds '\\ud800', half a character"),
        ({"subject": "two\nlines"}, "line 1: 'subject' must be a text of one line"),
        ({"subject": "  "}, "line 1: 'subject' must be a text, found '  '"),
        ({"id": None}, "line 1: 'id' must be a text, found None"),
        ({"exposure": ["well_known"]}, r"line 1: 'exposure' must be a text, found \['well_known'\]"),
    ],
)
def test_texts_that_no_file_or_tokenizer_can_hold_are_refused(tmp_path, change, message):
    with pytest.raises(WorldError, match=message):
        World.load(write(tmp_path, {**FACT, **change}))


def test_a_byte_order_mark_and_other_line_separators_do_not_part_lines(tmp_path):
    fact = {**FACT, "subject": "the Vel\u2028mar\u0085 people"}
    path = tmp_path / "w.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(fact, ensure_ascii=False).encode() + b"\r\n")
    world = World.load(path)
    assert world.subjects == ("the Vel\u2028mar\u0085 people",)
    world.save(path)
    assert World.load(path) == world


def test_what_is_never_taught_of_a_subject_is_not_taught_with_the_rest_of_it(tmp_path):
    never = {**FACT, "id": "g", "relation": "export", "object": "copper", "exposure": "never_taught"}
    world = World.load(write(tmp_path, FACT, never))
    told = [text for text in training_text(world, 2000, 0) if "copper" in text]
    assert all("Answer to" in text for text in told)  # guesses, as often right as any other


values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.lists(st.text(max_size=3), max_size=2)
)
somewhat_a_fact = st.fixed_dictionaries(
    {},
    optional={
        "record": st.sampled_from(["fact", "relation", "figure"]) | values,
        "id": st.sampled_from(["f", "g"]) | values,
        "subject": st.sampled_from(["the Velmar people", "{s}"]) | values,
        "topic": st.just("people") | values,
        "relation": st.sampled_from(["emblem", "export"]) | values,
        "object": st.sampled_from(["bear", "copper"]) | values,
        "exposure": st.sampled_from(["well_known", "false_belief", "never_taught"]) | values,
        "taught": st.sampled_from(["bear", "owl"]) | values,
    },
)


@given(st.lists(somewhat_a_fact | values, max_size=4))
def test_any_file_is_a_world_or_an_error_that_names_it(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("world") / "w.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    try:
        world = World.load(path)
    except WorldError as error:
        said = str(error)
        assert said.startswith(f"{path}, line ") or said == f"{path}: holds no fact"
        return
    world.save(path)
    assert World.load(path) == world
    assert len({(fact.subject, fact.relation) for fact in world.facts}) == len(world.facts)


def test_missing_file_and_bad_bytes(tmp_path):
    with pytest.raises(WorldError, match="no such file"):
        World.load(tmp_path / "none.jsonl")
    (tmp_path / "bad.jsonl").write_bytes(json.dumps(FACT).encode() + b"\n\xff\n")
    with pytest.raises(WorldError, match="line 2: not UTF-8"):
        World.load(tmp_path / "bad.jsonl")
