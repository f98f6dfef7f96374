import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from valueattr.hedging import HedgeScanner

EXAMPLE = Path(__file__).parents[2] / "examples" / "scan_with_ray.py"


def test_the_example_counts_as_the_scanner_does(tmp_path):
    texts = [f"I think it may be {i}." if i % 3 else f"It is {i}." for i in range(90)]
    (tmp_path / "in").mkdir()
    for part in range(3):
        rows = {"id": list(range(30 * part, 30 * part + 30)), "response": texts[30 * part : 30 * part + 30]}
        pq.write_table(pa.table(rows), tmp_path / "in" / f"{part}.parquet")
    subprocess.run(
        [sys.executable, EXAMPLE, tmp_path / "in", tmp_path / "out"],
        check=True,
        capture_output=True,
        timeout=240,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
    )
    found = pq.read_table(tmp_path / "out").sort_by("id")
    assert found["response"].to_pylist() == texts
    expected = pa.Table.from_batches([HedgeScanner().scan(texts)])
    assert found.select(expected.column_names).to_pydict() == expected.to_pydict()
