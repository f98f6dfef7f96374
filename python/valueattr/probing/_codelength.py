"""How many bits the labels take, given the activations: the online code of Voita and Titov (2020, section 3.2).

Information-theoretic probing with minimum description length, EMNLP. Labels are sent block by block, each coded by a
probe that was fitted on the blocks before it: a probe that reads easily needs few examples, so the code is short. A
control that is only memorised takes many, and its code is long.
"""

from collections.abc import Sequence

import numpy as np

from valueattr.probing._heldout import (
    Activations,
    Convergence,
    Target,
    fit_partitions,
    held_out_losses,
    strong_to_weak,
)
from valueattr.probing._partitions import Partition


def codelength(
    target: Target, activations: Activations, l2: Sequence[float], online: Partition, threads: int | None
) -> tuple[float, Convergence]:
    """Bits of the labels by logistic probes, with the first block coded uniformly; every row counts alike. And the fits'.

    online: as by `prequential`. Each block is coded at the penalty that gave the shortest code for the blocks before it,
    the first of them at the strongest, so that nothing of a block has a say in its own code.
    """
    target = Target(target.codes, target.classes, np.ones_like(target.weight), balanced=False)
    path = strong_to_weak(l2)
    # Each block alone: together they would all take as many rows as the last.
    blocks = [
        Partition(online.part, online.trains[[k]], online.reads[[k]]) for k in range(len(online.trains))
    ]
    weights = [target.weights(block) for block in blocks]
    fits = [
        fit
        for block, weight in zip(blocks, weights, strict=True)
        for fit in fit_partitions(target, activations, "logistic", path, [block], [weight], threads)
    ]
    losses = held_out_losses(target, activations, blocks, weights, fits, probabilistic=True)
    nats = np.array([loss.sum((1, 2)) for loss in losses]).reshape(-1, len(path))
    before = np.cumsum(nats, axis=0) - nats
    coded = nats[np.arange(len(nats)), before.argmin(1)].sum()
    uniform = int((online.part == 0).sum()) * np.log(target.classes)
    return float((uniform + coded) / np.log(2)), Convergence.of(fits)
