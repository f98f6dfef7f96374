"""Makes the controls that ship with the package anew: `python -m valueattr.diagnosis FILE`; half an hour on two cores."""

import argparse
import sys
from pathlib import Path

import pandas as pd
import torch

from valueattr.diagnosis import base, control_rows
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
    torch.set_num_threads(1)  # so that the same machine gives the same controls, whatever else it has to do
    world, tables = synthesise(), []
    for number in range(BASES):
        _say(f"base {number + 1} of {BASES}: training, unless it is cached")
        tables.append(control_rows(base(world, number), say=_say))
    controls = pd.concat(tables, ignore_index=True)
    types = dict.fromkeys(_CATEGORIES, "category") | dict.fromkeys(_NUMBERS, "float32")
    columns = [*_CATEGORIES, "holds", "partly_erased", *_NUMBERS]
    controls[columns].astype(types).to_parquet(file, index=False, compression="zstd")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    _main()
