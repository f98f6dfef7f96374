"""What is declared before a run, arms and contrasts as data, and what the declaration makes of the tables.

Importing this does not import torch.
"""

from valueattr.plan._declaration import (
    EMBEDDED,
    PRESETS,
    SMOKE,
    Arm,
    Contrast,
    Experiment,
    ManipulationCheck,
    Preset,
    Ratio,
)
from valueattr.plan._evaluation import CheckResult, ContrastResult, Evaluation, RatioResult, evaluate
from valueattr.plan._frontier import FRAMING, Frontier, common_range, frontiers

__all__ = [
    "EMBEDDED",
    "FRAMING",
    "PRESETS",
    "SMOKE",
    "Arm",
    "CheckResult",
    "Contrast",
    "ContrastResult",
    "Evaluation",
    "Experiment",
    "Frontier",
    "ManipulationCheck",
    "Preset",
    "Ratio",
    "RatioResult",
    "common_range",
    "evaluate",
    "frontiers",
]
