"""The order in which the rows of a store are read for training: shuffled, repeatable and resumable."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["RowOrder"]

# Rows that lie side by side are read together: half a megabyte is nearly as fast as all in a row.
_BLOCK_BYTES = 512 << 10
# Rows are shuffled among this many blocks, or batches' worth of rows, whichever is more.
_WINDOW_BLOCKS = 64
_WINDOW_BATCHES = 4


class RowOrder:
    """Batches of row numbers, epoch after epoch. Each row comes once an epoch; only seed and epoch decide the order.

    Blocks of rows that lie side by side are shuffled among each other, and then rows within a window of blocks, so that
    the disk can read ahead. A store of up to a window (64 blocks of half a megabyte) is shuffled whole. `state_dict` is two
    numbers, from which `load_state_dict` goes on after the last batch that was handed out.

    Raises:
        ValueError: a batch has no row.
    """

    def __init__(self, rows: int, row_bytes: int, size: int, seed: int = 0, shuffle: bool = True) -> None:
        if size < 1:
            raise ValueError(f"a batch of {size} rows was asked for; the least is one")
        self.rows, self.size, self.seed, self.shuffle = rows, size, seed, shuffle
        self._block = max(1, _BLOCK_BYTES // max(1, row_bytes))
        self._window = max(_WINDOW_BLOCKS, -(-_WINDOW_BATCHES * size // self._block))
        self._epoch = self._batch = 0

    def __len__(self) -> int:
        return -(-self.rows // self.size)

    def state_dict(self) -> dict[str, int]:
        """The epoch, and how many of its batches were handed out."""
        return {"epoch": self._epoch, "batch": self._batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where `state` was taken, from an order of the same rows, size and seed."""
        self._epoch, self._batch = state["epoch"], state["batch"]

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        return self.iterate(lambda start, stop, now: None)

    def iterate(self, read: Callable[[int, int, bool], None]) -> Iterator[NDArray[np.int64]]:
        """The rest of this epoch's batches.

        read: called for each block with its first row, the row after its last, and whether it is wanted now. When a
            window begins, its blocks and those of the next are announced, and then its own are wanted now.
        """
        skip = self._batch * self.size
        kept = np.empty(0, np.int64)
        blocks = self._blocks()
        windows = [blocks[i : i + self._window] for i in range(0, len(blocks), self._window)]
        for i, window in enumerate(windows):
            rows = self._rows_of(window, i)
            if skip >= len(rows):
                skip -= len(rows)
                continue
            for ahead in (window, *windows[i + 1 : i + 2]):
                self._read(ahead, read, now=False)
            self._read(window, read, now=True)
            kept = np.concatenate([kept, rows[skip:]])
            skip = 0
            whole = len(kept) // self.size * self.size
            for start in range(0, whole, self.size):
                self._batch += 1
                yield kept[start : start + self.size]
            kept = kept[whole:]
        if len(kept):
            self._batch += 1
            yield kept
        self._epoch, self._batch = self._epoch + 1, 0

    def _read(self, blocks: NDArray[np.int64], read: Callable[[int, int, bool], None], *, now: bool) -> None:
        for start in (blocks * self._block).tolist():
            read(start, min(start + self._block, self.rows), now)

    def _blocks(self) -> NDArray[np.int64]:
        count = -(-self.rows // self._block)
        if not self.shuffle:
            return np.arange(count)
        return np.random.default_rng([self.seed, self._epoch]).permutation(count)

    def _rows_of(self, blocks: NDArray[np.int64], window: int) -> NDArray[np.int64]:
        rows = (blocks[:, None] * self._block + np.arange(self._block)).reshape(-1)
        rows = rows[rows < self.rows]
        if not self.shuffle:
            return rows
        return np.random.default_rng([self.seed, self._epoch, window]).permutation(rows)
