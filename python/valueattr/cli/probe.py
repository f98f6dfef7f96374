"""`valueattr probe`: what linear probes read in a store of activations."""

import os
from collections.abc import Hashable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from valueattr.cli import parsing, render

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

app = typer.Typer()

# Probes that are shown; a file or --json has all.
_SHOWN = 12


@app.command(
    epilog=render.example(
        "valueattr probe acts --labels label --groups subject --kinds logistic,mean-difference"
        " --out probes.parquet"
    )
)
def probe(
    store: Annotated[
        Path, typer.Argument(help="The folder of a store of activations; see valueattr capture.")
    ],
    labels: Annotated[str, typer.Option(help="The columns of the classes to read off, such as label,topic.")],
    labels_file: Annotated[
        Path | None,
        typer.Option(
            help="A .csv, .jsonl or .parquet file with those columns and a column `id`, "
            "if they are not in the store."
        ),
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(help="The column whose values are never split between folds; by default `id`."),
    ] = None,
    wordings: Annotated[
        str | None,
        typer.Option(help="The column that names the wording, for selectivity; needs --groups."),
    ] = None,
    capture: Annotated[
        str | None,
        typer.Option(help="The name of the capture to probe; by default all captures of the store."),
    ] = None,
    layers: Annotated[str, typer.Option(help="The layers to probe: all, or numbers such as 0,6,12.")] = "all",
    kinds: Annotated[
        str,
        typer.Option(
            help="The kinds of probe, separated by commas: logistic, ridge, lda, mean-difference or "
            "mean-difference-whitened."
        ),
    ] = "logistic",
    l2: Annotated[
        str | None,
        typer.Option(help="The L2 penalties to choose from, such as 1e-4,1e-2; by default seven of them."),
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Number of cross-validation folds.")] = 5,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, from 0 up.")] = 1,
    sample_weight: Annotated[
        str | None,
        typer.Option(
            help="The column of the weight of each row in the fits; a weight of 0 leaves a row out."
        ),
    ] = None,
    balanced: Annotated[
        bool, typer.Option("--balanced", help="Give all classes the same weight in the fits.")
    ] = False,
    apply_to: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=STORE", help="Apply the same probes to another store. The option may be repeated."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A .parquet file to write, with all lines and columns.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file at --out if there is one.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all lines as JSON for machines.")] = False,
) -> None:
    """Fit linear probes to the layers of a store.

    What they read is shown with intervals and controls, the best layers first.
    """
    from valueattr.activations import ActivationStore, JournalError, StoreError
    from valueattr.outputs import OutputError, OutputExistsError, new_output
    from valueattr.probing import KINDS, L2, ProbeError, SeveralCapturesError, sweep
    from valueattr.tables import TableError

    asked, numbers = kinds.split(","), parsing.layers(layers)
    chosen = parsing.penalties(l2) if l2 else L2
    for kind in asked:
        if kind not in KINDS:
            render.fail(f"--kinds {kind}: expected some of {', '.join(KINDS)}", render.BAD_USAGE)
    others = [parsing.named_store(other) for other in apply_to or []]
    if out is not None and (out.suffix != ".parquet" or not os.path.isdir(out.parent)):
        render.fail(f"--out {out}: expected a .parquet file in a folder that is there", render.BAD_USAGE)
    hints = {
        JournalError: parsing.rebuild_hint(store),
        OutputExistsError: "--force replaces it.",
        SeveralCapturesError: "--capture NAME says which.",
    }
    inputs = [labels_file] if labels_file else []
    with (
        render.failures(ProbeError, StoreError, TableError, OutputError, OSError, hints=hints),
        new_output(out, inputs=inputs, overwrite=force) if out else nullcontext() as place,
    ):
        names = labels.split(",")
        with render.counted("probes", None) as progress:
            table = sweep(
                ActivationStore(store),
                _label_table(labels_file, names, [groups, wordings, sample_weight]) if labels_file else names,
                groups,
                capture=capture,
                wordings=wordings,
                layers=None if numbers == "all" else numbers,
                kinds=[kind for kind in KINDS if kind in asked],
                l2=chosen,
                folds=folds,
                seeds=range(seeds),
                sample_weight=sample_weight,
                class_weight="balanced" if balanced else None,
                apply_to={name: ActivationStore(other) for name, other in others},
                progress=progress,
            )
        if place is not None:
            place.write_bytes(table.to_parquet())  # since Arrow takes no path that is not UTF-8
    if as_json:
        typer.echo(table.to_json(orient="records"))
        return
    _show(table, out)


def _label_table(path: Path, labels: list[str], others: list[str | None]) -> "pa.Table":
    """What is asked for of a table of labels; all but these may stand with the store instead."""
    from valueattr.tables import TableError, read_table

    table = read_table(path)
    for name in labels:
        if name not in table.column_names:
            raise TableError(f"{path}: there is no column {name!r}; it has {', '.join(table.column_names)}")
    wanted = dict.fromkeys(["id", *labels, *others])
    return table.select([name for name in wanted if name in table.column_names])


def _show(table: "pd.DataFrame", out: Path | None) -> None:
    """The best first, by AUROC, each followed by what it does on other stores."""
    import pandas as pd
    from rich.markup import escape

    cell = ["label", "layer", "kind", "seed"]
    fitted = table[table["store"] == "fitted"]
    by_label = [lines for _, lines in fitted.groupby("label", sort=False)]
    each = max(1, _SHOWN // len(by_label))
    best = pd.concat(
        lines.sort_values("auroc", ascending=False, kind="stable").head(each) for lines in by_label
    )
    shown = best[cell].merge(table, how="left", on=cell, sort=False)
    optional = {
        "label": len(by_label) > 1,
        "seed": len(set(table["seed"])) > 1,
        "store": len(fitted) < len(table),
        "selectivity": table["selectivity"].notna().any(),
        "compression": table["compression"].notna().any(),
    }
    columns = ("label", "layer", "kind", "seed", "store", "accuracy", "auroc", "selectivity", "compression")
    taken = [name for name in columns if optional.get(name, True)]
    heads = {"accuracy": "accuracy \\[95%]", "auroc": "AUROC \\[95%]", "selectivity": "selectivity \\[95%]"}
    lines = render.table(
        *(heads.get(name, name) for name in taken),
        numbers=[heads.get(name, name) for name in taken if name not in ("label", "kind", "store")],
        dense=True,
    )
    for line in shown.to_dict("records"):
        follows = line["store"] != "fitted"
        cells = {
            **{name: escape(str(line[name])) for name in cell},
            "store": escape(line["store"]) + (", recentred" if line["centre"] == "recentred" else ""),
            "accuracy": _with_interval(line, "accuracy"),
            "auroc": _with_interval(line, "auroc"),
            "selectivity": _with_interval(line, "selectivity"),
            "compression": f"{line['compression']:.2f}" if line["compression"] == line["compression"] else "",
        }
        if follows:
            cells |= dict.fromkeys(cell, "")
        lines.add_row(*(cells[name] for name in taken), style="dim" if follows else None)
    console = render.console()
    console.print(lines, "")
    render.line(console, _about(fitted, len(best), out))


def _about(fitted: "pd.DataFrame", shown: int, out: Path | None) -> str:
    """What the numbers rest on, and what was left out of the table."""
    from rich.markup import escape

    weightless = " or of weight 0" if fitted.attrs.get("sample_weight") else ""
    notes = [
        f"{escape(str(line['label']))}: {line['n']:,} rows in {line['groups']:,} groups, "
        f"{line['classes']} classes, the most frequent {_short(line['majority'])}"
        + (
            f"; {line['left_out']:,} rows without a label{weightless} are left out"
            if line["left_out"]
            else ""
        )
        for line in fitted.drop_duplicates("label").to_dict("records")
    ]
    if shown < len(fitted):
        where = "" if out else "; --out keeps all"
        notes.append(f"The best {shown} of {len(fitted)}, which flatters the first{where}")
    unsettled = int((fitted["converged"] < 1).sum())
    if unsettled:
        notes.append(f"Not all fits converged in {unsettled} of {len(fitted)}")
    if out is not None:
        notes.append(f"Written to {escape(str(out))}")
    return "\n".join(notes)


def _with_interval(line: "dict[Hashable, Any]", name: str) -> str:
    value, low, high = (_short(line[key]) for key in (name, f"{name}_low", f"{name}_high"))
    return f"{value} \\[{low}, {high}]" if value else ""


def _short(share: float) -> str:
    """A share in four characters and perhaps a minus: .517, 1.00; nothing if there is none."""
    if share != share:
        return ""
    text = f"{share:.3f}"
    return text[:-1] if "1." in text else text.replace("0.", ".", 1)
