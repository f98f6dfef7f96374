"""`valueattr rebuild`: the journal of a store of activations, anew from its shards."""

from pathlib import Path
from typing import Annotated

import typer

from valueattr.cli import render

app = typer.Typer()


@app.command(epilog=render.example("valueattr rebuild acts"))
def rebuild(store: Annotated[Path, typer.Argument(help="The folder of the store.")]) -> None:
    """Write the lost journal of a store anew from its shards.

    Intact lines of the journal are kept. The checksums of the other shards are taken from what they hold now.
    """
    from valueattr.activations import ActivationStore, StoreError, rebuild_journal

    with render.failures(StoreError):
        kept, new = rebuild_journal(store)
        rows = ActivationStore(store).rows
    typer.echo(f"{rows:,} rows; lines of the journal that were kept: {kept:,}, that are new: {new:,}")
