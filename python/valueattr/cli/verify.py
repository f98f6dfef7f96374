"""`valueattr verify`: whether a store of activations is as it was written."""

from pathlib import Path
from typing import Annotated

import typer

from valueattr.cli import parsing, render

app = typer.Typer()


@app.command(epilog=render.example("valueattr verify acts"))
def verify(store: Annotated[Path, typer.Argument(help="The folder of the store.")]) -> None:
    """Read a whole store of activations and compare its checksums.

    They cover every shard, and the table of texts of every capture.
    """
    from valueattr.activations import ActivationStore, JournalError, StoreError

    with render.failures(StoreError, hints={JournalError: parsing.rebuild_hint(store)}):
        opened = ActivationStore(store)
        checked = opened.verify()
    typer.echo(
        f"{opened.rows:,} rows are as they were written: {_counted(checked.shards, 'shard')} and "
        f"{_counted(len(checked.texts), 'table')} of texts have their checksums"
    )
    for capture in checked.unchecked:
        render.warn(f"The texts of capture {capture!r} have no checksum; they were only read")


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")
