"""Experiments as declarations of arms and contrasts, and the one runner that carries them out.

Importing this does not import torch; running an experiment does.
"""

from valueattr.experiments._declaration import Arm, Contrast, Experiment, ManipulationCheck, Preset
from valueattr.experiments._runner import UnknownPresetError, run
from valueattr.experiments._workers import ArmFailedError
from valueattr.experiments.e1 import E1

EXPERIMENTS = {experiment.name: experiment for experiment in (E1,)}

__all__ = [
    "E1",
    "EXPERIMENTS",
    "Arm",
    "ArmFailedError",
    "Contrast",
    "Experiment",
    "ManipulationCheck",
    "Preset",
    "UnknownPresetError",
    "run",
]
