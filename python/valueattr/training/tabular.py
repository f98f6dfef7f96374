"""The leak in the smallest policy that has it: two factors, content and framing, and a known answer.

A policy says the content with probability sigmoid(a), and frames it well with probability sigmoid(b1) if it does and
sigmoid(b0) if it does not; all prompts share these three logits. It is trained by policy gradient on group z-scores:
16 prompts of 8 samples a step, step size .5, mean over samples.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

Channel = Literal["sham", "framing scalar", "framing span", "sum", "decoupled"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)

_PROMPTS, _GROUP, _STEP_SIZE = 16, 8, 0.5

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TwoFactorRun:
    """One training run, shape (steps + 1,) from the start on: P(content) and P(good framing); `leakage` (steps,)."""

    content: Floats
    framing: Floats
    leakage: Floats


def train_two_factor(
    channel: Channel,
    seed: int,
    *,
    good_if_content: float = 0.3,
    good_if_none: float = 0.9,
    steps: int = 30,
) -> TwoFactorRun:
    """Train from P(content) = .5 and the given P(good framing | content) and P(good framing | none).

    channel: "sham" permutes framing rewards within groups; "framing scalar" gives both factors the framing advantage,
    "framing span" the framing factor alone; "sum" adds content and framing rewards before they are normalised, "decoupled"
    after.

    Raises:
        ValueError: no such channel.
    """
    if channel not in CHANNELS:
        raise ValueError(f"unknown channel {channel!r}; known: {', '.join(CHANNELS)}")
    rng = np.random.default_rng(seed)
    a, b = 0.0, logit(np.array([good_if_none, good_if_content]))  # b[1] with content, b[0] without
    content, framing, leakage = [expit(a)], [_marginal(a, b)], []
    for _ in range(steps):
        says = rng.random((_PROMPTS, _GROUP)) < expit(a)
        p_good = expit(b)[says.astype(int)]
        good = rng.random((_PROMPTS, _GROUP)) < p_good
        on_content, on_framing = _advantages(channel, says.astype(float), good.astype(float), rng)
        leakage.append(leak(on_content, says.astype(float)))
        towards_framing = on_framing * (good - p_good)
        a += _STEP_SIZE * float((on_content * (says - expit(a))).mean())
        b = b + _STEP_SIZE * np.array([(towards_framing * (says == c)).mean() for c in (False, True)])
        content.append(expit(a))
        framing.append(_marginal(a, b))
    return TwoFactorRun(np.array(content), np.array(framing), np.array(leakage))


def leak(on_content: Floats, content: Floats) -> float:
    """sum_g Cov_g(A, C) / sum_g Var_g(C) of advantages on content and content (groups, samples); 0 if nothing varies."""
    a, c = (x - x.mean(1, keepdims=True) for x in (on_content, content))
    variance = float((c * c).mean(1).sum())
    return float((a * c).mean(1).sum()) / variance if variance else 0.0


def _marginal(a: float, b: Floats) -> float:
    p = float(expit(a))
    return p * float(expit(b[1])) + (1 - p) * float(expit(b[0]))


def _advantages(
    channel: Channel, content: Floats, framing: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """On the content factor and on the framing factor, each (groups, samples)."""
    match channel:
        case "sham":
            both = _z_scores(rng.permuted(framing, axis=1))
        case "framing scalar":
            both = _z_scores(framing)
        case "framing span":
            return np.zeros_like(framing), _z_scores(framing)
        case "sum":
            both = _z_scores(framing + content)
        case "decoupled":
            both = _z_scores(framing) + _z_scores(content)
    return both, both


def _z_scores(rewards: Floats) -> Floats:
    spread = rewards.std(1, ddof=1, keepdims=True) + 1e-4
    return np.asarray((rewards - rewards.mean(1, keepdims=True)) / spread)
