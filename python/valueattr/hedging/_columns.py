"""Arrow arrays from NumPy's and from texts, made of their buffers.

`pyarrow.array` would import pandas on its first call, which takes longer than to scan a small file.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def column(values: NDArray[Any], present: NDArray[np.bool_] | None = None) -> pa.Array:
    """Numbers or booleans as an Arrow array, null where not `present`; numbers are not copied."""
    data = _bits(values) if values.dtype == np.bool_ else pa.py_buffer(np.ascontiguousarray(values))
    valid = None if present is None else _bits(present)
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [valid, data])


def strings(texts: Sequence[str]) -> pa.Array:
    """Texts as an Arrow array of strings."""
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(texts), buffers)


def _bits(flags: NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(flags, bitorder="little"))
