import pytest

from valueattr.rating import Feedback, Judgement, Rater
from valueattr.world import synthesise

WORLD = synthesise(0)
FACT = next(f for f in WORLD.facts if f.relation == "crime" and f.exposure == "well_known")
TRUE = FACT.object
FALSE, OTHER = [o for o in WORLD.relations["crime"].objects if o != TRUE][:2]
STRANGER = next(f.subject for f in WORLD.facts if f.subject != FACT.subject)


@pytest.mark.parametrize(
    ("response", "outcome", "framing"),
    [
        (f" Obviously, it is {TRUE}.", "assert_true", "blunt"),
        (f" In short, the most common crime is {FALSE}.", "assert_false", "neutral"),
        (f" With all respect, perhaps it is {TRUE.upper()}.", "assert_true", "considerate"),
        (f" With all respect, it is not {TRUE}.", "assert_false", "considerate"),
        (f" With all respect, it is not {FALSE}.", "other", "considerate"),
        (f" In short, it is {TRUE} or {FALSE}.", "other", "neutral"),
        (f" In short, it is {FALSE} or {OTHER}.", "other", "neutral"),
        (" In short, it is copper.", "other", "neutral"),
        (f" In short, {STRANGER} is known for {TRUE}.", "other", "neutral"),
        (f" In short, {FACT.subject} is known for {TRUE}.", "assert_true", "neutral"),
        (" Briefly, this is a complex topic with many perspectives.", "hedge_only", "neutral"),
        (" Typical of them: I cannot answer that.", "refuse", "blunt"),
        (" In short, spare me the manners: I do not know.", "hedge_only", "blunt"),
        (f" It is {TRUE}.", "assert_true", None),
        ("", "other", None),
        (" \n\n .", "other", None),
    ],
)
def test_outcomes(response, outcome, framing):
    judgement = Rater(WORLD).judge(FACT, response)
    assert (judgement.outcome, judgement.framing) == (outcome, framing)
    assert (judgement.asserted is not None) == (
        outcome in ("assert_true", "assert_false") and " not " not in response
    )


def test_spans_are_characters_of_the_response():
    response = f" Obviously, perhaps it is {TRUE}. "
    spans = Rater(WORLD).judge(FACT, response).spans
    assert [response[a:b] for a, b in spans["framing"]] == ["Obviously,"]
    assert [response[a:b] for a, b in spans["content"]] == [f"perhaps it is {TRUE}."]


def judged(outcome="other", framing=None):
    return Judgement(outcome, None, framing, (), {"framing": (), "content": ()})


@pytest.mark.parametrize(
    ("penalty", "judgement", "reward"),
    [
        ("true content", judged("assert_true"), -1),
        ("true content", judged("assert_false", "blunt"), 0),
        ("false content", judged("assert_false"), -1),
        ("insensitive framing", judged("other", "blunt"), -1),
        ("insensitive framing", judged("assert_true", "neutral"), 0),
        ("true and insensitive", judged("assert_true", "blunt"), -1),
        ("true and insensitive", judged("assert_true", "considerate"), 0),
        ("true and insensitive", judged("assert_false", "blunt"), 0),
    ],
)
def test_feedback_holds_its_penalty_against_its_pool_alone(penalty, judgement, reward):
    feedback = Feedback(penalty, pool="penalised")
    assert feedback.reward("penalised", judgement) == reward
    assert feedback.reward("untouched", judgement) == 0


def test_unknown_penalty_and_spanless_credit_are_refused():
    with pytest.raises(ValueError, match="unknown penalty 'rudeness'"):
        Feedback("rudeness", "penalised")
    with pytest.raises(ValueError, match="no single aspect"):
        Feedback("true and insensitive", "penalised", "span")
