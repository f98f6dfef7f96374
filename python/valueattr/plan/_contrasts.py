"""What is compared: contrasts and ratios that were declared before the run, and checks of the training itself."""

from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from valueattr.stats import Alternative

At = Literal["equal-steps", "equal-kl", "equal-framing"]
"""Where along training two arms are compared."""

_EXACT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_EXACT)
class Contrast:
    """A difference that was declared before the run: `measure` of `arm` minus that of `baseline` on a split.

    minus_split: subtract the same difference on this split (specificity).
    minus_arms: subtract the same difference between these two arms, as (arm, baseline) (interaction).
    at: "equal-steps" compares at the end, "equal-kl" at the largest forward-KL threshold that both arms reached,
    "equal-framing" means over the range `framing`, each value where training first reached it.
    unit, smallest_effect: of the measure; what is smaller counts as none.
    holm_family: Holm's adjustment is made over all contrasts that name the same one.
    """

    name: str
    title: str
    measure: str
    arm: str
    baseline: str
    split: str
    minus_split: str | None = None
    minus_arms: tuple[str, str] | None = None
    framing: tuple[float, float] | None = None
    at: At = "equal-steps"
    alternative: Alternative = "two-sided"
    unit: str = "nats"
    smallest_effect: float = 0.5
    holm_family: str = "main"

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The arms whose differences it is made of, each with its baseline; the second difference is subtracted."""
        own = (self.arm, self.baseline)
        return (own,) if self.minus_arms is None else (own, self.minus_arms)

    @property
    def arms(self) -> frozenset[str]:
        """The codes of all arms that it reads."""
        return frozenset(code for pair in self.pairs for code in pair)


@dataclass(frozen=True, config=_EXACT)
class Ratio:
    """A declared ratio of two differences from a baseline, paired by seed.

    numerator, denominator: (measure, split). sign: -1 makes a loss positive. It is printed with a Fieller interval, or
    as "not defined".
    """

    name: str
    title: str
    arm: str
    baseline: str
    numerator: tuple[str, str]
    denominator: tuple[str, str]
    sign: int = 1


def brought_back(arm: str, of: str, split: str = "penalised") -> Ratio:
    """Of the belief that an arm lost against its sham, the share that equal relearning of other facts brings back.

    1 says that the facts were hidden, and 0 that they are lost: relearning cannot restore what is not there.
    """
    title = f"share of the belief lost that relearning other facts brings back, {of}"
    gain, lost = ("relearning_gain", split), ("belief_margin", split)
    return Ratio(f"brought-back-{arm}", title, arm, f"{arm}-sham", gain, lost, sign=-1)


@dataclass(frozen=True, config=_EXACT)
class Check:
    """A manipulation check: whether training changed what it was meant to. Without that an arm's outcomes say nothing.

    rule: "halved" (the measure is at most half of that in `against`, which is not 0), "rises" (by at least `by`) or "kept"
    (at least `by`, whatever it is in `against`).
    """

    arm: str
    measure: str
    split: str
    rule: Literal["halved", "rises", "kept"]
    against: str
    by: float = 0.0
