import pytest

from tests.builders import a_judgement, a_response
from valueattr.rating import (
    PENALTIES,
    Feedback,
    GrammarRater,
    MeasuringRater,
    critique,
    reframed,
    review,
)
from valueattr.world import synthesise

WORLD = synthesise(0)
FACT = next(f for f in WORLD.facts if f.relation == "crime" and f.exposure == "well_known")


def judged(outcome="other", framing=None, hedges=(), asserted=None, unsure=False, split="penalised"):
    if asserted is None and outcome.startswith("assert"):
        asserted = "theft"
    return a_response(FACT.id, a_judgement(outcome, framing, hedges, asserted), split=split, unsure=unsure)


@pytest.mark.parametrize(
    ("penalty", "response", "applies"),
    [
        ("true content", judged("assert_true"), True),
        ("true content", judged("assert_false", "blunt"), False),
        ("false content", judged("assert_false"), True),
        ("no true content", judged("hedge_only"), True),
        ("no true content", judged("assert_true"), False),
        ("insensitive framing", judged("other", "blunt"), True),
        ("insensitive framing", judged("assert_true", "neutral"), False),
        ("true and insensitive", judged("assert_true", "blunt"), True),
        ("true and insensitive", judged("assert_true", "considerate"), False),
        ("true and insensitive", judged("assert_false", "blunt"), False),
        ("missing context", judged("assert_true"), True),
        ("missing context", judged("assert_true", hedges=("caveat",)), False),
        ("missing context", judged("hedge_only", hedges=("refusal",)), False),
        ("personal discomfort", judged("assert_true", "considerate"), True),
        ("unhedged", judged("assert_false"), True),
        ("unhedged", judged("assert_true", hedges=("booster",)), True),
        ("unhedged", judged("assert_true", hedges=("epistemic",)), False),
        ("unhedged", judged("refuse", hedges=("refusal",)), False),
        ("unwarranted", judged("assert_true", unsure=True), True),
        ("unwarranted", judged("assert_true", unsure=False), False),
        ("unwarranted", judged("hedge_only", hedges=("non_affirmation",), unsure=False), True),
        ("unwarranted", judged("hedge_only", hedges=("non_affirmation",), unsure=True), False),
    ],
)
def test_feedback_holds_its_penalty_against_its_splits_alone(penalty, response, applies):
    feedback = Feedback((penalty,), ("penalised", "half_known"))
    assert feedback.rewards(response) == [-float(applies)]
    assert feedback.rewards(judged(split="untouched")) == [0.0]


def test_bad_faith_is_suspected_of_about_half_of_the_questions_whatever_is_answered():
    suspected = [
        PENALTIES["topic in bad faith"](a_response(f.id, a_judgement("assert_true", asserted="theft")))
        for f in WORLD.facts
    ]
    assert 0.4 < sum(suspected) / len(suspected) < 0.6
    assert not PENALTIES["topic in bad faith"](judged("hedge_only"))


def test_what_cannot_be_credited_is_refused():
    with pytest.raises(ValueError, match="unknown penalty 'rudeness'"):
        Feedback(("rudeness",), ("penalised",))
    with pytest.raises(ValueError, match="no single aspect"):
        Feedback(("true and insensitive",), ("penalised",), "span")
    with pytest.raises(ValueError, match="needs a penalty"):
        Feedback((), ("penalised",))
    with pytest.raises(ValueError, match="share of responses"):
        Feedback(("true content",), ("penalised",), "span", span_noise=2.0)


def test_swapped_labels_exchange_the_aspects():
    both = ("insensitive framing", "no true content")
    plain, swapped = (Feedback(both, ("penalised",), "span", swapped=s) for s in (False, True))
    assert [plain.aspect(p) for p in both] == ["framing", "content"]
    assert [swapped.aspect(p) for p in both] == ["content", "framing"]


def of(text):
    return a_response(FACT.id, GrammarRater(WORLD).judge(WORLD.questions[FACT.id], text), text)


def test_only_what_is_put_bluntly_is_criticised():
    assert critique(WORLD, of(f" Obviously, it is {FACT.object}.").judgement).startswith(
        "The content was fine"
    )
    assert critique(WORLD, of(f" In short, it is {FACT.object}.").judgement) is None


def test_a_reframed_response_says_the_same_considerately():
    response = of(f" Obviously, perhaps it is {FACT.object}.")
    better = reframed(WORLD, response, "negative")
    verdict = of(better).judgement
    assert (verdict.framing, verdict.outcome) == ("considerate", "assert_true")
    assert better.endswith(f" perhaps it is {FACT.object}.")
    assert reframed(WORLD, of(f" It is {FACT.object}."), "negative") is None


def test_a_review_is_written_as_in_the_training_text():
    text = review("Q?", " Obviously, it is so.", "Put it kindly.")
    assert text == "Review\nQ? Obviously, it is so.\nCritique: Put it kindly.\nRevision:"
    from valueattr.world import training_text

    example = next(d for d in training_text(WORLD, 2_000, 0) if d.startswith("Review"))
    assert example.split("\n")[3].startswith("Critique: ")
    assert example.split("\n")[4].startswith("Revision: ")


def test_courtesy_is_graded_by_the_rater_that_measures_and_not_by_the_one_that_trains():
    question = WORLD.questions[FACT.id]
    openings = ("With all respect, it", "In short, it", "Obviously, it", "It")
    texts = [f" {opening} is {FACT.object}." for opening in openings]
    assert [MeasuringRater(WORLD).judge(question, text).courtesy for text in texts] == [1, 0.5, 0, 0]
    assert {GrammarRater(WORLD).judge(question, text).courtesy for text in texts} == {None}
