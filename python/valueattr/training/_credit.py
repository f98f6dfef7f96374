"""Which tokens carry a channel's advantage, and what the advantages that trained did to content."""

import random
from collections.abc import Sequence

import torch

from valueattr.rating import ASPECTS, Feedback, JudgedResponse
from valueattr.training._offsets import Span, tokens_in_spans


def group_z_scores(rewards: torch.Tensor, group_size: int) -> torch.Tensor:
    """Per channel, rewards of shape (N, channels) standardised within groups as TRL does (ddof 1, plus 1e-4)."""
    grouped = rewards.view(-1, group_size, rewards.shape[1])
    scores = (grouped - grouped.mean(1, keepdim=True)) / (grouped.std(1, keepdim=True) + 1e-4)
    return scores.view_as(rewards)


def credited_tokens(
    feedback: Feedback, penalty: str, response: JudgedResponse, offsets: Sequence[Span], seed: str
) -> list[bool]:
    """Per sampled token, whether it carries the advantage of a penalty. Random runs are drawn by `seed`."""
    aspect = feedback.aspect(penalty)
    if aspect is None or feedback.credit == "response":
        return [True] * len(offsets)
    marks = tokens_in_spans(offsets, response.judgement.spans[aspect])
    rng = random.Random(f"spans {seed} {penalty}")
    if feedback.credit == "random" or rng.random() < feedback.span_noise:
        return random_runs(marks, rng)
    return marks


def random_runs(marks: Sequence[bool], rng: random.Random) -> list[bool]:
    """As many marks, in runs of the same lengths in a random order at random places."""
    runs = [len(run) for run in "".join("x" if mark else " " for mark in marks).split()]
    rng.shuffle(runs)
    gaps = _random_gaps(len(marks) - sum(runs), len(runs) + 1, rng)
    placed = [False] * gaps[0]
    for run, gap in zip(runs, gaps[1:], strict=True):
        placed += [True] * run + [False] * gap
    return placed


def _random_gaps(total: int, parts: int, rng: random.Random) -> list[int]:
    """`total` cut at random into `parts`; inner ones are at least 1 where that leaves enough, so runs stay apart."""
    inner = 1 if total >= parts - 2 else 0
    free = total - inner * max(0, parts - 2)
    cuts = sorted(rng.randint(0, free) for _ in range(parts - 1))
    gaps = [b - a for a, b in zip([0, *cuts], [*cuts, free], strict=True)]
    return [gap + (inner if 0 < i < parts - 1 else 0) for i, gap in enumerate(gaps)]


def advantage_statistics(advantages: torch.Tensor, mask: torch.Tensor) -> dict[str, float]:
    """Of a (B, T) tensor on the tokens of the responses: mean and mean magnitude over all of them, and over the
    credited ones (advantage not 0) their share and root mean square; `zero_responses` is the share of responses that
    carry none.
    """
    kept = (advantages * mask).double()
    credited = kept != 0
    tokens = mask.sum().clamp(min=1)
    return {
        "mean": float(kept.sum() / tokens),
        "mean_magnitude": float(kept.abs().sum() / tokens),
        "credited_share": float(credited.sum() / tokens),
        "credited_rms": float((kept.square().sum() / credited.sum().clamp(min=1)).sqrt()),
        "zero_responses": float((~credited.any(dim=1)).double().mean()),
    }


def attribution_statistics(
    feedback: Feedback,
    advantages: Sequence[Sequence[float]],
    responses: Sequence[JudgedResponse],
    offsets: Sequence[Sequence[Span]],
    group_size: int,
) -> dict[str, float]:
    """Where the advantage of a step went; one row of advantages and offsets per response, groups one after the other.

    `leakage`: sum_g Cov_g(A, C) / sum_g Var_g(C) over the groups of the feedback's splits, where C says that the
    response asserts the truth and A is its mean advantage on content tokens: the pressure on content, per unit of it.
    `leakage_zero_groups`: the share of those groups in which C does not vary; they add 0.
    `on_content`, `on_framing`, `on_other`: shares of |advantage| on the tokens of each.
    `precision`: the share of |advantage| on tokens of the aspects that the penalties are about.
    """
    content = [
        tokens_in_spans(o, r.judgement.spans["content"]) for o, r in zip(offsets, responses, strict=True)
    ]
    framing = [
        tokens_in_spans(o, r.judgement.spans["framing"]) for o, r in zip(offsets, responses, strict=True)
    ]
    aimed_at = {ASPECTS.get(penalty) for penalty in feedback.penalties}
    mass = {"content": 0.0, "framing": 0.0, "other": 0.0}
    for row, in_content, in_framing in zip(advantages, content, framing, strict=True):
        for value, c, f in zip(row, in_content, in_framing, strict=True):
            mass["framing" if f else "content" if c else "other"] += abs(value)
    total = sum(mass.values())
    leakage, zero_groups = _leakage(feedback, advantages, responses, content, group_size)
    shares = {f"on_{name}": value / total if total else 0.0 for name, value in mass.items()}
    precision = sum(shares[f"on_{aspect}"] for aspect in aimed_at if aspect)
    return {"leakage": leakage, "leakage_zero_groups": zero_groups, **shares, "precision": precision}


def _leakage(
    feedback: Feedback,
    advantages: Sequence[Sequence[float]],
    responses: Sequence[JudgedResponse],
    content: Sequence[Sequence[bool]],
    group_size: int,
) -> tuple[float, float]:
    covariance = variance = 0.0
    groups = still = 0
    for start in range(0, len(responses), group_size):
        rows = range(start, start + group_size)
        if responses[start].split not in feedback.splits:
            continue
        on_content = torch.tensor([_mean_where(advantages[i], content[i]) for i in rows])
        asserts = torch.tensor([float(responses[i].judgement.outcome == "assert_true") for i in rows])
        centred = asserts - asserts.mean()
        groups += 1
        still += int(bool((centred == 0).all()))
        covariance += float((centred * (on_content - on_content.mean())).mean())
        variance += float(centred.square().mean())
    return (covariance / variance if variance else 0.0), (still / groups if groups else 0.0)


def _mean_where(values: Sequence[float], marks: Sequence[bool]) -> float:
    kept = [value for value, mark in zip(values, marks, strict=True) if mark]
    return sum(kept) / len(kept) if kept else 0.0
