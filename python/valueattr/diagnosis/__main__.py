"""Makes the controls that ship with the package anew, one base on each core at a time: `python -m valueattr.diagnosis FILE`."""

import argparse
import sys
from pathlib import Path

import pandas as pd

from valueattr.diagnosis import base, control_rows
from valueattr.model import on_own_cores
from valueattr.world import synthesise

BASES = 6
_CATEGORIES = ("base", "recipe", "fact", "exposure", "surface")
_NUMBERS = ("belief", "few_shot", "probe", "relearned", "forward_kl")


def _main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m valueattr.diagnosis",
        description="Make the controls of the embedded start model anew.",
    )
    parser.add_argument("file", type=Path, help="Parquet file that the controls are written to.")
    file = parser.parse_args().file
    _say(f"training {BASES} bases, unless they are cached")
    tables = on_own_cores(_of_base, range(BASES), lambda count: _say(f"{count} of {BASES} bases are done"))
    controls = pd.concat(tables, ignore_index=True)
    types = dict.fromkeys(_CATEGORIES, "category") | dict.fromkeys(_NUMBERS, "float32")
    columns = [*_CATEGORIES, "holds", "partly_erased", *_NUMBERS]
    controls[columns].astype(types).to_parquet(file, index=False, compression="zstd")


def _of_base(number: int) -> pd.DataFrame:
    return control_rows(base(synthesise(), number), say=_say)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    _main()
