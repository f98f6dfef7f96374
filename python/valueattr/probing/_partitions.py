"""Which rows train a probe and which it reads: folds of groups, what they leave out, prefixes of an online code.

Whatever is drawn is drawn from the seed alone. Groups are dealt and ordered whole, so rows of one group never stand on
both sides.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# Shares of the rows after which the online code fits anew (Voita and Titov 2020, section 3.2).
PREFIXES = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)

# Streams of random numbers: one seed gives each purpose its own.
_DEAL, _ORDER, _CONTROL, _BOOTSTRAP = range(4)


@dataclass(frozen=True)
class Partition:
    """Rows in parts, and sets of parts.

    part: (n,) the part that each row is in. trains, reads: (k, parts) which parts train the probe of set k, and which
    it is to read.
    """

    part: Ints
    trains: Bools
    reads: Bools

    def training(self) -> Bools:
        """(k, n): the rows that train each set's probe."""
        return self.trains[:, self.part]


def deal(group: Ints, codes: Ints, folds: int, seed: int) -> Ints:
    """The fold (n,) of each row: groups at random, each fold as many of each class as is reasonable.

    Groups stand in order of their most frequent class, then of size, ties at random; of every `folds` in a row each goes
    to another fold.
    """
    rng = np.random.default_rng([seed, _DEAL])
    groups, classes = int(group.max()) + 1, int(codes.max()) + 1
    counts = np.bincount(group * classes + codes, minlength=groups * classes).reshape(groups, classes)
    order = np.lexsort((rng.random(groups), -counts.sum(1), counts.argmax(1)))
    hands = np.tile(np.arange(folds), (-(-groups // folds), 1))
    fold = np.empty(groups, np.int64)
    fold[order] = rng.permuted(hands, axis=1).reshape(-1)[:groups]
    return fold[group]


def leave_one_out(part: Ints) -> Partition:
    """One set per part: trained on all others, it reads this one."""
    reads = np.eye(int(part.max()) + 1, dtype=bool)
    return Partition(part, ~reads, reads)


def leave_two_out(part: Ints) -> Partition:
    """One set per pair of parts: of each, it says how well a penalty does for the probe that leaves out the other."""
    parts = int(part.max()) + 1
    pairs = np.array(list(combinations(range(parts), 2)))
    reads = np.zeros((len(pairs), parts), bool)
    np.put_along_axis(reads, pairs, True, axis=1)
    return Partition(part, ~reads, reads)


def prequential(group: Ints, codes: Ints, seed: int) -> Partition:
    """Blocks of groups in random order; set k is trained on blocks 0 to k and reads the next.

    Blocks end where `PREFIXES` of the rows are reached; the first is of as many of them as it takes to have two classes.
    """
    rng = np.random.default_rng([seed, _ORDER])
    groups = int(group.max()) + 1
    position = rng.permutation(groups)
    place = position[group]
    reached = np.cumsum(np.bincount(place))
    ends = np.searchsorted(reached, np.array(PREFIXES) * len(group) * (1 - 1e-12)) + 1
    two_classes = place[codes != codes[place.argmin()]].min() + 1
    ends = np.unique(ends[ends >= two_classes])
    part = np.searchsorted(ends, place, side="right").astype(np.int64)
    blocks = len(ends)
    step = np.arange(blocks - 1)[:, None]
    return Partition(part, np.arange(blocks) <= step, np.arange(blocks) == step + 1)


def control_codes(group: Ints, codes: Ints, seed: int) -> Ints:
    """Control labels (n,): a random class for each group, classes as frequent among groups as in `codes`."""
    rng = np.random.default_rng([seed, _CONTROL])
    groups = int(group.max()) + 1
    reached = np.cumsum(np.bincount(codes)) / len(codes)
    dealt = np.searchsorted(reached, (np.arange(groups) + 0.5) / groups)
    return rng.permutation(dealt)[group]


def resampled_groups(groups: int, draws: int, seed: int, chunk: int) -> NDArray[np.uint32]:
    """How often each group is drawn (draws, groups): as many as there are, with replacement."""
    rng = np.random.default_rng([seed, _BOOTSTRAP, chunk])
    counts = np.empty((draws, groups), np.uint32)
    for drawn in counts:
        drawn[:] = np.bincount(rng.integers(0, groups, groups), minlength=groups)
    return counts
