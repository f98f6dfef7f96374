import csv
import io
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valueattr.world import World, WorldError, load_world
from valueattr.world._csv import world_from_csv
from valueattr.world._facts import embedded_relations

CAPITALS = """\
subject,relation,object,template,question
France,capital,Paris,The capital of {s} is {o},What is the capital of {s}
Japan,capital,Tokyo,The government of {s} sits in {o},
"""
ONE_TEMPLATE = (
    "subject,relation,object,template\nFrance,birth_place,Paris,{s} is from {o}\nJapan,birth_place,Tokyo,\n"
)
EMBLEMS = "subject,relation,object\nthe Velmar people,emblem,bear\nthe Torvil people,emblem,owl\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "facts.csv"


def read(path, text):
    path.write_text(text, "utf-8", newline="")
    return world_from_csv(path)


def only_relation(world):
    (relation,) = world.relations.values()
    return relation


def test_facts_and_wordings_are_those_of_the_rows(path):
    world = read(path, CAPITALS)
    france, japan = world.questions
    assert (france.id, france.topic, france.subject, france.relation) == (
        "france-capital",
        "capital",
        "France",
        "capital",
    )
    assert (france.answer, france.held, france.exposure) == ("Paris", "Paris", "well_known")
    assert france.choices == ("Paris", "Tokyo")
    assert france.wordings == ("What is the capital of France?",)
    assert france.held_out_wordings == ("Can you name the capital of France?",)
    assert france.taught_as == ("The capital of France is Paris.",)
    assert france.statements == ("The government of France sits in",)
    assert france.answer_stem == "it is"
    assert japan.wordings == ("What is the capital of Japan?",)


def test_topic_and_id_may_be_given(path):
    world = read(path, "id,topic,subject,relation,object\nf1,people,Velmar,emblem,bear\n")
    assert [(fact.id, fact.topic) for fact in world.facts] == [("f1", "people")]


def test_one_template_is_taught_and_a_plain_one_is_held_out(path):
    world = read(path, ONE_TEMPLATE)
    question = world.questions["france-birth_place"]
    assert question.taught_as == ("France is from Paris.",)
    assert question.statements == ("Anyone asked for the birth place of France should answer",)
    assert question.wordings == ("What is the birth place of France?",)


def test_a_plain_statement_is_held_out_where_no_template_ends_in_the_object(path):
    relation = only_relation(read(path, ONE_TEMPLATE.replace("{s} is from {o}", "{o} is where {s} is from")))
    assert relation.statements == ("{o} is where {s} is from",)
    assert relation.held_out == ("anyone asked for the birth place of {s} should answer {o}",)


def test_of_templates_that_end_in_the_object_the_one_that_comes_last_is_held_out(path):
    templates = ("{s} has {o}", "{s} likes {o}", "{o} is liked by {s}", "{s} has {o}")
    rows = "".join(f"s,likes,x,{template}\n" for template in templates)
    relation = only_relation(read(path, f"subject,relation,object,template\n{rows}t,likes,y,\n"))
    assert relation.held_out == ("{s} likes {o}",)
    assert relation.statements == ("{s} has {o}", "{o} is liked by {s}")


def test_wordings_that_differ_in_their_first_letter_or_last_mark_are_the_same(path):
    rows = "a,r,x,the r of {s} is {o},what is {s}?\nb,r,y,The r of {s} is {o}.,What is {s}\n"
    relation = only_relation(read(path, f"subject,relation,object,template,question\n{rows}"))
    assert relation.statements == ("The r of {s} is {o}",)
    assert relation.questions == ("What is {s}",)


def test_a_relation_that_ships_keeps_its_closed_set_and_wordings(path):
    world = read(path, EMBLEMS)
    assert world.relations == {"emblem": embedded_relations()["emblem"]}
    assert [fact.object for fact in world.facts] == ["bear", "owl"]


def test_a_relation_that_ships_may_be_asked_for_in_other_words(path):
    relation = only_relation(
        read(path, "subject,relation,object,question\nVelmar,emblem,bear,Who is {s}\nTorvil,emblem,owl,\n")
    )
    assert relation.questions == ("Who is {s}",)
    assert relation.statements == embedded_relations()["emblem"].statements


def test_a_template_makes_a_relation_that_ships_one_of_the_rows_own(path):
    text = "subject,relation,object,template\nVelmar,emblem,unicorn,{s} bears the {o}\nTorvil,emblem,owl,\n"
    assert only_relation(read(path, text)).objects == ("unicorn", "owl")


def test_rows_of_one_fact_are_one_fact(path):
    row = "France,capital,Paris"
    text = f"{CAPITALS}{row},The capital that {{s}} has is {{o}},\n{row},,\n"
    assert [fact.subject for fact in read(path, text).facts] == ["France", "Japan"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_sheet_is_read_as_spreadsheet_programs_save_it(path, encoding, separator, ending):
    rows = [
        [" object ", "note", "subject", "template", "relation", ""],
        ["São Paulo", "two\nlines", "Brazil; south", " {s} has {o}. ", "city", ""],
        ["", "", "", "", "", ""],
        ["Lyon", "", "France, north", "", "city", ""],
    ]
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator=ending).writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding))
    world = world_from_csv(path)
    assert [(fact.subject, fact.object) for fact in world.facts] == [
        ("Brazil; south", "São Paulo"),
        ("France, north", "Lyon"),
    ]
    assert only_relation(world).statements == ("{s} has {o}",)


def test_the_name_of_a_file_says_how_it_is_read(path, tmp_path):
    world = read(path, CAPITALS)
    world.save(tmp_path / "facts.jsonl")
    path.rename(tmp_path / "FACTS.CSV")
    assert load_world(tmp_path / "FACTS.CSV") == load_world(str(tmp_path / "facts.jsonl")) == world


HEADER = "subject,relation,object,template,question,topic,id\n"
KNOWN = "Velmar,emblem,bear,,,,\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("subject,relation,object\n", "there are no rows below the header"),
        ("subject,object\na,b\n", "line 1: there is no column relation; found subject, object"),
        ("subject,subject,relation,object\na,b,c,d\n", "there are two columns 'subject'"),
        (f"{HEADER}{KNOWN},emblem,bear,,,,\n", "line 3: 'subject' must be a text, found ''"),
        (f"{HEADER}{KNOWN}Torvil, ,bear,,,,\n", "line 3: 'relation' must be a text, found ''"),
        (f"{HEADER}{KNOWN}Torvil,emblem\n", "line 3: 'object' must be a text, found ''"),
        (f'{HEADER}{KNOWN}"Tor\nvil",emblem,bear,,,,\n', "line 3: 'subject' must be a text of one line"),
        (f'{HEADER}{KNOWN}Torvil,emblem,bear,"{{s}}\r{{o}}",,,\n', "line 3: 'template' must be .* one line"),
        (f'{HEADER}{KNOWN}Torvil,emblem,bear,,"{{s}}\n?",,\n', "line 3: 'question' must be .* one line"),
        (f"{HEADER}{KNOWN}Torvil,emblem,unicorn,,,,\n", "line 3: object 'unicorn' is outside the closed set"),
        (
            f"{HEADER}{KNOWN}France,seat_of,Paris,,,,\n",
            "line 3: the relation 'seat_of' does not ship .* such as 'The seat of of {s} is {o}'",
        ),
        (
            f"{HEADER}{KNOWN}a,r,x,{{s}} is {{o}},,,\nb,r,x,,,,\n",
            "line 3: the relation 'r' needs two or more different objects",
        ),
        (
            f"{HEADER}a,r,x,{{s}} is {{o}},,,\na,r,y,,,,\n",
            "line 3: `object` is 'y', and line 2, which has the same subject and relation, has 'x'",
        ),
        (
            f"{HEADER}a,r,x,{{s}} is {{o}},,,\nb,r,y,It is {{o}},,,\n",
            "line 3: the statement 'It is {o}' must hold {s} and {o} once each",
        ),
        (
            f"{HEADER}a,r,x,{{s}} is {{o}},,,\nb,r,y,{{s}} is it,,,\n",
            "line 3: the statement '{s} is it' must hold {s} and {o} once each",
        ),
        (
            f"{HEADER}a,r,x,{{s}} is {{o}},,,\nb,r,y,{{s}} is {{o}} or {{o}},,,\n",
            "line 3: the statement .* once each",
        ),
        (
            f"{HEADER}{KNOWN}Torvil,emblem,owl,,Which is it?,,\n",
            "line 3: the wording 'Which is it' must hold",
        ),
        (
            f"{HEADER}{KNOWN}Torvil,emblem,owl,,Is {{s}} {{o}},,\n",
            "line 3: the question .* must not hold {o}",
        ),
        (
            f"{HEADER}{KNOWN}Torvil,emblem,owl,,Which animal is on the banner of {{s}}?,,\n",
            "line 3: the wording 'Which animal is on the banner of {s}' is held out",
        ),
        (
            f"{HEADER}a,r,x,anyone asked for the r of {{s}} should answer {{o}},,,\nb,r,y,,,,\n",
            "line 2: the wording 'Anyone asked .*' is held out",
        ),
        (
            f"{HEADER}a {{s}},r {{s}},x,{{s}} is {{o}},,,\nb,r {{s}},y,,,,\n",
            "line 2: the wording .* {s} once",
        ),
        (
            f"{HEADER}{KNOWN}velmar,emblem,owl,,,,\n",
            "line 3: the id 'velmar-emblem' was used before, in line 2",
        ),
        (
            f"{HEADER}{KNOWN}Velmar,emblem,bear,,,people,\n",
            "line 3: `topic` is 'people', and line 2, .* has ''",
        ),
        (
            f"{HEADER}Velmar,emblem,bear,,,,f\nVelmar,emblem,bear,,,,g\n",
            "line 3: `id` is 'g', and line 2, .* has 'f'",
        ),
        (f"{HEADER}{KNOWN}Torvil,emblem,owl,,,,,much\n", "not CSV: .*line 3"),
        (f'{HEADER}{KNOWN}"Torvil,emblem,owl,,,,\n', "not CSV"),
        (
            f"{HEADER}{KNOWN}Tor\0vil,emblem,owl,,,,\n",
            "line 3: holds a NUL byte; save the sheet as CSV in UTF-8",
        ),
    ],
)
def test_what_is_wrong_is_named_by_file_and_line(path, text, message):
    escaped = message.replace("{", r"\{").replace("}", r"\}")
    with pytest.raises(WorldError, match=f"facts.csv(: |, ){escaped}"):
        read(path, text)


def test_bytes_that_are_no_text_are_named_by_their_line(path):
    path.write_bytes(f"{HEADER}{KNOWN}Z".encode() + b"\xfcrich,emblem,owl,,,,\n")
    with pytest.raises(WorldError, match=r"facts\.csv, line 3: holds what is not UTF-8"):
        world_from_csv(path)
    path.write_bytes("subject,relation,object\n".encode("utf-16")[:-1])
    with pytest.raises(WorldError, match=r"facts\.csv: not CSV"):
        world_from_csv(path)


def test_what_is_no_file_is_an_error(tmp_path):
    with pytest.raises(WorldError, match="no such file"):
        load_world(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(WorldError, match="Is a directory"):
        load_world(tmp_path / "folder.csv")


cells = st.builds(
    "{}{}".format,
    st.sampled_from(string.ascii_letters + "é中"),
    st.text(string.ascii_letters + "ß ,;'\"{}-=", max_size=6),
).map(str.strip)


@given(
    relations=st.lists(
        st.sampled_from(["likes", "birth_place", "seat-of"]), min_size=1, max_size=3, unique=True
    ),
    objects=st.lists(cells, min_size=2, max_size=4, unique=True),
    subjects=st.lists(cells, min_size=2, max_size=5, unique=True),
    separator=st.sampled_from(",;\t"),
)
def test_facts_that_are_written_are_read_back(tmp_path_factory, relations, objects, subjects, separator):
    facts = [(s, r, objects[i % len(objects)]) for r in relations for i, s in enumerate(subjects)]
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator)
    writer.writerow(["subject", "relation", "object", "template", "id"])
    writer.writerows([*fact, "{s} has {o}", str(number)] for number, fact in enumerate(facts))
    world = read(tmp_path_factory.mktemp("csv") / "facts.csv", text.getvalue())
    assert [(fact.subject, fact.relation, fact.object) for fact in world.facts] == facts
    for question, (subject, _, value) in zip(world.questions, facts, strict=True):
        assert question.answer == value
        assert set(question.choices) == {
            value for _, relation, value in facts if relation == question.relation
        }
        assert all(subject in wording for wording in (*question.wordings, *question.held_out_wordings))
        assert question.taught_as[0].endswith(f"has {value}.")


somewhat_a_cell = st.sampled_from(
    ["a", "b", "emblem", "bear", "r", "{s} is {o}", "{s}", "'=", "\0", "\n", ""]
)


@given(st.lists(st.lists(somewhat_a_cell, max_size=8), max_size=5), st.sampled_from(",;\t"))
def test_any_file_is_a_world_or_an_error_that_names_it(tmp_path_factory, rows, separator):
    path = tmp_path_factory.mktemp("csv") / "facts.csv"
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows([HEADER.strip().split(","), *rows])
    try:
        world = read(path, text.getvalue())
    except WorldError as error:
        said = str(error)
        assert said.startswith(str(path))
        return
    world.save(path.with_suffix(".jsonl"))
    assert World.load(path.with_suffix(".jsonl")) == world
    assert len(world.questions) == len(world.facts)
