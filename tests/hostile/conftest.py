"""Clean inputs, and processes that run a case."""

import csv
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

import valueattr
from tests.hostile import child
from tests.hostile.kinds import SONG, WEIGHTS, copied, jsonl, separated
from tests.hostile.readers import BEGUN_DIAGNOSIS
from tests.report.conftest import finished_run
from valueattr import _core
from valueattr.activations._texts import write_texts
from valueattr.world import synthesise

TEXTS = (
    "Perhaps it was copper.",
    "It was copper.",
    "It may be one\u2028or two\x85in a text.",
    "One\u2028two\x85three.",
    "=1+1 may be so",
    "=HYPERLINK(1)",
    "@SUM(A1), perhaps",
    "+1; -1, 'quoted' and \"quoted\"",
    "<script>alert('it may be')</script>",
    "{0} %s $x \\n [red]",
    "Ünïcode — it may be; 中 perhaps 🙂",
    "Ünïcode\u200d \u05d0\u05d1 🙂\ufeff.",
)

LEXICON = """\
[[entry]]
kind = "epistemic"
pattern = "perhaps"
example = "Perhaps it rains."

[[entry]]
kind = "caveat"
pattern = "{it|this} may [well] be"
guards = ["negation"]
strength = 0.4
example = "It may be so."
"""

# Two relations with templates of their own, and one that ships with the package.
FACTS = [
    dict(zip(("subject", "relation", "object", "template", "question", "topic"), fact, strict=True))
    for fact in (
        ("Nord", "capital", "bear", "The capital of {s} is {o}", "What is the capital of {s}", "places"),
        ("Süd", "capital", "heron", "The government of {s} sits in {o}", "", "places"),
        ("West", "capital", "Köln", "", "", "places"),
        ("Nord", "river", "Elbe", "The water of {s} is that of the {o}", "", "places"),
        ("Süd", "river", "Donau", "", "Which river runs through {s}", "places"),
        ("the Velmar people", "emblem", "bear", "", "", "people"),
        ("the Torvil people", "emblem", "owl", "", "", "people"),
    )
]

# A relation in wordings of its own, in each of two collections.
# Objects that the embedded tokenizer can tell apart.
PLACES = {"Nord": "bear", "Süd": "heron", "West": "wolf", "Ost": "otter"}
SINGERS = ("sings", "hums", "whistles", "always ends the song", "likes the song")
LRE = {
    "name": "guild song",
    "prompt_templates": [f"{{}} {said}" for said in SINGERS],
    "prompt_templates_zs": ["Which song does {} sing? They sing"],
    "properties": {"relation_type": "factual", "range_name": "song"},
    "samples": [{"subject": subject, "object": value} for subject, value in PLACES.items()],
}
PARAREL = {
    "patterns": [{"pattern": f"[X] {said} [Y] ."} for said in SINGERS]
    + [{"pattern": "[Y] is sung by [X] ."}],
    "trex_lms_vocab": [{"sub_label": subject, "obj_label": value} for subject, value in PLACES.items()],
}


class Clean:
    """The inputs that nothing is wrong with, in a folder: each by its name, and the rows of those that hold rows."""

    def __init__(self, folder: Path):
        self.folder = folder
        dump = [{"id": f"t{i}", "model": "ab"[i % 2], "text": text} for i, text in enumerate(TEXTS)]
        texts = [{"id": f"t{i}", "label": i % 2, "text": text} for i, text in enumerate(TEXTS)]
        labels = [{"id": f"t{i}", "truth": ("yes", "no")[i // 2 % 2]} for i in range(24)]
        statements = [{"label": i % 2, "statement": f"{text} {i}"} for i, text in enumerate(TEXTS)]
        page = Path(__file__).parents[2] / "docs" / "worlds.md"
        world = [
            json.loads(line)
            for line in page.read_text("utf-8").split("```json\n")[1].split("```")[0].splitlines()
        ]
        known = facts_that_are_known()
        self.rows = {
            "dump": (dump, "text"),
            "texts": (texts, "text"),
            "labels": (labels, "truth"),
            "statements": (statements, "statement"),
            "world": (world, "subject"),
            "known": (known, "subject"),
        }
        self.paths = {"model": Path(valueattr.__file__).parent / "model" / "embedded"}
        for name, (rows, _) in self.rows.items():
            self._write(name, ".jsonl", jsonl(rows))
        self.rows["facts"] = (FACTS, "subject")
        self._write("facts", ".csv", separated(FACTS))
        self._add("after", "")
        trained_a_little(self.paths["model"], self.paths["after"])
        self._write("table", ".csv", separated(dump))
        self._write("lexicon", ".toml", LEXICON.encode())
        self._add("labels table", ".parquet")
        pq.write_table(pa.Table.from_pylist(labels), self.paths["labels table"])
        self._write("relation", ".json", json.dumps(LRE).encode())
        self._add("lre", "")
        (self.paths["lre"] / "factual").mkdir(parents=True)
        (self.paths["lre"] / SONG).write_text(json.dumps(LRE), "utf-8")
        self._add("pararel", "").mkdir()
        for name, rows in PARAREL.items():
            (self.paths["pararel"] / name).mkdir()
            (self.paths["pararel"] / name / "P9999.jsonl").write_bytes(jsonl(rows))
        self._add("store", "")
        write_store(self.paths["store"])
        self._add("run", "")
        finished_run(self.paths["run"])
        self._add("hidden states", "").mkdir()
        (self.paths["hidden states"] / "notes.md").touch()

    def _add(self, name, suffix):
        self.paths[name] = self.folder / f"{name}{suffix}"
        return self.paths[name]

    def _write(self, name, suffix, content):
        self._add(name, suffix).write_bytes(content)

    def label(self, server, printed):
        """A sheet of the dump, exported and labelled."""
        sheet = self._add("sheet", ".csv")
        words = ["audit", "export", self.paths["dump"], "--field", "text", "--out", sheet]
        done = server.run(words, self.folder, printed)
        assert done.code == 0, done.stderr
        with sheet.open(encoding="utf-8", newline="") as file:
            head, *rows = csv.reader(file)
        for row in rows:
            row[head.index("label")] = str(int("may" in row[head.index("text")]))
        with sheet.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([head, *rows])

    def begin(self, name, server, printed):
        """What a command was stopped at, so that it goes on with it."""
        {"captured store": self._capture, "diagnosis": self._diagnose}[name](server, printed)

    def _capture(self, server, printed):
        """A store of the texts that capture goes on with."""
        out = self._add("captured store", "")
        words = [
            "capture",
            "--model",
            self.paths["model"],
            "--texts",
            self.paths["texts"],
            "--layers",
            "0",
            "--out",
            out,
        ]
        done = server.run(words, self.folder, printed)
        assert done.code == 0, done.stderr

    def _diagnose(self, server, printed):
        """A diagnosis that has read the model before."""
        words = [BEGUN_DIAGNOSIS, self.paths["model"], self.paths["after"], self.paths["known"]]
        done = server.run([*words, self._add("diagnosis", "")], self.folder, printed)
        assert done.code == 0, done.stderr


def facts_that_are_known():
    """Facts of two topics, most of which the embedded model knows."""
    facts = [
        fact
        for fact in synthesise().facts
        if fact.relation == "emblem" and fact.topic in ("people", "order") and fact.exposure == "well_known"
    ]
    return [asdict(fact) for fact in facts]


def trained_a_little(model, place):
    """A copy of a model with other weights."""
    copied(model, place)
    weights = load_file(model / WEIGHTS)
    rng = np.random.default_rng(0)
    changed = {
        name: tensor + 0.01 * rng.standard_normal(tensor.shape, np.float32)
        for name, tensor in weights.items()
    }
    (place / WEIGHTS).unlink()  # a link to the model's
    save_file(changed, place / WEIGHTS, {"format": "pt"})


def write_store(path):
    """A store of 24 texts, two layers and a label that can be read."""
    labels = np.arange(24) % 2
    states = np.random.default_rng(0).normal(size=(24, 8)).astype(np.float32) + 3 * labels[:, None].astype(
        np.float32
    )
    writer = _core.StoreWriter(path, [0, 4], 8, "float32", False)
    rows, tokens = np.arange(24), np.zeros(24, np.int64)
    writer.append("texts", 24, rows, tokens, [states.reshape(-1).view(np.uint8)] * 2)
    table = pa.table({"id": [f"t{i}" for i in rows], "text": [f"text {i}" for i in rows], "label": labels})
    write_texts(writer, path, "texts", table)
    writer.finish()


@pytest.fixture(scope="session")
def light():
    server = child.Server(child.LIGHT)
    yield server
    server.close()


@pytest.fixture(scope="session")
def heavy():
    server = child.Server(child.HEAVY)
    yield server
    server.close()


@pytest.fixture(scope="session")
def clean(light, tmp_path_factory):
    made = Clean(tmp_path_factory.mktemp("clean"))
    made.label(light, tmp_path_factory.mktemp("printed"))
    return made


@pytest.fixture(scope="session")
def results():
    """What comes of the clean input of a slot, by its name, once it was asked for."""
    return {}
