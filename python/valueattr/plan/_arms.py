"""Arms: training conditions that differ in the feedback alone."""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from valueattr.rating import Feedback

Method = Literal["grpo", "critique", "other critique", "edit pairs", "well-put answers", "best of n"]

Code = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
"""It names files, so that it is made of letters, digits, points, underscores and hyphens."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Arm:
    """One training condition; without feedback it is the start model, measured and not trained.

    method: how the feedback reaches the model. "grpo": as advantages. "critique", "other critique": by distillation from
    the start model after it has read a critique, of this response or of another. "edit pairs": DPO. "well-put answers":
    SFT. "best of n": the start model, of whose responses the rater chooses.
    prompt_family, prompted: the prompt family of its questions, and the splits whose questions it is trained on. In a
    declaration None stands for the experiment's own; in a plan both are filled in.
    """

    code: Code
    title: str
    feedback: Feedback | None
    method: Method = "grpo"
    prompt_family: str | None = None
    prompted: tuple[str, ...] | None = None

    @property
    def is_trained(self) -> bool:
        """Whether its weights change."""
        return self.feedback is not None and self.method != "best of n"

    @property
    def is_sham(self) -> bool:
        """Whether its rewards change places, so that nothing can be learned from them."""
        return self.feedback is not None and self.feedback.permuted


def sham_of(arm: Arm) -> Arm:
    """The control of an arm: trained in the same way, on the same rewards, which change places within each group.

    Raises:
        ValueError: the arm has no rewards.
    """
    if arm.feedback is None or arm.method != "grpo":
        raise ValueError(f"arm {arm.code} has no rewards that could change places")
    feedback = replace(arm.feedback, permuted=True)
    return replace(
        arm, code=f"{arm.code}-sham", title=f"sham of {arm.code}: its rewards permuted", feedback=feedback
    )
