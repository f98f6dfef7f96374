"""The compiled parts. Arrays are C-contiguous; the GIL is released while they work."""

from pathlib import Path
from typing import Any, TypedDict, final

import numpy as np
from numpy.typing import NDArray

# --- probe ---

class ProbeError(ValueError):
    """A batch of probes that cannot be fitted; the message names the row, set or argument."""

class NotFiniteError(ProbeError):
    """An activation is NaN or inf; the message names its row and feature."""

class _Fits(TypedDict):
    classes: int
    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    converged: NDArray[np.bool_]
    n_iter: NDArray[np.uint32]
    objective: NDArray[np.float64]
    gradient_norm: NDArray[np.float64]

_Rows = NDArray[np.float32] | tuple[StoreReader, int]

def fit_logistic(
    x: _Rows,
    labels: NDArray[np.uint32],
    weights: NDArray[np.float64] | None,
    l2: NDArray[np.float64],
    *,
    standardize: bool,
    tol: float,
    max_iter: int,
    threads: int,
) -> _Fits:
    """Fits over (penalty, label set, weight set), flat in C order; see `valueattr.probing.fit_many`.

    `x` (n, d), or a reader and the index of a layer; `labels` (m, n), `weights` (k, n), `l2` (p,); `threads` 0 is one
    per core.
    """

def fit_linear(
    kind: str,
    x: _Rows,
    labels: NDArray[np.uint32],
    weights: NDArray[np.float64] | None,
    l2: NDArray[np.float64],
    *,
    standardize: bool,
    threads: int,
) -> _Fits:
    """As `fit_logistic`, of a kind that follows from moments; for `lda`, `l2` is the shrinkage."""

def fit_ridge(
    x: _Rows,
    targets: NDArray[np.float64],
    weights: NDArray[np.float64] | None,
    l2: NDArray[np.float64],
    *,
    standardize: bool,
    threads: int,
) -> _Fits:
    """Fits over (penalty, weight set) of `targets` (outputs, n)."""

def resampled_auroc(
    scores: NDArray[np.float64],
    positive: NDArray[np.bool_],
    group: NDArray[np.uint32],
    counts: NDArray[np.uint32],
    *,
    threads: int,
) -> NDArray[np.float64]:
    """AUROC (ties half) of each resample (B,): row i counts `counts[b, group[i]]` times; NaN where a side is empty."""

# --- scan ---

KINDS: list[str]
STANCES: list[str]

class LexiconError(ValueError):
    """A lexicon that cannot be read; the message names the line."""

@final
class Scanner:
    """A compiled lexicon; see `valueattr.hedging`. `threads` 0 is one per core."""

    def __new__(cls, lexicon: str | None, threads: int, modal: bool, stance: bool) -> Scanner: ...
    def stance_features(self, texts: list[str]) -> list[list[float]]: ...
    def stance_reasons(self, text: str) -> list[tuple[str, float]]: ...
    def entries(self) -> list[tuple[str, str, float | None, str | None, str | None, int]]: ...
    def explain(self, text: str) -> list[tuple[int, int, int, str]]: ...
    def dump(
        self, path: Path, field: str | None, chat: bool, spans: bool, may_be_array: bool
    ) -> DumpScanner: ...
    def count_list(self, texts: list[str]) -> dict[str, NDArray[Any]]: ...
    def spans_list(self, texts: list[str]) -> dict[str, NDArray[Any]]: ...
    def count_buffers(
        self, offsets: NDArray[np.int64], bytes: NDArray[np.uint8]
    ) -> dict[str, NDArray[Any]]: ...
    def spans_buffers(
        self, offsets: NDArray[np.int64], bytes: NDArray[np.uint8]
    ) -> dict[str, NDArray[Any]]: ...

@final
class DumpScanner:
    """Iterates over a dump: columns of counts, columns of spans or None, rows without a text and why."""

    def __iter__(self) -> DumpScanner: ...
    def __next__(
        self,
    ) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]] | None, list[tuple[int, str]]]: ...
    def bytes_read(self) -> int: ...
    def is_array(self) -> bool: ...

# --- answers ---

READINGS: list[str]
READING_RULES: list[str]

@final
class AnswerReader:
    """Reads which of several objects answers assert; see `valueattr.rating.FreeTextRater`."""

    def __new__(cls, answers: list[list[str]], subjects: list[list[str]]) -> AnswerReader: ...
    def read(
        self, responses: list[str], of: NDArray[np.uint32], questions: list[tuple[str, int | None]]
    ) -> dict[str, NDArray[Any]]: ...

# --- store ---

class StoreError(Exception):
    """A store that cannot be used; the message names the file and says why."""

class JournalError(StoreError):
    """The journal or the manifest of a store is lost or broken, while its shards are there to rebuild it from."""

def rebuild_journal(path: Path) -> tuple[int, int]: ...
def xxh3(bytes: NDArray[np.uint8]) -> str: ...

@final
class StoreWriter:
    """The one writer of a store; see `valueattr.activations`."""

    def __new__(
        cls, path: Path, layers: list[int], width: int, dtype_name: str, durable: bool
    ) -> StoreWriter: ...
    @property
    def committed(self) -> list[tuple[str, int, int]]: ...
    def append(
        self,
        capture: str,
        texts: int,
        text: NDArray[np.int64],
        token: NDArray[np.int64],
        layers: list[NDArray[np.uint8]],
    ) -> None: ...
    def write_beside(self, name: str, bytes: bytes) -> None: ...
    def finish(self) -> None: ...

@final
class StoreReader:
    """A committed store, mapped; see `valueattr.activations`."""

    def __new__(cls, path: Path) -> StoreReader: ...
    @property
    def layers(self) -> list[int]: ...
    @property
    def width(self) -> int: ...
    @property
    def dtype(self) -> str: ...
    @property
    def rows(self) -> int: ...
    @property
    def shards(self) -> list[tuple[str, int, int]]: ...
    def locate(self, layer: int) -> list[tuple[Path, int]]: ...
    def sources(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...
    def gather(self, layer: int, rows: NDArray[np.int64], out: NDArray[np.float32]) -> None: ...
    def will_need(self, layer: int, start: int, stop: int, now: bool) -> None: ...
    def verify(self) -> None: ...
