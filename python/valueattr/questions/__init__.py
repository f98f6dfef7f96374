"""What is asked: questions with their answers, rivals and wordings, and the splits that a seed draws from them."""

from valueattr.questions._question import (
    Exposure,
    Prefaces,
    Prompt,
    PromptFormat,
    Question,
    QuestionSet,
    Splits,
)
from valueattr.questions._splits import (
    DISTANCE,
    FEWEST_TOPICS,
    IN_RUN,
    SPLITS,
    TooFewQuestionsError,
    assign_splits,
    choose_topics,
    share_names,
)

__all__ = [
    "DISTANCE",
    "FEWEST_TOPICS",
    "IN_RUN",
    "SPLITS",
    "Exposure",
    "Prefaces",
    "Prompt",
    "PromptFormat",
    "Question",
    "QuestionSet",
    "Splits",
    "TooFewQuestionsError",
    "assign_splits",
    "choose_topics",
    "share_names",
]
