"""Where each command and reader takes an input or an output, and which kinds of hostile ones are put there."""

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.hostile import kinds
from tests.hostile.kinds import GROUPS, REFUSED, SAME, UNREAD_FILE, Kind, Meaning, either, refused_by

OUT = "out"


def printed(out: Path, stdout: str) -> object:
    return stdout


def as_json(out: Path, stdout: str) -> object:
    return json.loads(stdout)


def without_own(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Rows without the column that some kinds add."""
    return [{name: value for name, value in sorted(row.items()) if name != "mine"} for row in rows]


def rows_read(out: Path, stdout: str) -> object:
    return without_own(json.loads(stdout))


def asked(out: Path, stdout: str) -> object:
    """What was read of facts, whatever their relations are called."""
    return json.loads(stdout)[-1]


def counted(out: Path, stdout: str) -> object:
    return stdout.splitlines()[-1]


def known(out: Path, stdout: str) -> object:
    return list(json.loads(stdout)["relations"].values())


def saved(out: Path, stdout: str) -> object:
    return out.read_bytes()


def scanned(out: Path, stdout: str) -> object:
    import pyarrow.parquet as pq

    summary = json.loads(stdout)
    counts = read_csv(out) if out.suffix == ".csv" else pq.read_table(out).to_pylist()
    return (
        {name: value for name, value in summary.items() if name not in ("files", "left_out")},
        [{name: value for name, value in row.items() if name != "source"} for row in counts],
    )


def exported(out: Path, stdout: str) -> object:
    return read_csv(out)


def captured(out: Path, stdout: str) -> object:
    from valueattr.activations import ActivationStore

    store = ActivationStore(out)
    states = [hashlib.sha256(store.read(layer).tobytes()).hexdigest() for layer in store.layers]
    return without_own(store.index().to_pylist()), states


def probed(out: Path, stdout: str) -> object:
    import pyarrow.parquet as pq

    return pq.read_table(io.BytesIO(out.read_bytes())).to_pydict()  # Arrow takes no path that is not UTF-8


def reported(out: Path, stdout: str) -> object:
    told = json.loads(stdout)
    page = (Path(told["run"]) / "report.html").read_text("utf-8")
    return page, {name: value for name, value in told.items() if name not in ("run", "report")}


def logged(out: Path, stdout: str) -> object:
    return {log.name: sorted(zipfile.ZipFile(log).namelist()) for log in sorted(out.iterdir())}


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@dataclass(frozen=True)
class Slot:
    """A place of a command line at which something is hostile, and the rest is clean.

    command: a command, or a reader of the Python interface. place: what is hostile.
    words: the command line; in braces stand the hostile thing, the output (with its suffix), and clean inputs.
    clean: which clean input the hostile one is made of.
    result: what is compared with what comes of the clean input; None where that would take too long: then all that is
        not refused is left out.
    writes: names that may appear or change in the folder of the hostile input.
    goes_on: whether the same command goes on with what was written before an error, so that it may stay.
    trains: whether what is not refused would be trained on, so that only what is refused is tried.
    torch: whether torch is loaded. every: the part of the kinds, one in so many from `first` on, that is tried in each
    run of the tests.
    but: kinds that mean something else here.
    """

    command: str
    place: str
    words: str
    clean: str
    groups: tuple[str, ...]
    result: Callable[[Path, str], object] | None = printed
    writes: tuple[str, ...] = ()
    goes_on: bool = False
    trains: bool = False
    torch: bool = False
    every: int = 1
    first: int = 0
    but: Mapping[str, Meaning] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.command} {self.place}"


ROWS = ("JSON lines", "JSON arrays", "CSV and TSV", "Parquet and Arrow", "values", "paths of files")
LEXICON = ("lexicons", "paths of files")
LOGGED = ("plan", "facts", "generations", "verdicts", kinds.MEASURES)

A_LABEL = either("a label may be a number or true, and a row may have none")
LABELS = dict.fromkeys(
    (
        "null",
        "no such field in the last row",
        "nulls without a type",
        "a number",
        "NaN",
        "Infinity",
        "1e999",
        "true",
    ),
    A_LABEL,
)
# What is refused of a label is named by its column.
LABELS |= dict.fromkeys(
    ("lists in place of texts", "objects in place of texts", "bytes in place of texts"),
    refused_by("the column"),
)
LABELS_OF_RATERS = {
    **dict.fromkeys(
        (*LABELS, "a list", "an object", "an integer of 400 digits", "a value nested 120 deep"),
        either("a label may be any value, and a row may have none"),
    ),
    "a line of one cell less": A_LABEL,
    **dict.fromkeys(
        ("a column that is missing", "a column of another name alone"), refused_by("the name of the field")
    ),
}
OTHER_COLUMNS = dict.fromkeys(
    (
        *("a column that is missing", "a column of another name alone", "nulls without a type"),
        *("lists in place of texts", "objects in place of texts", "bytes in place of texts"),
    ),
    either("a column of a table may have any name and hold anything"),
)
ROWS_OF_TEXTS = {
    "a column that is missing": either("a row may have any fields"),
    "a line of one cell less": either("what is missing of a row is None"),
}
NO_FIELDS_OF_ONES_OWN = {"a field more": REFUSED}
ADDS = either("the same command goes on with a store that is there")
MENDED = either("a journal and a manifest are made anew from the shards, and no texts are looked at")
UTF8_PATHS = {kinds.NOT_UTF8: either("the libraries that load models take paths in UTF-8 only")}
FORCED = {
    name: either("it is replaced, as was asked for")
    for name in (kinds.WORK, kinds.FOLDER_WITH_WORK, kinds.LINK_TO_WORK, kinds.LINK_TO_ITSELF)
}
FACTS = {
    **dict.fromkeys(("cells separated by semicolons", "CSV in UTF-16"), SAME),  # as of any sheet
    **dict.fromkeys(("TSV", "CSV compressed by gzip"), REFUSED),  # they are read as JSON lines
    **dict.fromkeys(("an empty CSV file", "CSV of a header alone", "a cell of NUL bytes"), REFUSED),
    "a sheet in Windows-1252": REFUSED,
    "rows of a sheet in another order": either("the wording that comes last is held out"),
}


def refused_all(groups: Iterable[str], why: Meaning, but: Mapping[str, Meaning] = {}) -> dict[str, Meaning]:
    """What is not refused otherwise is refused in this place, for what `why` says."""
    means = {kind.name: but.get(kind.name, kind.meaning) for group in groups for kind in GROUPS[group]}
    return {name: meaning if meaning.says == "refused" else why for name, meaning in means.items()}


LIGHT = (
    Slot(
        "scan",
        "FILE",
        "scan {hostile} --field text --stance --out {out}.parquet --json",
        "dump",
        (*ROWS, "values beside", "plain lines"),
        scanned,
        (f"{OUT}.parquet",),
        every=3,
    ),
    Slot(
        "scan",
        "FOLDER",
        "scan {hostile} --field text --stance --out {out}.parquet --json",
        "dump",
        ("folders of dumps",),
        scanned,
        (f"{OUT}.parquet",),
    ),
    Slot(
        "scan",
        "--lexicon",
        "scan {dump} --field text --lexicon {hostile} --json",
        "lexicon",
        LEXICON,
        as_json,
        every=8,
        first=1,
    ),
    Slot("scan", "--field", "scan {dump} --field {hostile} --json", "dump", ("names of fields",)),
    Slot("scan", "--threads", "scan {dump} --field text --threads {hostile} --json", "dump", ("numbers",)),
    Slot(
        "scan",
        "--out",
        "scan {input} --field text --json --out {hostile}",
        "table",
        ("outputs", "no place", "new places"),
        scanned,
    ),
    Slot(
        "scan",
        "--out --force",
        "scan {input} --field text --json --force --out {hostile}",
        "table",
        ("outputs", "no place", "new places"),
        scanned,
        but=FORCED,
        every=2,
        first=1,
    ),
    Slot(
        "audit export",
        "RESPONSES",
        "audit export {hostile} --field text --out {out}.csv",
        "dump",
        (*ROWS, "values beside", "plain lines", "pipes"),
        exported,
        (f"{OUT}.csv",),
        every=3,
        first=1,
    ),
    Slot(
        "audit export",
        "FOLDER",
        "audit export {hostile} --field text --out {out}.csv",
        "dump",
        ("folders of dumps",),
        exported,
        (f"{OUT}.csv",),
        every=2,
    ),
    Slot(
        "audit export",
        "RUN",
        "audit export {hostile} --by arm --out {out}.csv",
        "run",
        ("runs",),
        exported,
        (f"{OUT}.csv",),
        but={
            kind.name: UNREAD_FILE
            for kind in kinds.RUNS
            if kind.meaning == REFUSED
            and "generations" not in kind.name
            and kind.name not in ("a run without plan.json", "plan.json that is a folder")
        },
        every=8,
    ),
    Slot(
        "audit export",
        "--field",
        "audit export {dump} --field {hostile} --out {out}.csv",
        "dump",
        ("names of fields",),
        exported,
        (f"{OUT}.csv",),
        every=3,
    ),
    Slot(
        "audit export",
        "--by",
        "audit export {dump} --field text --by {hostile} --out {out}.csv",
        "dump",
        ("names of fields",),
        exported,
        (f"{OUT}.csv",),
        every=3,
    ),
    Slot(
        "audit export",
        "--verdict",
        "audit export {dump} --field text --verdict {hostile} --is a --out {out}.csv",
        "dump",
        ("names of fields",),
        exported,
        (f"{OUT}.csv",),
        every=3,
        first=1,
    ),
    Slot(
        "audit export",
        "--is",
        "audit export {dump} --field text --verdict model --is {hostile} --out {out}.csv",
        "dump",
        ("names of fields", "texts"),
        exported,
        (f"{OUT}.csv",),
        every=3,
        first=2,
    ),
    Slot(
        "audit export",
        "--seed",
        "audit export {dump} --field text --seed {hostile} --out {out}.csv",
        "dump",
        ("numbers",),
        exported,
        (f"{OUT}.csv",),
        every=3,
    ),
    Slot(
        "audit export",
        "--per-stratum",
        "audit export {dump} --field text --per-stratum {hostile} --out {out}.csv",
        "dump",
        ("numbers",),
        exported,
        (f"{OUT}.csv",),
        every=3,
    ),
    Slot(
        "audit export",
        "--out",
        "audit export {input} --field text --out {hostile}",
        "table",
        ("outputs", "no place", "new places"),
        exported,
    ),
    Slot(
        "audit export",
        "--out --force",
        "audit export {input} --field text --force --out {hostile}",
        "table",
        ("outputs", "no place", "new places"),
        exported,
        but=FORCED,
        every=2,
        first=1,
    ),
    Slot(
        "audit import",
        "RESPONSES",
        "audit import {hostile} {sheet} --field text --json",
        "dump",
        (*ROWS, "values beside", "plain lines", "pipes"),
        as_json,
        every=10,
    ),
    Slot(
        "audit import",
        "SHEET",
        "audit import {dump} {hostile} --field text --json",
        "sheet",
        ("sheets", "labelled sheets", "paths of files", "pipes"),
        as_json,
    ),
    Slot(
        "audit agreement",
        "RESPONSES",
        "audit agreement {hostile} id text --json",
        "dump",
        (*ROWS, "values beside", "pipes"),
        as_json,
        but=LABELS_OF_RATERS,
        every=10,
        first=1,
    ),
    Slot(
        "audit agreement", "COLUMNS", "audit agreement {dump} model {hostile}", "dump", ("names of fields",)
    ),
    Slot("lexicon check", "LEXICON", "lexicon check {hostile}", "lexicon", ("lexicons",)),
    Slot(
        "lexicon list",
        "LEXICON",
        "lexicon list {hostile}",
        "lexicon",
        LEXICON,
        every=8,
        first=2,
    ),
    Slot(
        "lexicon explain",
        "--lexicon",
        "lexicon explain Perhaps. --lexicon {hostile}",
        "lexicon",
        LEXICON,
        every=8,
        first=3,
    ),
    Slot("lexicon explain", "TEXT", "lexicon explain {hostile}", "lexicon", ("texts",)),
    Slot(
        "verify",
        "STORE",
        "verify {hostile}",
        "store",
        ("stores", "paths of folders"),
        but={"a shard with a flipped bit": REFUSED},
    ),
    Slot(
        "probe",
        "STORE",
        "probe {hostile} --labels label --layers 0 --folds 3 --l2 0.1 --json",
        "store",
        ("stores", "paths of folders"),
        as_json,
        every=3,
    ),
    Slot(
        "probe",
        "--apply-to",
        "probe {store} --labels label --layers 0 --folds 3 --l2 0.1 --json --apply-to other={hostile}",
        "store",
        ("stores", "paths of folders"),
        as_json,
        every=8,
        first=1,
    ),
    Slot(
        "probe",
        "--labels-file",
        "probe {store} --labels truth --labels-file {hostile} --layers 0 --folds 3 --l2 0.1 --json",
        "labels",
        ROWS,
        as_json,
        but=LABELS,
        every=10,
        first=1,
    ),
    Slot(
        "probe",
        "--labels",
        "probe {store} --labels {hostile} --layers 0 --folds 3 --l2 0.1 --json",
        "store",
        ("names of fields",),
        every=3,
        first=1,
    ),
    Slot(
        "probe",
        "--layers",
        "probe {store} --labels label --layers {hostile} --folds 3 --l2 0.1 --json",
        "store",
        ("numbers",),
        every=3,
        first=1,
    ),
    Slot(
        "probe",
        "--l2",
        "probe {store} --labels label --layers 0 --folds 3 --l2 {hostile} --json",
        "store",
        ("numbers",),
        every=3,
        first=1,
    ),
    Slot(
        "probe",
        "--folds",
        "probe {store} --labels label --layers 0 --folds {hostile} --l2 0.1 --json",
        "store",
        ("numbers",),
        every=3,
        first=1,
    ),
    Slot(
        "probe",
        "--out",
        "probe {store} --labels truth --labels-file {input} --layers 0 --folds 3 --l2 0.1 --out {hostile}",
        "labels table",
        ("outputs", "no place", "new places"),
        probed,
        but={
            "a link to a place in a folder that is not there": either(
                "the folder is made, or has to be there"
            )
        },
    ),
    Slot(
        "probe",
        "--out --force",
        "probe {store} --labels truth --labels-file {input} --layers 0 --folds 3 --l2 0.1 --force --out {hostile}",
        "labels table",
        ("outputs", "no place", "new places"),
        probed,
        but={
            **FORCED,
            "a link to a place in a folder that is not there": either(
                "the folder is made, or has to be there"
            ),
        },
        every=3,
    ),
    Slot(
        "rebuild",
        "STORE",
        "rebuild {hostile}",
        "store",
        ("stores", "paths of folders"),
        None,
        (kinds.JOURNAL, kinds.MANIFEST),
        but={kind.name: MENDED for kind in kinds.STORES if kind.meaning == REFUSED},
        every=2,
    ),
    Slot(
        "report",
        "RUN",
        "report {hostile} --json",
        "run",
        ("runs", "paths of folders"),
        reported,
        ("report.html",),
        every=20,
    ),
    *(
        Slot(
            "compare",
            place,
            words,
            "run",
            ("runs", "paths of folders"),
            but={
                kind.name: UNREAD_FILE
                for kind in kinds.RUNS
                if kind.meaning == REFUSED and not any(file in kind.name for file in ("plan", kinds.MEASURES))
            },
            every=20,
            first=first,
        )
        for place, words, first in (
            ("FIRST", "compare {hostile} {run} --json", 0),
            ("SECOND", "compare {run} {hostile} --json", 10),
        )
    ),
    Slot(
        "export inspect",
        "RUN",
        "export inspect {hostile} --out {out}",
        "run",
        ("runs", "paths of folders"),
        logged,
        but={
            kind.name: UNREAD_FILE
            for kind in kinds.RUNS
            if kind.meaning == REFUSED and not any(file in kind.name for file in LOGGED)
        },
        every=20,
    ),
    Slot(
        "export inspect",
        "--out",
        "export inspect {input} --out {hostile}",
        "run",
        ("outputs", "no place", "new places"),
        logged,
        every=4,
        but={"an output below its own input": either("a run may hold a folder more")},
    ),
    Slot(
        "read_rows",
        "PATH",
        "read_rows {hostile}",
        "dump",
        ("JSON lines", "JSON arrays", "CSV and TSV", "paths of files", "pipes", "values beside"),
        rows_read,
        but=ROWS_OF_TEXTS,
        every=5,
    ),
    Slot(
        "read_table",
        "PATH",
        "read_table {hostile}",
        "dump",
        (
            "JSON lines",
            "JSON arrays",
            "CSV and TSV",
            "Parquet and Arrow",
            "paths of files",
            "pipes",
            "values beside",
        ),
        rows_read,
        but=OTHER_COLUMNS,
        every=5,
        first=1,
    ),
    Slot(
        "read_texts",
        "PATH",
        "read_texts {hostile}",
        "dump",
        (*ROWS, "values beside", "plain lines", "pipes"),
        as_json,
        every=3,
        first=2,
    ),
    Slot(
        "World.load",
        "PATH",
        "World.load {hostile}",
        "world",
        ("JSON lines", "values", "values beside", "paths of files", "pipes"),
        as_json,
        but=NO_FIELDS_OF_ONES_OWN,
        every=3,
    ),
    Slot(
        "load_world",
        "PATH",
        "load_world {hostile}",
        "facts",
        ("CSV and TSV", "sheets", "sheets of facts", "paths of files", "pipes"),
        as_json,
        but=FACTS,
    ),
    Slot(
        "load_world",
        "PATH of LRE",
        "load_world {hostile}",
        "relation",
        ("paths of files", "pipes"),
        asked,
        every=3,
        first=1,
    ),
    Slot(
        "load_world",
        "FOLDER of LRE",
        "load_world {hostile}",
        "lre",
        ("files of LRE", "folders of LRE", "paths of folders"),
        asked,
        every=2,
    ),
    Slot(
        "load_world",
        "FOLDER of ParaRel",
        "load_world {hostile}",
        "pararel",
        ("ParaRel", "paths of folders"),
        asked,
        every=2,
    ),
    Slot(
        "questions check",
        "PATH",
        "questions check {hostile}",
        "facts",
        ("CSV and TSV", "sheets", "sheets of facts", "paths of files", "pipes"),
        counted,
        but=FACTS,
        every=10,
    ),
    Slot(
        "questions check",
        "PATH of a world",
        "questions check {hostile}",
        "world",
        ("JSON lines", "values", "values beside", "paths of files", "pipes"),
        counted,
        but=NO_FIELDS_OF_ONES_OWN,
        every=10,
        first=1,
    ),
    Slot(
        "questions check",
        "PATH of LRE",
        "questions check {hostile}",
        "relation",
        ("paths of files", "pipes"),
        counted,
        every=3,
    ),
    Slot(
        "questions check",
        "FOLDER of LRE",
        "questions check {hostile}",
        "lre",
        ("files of LRE", "folders of LRE", "paths of folders"),
        counted,
        every=2,
        first=1,
    ),
    Slot(
        "questions check",
        "FOLDER of ParaRel",
        "questions check {hostile}",
        "pararel",
        ("ParaRel", "paths of folders"),
        counted,
        every=2,
        first=1,
    ),
    Slot(
        "ActivationStore",
        "PATH",
        "ActivationStore {hostile}",
        "store",
        ("stores", "paths of folders"),
        as_json,
        every=2,
        first=1,
    ),
    Slot("RunDirectory", "PATH", "RunDirectory {hostile}", "run", ("runs",), as_json),
)

CAPTURE = "capture --model {model} --texts {texts} --layers 0 --out {out}"
RUN = "run e1 --preset smoke --out {out}"
KNOWN = "questions known {relation} --model {model} --json"
DIAGNOSE = "diagnose --before {model} --after {after} --questions {known} --out {out}"
# So that what is read as what it should be is refused in a moment, rather than computed.
ONE_MODEL = DIAGNOSE.replace("{after}", "{model}")
ONE = refused_by("the models before and after are one")
QUESTIONS = ("JSON lines", "values", "pipes")
SHEETS_OF_QUESTIONS = ("CSV and TSV", "sheets", "sheets of facts", "paths of files")
MODELS = ("models", "vocabularies", "paths of folders")

HEAVY = (
    Slot(
        "capture",
        "--texts",
        CAPTURE.replace("{texts}", "{hostile}"),
        "texts",
        (*ROWS, "pipes"),
        captured,
        (OUT,),
        torch=True,
        every=20,
        goes_on=True,
    ),
    Slot(
        "capture",
        "--model",
        CAPTURE.replace("{model}", "{hostile}"),
        "model",
        ("models", "vocabularies", "paths of folders"),
        captured,
        (OUT,),
        torch=True,
        but=UTF8_PATHS,
        every=8,
        goes_on=True,
    ),
    Slot(
        "capture",
        "--model FILE",
        CAPTURE.replace("{model}", "{hostile}"),
        "model",
        ("GGUF files",),
        captured,
        (OUT,),
        torch=True,
        goes_on=True,
    ),
    Slot(
        "capture",
        "--model BASE+ADAPTER",
        CAPTURE.replace("{model}", "{hostile}"),
        "model",
        ("adapters",),
        captured,
        (OUT,),
        torch=True,
        goes_on=True,
    ),
    Slot(
        "capture",
        "--field",
        CAPTURE + " --field {hostile}",
        "texts",
        ("names of fields",),
        printed,
        (OUT,),
        torch=True,
        every=3,
        goes_on=True,
    ),
    Slot(
        "capture",
        "--layers",
        CAPTURE.replace("--layers 0", "--layers {hostile}"),
        "texts",
        ("numbers",),
        printed,
        (OUT,),
        torch=True,
        every=3,
        goes_on=True,
    ),
    Slot(
        "capture",
        "--out",
        CAPTURE.replace("{texts}", "{input}").replace("{out}", "{hostile}"),
        "texts",
        ("outputs",),
        None,
        torch=True,
        goes_on=True,
        but={kinds.FOLDER_WITH_WORK: either("a store is put beside what is there")},
    ),
    Slot(
        "capture",
        "--out STORE",
        CAPTURE.replace("{out}", "{hostile}"),
        "captured store",
        ("stores",),
        None,
        ("texts-texts.parquet", "texts-texts.parquet.xxh3"),
        torch=True,
        but={kind.name: ADDS for kind in kinds.STORES},
        every=4,
        goes_on=True,
    ),
    Slot(
        "capture",
        "--vllm",
        "capture --vllm {hostile} --layers 0 --out {out}",
        "hidden states",
        ("hidden states",),
        None,
        (OUT,),
        torch=True,
        goes_on=True,
    ),
    Slot(
        "run",
        "--questions",
        RUN + " --questions {hostile}",
        "world",
        ("JSON lines", "values", "paths of files", "pipes"),
        None,
        torch=True,
        but=NO_FIELDS_OF_ONES_OWN,
        every=20,
        trains=True,
    ),
    Slot(
        "run",
        "--questions LRE",
        RUN + " --questions {hostile}",
        "lre",
        ("files of LRE", "folders of LRE"),
        None,
        torch=True,
        every=20,
        trains=True,
    ),
    Slot(
        "run",
        "--statements",
        RUN + " --statements {hostile}",
        "statements",
        (*ROWS, "pipes"),
        None,
        torch=True,
        every=20,
        trains=True,
    ),
    Slot(
        "run",
        "--model",
        RUN + " --model {hostile}",
        "model",
        ("models", "vocabularies", "GGUF files", "adapters"),
        None,
        torch=True,
        every=8,
        first=4,
        trains=True,
    ),
    Slot(
        "run",
        "--out",
        "run e1 --preset smoke --facts {input} --out {hostile}",
        "world",
        ("outputs",),
        None,
        torch=True,
        trains=True,
    ),
    Slot(
        "questions known",
        "FOLDER of LRE",
        KNOWN.replace("{relation}", "{hostile}"),
        "lre",
        ("files of LRE", "folders of LRE", "paths of folders"),
        known,
        torch=True,
        every=12,
    ),
    Slot(
        "questions known",
        "FOLDER of ParaRel",
        KNOWN.replace("{relation}", "{hostile}"),
        "pararel",
        ("ParaRel", "paths of folders"),
        known,
        torch=True,
        every=12,
        first=1,
    ),
    Slot(
        "questions known",
        "--model",
        KNOWN.replace("{model}", "{hostile}"),
        "model",
        (*MODELS, "GGUF files", "adapters"),
        known,
        torch=True,
        but=UTF8_PATHS,
        every=8,
        first=5,
    ),
    Slot(
        "questions known",
        "--most",
        KNOWN + " --most {hostile}",
        "relation",
        ("numbers",),
        known,
        torch=True,
        every=3,
    ),
    Slot(
        "questions known",
        "--out",
        "questions known {input} --model {model} --most 2 --out {hostile}",
        "known",
        ("outputs", "no place", "new places"),
        saved,
        torch=True,
    ),
    Slot(
        "diagnose",
        "--before",
        ONE_MODEL.replace("{model}", "{hostile}", 1),
        "model",
        MODELS,
        None,
        torch=True,
        but={**refused_all(MODELS, ONE), "no layers": refused_by("it knows too few facts")},
        every=8,
        first=1,
        trains=True,
    ),
    Slot(
        "diagnose",
        "--before PAIR",
        ONE_MODEL.replace("{model}", "{hostile}", 1),
        "model",
        ("pairs",),
        None,
        torch=True,
        trains=True,
    ),
    Slot(
        "diagnose",
        "--after",
        DIAGNOSE.replace("{after}", "{hostile}"),
        "model",
        (*MODELS, "pairs"),
        None,
        torch=True,
        but=refused_all(("paths of folders",), ONE),
        every=8,
        first=2,
        trains=True,
    ),
    Slot(
        "diagnose",
        "--sham",
        DIAGNOSE + " --sham {hostile}",
        "model",
        (*MODELS, "pairs"),
        None,
        torch=True,
        but=refused_all(("paths of folders",), ONE),
        every=8,
        first=3,
        trains=True,
    ),
    Slot(
        "diagnose",
        "--questions",
        ONE_MODEL.replace("{known}", "{hostile}"),
        "world",
        QUESTIONS,
        None,
        torch=True,
        but=refused_all(
            QUESTIONS,
            ONE,
            {**NO_FIELDS_OF_ONES_OWN, **dict.fromkeys(("an empty file", "blank lines alone"), REFUSED)},
        ),
        every=8,
        trains=True,
    ),
    Slot(
        "diagnose",
        "--questions CSV",
        ONE_MODEL.replace("{known}", "{hostile}"),
        "facts",
        SHEETS_OF_QUESTIONS,
        None,
        torch=True,
        but=refused_all(SHEETS_OF_QUESTIONS, ONE, FACTS),
        every=8,
        trains=True,
    ),
    Slot(
        "diagnose",
        "--relearn",
        ONE_MODEL + " --relearn {hostile}",
        "known",
        ("numbers",),
        None,
        torch=True,
        but=refused_all(("numbers",), refused_by("the option")),
        every=3,
        trains=True,
    ),
    Slot(
        "diagnose",
        "--out",
        DIAGNOSE.replace("{known}", "{input}").replace("{out}", "{hostile}"),
        "known",
        ("outputs", "no place"),
        None,
        torch=True,
        but=refused_all(("no place",), refused_by("the folder itself holds the input")),
        every=3,
        trains=True,
    ),
    Slot(
        "diagnose",
        "--out DIAGNOSIS",
        DIAGNOSE.replace("{out}", "{hostile}"),
        "diagnosis",
        ("diagnoses",),
        None,
        torch=True,
        trains=True,
    ),
    Slot(
        "load_statements",
        "PATH",
        "load_statements {hostile}",
        "statements",
        ("JSON lines", "JSON arrays", "CSV and TSV", "values", "values beside", "paths of files", "pipes"),
        as_json,
        torch=True,
        every=8,
    ),
    Slot(
        "load_model",
        "PATH",
        "load_model {hostile}",
        "model",
        ("models",),
        as_json,
        torch=True,
    ),
)

SLOTS = (*LIGHT, *HEAVY)


def meaning(slot: Slot, kind: Kind) -> Meaning:
    return slot.but.get(kind.name, kind.meaning)


def kinds_of(slot: Slot) -> Iterator[tuple[int, Kind]]:
    """Those that are tried in a slot, numbered: all of its groups, but for what could not be compared or would train."""
    for number, kind in enumerate(kind for group in slot.groups for kind in GROUPS[group]):
        means = meaning(slot, kind)
        if (slot.result is not None or means != SAME) and (means.says == "refused" or not slot.trains):
            yield number, kind


def cases() -> Iterator[tuple[Slot, Kind, bool]]:
    """Every slot with every kind, and whether it is tried in each run of the tests or in the slow ones only."""
    for slot in SLOTS:
        for number, kind in kinds_of(slot):
            yield slot, kind, number % slot.every == slot.first
