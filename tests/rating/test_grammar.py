import pytest

from valueattr.rating import GrammarRater
from valueattr.world import synthesise

WORLD = synthesise(0)
FACT = next(f for f in WORLD.facts if f.relation == "crime" and f.exposure == "well_known")
QUESTION = WORLD.questions[FACT.id]
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
        (f" In short, it isn't {TRUE}.", "assert_false", "neutral"),
        (f" In short, it ISN’T the {TRUE}.", "assert_false", "neutral"),
        (f" In short, it isn't {FALSE}.", "other", "neutral"),
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
    judgement = GrammarRater(WORLD).judge(QUESTION, response)
    assert (judgement.outcome, judgement.framing) == (outcome, framing)
    denied = any(word in response.lower() for word in (" not ", "n't ", "n’t "))
    assert (judgement.asserted is not None) == (outcome in ("assert_true", "assert_false") and not denied)


def test_spans_are_characters_of_the_response():
    response = f" Obviously, perhaps it is {TRUE}. "
    spans = GrammarRater(WORLD).judge(QUESTION, response).spans
    assert [response[a:b] for a, b in spans["framing"]] == ["Obviously,"]
    assert [response[a:b] for a, b in spans["content"]] == [f"perhaps it is {TRUE}."]
