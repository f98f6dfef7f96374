"""Experiments as declarations of arms and contrasts, and the one runner that carries them out.

Importing this does not import torch; running an experiment does.
"""

from valueattr.experiments._progress import Bar, Lines, Progress
from valueattr.experiments._runner import Materials, UnknownPresetError, run, run_all
from valueattr.experiments._workers import ArmFailedError
from valueattr.experiments.e1 import E1
from valueattr.experiments.e2 import E2
from valueattr.experiments.e3 import E3, VARIATIONS, vary
from valueattr.plan import Arm, Check, Contrast, Experiment, Preset, Ratio

EXPERIMENTS = {experiment.name: experiment for experiment in (E1, E2, E3)}

__all__ = [
    "E1",
    "E2",
    "E3",
    "EXPERIMENTS",
    "VARIATIONS",
    "Arm",
    "ArmFailedError",
    "Bar",
    "Check",
    "Contrast",
    "Experiment",
    "Lines",
    "Materials",
    "Preset",
    "Progress",
    "Ratio",
    "UnknownPresetError",
    "run",
    "run_all",
    "vary",
]
