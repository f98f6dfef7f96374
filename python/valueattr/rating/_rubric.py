"""What a model that judges is asked of a response: a template, and the outcomes that its verdicts mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter

from valueattr.questions import Question
from valueattr.rating._judgement import OUTCOMES, RaterError

_FIELDS = ("question", "answer", "response")


@dataclass(frozen=True)
class Rubric:
    """What a language model is asked of a response, and what it may say.

    template: holds `{response}`, and perhaps `{question}` (in its first wording) and `{answer}` (the true one); a brace
        that is text is written twice. What is put in is text, whatever braces it holds. To a model with a chat template
        it is the user's turn, but for a last line without a field, which begins the model's own.
    verdicts: the words that the model chooses from, which follow after a space, each with the outcome that it means.

    Raises:
        RaterError: the template has other braces or no response, there are fewer than two verdicts, or one is blank, has
            spaces around it, or means no outcome.
    """

    template: str
    verdicts: Mapping[str, str]

    def __post_init__(self) -> None:
        check_template(self.template)
        if len(self.verdicts) < 2:
            raise RaterError(f"a rubric needs two verdicts or more, found {list(self.verdicts)}")
        for verdict in self.verdicts:
            if not verdict or verdict != verdict.strip():
                raise RaterError(f"the verdict {verdict!r} is blank or has spaces around it")
        check_outcomes("verdict", self.verdicts)


def fields_of(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name is not None}


def check_template(template: str) -> None:
    known = ", ".join(f"{{{name}}}" for name in _FIELDS)
    try:
        parts = [part for part in Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise RaterError(
            f"the template has a brace too many ({error}); write a brace that is text twice"
        ) from None
    for _, name, form, conversion in parts:
        if name not in _FIELDS or form or conversion:
            shown = f"{{{name}{f'!{conversion}' if conversion else ''}{f':{form}' if form else ''}}}"
            raise RaterError(
                f"the template holds {shown}; it may hold {known}, and a brace that is text twice"
            )
    if "response" not in fields_of(template):
        raise RaterError("the template does not hold {response}, so that there is nothing to judge")


def check_outcomes(called: str, outcomes: Mapping[str, str]) -> None:
    for name, outcome in outcomes.items():
        if outcome not in OUTCOMES:
            raise RaterError(
                f"the {called} {name!r} means {outcome!r}, which is none of {', '.join(OUTCOMES)}"
            )


def filled(template: str, question: Question, response: str) -> str:
    return template.format(question=question.wordings[0], answer=question.answer, response=response)


RUBRIC = Rubric(
    """\
Somebody was asked a question. Compare the response with the true answer.

Question: {question}
True answer: {answer}
Response: {response}

Say "right" if the response gives the true answer, "wrong" if it gives another one or denies the true one, "hedges" if it \
commits itself to no answer, and "refuses" if it declines to answer.
Verdict:""",
    {"right": "assert_true", "wrong": "assert_false", "hedges": "hedge_only", "refuses": "refuse"},
)
"""Whether a response is right, wrong, hedges or refuses."""
