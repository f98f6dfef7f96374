"""Scan a dump that is past one machine with Ray Data: python scan_with_ray.py INPUT OUTPUT [FIELD]

INPUT: a folder or bucket of Parquet files. OUTPUT: a folder of Parquet files, the input's columns with the counts of
`HedgeScanner.scan` beside them. Needs `pip install 'valueattr[ray]'`; on a cluster, start it with `ray job submit`.
"""

import sys

import pyarrow as pa
import ray

from valueattr.hedging import HedgeScanner


class Scan:
    """Built once a worker; scans a block at a time, on the one core that Ray gives a worker."""

    def __init__(self, field: str) -> None:
        self.field, self.scanner = field, HedgeScanner(threads=1)

    def __call__(self, block: pa.Table) -> pa.Table:
        """The block with a column for each count."""
        counts = pa.Table.from_batches([self.scanner.scan(block[self.field].combine_chunks())])
        for name in counts.column_names:
            block = block.append_column(name, counts[name])
        return block


def main(source: str, out: str, field: str = "response") -> None:
    """Blocks are read (`ray.data.read_json` for JSON lines), scanned and written as they come."""
    workers = ray.data.ActorPoolStrategy(min_size=1)
    scanned = ray.data.read_parquet(source).map_batches(
        Scan, fn_constructor_args=(field,), batch_format="pyarrow", compute=workers
    )
    scanned.write_parquet(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
