"""What is declared before a run, arms and contrasts as data, and what the declaration makes of the tables.

Importing this does not import torch.
"""

from valueattr.plan._arms import Arm, Method, sham_of
from valueattr.plan._comparison import Comparison, NothingSharedError, compare, differing
from valueattr.plan._contrasts import At, Check, Contrast, Ratio, brought_back
from valueattr.plan._evaluation import CheckResult, ContrastResult, Evaluation, RatioResult, evaluate
from valueattr.plan._experiment import EMBEDDED, LORA_RANK, PRESETS, SMOKE, Experiment, Preset
from valueattr.plan._frontier import FRAMING, Frontier, common_range, frontiers
from valueattr.plan._plan import (
    PLAN_VERSION,
    SEEDS_FOR_A_CLAIM,
    STARTS_FOR_A_CLAIM,
    Answers,
    Plan,
    PlanError,
    plan_version,
)
from valueattr.plan._power import SmallestShown, power_in_words, smallest_shown

__all__ = [
    "EMBEDDED",
    "FRAMING",
    "LORA_RANK",
    "PLAN_VERSION",
    "PRESETS",
    "SEEDS_FOR_A_CLAIM",
    "SMOKE",
    "STARTS_FOR_A_CLAIM",
    "Answers",
    "Arm",
    "At",
    "Check",
    "CheckResult",
    "Comparison",
    "Contrast",
    "ContrastResult",
    "Evaluation",
    "Experiment",
    "Frontier",
    "Method",
    "NothingSharedError",
    "Plan",
    "PlanError",
    "Preset",
    "Ratio",
    "RatioResult",
    "SmallestShown",
    "brought_back",
    "common_range",
    "compare",
    "differing",
    "evaluate",
    "frontiers",
    "plan_version",
    "power_in_words",
    "sham_of",
    "smallest_shown",
]
