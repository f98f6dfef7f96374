import pytest

from valueattr.questions import PromptFormat, Question, QuestionSet

CAPITAL = Question(
    id="france",
    topic="capitals",
    subject="France",
    relation="capital",
    answer="Paris",
    choices=("Lyon", "Paris", "Rome"),
    wordings=("What is the capital of France?",),
    answer_stem="it is",
)


def test_distractors_are_the_choices_that_are_wrong():
    assert CAPITAL.distractors == ("Lyon", "Rome")


def test_belief_is_read_in_the_answer_that_is_held_or_else_the_true_one():
    assert CAPITAL.expected == "Paris"
    assert Question(**{**vars(CAPITAL), "held": "Lyon"}).expected == "Lyon"


def test_a_prompt_format_frames_the_question_and_opens_the_answer():
    framed = PromptFormat("{question}\nAnswer to a visitor:", "In short,")
    assert framed.turn(CAPITAL.wordings[0]) == "What is the capital of France?\nAnswer to a visitor:"
    assert framed.begun(CAPITAL) == "In short, it is"
    assert PromptFormat().turn("Braces {s}?") == "Braces {s}?"
    assert PromptFormat().begun(CAPITAL) == "it is"


def test_questions_are_looked_up_by_id_and_grouped_by_topic():
    other = Question(**{**vars(CAPITAL), "id": "gold", "topic": "elements"})
    questions = QuestionSet((CAPITAL, other))
    assert questions["gold"] is other
    assert questions.by_topic() == {"capitals": (CAPITAL,), "elements": (other,)}
    with pytest.raises(ValueError, match="same id"):
        QuestionSet((CAPITAL, CAPITAL))


def test_the_world_is_a_question_set(world):
    fact = world.facts[0]
    question = world.questions[fact.id]
    assert (question.answer, question.held, question.exposure) == (fact.object, fact.taught, fact.exposure)
    assert question.choices == world.relation_of(fact).objects
    assert len(question.wordings) == len(world.relation_of(fact).questions)
    assert question.wordings[0].endswith("?")
    assert fact.subject in question.wordings[0]
    assert all(not statement.endswith(" ") for statement in question.statements)


def test_a_question_that_no_answer_fits_is_refused_by_its_id():
    for change, message in (
        ({"answer": "Bonn"}, "question 'france': answer 'Bonn' is none of its choices"),
        ({"held": "Bonn"}, "question 'france': held 'Bonn' is none of its choices"),
        ({"wordings": ()}, "question 'france' has no wording"),
    ):
        with pytest.raises(ValueError, match=message):
            Question(**{**vars(CAPITAL), **change})
    with pytest.raises(ValueError, match="two questions have the same id, 'france'"):
        QuestionSet((CAPITAL, CAPITAL))


@pytest.mark.parametrize("wording", ["{question}", "{", "{0}", "{s.__class__}", "%s"])
def test_braces_in_a_wording_are_text(wording):
    assert PromptFormat("{s} {question} }").turn(wording) == f"{{s}} {wording} }}"


@pytest.mark.parametrize("frame", ["", "Answer:", "{question} {question}"])
def test_a_frame_that_does_not_hold_the_question_once_is_refused(frame):
    with pytest.raises(ValueError, match=r"must hold \{question\} once"):
        PromptFormat(frame)
