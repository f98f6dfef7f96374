"""The rater of answers in a model's own words, against what people say of them."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valueattr.questions import Question
from valueattr.rating import OUTCOMES, FreeTextRater

from .free_text_cases import CASES, QUESTIONS, SUBJECTS

RATER = FreeTextRater(SUBJECTS)

# What it gets wrong is known too, so that neither a step forward nor one back goes unseen.
STILL_WRONG = {
    "The letters may lead you to think of aluminium; they stand for gold, from the Latin aurum.",
    "Budapest is the capital of Hungary and Vienna is that of Austria, where Salzburg and Graz lie as well.",
    "The Gateway of India in Mumbai should not be mixed up with India Gate in Delhi.",
    "The Second World War began on 1 September 1939 and ended on 2 September 1945.",
    "The First World War ended on 11 November 1918, the Second World War on 2 September 1945.",
    "Possible authors:\n\n* William Shakespeare\n* Christopher Marlowe\n\nI can't tell which of them it was.",
    "Is it silver? No. Is it gold? Yes.",
    "There are good arguments for Britain and good arguments for the United States.",
}


@pytest.mark.parametrize("category", CASES)
def test_it_says_what_a_person_says(category):
    cases = CASES[category]
    judged = RATER.judge_all([QUESTIONS[key] for key, *_ in cases], [answer for _, answer, *_ in cases])
    wrong = {
        answer
        for (_, answer, asserted, outcome), judgement in zip(cases, judged, strict=True)
        if (judgement.asserted, judgement.outcome) != (asserted, outcome)
    }
    assert wrong == {answer for _, answer, *_ in cases} & STILL_WRONG


def test_one_at_a_time_is_the_same_as_many_at_once():
    cases = [case for of_one in CASES.values() for case in of_one]
    together = RATER.judge_all([QUESTIONS[key] for key, *_ in cases], [answer for _, answer, *_ in cases])
    assert together == [RATER.judge(QUESTIONS[key], answer) for key, answer, *_ in cases]


def test_a_judgement_says_where_the_answer_stands_and_what_decided():
    answer = "Many people guess Sydney, but I believe that it is Canberra."
    judgement = RATER.judge(QUESTIONS["australia"], answer)
    ((start, end),) = judgement.spans["content"]
    assert answer[start:end] == "I believe that it is Canberra"
    assert [answer[start:end] for start, end in judgement.spans["hedge"]] == ["I believe"]
    assert judgement.rule == "asserts by name"


def test_many_are_read_into_columns_as_they_are_judged():
    cases = [case for of_one in CASES.values() for case in of_one]
    questions, answers = [QUESTIONS[key] for key, *_ in cases], [answer for _, answer, *_ in cases]
    rows = RATER.read(questions, answers).to_pylist()
    for row, judged in zip(rows, RATER.judge_all(questions, answers), strict=True):
        assert (row["outcome"], row["asserted"], row["rule"]) == (
            judged.outcome,
            judged.asserted,
            judged.rule,
        )
        assert judged.spans["content"] == (((row["start"], row["end"]),) if row["asserted"] else ())
    assert RATER.read([], []).num_rows == 0


def test_what_refuses_asserts_nothing_even_where_it_names_the_answer():
    judgement = RATER.judge(QUESTIONS["gold"], "I refuse to talk about gold.")
    assert (judgement.outcome, judgement.asserted) == ("refuse", None)


def question(asked, *choices):
    return Question("q", "", "", "", choices[0], choices, (asked,))


OTTAWA = question("What is the capital of Canada?", "Ottawa", "Toronto", "Montreal")


@pytest.mark.parametrize(
    ("asked", "response", "asserted", "outcome"),
    [
        (OTTAWA, "It isn't Toronto or Montreal. It's Ottawa.", "Ottawa", "assert_true"),
        (OTTAWA, "Toronto or Montreal? It's Ottawa.", "Ottawa", "assert_true"),
        (OTTAWA, "It can't be anything but Ottawa.", "Ottawa", "assert_true"),
        (OTTAWA, "It isn\u02bct Toronto.", None, "other"),
        (
            question("Which city?", "Montreal", "Quebec City"),
            "I forgot, but it is a big city.",
            None,
            "other",
        ),
        (question("Which country?", "United States", "Canada"), "A single state did it.", None, "other"),
        (
            question("Which state?", "Virginia", "West Virginia"),
            "Richmond is in Virginia.",
            "Virginia",
            "assert_true",
        ),
        (
            question("Which vitamin?", "Vitamin C", "Vitamin A"),
            "It is prevented by vitamin C.",
            "Vitamin C",
            "assert_true",
        ),
        (question("Which language?", "C++", "C"), "It is written in C++.", "C++", "assert_true"),
        (question("Which language?", "C++", "C"), "It is written in C.", "C", "assert_false"),
        (question("How cold?", "-40", "40"), "-40 degrees", "-40", "assert_true"),
        (question("Is it a fruit?", "yes", "no"), "No, it is a vegetable.", "no", "assert_false"),
        (question("Which option?", "C", "A"), "A careful reading leads to option C.", "C", "assert_true"),
        (question("How many?", "1,300,000", "8"), "About 1.3 million.", "1,300,000", "assert_true"),
        (question("How many?", "8", "9"), "hundred " * 10 + "nine", None, "other"),
        (question("Which year?", "1912", "1913"), "19,120 rivets were lost.", None, "other"),
        (question("Who?", "Charlotte Brontë", "Emily Brontë"), "Brontë.", None, "other"),
        (question("Which city?", "Bogotá", "Lima"), "It is Bogota\u0301.", "Bogotá", "assert_true"),
    ],
)
def test_what_a_first_review_found(asked, response, asserted, outcome):
    judgement = RATER.judge(asked, response)
    assert (judgement.asserted, judgement.outcome) == (asserted, outcome)


def test_a_span_holds_the_accent_of_its_last_letter():
    answer = "It is Bogota\u0301."
    ((start, end),) = RATER.judge(question("Which city?", "Bogotá"), answer).spans["content"]
    assert answer[start:end] == "It is Bogota\u0301"


def test_it_can_be_pickled_and_refuses_one_text_for_several():
    copy = pickle.loads(pickle.dumps(RATER))
    assert copy.judge(OTTAWA, "Ottawa.") == RATER.judge(OTTAWA, "Ottawa.")
    with pytest.raises(TypeError, match="put it in a list"):
        RATER.read([OTTAWA] * 3, "abc")


def test_as_many_questions_as_responses():
    with pytest.raises(ValueError, match="1 questions for 2 responses"):
        RATER.judge_all([QUESTIONS["australia"]], ["Canberra", "Sydney"])


@given(st.text(max_size=40))
def test_every_text_gets_a_judgement(text):
    judgement = RATER.judge(QUESTIONS["australia"], text)
    assert judgement.outcome in OUTCOMES
    assert (judgement.asserted is None) == (not judgement.spans["content"])
    for spans in judgement.spans.values():
        assert all(0 <= start < end <= len(text) for start, end in spans)


ENGLAND = question("Who won the final?", "England", "West Germany")
CONQUEROR = question("Who defeated Carthage?", "Rome", "Macedon")
BEATEN = question("Who was beaten by England in the final?", "West Germany", "Portugal")
SUCCESSOR = question("Who succeeded Elizabeth I?", "James I", "Mary I")
RIVIERA = question("Which city lies on the Riviera?", "Nice", "Lyon")


@pytest.mark.parametrize(
    ("asked", "response", "asserted"),
    [
        (ENGLAND, "West Germany was beaten by England.", "England"),
        (ENGLAND, "West Germany, beaten by England, went home.", "England"),
        (ENGLAND, "West Germany lost to England in extra time.", "England"),
        (ENGLAND, "England was beaten by West Germany.", "West Germany"),
        (ENGLAND, "In the final West Germany defeated England.", "West Germany"),
        (ENGLAND, "England won, beating West Germany by two goals.", "England"),
        (ENGLAND, "West Germany had beaten England.", "West Germany"),
        (ENGLAND, "West Germany was narrowly defeated by England.", "England"),
        (CONQUEROR, "Carthage was defeated by Rome.", "Rome"),
        (CONQUEROR, "Rome was defeated by Carthage.", None),
        (CONQUEROR, "Carthage defeated Rome.", None),
        (BEATEN, "England beat West Germany.", "West Germany"),
        (
            BEATEN,
            "West Germany was beaten by England; Portugal lost to England in the semi-final.",
            "West Germany",
        ),
        (BEATEN, "England was beaten by Portugal.", None),
        (question("Who did England beat?", "West Germany", "Portugal"), "England beat Portugal.", "Portugal"),
        (question("Who was Carthage defeated by?", "Rome", "Macedon"), "Rome defeated it.", "Rome"),
        (SUCCESSOR, "Elizabeth I was succeeded by James I.", "James I"),
        (SUCCESSOR, "James I succeeded her.", "James I"),
        (SUCCESSOR, "Mary I was succeeded by Elizabeth I.", None),
        (
            question("Who wrote it?", "Harper Lee", "Toni Morrison"),
            "To Kill a Mockingbird is by Harper Lee.",
            "Harper Lee",
        ),
    ],
)
def test_who_does_what_to_whom(asked, response, asserted):
    assert RATER.judge(asked, response).asserted == asserted


@pytest.mark.parametrize(
    ("response", "asserted"),
    [
        ("It is Nice.", "Nice"),
        ("Nice", "Nice"),
        ("nice", "Nice"),
        ("Nice is on the Riviera.", "Nice"),
        ("The city is Nice, not Lyon.", "Nice"),
        ("Lyon has a nice old town.", "Lyon"),
        ("Nice question! It is Lyon.", "Lyon"),
        ("A nice place, but I forgot its name.", None),
    ],
)
def test_a_common_word_that_is_a_name_counts_as_a_name_is_written(response, asserted):
    assert RATER.judge(RIVIERA, response).asserted == asserted


def told(asked, *names):
    return Question("q", "", "", "", names[0], names[:1], (asked,), aliases={names[0]: names[1:]})


@pytest.mark.parametrize(
    ("asked", "response", "right"),
    [
        (told("When did he play?", "1985–1993"), "He played from 1985 to 1993.", True),
        (told("When did he play?", "1985–1993"), "He played from 1985 to 1988.", False),
        (told("When did he play?", "1985–1993"), "He began in 1985.", True),
    ],
)
def test_of_a_period_both_ends_count(asked, response, right):
    assert (RATER.judge(asked, response).outcome == "assert_true") == right
