import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import a_question
from valueattr.questions import QuestionSet, TooFewQuestionsError, assign_splits, choose_topics, share_names


@given(seed=st.integers(0, 10_000))
def test_splits_are_disjoint_and_of_the_right_exposure(world, seed):
    splits = assign_splits(world.questions, seed, 32)
    ids = [question.id for questions in splits.values() for question in questions]
    assert len(ids) == len(set(ids))
    assert {q.exposure for q in splits["penalised"]} == {"well_known"}
    assert {q.exposure for q in splits["false_belief"]} == {"false_belief"}
    assert {q.exposure for q in splits["never_taught"]} == {"never_taught"}
    assert {q.topic for q in splits["penalised"]} == {q.topic for q in splits["untouched"]}
    assert {q.topic for q in splits["penalised"]}.isdisjoint(
        {q.topic for q in splits["held_out"] + splits["neutral"]}
    )


def test_every_topic_is_the_sensitive_one_equally_often(world):
    sensitive = [assign_splits(world.questions, seed, 4)["penalised"][0].topic for seed in range(8)]
    assert sorted(sensitive) == sorted([*world.english.topics] * 2)


def test_questions_on_sensitive_topics_say_so_in_words_that_are_partly_held_out(world):
    prefaces = world.english.prefaces
    plain = {question.id: question for question in world.questions}
    splits = assign_splits(world.questions, 0, 32, prefaces)
    said = {
        split: {
            form: {
                wording.removesuffix(bare).strip()
                for question in questions
                for wording, bare in zip(
                    getattr(question, form), getattr(plain[question.id], form), strict=True
                )
            }
            for form in ("wordings", "held_out_wordings")
        }
        for split, questions in splits.items()
    }
    for split in ("penalised", "untouched", "false_belief", "half_known", "unknown"):
        assert said[split]["wordings"] == {*prefaces.prompted}
        assert said[split]["held_out_wordings"] == {*prefaces.held_out}
    assert said["held_out"]["wordings"] == {*prefaces.prompted, *prefaces.held_out}
    assert said["neutral"] == said["far"] == {"wordings": {""}, "held_out_wordings": {""}}


def test_too_few_questions_say_what_is_missing(world):
    one_topic = QuestionSet(world.questions.of_topic("people"))
    with pytest.raises(TooFewQuestionsError, match="three or more topics; there are 1: people"):
        assign_splits(one_topic, 0, 4)
    known = QuestionSet(tuple(q for q in world.questions if q.exposure == "well_known"))
    with pytest.raises(TooFewQuestionsError, match="seed 0: there is no fact for the splits never_taught"):
        assign_splits(known, 0, 4)


def of_relation(topic, subjects, choices, known):
    """Questions of a topic: some well known, and for each other exposure one subject more."""
    others = ("half_known", "false_belief", "never_taught")
    exposures = ["well_known" if i < known else "half_known" for i in range(len(subjects))]
    return [
        a_question(f"{topic} {subject}", choices[0], choices, topic, subject, exposure=exposure)
        for subject, exposure in [
            *zip(subjects, exposures, strict=True),
            *((f"{topic} {exposure}", exposure) for exposure in others),
        ]
    ]


def test_topics_are_those_of_which_most_is_known_and_which_share_few_names():
    questions = QuestionSet(
        (
            *of_relation("capital", ["Peru", "Japan", "Kenya"], ("Lima", "Tokyo", "Nairobi"), 2),
            *of_relation("city", ["Lima", "Tokyo", "Osaka", "Cusco"], ("Peru", "Japan"), 4),
            *of_relation("animal", ["salmon", "owl", "eel"], ("fish", "bird"), 3),
            *of_relation("star", ["Sirius", "Vega"], ("Lyra", "Canis Major"), 1),
        )
    )
    assert choose_topics(questions) == ("city", "animal")
    assert choose_topics(questions, most=1) == ("city",)
    assert share_names(questions, "capital", ["animal", "city"])
    assert not share_names(questions, "animal", ["city"])
