"""The tables of texts beside the shards of a store, each with its checksum in a file of its own.

Importing this does not import torch.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from valueattr import _core
from valueattr._core import StoreError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["as_arrow", "has_checksum", "has_texts", "read_texts", "write_texts"]


def as_arrow(table: "pa.Table | pd.DataFrame") -> pa.Table:
    """A table of Arrow or pandas as one of Arrow, without the index of pandas.

    Raises:
        ValueError: a column of pandas holds values of several kinds, or two columns have one name.
    """
    if not isinstance(table, pa.Table):
        try:
            table = pa.Table.from_pandas(table, preserve_index=False)
            # pandas has large texts where Arrow has none; the same column is to be the same from either.
            kinds = [pa.string() if pa.types.is_large_string(kind) else kind for kind in table.schema.types]
            names = zip(table.column_names, kinds, strict=True)
            table = table.cast(pa.schema(list(names)))
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ValueError(f"a column holds values of several kinds: {error}") from None
    twice = [name for name in table.column_names if table.column_names.count(name) > 1]
    if twice:
        raise ValueError(f"two columns are called {twice[0]!r}")
    return table.replace_schema_metadata(None)


def has_texts(folder: Path, capture: str) -> bool:
    """Whether a store has the table of texts of a capture."""
    return _file(folder, capture).exists()


def has_checksum(folder: Path, capture: str) -> bool:
    """Whether it is known what the table of a capture should be; stores of before have no checksums of tables."""
    return _checksums(folder, capture).exists()


def read_texts(folder: Path, capture: str) -> pa.Table:
    """The table of texts of a capture, which is what was written if it has a checksum.

    Raises:
        StoreError: it is missing, broken, or differs from its checksum.
    """
    file = _file(folder, capture)
    try:
        content = file.read_bytes()
        if has_checksum(folder, capture):
            found = _core.xxh3(np.frombuffer(content, np.uint8))
            expected = _checksums(folder, capture).read_text("utf-8").split()
            if found not in expected:
                raise StoreError(
                    f"{file}: checksum {found}, its file .xxh3 says {' or '.join(expected)}: it was changed or "
                    "damaged; bring it back from a copy"
                )
        return pq.read_table(pa.BufferReader(content))
    except FileNotFoundError:
        raise StoreError(
            f"{file} is missing; bring it back from a copy, or capture into another store"
        ) from None
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise StoreError(f"{file} cannot be read; bring it back from a copy ({error})") from None


def write_texts(writer: _core.StoreWriter, folder: Path, capture: str, texts: pa.Table) -> None:
    """Write the table of a capture into the store.

    The checksum goes first, with that of the table before: after a kill between the two, either table is right.

    Raises:
        StoreError: the disk refuses.
        pa.ArrowException: Parquet has no such columns.
    """
    buffer = pa.BufferOutputStream()
    pq.write_table(texts, buffer)
    content = buffer.getvalue().to_pybytes()
    file, checksums = _file(folder, capture), [_core.xxh3(np.frombuffer(content, np.uint8))]
    if file.exists():
        checksums.append(_core.xxh3(np.frombuffer(file.read_bytes(), np.uint8)))
    writer.write_beside(_checksums(folder, capture).name, "".join(f"{one}\n" for one in checksums).encode())
    writer.write_beside(file.name, content)


def _file(folder: Path, capture: str) -> Path:
    return folder / f"texts-{capture}.parquet"


def _checksums(folder: Path, capture: str) -> Path:
    return folder / f"texts-{capture}.parquet.xxh3"
