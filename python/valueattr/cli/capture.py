"""`valueattr capture`: a model's activations on texts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from valueattr.cli import parsing, render

if TYPE_CHECKING:
    import pyarrow as pa

app = typer.Typer()


@app.command(
    epilog=render.example("valueattr capture --model Qwen/Qwen2.5-0.5B --texts statements.jsonl --out acts")
)
def capture(
    out: Annotated[
        Path, typer.Option(help="The folder of the store. What is already in it is not captured again.")
    ],
    model: Annotated[
        str | None,
        typer.Option(help=f"The model: {parsing.MODEL_FORMS}."),
    ] = None,
    texts: Annotated[
        Path | None,
        typer.Option(
            help="A .jsonl, .csv, .parquet or .txt file of texts. Its other columns are kept with them."
        ),
    ] = None,
    vllm: Annotated[
        Path | None,
        typer.Option(
            help="A folder of hidden states that vLLM wrote, in place of a model and texts; needs --layers."
        ),
    ] = None,
    field: Annotated[
        str | None,
        typer.Option(help="The column that holds the text; by default a common name is looked for."),
    ] = None,
    layers: Annotated[str, typer.Option(help="The layers to keep: all, or numbers such as 0,6,12.")] = "all",
    positions: Annotated[
        Literal["last", "all", "mean", "span"],
        typer.Option(
            help="Which tokens are kept. For span it is the last one between the columns `start` and `end`, "
            "which count characters."
        ),
    ] = "last",
    dtype: Annotated[
        Literal["float32", "float16", "bfloat16"],
        typer.Option(help="How the values are stored: float32, float16 or bfloat16."),
    ] = "float32",
    batch_size: Annotated[
        int, typer.Option(min=1, help="Number of texts that the model reads at once.")
    ] = 128,
    name: Annotated[str, typer.Option(help="The name of this capture among others in the store.")] = "texts",
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON for machines.")] = False,
) -> None:
    """Keep a model's activations on texts.

    They can be probed with valueattr probe, or trained on.
    """
    from valueattr.activations import CaptureError, JournalError, StoreError, import_vllm
    from valueattr.activations import capture as capture_texts
    from valueattr.model import ModelError, load_model, load_tokenizer
    from valueattr.tables import TableError, read_texts

    wanted = parsing.layers(layers)
    hints: dict[type[Exception], str] = {JournalError: parsing.rebuild_hint(out)}
    with render.failures(CaptureError, ModelError, StoreError, TableError, hints=hints):
        if vllm is not None:
            if model or texts or positions == "span" or wanted == "all":
                render.fail(
                    "--vllm needs --layers, and goes with neither --model, --texts nor --positions span",
                    render.BAD_USAGE,
                )
            store = import_vllm(vllm, out, layers=wanted, positions=positions, dtype=dtype, name=name)
        elif model is None or texts is None:
            render.fail("capture needs --model and --texts, or --vllm", render.BAD_USAGE)
        else:
            lines, table = read_texts(texts, field)
            with render.counted("texts", len(lines)) as progress:
                store = capture_texts(
                    load_model(model),
                    load_tokenizer(model),
                    lines,
                    layers=wanted,
                    positions=_spans(texts, table) if positions == "span" else positions,
                    dtype=dtype,
                    batch_size=batch_size,
                    store=out,
                    name=name,
                    table=table,
                    progress=progress,
                )
    if as_json:
        render.as_json(
            {
                "rows": store.rows,
                "layers": store.layers,
                "width": store.width,
                "dtype": store.dtype,
                "captures": store.captures,
            }
        )
        return
    typer.echo(
        f"{store.rows:,} rows of {len(store.layers)} layers, {store.width} {store.dtype} values each: {out}"
    )


def _spans(path: Path, table: "pa.Table") -> list[tuple[int, int]]:
    import pyarrow as pa

    for column in ("start", "end"):
        kind = table[column].type if column in table.column_names else None
        if kind is None or not pa.types.is_integer(kind) or table[column].null_count:
            render.fail(f"{path}: --positions span needs a whole number in column {column!r} of every row")
    return list(zip(table["start"].to_pylist(), table["end"].to_pylist(), strict=True))
