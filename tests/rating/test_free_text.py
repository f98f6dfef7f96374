"""The rater of answers in a model's own words, against what people say of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
