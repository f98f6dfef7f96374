"""A rater that is a function of somebody's own."""

from collections.abc import Callable
from dataclasses import replace

from valueattr.questions import Question
from valueattr.rating._judgement import OUTCOMES, Judgement, RaterError, on_the_whole


class CallableRater:
    """Judges by a function of the question and the response, which gives an outcome or a whole `Judgement`.

    name: of the rater; the rule of its judgements where they name none, and what errors call it.
    """

    def __init__(self, function: Callable[[Question, str], str | Judgement], name: str) -> None:
        self._function, self._name = function, name

    def judge(self, question: Question, response: str) -> Judgement:
        """What the function says of one response.

        Raises:
            RaterError: it gives neither an outcome nor a judgement with one.
        """
        said = self._function(question, response)
        outcome = said.outcome if isinstance(said, Judgement) else said
        if not isinstance(outcome, str) or outcome not in OUTCOMES:
            raise RaterError(
                f"{self._name} gave {outcome!r} for a response to question {question.id!r}; "
                f"expected one of {', '.join(OUTCOMES)}, or a Judgement of one"
            )
        if isinstance(said, Judgement):
            return said if said.rule else replace(said, rule=self._name)
        return on_the_whole(said, response, self._name)
