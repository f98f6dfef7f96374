"""The command line: parses, calls the API, prints. Exit codes: 0 done, 1 failed, 2 bad usage."""

import errno
import json
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as RichProgress
from rich.table import Table

from valueattr import __version__
from valueattr.results import RunDirectory, RunDirectoryError, write_atomically

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from valueattr.experiments import Experiment, Subject
    from valueattr.hedging import Entry, HedgeScanner
    from valueattr.hedging.dumps import Progress

app = typer.Typer(
    help="Measure what RLHF does to a language model's knowledge and candour.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_BAD_USAGE = 2


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Measure what RLHF does to a language model's knowledge and candour."""


@app.command(epilog="Example: valueattr run e1 --preset tiny --seeds 1 --out runs/e1")
def run(
    experiment: Annotated[str, typer.Argument(help="Which experiment: e1, e2, e3, or all of them.")],
    preset: Annotated[str, typer.Option(help="How large: smoke, tiny or small.")] = "tiny",
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Seeds 0 to N-1; more can be added to a run later.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run directory; default runs/EXPERIMENT-PRESET.")
    ] = None,
    facts: Annotated[
        Path | None, typer.Option(help="A world of your own, as JSONL; see docs/worlds.md.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A model of your own: a folder or hub id; see docs/own-models.md.")
    ] = None,
    statements: Annotated[
        Path | None,
        typer.Option(help="True and false statements to read before and after: CSV or JSONL."),
    ] = None,
    vary: Annotated[
        str | None, typer.Option(help="Of e3: family or span-noise; adds arms that differ in it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON for machines.")] = False,
) -> None:
    """Run an experiment to its report. Stopped or killed, the same command goes on where it was."""
    from valueattr.experiments import ArmFailedError, UnknownPresetError, run_all
    from valueattr.experiments import run as run_experiment
    from valueattr.world import WorldError

    console = _console(as_json)
    declared = _declared(experiment, vary)
    folder = out or Path("runs", f"{experiment}{f'-{vary}' if vary else ''}-{preset}")
    try:
        subject = _subject(facts, model, statements)
        if experiment == "all":
            runs = run_all(declared, preset, folder, seeds=seeds, subject=subject, console=console)
        else:
            runs = [
                run_experiment(declared[0], preset, folder, seeds=seeds, subject=subject, console=console)
            ]
    except UnknownPresetError as error:
        _fail(str(error), _BAD_USAGE)
    except (RunDirectoryError, ArmFailedError, WorldError, _NotReadableError) as error:
        _fail(str(error))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _fail(f"no space left on the disk: {error}; free some and the same command goes on ({folder})")
    except ModuleNotFoundError as error:
        _fail(f"{error.name} is not installed; experiments need it: pip install 'valueattr[train]'")
    except KeyboardInterrupt:
        _fail(f"stopped; the same command goes on where it was ({folder})")
    for directory in runs:
        _show(directory, console)
    if len(runs) > 1:
        console.print(f"All together: {folder / 'report.html'}", highlight=False, soft_wrap=True)
    if as_json:
        summaries = [_summary(directory) for directory in runs]
        typer.echo(json.dumps(summaries[0] if len(summaries) == 1 else summaries))


class _NotReadableError(Exception):
    """A model or statements that cannot be used; their own errors come with torch, which is loaded late."""


def _subject(facts: Path | None, model: str | None, statements: Path | None) -> "Subject":
    """What is studied, read from what the user named."""
    from valueattr.experiments import Subject
    from valueattr.world import World, synthesise

    world = World.load(facts) if facts else synthesise()
    if model is None and statements is None:
        return Subject(world)
    from valueattr.measures.statements import StatementError, load_statements
    from valueattr.model import ModelError, load_model, load_tokenizer

    try:
        if model is not None:
            load_tokenizer(model)
            load_model(model)
        read = load_statements(statements) if statements else None
    except (StatementError, ModelError) as error:
        raise _NotReadableError(str(error)) from None
    return Subject(world, model, read) if model else Subject(world, statements=read)


def _declared(experiment: str, vary: str | None) -> "list[Experiment]":
    """The experiments that a name stands for, with the arms of a variation."""
    from valueattr.experiments import EXPERIMENTS, VARIATIONS
    from valueattr.experiments import vary as varied

    if experiment not in (*EXPERIMENTS, "all"):
        _fail(f"unknown experiment {experiment!r}; known: {', '.join(EXPERIMENTS)}, all", _BAD_USAGE)
    if vary is not None and (experiment != "e3" or vary not in VARIATIONS):
        _fail(f"--vary takes {' or '.join(VARIATIONS)}, of e3; found {vary!r} of {experiment}", _BAD_USAGE)
    if experiment == "all":
        return list(EXPERIMENTS.values())
    return [varied(vary) if vary else EXPERIMENTS[experiment]]


@app.command(epilog="Example: valueattr report runs/e1-tiny")
def report(
    directory: Annotated[Path, typer.Argument(help="A run directory.")],
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON for machines.")] = False,
) -> None:
    """Write the report of a finished run anew, and print its headline."""
    from valueattr.report import write_report

    console = _console(as_json)
    try:
        run_directory = RunDirectory(directory)
        write_report(run_directory)
        _show(run_directory, console)
    except RunDirectoryError as error:
        _fail(str(error))
    if as_json:
        typer.echo(json.dumps(_summary(run_directory)))


@app.command(epilog="Example: valueattr scan dump.jsonl.zst --field completion --out hedges.parquet")
def scan(
    inputs: Annotated[
        list[Path],
        typer.Argument(help="Files (.jsonl, .txt, .gz or .zst of these, .parquet, .arrow), folders, or - ."),
    ],
    field: Annotated[str, typer.Option(help="The text's field, or a dotted path to it.")] = "response",
    lexicon: Annotated[Path | None, typer.Option(help="A lexicon of your own; see docs/lexicon.md.")] = None,
    modal: Annotated[bool, typer.Option(help="Count modal and conditional forms too.")] = False,
    chat: Annotated[bool, typer.Option(help="The field is a chat: scan the assistant's turns.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="A .parquet file of one row per text; with --spans, a folder.")
    ] = None,
    spans: Annotated[bool, typer.Option(help="Write where each phrase stands, too.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="At most; one per core by default.")] = None,
    on_error: Annotated[
        Literal["skip", "fail"], typer.Option(help="What to do about a row without a text.")
    ] = "fail",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON for machines.")] = False,
) -> None:
    """Count hedging phrases in dumps of generations, however large."""
    from valueattr.hedging import HedgeScanner, LexiconError
    from valueattr.hedging.dumps import DumpError, dump_bytes, scan_dump

    if spans and out is None:
        _fail("--spans needs --out, a folder for both tables", _BAD_USAGE)
    console = _console(True)
    try:
        scanner = HedgeScanner(lexicon, threads, modal=modal)
        with _scan_progress(console, dump_bytes(inputs)) as progress:
            summary = scan_dump(
                inputs,
                field=field,
                scanner=scanner,
                chat=chat,
                out=out,
                spans=spans,
                on_error=on_error,
                progress=progress,
            )
    except (DumpError, LexiconError, OSError) as error:
        _fail(str(error))
    for line in summary.listed:
        typer.secho(f"skipped {line}", fg=typer.colors.YELLOW, err=True)
    if summary.skipped > len(summary.listed):
        typer.secho(f"skipped {summary.skipped} rows in all", fg=typer.colors.YELLOW, err=True)
    if as_json:
        typer.echo(json.dumps(asdict(summary)))
        return
    table = Table(box=SIMPLE, header_style="bold", pad_edge=False)
    table.add_column("kind")
    for column in ("phrases", "per 100 words", "texts with one"):
        table.add_column(column, justify="right")
    for kind, found in summary.kinds.items():
        share = summary.with_kind[kind] / summary.documents if summary.documents else 0.0
        table.add_row(kind, f"{found:,}", f"{100 * found / max(summary.words, 1):.3f}", f"{share:.1%}")
    output = _console(False)
    output.print(table)
    only = summary.hedge_only / summary.documents if summary.documents else 0.0
    output.print(
        f"{summary.documents:,} texts, {summary.words:,} words; {only:.1%} hold nothing but hedges"
        + (f"; {summary.skipped:,} rows skipped" if summary.skipped else "")
        + (f". Written to {out}" if out else ""),
        highlight=False,
    )


@contextmanager
def _scan_progress(console: Console, size: int) -> Iterator["Progress | None"]:
    """A bar with rate and time left, on a terminal."""
    if not console.is_terminal:
        yield None
        return
    columns = (
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[documents]:,} texts"),
    )
    with RichProgress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("scan", total=size or None, documents=0)
        yield lambda read, documents: bar.update(task, completed=read, documents=documents)


@app.command(
    epilog="Example: valueattr capture --model Qwen/Qwen2.5-0.5B --texts statements.jsonl --out acts"
)
def capture(
    out: Annotated[Path, typer.Option(help="The store's folder; what is there already is not done again.")],
    model: Annotated[str | None, typer.Option(help="A model's folder or hub id.")] = None,
    texts: Annotated[
        Path | None,
        typer.Option(help="A .jsonl, .csv, .parquet or .txt file; its other columns are kept, too."),
    ] = None,
    vllm: Annotated[
        Path | None,
        typer.Option(help="Instead of both: a folder of hidden states that vLLM wrote; needs --layers."),
    ] = None,
    field: Annotated[str | None, typer.Option(help="The column of the text.")] = None,
    layers: Annotated[str, typer.Option(help="all, or numbers such as 0,6,12.")] = "all",
    positions: Annotated[
        Literal["last", "all", "mean", "span"],
        typer.Option(help="Which tokens; span: the last in the columns `start` to `end`, in characters."),
    ] = "last",
    dtype: Annotated[Literal["float32", "float16", "bfloat16"], typer.Option(help="As kept.")] = "float32",
    batch_size: Annotated[int, typer.Option(min=1, help="Texts at once.")] = 128,
    name: Annotated[str, typer.Option(help="Of this capture, among others in the store.")] = "texts",
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON for machines.")] = False,
) -> None:
    """Keep a model's activations on texts, to probe them or train on them."""
    from valueattr.activations import CaptureError, StoreError, import_vllm
    from valueattr.activations import capture as capture_texts
    from valueattr.model import ModelError, load_model, load_tokenizer
    from valueattr.tables import TextsError, read_texts

    wanted = _layers(layers)
    try:
        if vllm is not None:
            if model or texts or positions == "span" or wanted == "all":
                _fail("--vllm needs --layers, and takes neither --model, --texts nor spans", _BAD_USAGE)
            store = import_vllm(vllm, out, layers=wanted, positions=positions, dtype=dtype, name=name)
        elif model is None or texts is None:
            _fail("needs --model and --texts, or --vllm", _BAD_USAGE)
        else:
            lines, table = read_texts(texts, field)
            with _counted(_console(True), "texts", len(lines)) as progress:
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
    except (CaptureError, ModelError, StoreError, TextsError) as error:
        _fail(str(error))
    if as_json:
        summary = {
            "rows": store.rows,
            "layers": store.layers,
            "width": store.width,
            "dtype": store.dtype,
            "captures": store.captures,
        }
        typer.echo(json.dumps(summary))
        return
    typer.echo(
        f"{store.rows:,} rows of {len(store.layers)} layers, {store.width} {store.dtype} values each: {out}"
    )


def _layers(text: str) -> "Literal['all'] | list[int]":
    if text == "all":
        return "all"
    try:
        return [int(layer) for layer in text.split(",")]
    except ValueError:
        _fail(f"--layers {text}: expected all, or numbers such as 0,6,12", _BAD_USAGE)


def _spans(path: Path, table: "pa.Table") -> list[tuple[int, int]]:
    from valueattr.tables import TextsError

    for column in ("start", "end"):
        if column not in table.column_names or table[column].null_count:
            raise TextsError(f"{path}: --positions span needs a number in column {column!r} of every row")
    return list(zip(table["start"].to_pylist(), table["end"].to_pylist(), strict=True))


@contextmanager
def _counted(console: Console, unit: str, total: int | None) -> "Iterator[Callable[[int, int], None] | None]":
    """A bar with rate and time left, on a terminal."""
    if not console.is_terminal:
        yield None
        return
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{unit}, {{task.fields[rate]}}/s"),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(unit, total=total, rate=0)

        def show(done: int, of: int) -> None:
            speed = bar.tasks[0].speed or 0.0
            rate = f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}"
            bar.update(task, completed=done, total=of, rate=rate)

        yield show


@app.command(
    epilog="Example: valueattr probe acts --labels label --groups subject --kinds logistic,mean-difference"
    " --out probes.parquet"
)
def probe(
    store: Annotated[Path, typer.Argument(help="A store's folder; see valueattr capture.")],
    labels: Annotated[str, typer.Option(help="Columns of classes to read, such as label,topic.")],
    labels_file: Annotated[
        Path | None,
        typer.Option(
            help="Where they stand, if not with the store: .csv, .jsonl or .parquet with a column `id`."
        ),
    ] = None,
    groups: Annotated[
        str | None, typer.Option(help="The column of what must not be in two folds; by default the id.")
    ] = None,
    wordings: Annotated[
        str | None, typer.Option(help="The column of the wording, for selectivity; needs --groups.")
    ] = None,
    layers: Annotated[str, typer.Option(help="all, or numbers such as 0,6,12.")] = "all",
    kinds: Annotated[
        str, typer.Option(help="Of logistic, ridge, lda, mean-difference, mean-difference-whitened.")
    ] = "logistic",
    l2: Annotated[
        str | None, typer.Option(help="Penalties to choose from, such as 1e-4,1e-2; seven by default.")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Of groups.")] = 5,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 to N-1.")] = 1,
    sample_weight: Annotated[
        str | None, typer.Option(help="The column of what a row weighs in the fits; 0 leaves it out.")
    ] = None,
    balanced: Annotated[
        bool, typer.Option("--balanced", help="Let classes weigh the same in the fits.")
    ] = False,
    apply_to: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=STORE", help="Read the same probes on another store; may be repeated."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A .parquet file of all lines and columns.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all lines as JSON for machines.")] = False,
) -> None:
    """Probe a store: what a linear read-out finds in each layer, with intervals and controls."""
    from valueattr.activations import ActivationStore, StoreError
    from valueattr.probing import KINDS, L2, ProbeError, sweep
    from valueattr.tables import TextsError

    asked, numbers, penalties = kinds.split(","), _layers(layers), _penalties(l2) if l2 else L2
    for kind in asked:
        if kind not in KINDS:
            _fail(f"--kinds {kind}: expected of {', '.join(KINDS)}", _BAD_USAGE)
    others = [_named_store(other) for other in apply_to or []]
    if out is not None and (out.suffix != ".parquet" or not out.parent.is_dir()):
        _fail(f"--out {out}: expected a .parquet file in a folder that is there", _BAD_USAGE)
    try:
        names = labels.split(",")
        with _counted(_console(True), "probes", None) as progress:
            table = sweep(
                ActivationStore(store),
                _label_table(labels_file, names, [groups, wordings, sample_weight]) if labels_file else names,
                groups,
                wordings=wordings,
                layers=None if numbers == "all" else numbers,
                kinds=[kind for kind in KINDS if kind in asked],
                l2=penalties,
                folds=folds,
                seeds=range(seeds),
                sample_weight=sample_weight,
                class_weight="balanced" if balanced else None,
                apply_to={name: ActivationStore(other) for name, other in others},
                progress=progress,
            )
        if out is not None:
            write_atomically(out, table.to_parquet)
    except (ProbeError, StoreError, TextsError, RunDirectoryError, OSError) as error:
        _fail(str(error))
    if as_json:
        typer.echo(table.to_json(orient="records"))
        return
    _show_probes(table, _console(False), out)


def _penalties(text: str) -> list[float]:
    try:
        return [float(penalty) for penalty in text.split(",")]
    except ValueError:
        _fail(f"--l2 {text}: expected numbers such as 1e-4,1e-2", _BAD_USAGE)


def _named_store(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    if not (name and folder):
        _fail(f"--apply-to {text}: expected NAME=STORE", _BAD_USAGE)
    return name, Path(folder)


def _label_table(path: Path, labels: list[str], others: list[str | None]) -> "pa.Table":
    """What is asked for of a table of labels; all but these may stand with the store instead."""
    from valueattr.tables import TextsError, read_table

    table = read_table(path)
    for name in labels:
        if name not in table.column_names:
            raise TextsError(f"{path}: there is no column {name!r}; it has {', '.join(table.column_names)}")
    wanted = dict.fromkeys(["id", *labels, *others])
    return table.select([name for name in wanted if name in table.column_names])


# Probes that are shown; a file or --json has all.
_SHOWN = 12


def _show_probes(table: "pd.DataFrame", console: Console, out: Path | None) -> None:
    """The best first, by AUROC, each followed by what it does on other stores."""
    import pandas as pd

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
    lines = Table(box=SIMPLE, header_style="bold", show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in taken:
        words = name in ("label", "kind", "store")
        lines.add_column(heads.get(name, name), justify="left" if words else "right", no_wrap=not words)
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
    console.print(lines, "")
    console.print(_about_probes(fitted, len(best), out), highlight=False, soft_wrap=True)


def _about_probes(fitted: "pd.DataFrame", shown: int, out: Path | None) -> str:
    """What the numbers rest on, and what was left out of the table."""
    notes = [
        f"{escape(str(line['label']))}: {line['n']:,} rows in {line['groups']:,} groups, "
        f"{line['classes']} classes, the most frequent {_short(line['majority'])}"
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


@app.command(epilog="Example: valueattr verify acts")
def verify(store: Annotated[Path, typer.Argument(help="A store's folder.")]) -> None:
    """Read a whole store of activations and compare checksums."""
    from valueattr.activations import ActivationStore, StoreError

    try:
        opened = ActivationStore(store)
        opened.verify()
    except StoreError as error:
        _fail(str(error))
    typer.echo(f"{opened.rows:,} rows are as they were written")


lexicon_app = typer.Typer(
    help="Look into the lexicon of hedging phrases, or one of your own.", no_args_is_help=True
)
app.add_typer(lexicon_app, name="lexicon")

_Lexicon = Annotated[Path | None, typer.Argument(help="A lexicon of your own; else the shipped one.")]


@lexicon_app.command("check", epilog="Example: valueattr lexicon check own.toml")
def lexicon_check(lexicon: _Lexicon = None) -> None:
    """Check that a lexicon can be read and that each entry counts in its own example."""
    entries = _lexicon(lexicon).entries
    silent = [entry for entry in entries if entry.example and not _counts_in_example(lexicon, entry)]
    for entry in silent:
        typer.secho(
            f"line {entry.line}: {entry.pattern!r} does not count in {entry.example!r}",
            fg=typer.colors.RED,
            err=True,
        )
    if silent:
        raise typer.Exit(1)
    without = sum(not (entry.example or entry.source) for entry in entries)
    typer.echo(f"{len(entries)} entries; {without} with neither example nor source")


def _counts_in_example(lexicon: Path | None, entry: "Entry") -> bool:
    phrases = _lexicon(lexicon).explain(entry.example or "")
    return any(
        phrase.entry == entry and phrase.verdict in ("counts", "longer", "covered") for phrase in phrases
    )


@lexicon_app.command("list", epilog="Example: valueattr lexicon list")
def lexicon_list(
    lexicon: _Lexicon = None,
    kind: Annotated[str | None, typer.Option(help="Entries of this kind only.")] = None,
) -> None:
    """List the entries: kind, strength, pattern and example."""
    table = Table(box=SIMPLE, header_style="bold", pad_edge=False)
    for column in ("kind", "strength", "pattern", "example"):
        table.add_column(column)
    for entry in _lexicon(lexicon).entries:
        if kind in (None, entry.kind):
            strength = "" if entry.strength is None else f"{entry.strength:g}"
            table.add_row(entry.kind, strength, escape(entry.pattern), escape(entry.example or ""))
    _console(False).print(table)


@lexicon_app.command(
    "explain", epilog='Example: valueattr lexicon explain "I do not think it may rain in May."'
)
def lexicon_explain(
    text: Annotated[str, typer.Argument(help="The text.")],
    lexicon: Annotated[Path | None, typer.Option(help="A lexicon of your own.")] = None,
) -> None:
    """Show every phrase of the lexicon in a text, and why it counts or does not."""
    reasons = {
        "counts": "counts",
        "longer": "a longer phrase of its kind begins here",
        "covered": "a phrase of its kind before it covers it",
        "negation": "no: negated",
        "quotation": "no: quoted",
        "question": "no: in a question",
        "unless_before": "no: the word before it",
        "unless_after": "no: the word after it",
    }
    table = Table(box=SIMPLE, header_style="bold", pad_edge=False)
    for column in ("at", "phrase", "kind", "pattern", "verdict"):
        table.add_column(column)
    for phrase in _lexicon(lexicon).explain(text):
        table.add_row(
            f"{phrase.start}-{phrase.end}",
            escape(text[phrase.start : phrase.end]),
            phrase.entry.kind,
            escape(phrase.entry.pattern),
            reasons[phrase.verdict],
        )
    _console(False).print(table)


@cache
def _lexicon(path: Path | None) -> "HedgeScanner":
    from valueattr.hedging import HedgeScanner, LexiconError

    try:
        return HedgeScanner(path, modal=True)
    except (LexiconError, OSError) as error:
        _fail(str(error))


audit = typer.Typer(
    help="Correct the hedging scanner's error with labels made by hand.", no_args_is_help=True
)
app.add_typer(audit, name="audit")

_Responses = Annotated[Path, typer.Argument(help="A .jsonl or .parquet file, or a run directory.")]
_Field = Annotated[str, typer.Option(help="The field that holds the text.")]


@audit.command(
    "export",
    epilog="Example: valueattr audit export dump.jsonl --field completion --by model --out sheet.csv",
)
def audit_export(
    responses: _Responses,
    out: Annotated[Path, typer.Option(help="The CSV file to write.")],
    field: _Field = "response",
    by: Annotated[list[str] | None, typer.Option(help="A field to group by; may be repeated.")] = None,
    kind: Annotated[str, typer.Option(help="The kind of hedge, or any.")] = "any",
    per_stratum: Annotated[
        int, typer.Option(min=2, help="Flagged texts per group to label, and as many unflagged.")
    ] = 50,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
) -> None:
    """Write a sheet of texts to be labelled 0 or 1 by hand; it does not show what the scanner said."""
    from valueattr.hedging.audit import AuditError, audit_sheet, read_responses

    try:
        sheet = audit_sheet(read_responses(responses), field, by or [], kind, per_stratum, seed)
    except (AuditError, RunDirectoryError) as error:
        _fail(str(error))
    sheet.to_csv(out, index=False)
    typer.echo(f"{len(sheet)} texts in {out}: fill in the column `label`, then valueattr audit import")


@audit.command("import", epilog="Example: valueattr audit import dump.jsonl sheet.csv --field completion")
def audit_import(
    responses: _Responses,
    sheet: Annotated[Path, typer.Argument(help="The labelled sheet.")],
    field: _Field = "response",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Print the share of texts that hedge, as the scanner flags it and corrected by the labels."""
    import pandas as pd

    from valueattr.hedging.audit import AuditError, corrected_shares, read_responses

    try:
        labelled = pd.read_csv(sheet, dtype={"label": str, "digest": str}, keep_default_na=False)
        shares = corrected_shares(read_responses(responses), field, labelled)
    except (AuditError, RunDirectoryError, OSError, pd.errors.ParserError) as error:
        _fail(str(error))
    if as_json:
        typer.echo(shares.to_json(orient="records"))
        return
    table = Table(box=SIMPLE, header_style="bold", pad_edge=False)
    groups = [name for name in shares.columns[: list(shares.columns).index("n")]]
    for column in (*groups, "n", "audited", "scanner [95%]", "corrected [95%]"):
        table.add_column(str(column), no_wrap=True)
    for row in shares.to_dict("records"):
        table.add_row(
            *(str(row[name]) for name in groups),
            str(row["n"]),
            str(row["audited"]),
            f"{row['raw']:.3f} [{row['raw_low']:.3f}, {row['raw_high']:.3f}]",
            f"{row['corrected']:.3f} [{row['low']:.3f}, {row['high']:.3f}]",
        )
    _console(False).print(table)


def _console(as_json: bool) -> Console:
    """Output for people: on standard error where standard output is for machines; wide enough where there is no width."""
    console = Console(stderr=as_json)
    return console if console.is_terminal else Console(stderr=as_json, width=120)


def _show(directory: RunDirectory, console: Console) -> None:
    from valueattr.report import headline, headline_table, table_note

    columns, rows = headline_table(directory)
    table = Table(box=SIMPLE, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print()
    console.print(table)
    console.print(f"[95% interval] {table_note(directory)}", style="dim", highlight=False)
    console.print()
    console.print(headline(directory), style="bold", highlight=False, soft_wrap=True)
    console.print()
    console.print(_where_time_went(directory.environment["timing"]), highlight=False, soft_wrap=True)
    console.print(f"Report: {directory.path / 'report.html'}", highlight=False, soft_wrap=True)


def _where_time_went(seconds: dict[str, float]) -> str:
    """Phases on the clock, then what the arms' processes did with their time, each longest first."""
    phases = {name: value for name, value in seconds.items() if not name.startswith("arms: ")}
    inside = {name.removeprefix("arms: "): value for name, value in seconds.items() if name not in phases}

    def listed(part: dict[str, float]) -> str:
        return ", ".join(f"{k} {v:.0f} s" for k, v in sorted(part.items(), key=lambda item: -item[1]))

    return f"Where the time went: {listed(phases)}. In all arms together: {listed(inside)}."


def _summary(directory: RunDirectory) -> dict[str, object]:
    from valueattr.report import headline

    return {
        "run": str(directory.path),
        "report": str(directory.path / "report.html"),
        "plan": directory.plan_hash,
        "seeds": directory.seeds,
        "headline": headline(directory),
        "timing": directory.environment["timing"],
    }


def _fail(message: str, code: int = 1) -> NoReturn:
    typer.secho(f"valueattr: {message}", fg=typer.colors.RED, err=True)
    raise typer.Exit(code)
