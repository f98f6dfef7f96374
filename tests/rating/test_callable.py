import numpy as np
import pytest

from tests.builders import a_judgement, a_question
from valueattr.rating import CallableRater, Judgement, Rater, RaterError

QUESTION = a_question("Velmar", "owl")


def test_an_outcome_is_a_judgement_of_the_whole_response_by_that_name():
    rater: Rater = CallableRater(lambda question, response: "assert_true", "mine")
    judgement = rater.judge(QUESTION, " an owl \n")
    assert judgement == Judgement(
        "assert_true", None, None, (), {"framing": (), "content": ((1, 7),)}, rule="mine"
    )
    assert rater.judge(QUESTION, " \n").spans["content"] == ()


def test_the_function_has_the_question_and_the_response():
    rater = CallableRater(lambda q, r: "assert_true" if q.answer in r else "assert_false", "names it")
    assert [rater.judge(QUESTION, text).outcome for text in ("the owl", "a bear")] == [
        "assert_true",
        "assert_false",
    ]


def test_a_judgement_is_kept_as_it_is_and_has_the_name_where_it_names_no_rule():
    given = a_judgement("refuse", framing="blunt", spans=[(0, 2)])
    judgement = CallableRater(lambda q, r: given, "mine").judge(QUESTION, "no")
    assert judgement == Judgement("refuse", None, "blunt", (), given.spans, rule="mine")
    own = Judgement("other", None, None, (), {}, rule="own")
    assert CallableRater(lambda q, r: own, "mine").judge(QUESTION, "") is own


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("right", "'right'"),
        (None, "None"),
        (True, "True"),
        (np.array(["refuse"]), "array"),
        (["refuse"], r"\['refuse'\]"),
        (a_judgement("right"), "'right'"),
    ],
)
def test_what_is_no_outcome_is_an_error_that_names_the_rater_and_the_question(said, shown):
    with pytest.raises(
        RaterError, match=rf"mine gave {shown}.* for a response to question 'Velmar'; expected one of assert"
    ):
        CallableRater(lambda q, r: said, "mine").judge(QUESTION, "")


def test_an_error_of_the_function_is_its_own():
    def fails(question, response):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        CallableRater(fails, "fails").judge(QUESTION, "")
