"""`valueattr verify`: whether a store of activations is as it was written."""

from pathlib import Path
from typing import Annotated

import typer

from valueattr.cli import render

app = typer.Typer()


@app.command(epilog=render.example("valueattr verify acts"))
def verify(store: Annotated[Path, typer.Argument(help="The folder of the store.")]) -> None:
    """Read a whole store of activations and compare its checksums."""
    from valueattr.activations import ActivationStore, StoreError

    with render.failures(StoreError):
        opened = ActivationStore(store)
        opened.verify()
    typer.echo(f"{opened.rows:,} rows are as they were written")
