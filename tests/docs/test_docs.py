"""What README.md and docs/*.md tell people to type.

Every command is parsed by the command line itself, so that a command or an option that is gone is found. Those in `RUN`
are run on small inputs besides. Every Python block is run on small inputs but for those in `NOT_RUN`, of which the
imports are run and the calls of what they import are held to its signature. Blocks that train are never run whole.
"""

import ast
import inspect
import json
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pytest
import typer
from typer.testing import CliRunner

import valueattr.experiments
from tests.builders import a_judgement, a_store
from tests.report.conftest import finished_run
from valueattr.cli import app
from valueattr.experiments import EXPERIMENTS
from valueattr.questions import QuestionSet, assign_splits
from valueattr.world import World, load_world

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str


def blocks_of(page):
    """The fenced blocks of a page, in order."""
    found, opened = [], None
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if line.startswith("```") and opened is None:
            opened = (number, line.removeprefix("```"), [])
        elif line.startswith("```"):
            found.append(Block(page.name, opened[0], opened[1], "\n".join(opened[2]) + "\n"))
            opened = None
        elif opened is not None:
            opened[2].append(line)
    assert opened is None, f"{page}: a block does not end"
    return found


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
COMMANDS = [
    (block.page, shlex.split(line, comments=True))
    for block in BLOCKS
    if block.language in ("", "sh")
    for line in block.text.splitlines()
    if "valueattr " in line and line.split()[0] in ("valueattr", "zcat")
]


def block_of(page, language, nth=0):
    return [block for block in BLOCKS if (block.page, block.language) == (page, language)][nth]


def test_pages_hold_what_is_tested_here():
    assert len(COMMANDS) > 20
    assert len(PYTHON) > 6


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=[f"{p}: {' '.join(w)}" for p, w in COMMANDS])
def test_every_command_is_one_that_the_command_line_takes(page, words):
    words = words[words.index("valueattr") + 1 :]
    command = typer.main.get_command(app)
    while isinstance(command, click.Group) or hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context("valueattr", words)


def test_every_target_of_make_is_there():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    named = {
        line.split()[1]
        for block in BLOCKS
        for line in block.text.splitlines()
        if line.startswith("make ") and block.language in ("", "sh")
    }
    assert named >= {"demo", "test"}
    assert not [target for target in named if f"\n{target}:" not in makefile]


# A page whose commands and blocks build on one another is run whole in tests/cli/test_audit.py.
RUN_WHOLE = "auditing.md"

# What is left out trains a model, or names one of the hub.
RUN = ("audit", "capture", "lexicon", "probe", "report", "scan", "verify")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, start):
    """A folder with a small file under each name that the docs use."""
    folder = tmp_path_factory.mktemp("docs")
    texts = ["I'm not sure, but it may be copper.", "It is copper.", "I cannot help with that."] * 8
    rows = [
        {
            "completion": text,
            "text": text,
            "statement": text,
            "model": f"m{i % 2}",
            "label": i % 2,
            "outcome": ("hedge_only", "assert_true", "refuse")[i % 3],
            "subject": f"s{i // 2}",
            "choices": [{"message": {"content": text}}],
            "messages": [{"role": "assistant", "content": text}],
        }
        for i, text in enumerate(texts)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "dumps").mkdir()
    for name in (
        *("dump.jsonl", "statements.jsonl", "old.jsonl", "chats.jsonl", "judged.jsonl"),
        "dumps/one.jsonl",
    ):
        (folder / name).write_text(lines)
    for name in ("dump.jsonl.zst", "chats.jsonl.zst"):
        with pa.output_stream(folder / name, compression="zstd") as stream:
            stream.write(lines.encode())
    with pa.output_stream(folder / "old.jsonl.gz", compression="gzip") as stream:
        stream.write(lines.encode())
    (folder / "own.toml").write_text(block_of("lexicon.md", "toml").text)
    (folder / "Qwen").mkdir()
    for name in ("MODEL", "Qwen/Qwen2.5-0.5B"):
        (folder / name).symlink_to(start)
    finished_run(folder / "runs" / "e1")
    return folder


@pytest.mark.parametrize(
    "page", sorted({page for page, words in COMMANDS if set(words) & set(RUN)} - {RUN_WHOLE})
)
def test_commands_of_a_page_work_one_after_the_other(folder, page, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(folder, tmp_path / "folder", symlinks=True))
    for words in (words for of, words in COMMANDS if of == page):
        at = words.index("valueattr") + 1
        if words[at] not in RUN:
            continue
        # zcat FILE | valueattr ...
        piped = subprocess.run(words[: at - 2], check=True, capture_output=True).stdout if at > 1 else None
        done = CliRunner().invoke(app, words[at:], input=piped)
        assert done.exit_code == 0, f"{shlex.join(words)}\n{done.output}"
        if "--out" in words:
            assert Path(words[words.index("--out") + 1]).exists()


def test_the_world_of_the_docs_does_for_every_experiment_and_seed(tmp_path):
    (tmp_path / "world.jsonl").write_text(block_of("worlds.md", "json").text)
    world = World.load(tmp_path / "world.jsonl")
    for seed in range(len(world.questions.topics)):
        splits = assign_splits(world.questions, seed, 8)
        for experiment in EXPERIMENTS.values():
            for arm in experiment.arms:
                assert all(splits[split] for split in experiment.prompted_in(arm)), (experiment.name, seed)
    assert all(len(question.statements) > 1 for question in world.questions)  # which probes need


def test_the_collections_of_the_docs_are_read(tmp_path):
    lre = tmp_path / "country_currency.json"
    lre.write_text(block_of("worlds.md", "json", 1).text)
    lines = [block.text for block in BLOCKS if block.page == "worlds.md" and block.text.startswith("{")][2:]
    for folder, text in zip(("trex_lms_vocab", "patterns"), lines, strict=True):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "P36.jsonl").write_text(text)
    assert [(f.subject, f.object) for f in load_world(lre).facts] == [("Peru", "Sol"), ("Japan", "Yen")]
    assert [(f.subject, f.object) for f in load_world(tmp_path).facts] == [
        ("Peru", "Lima"),
        ("Japan", "Tokyo"),
    ]


# LoRA needs peft, which is no dependency, and a model of the hub.
NOT_RUN = {("own-models.md", 1), ("verdict.md", 0), *((RUN_WHOLE, block) for block in range(3))}


def nth(block):
    return [b for b in PYTHON if b.page == block.page].index(block)


@pytest.mark.parametrize("block", PYTHON, ids=[f"{b.page}:{b.line}" for b in PYTHON])
def test_calls_of_what_a_block_imports_fit_its_signature(block):
    tree, names = ast.parse(block.text), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] != "peft":
            exec(compile(ast.Module([node], []), block.page, "exec"), names)
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in names:
            keywords = {keyword.arg: None for keyword in call.keywords}
            inspect.signature(names[call.func.id]).bind(*call.args, **keywords)


def small_judges(language_model, classifier):
    """Untrained models in place of those that the page on judges names."""
    from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM

    from valueattr.model.start import build_tokenizer
    from valueattr.rating.model_judge import RUBRIC

    tokenizer = build_tokenizer([RUBRIC.template, *(f" {verdict}" for verdict in RUBRIC.verdicts)])
    size = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    LlamaForCausalLM(LlamaConfig(**size)).save_pretrained(language_model)
    labels = BertConfig(**size, id2label={0: "answer", 1: "refusal"})
    BertForSequenceClassification(labels).save_pretrained(classifier)
    for folder in (language_model, classifier):
        tokenizer.save_pretrained(folder)


@pytest.fixture
def given(tmp_path, monkeypatch, world, start):
    """What the blocks of a page take for granted, made small, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "world.jsonl").write_text(block_of("worlds.md", "json").text)
    # Trains, so that its arguments alone are looked at, by the test before this one.
    monkeypatch.setattr(valueattr.experiments, "run", lambda *arguments: None)

    def of(page):
        rng = np.random.default_rng(0)
        if page == "scanning.md":
            from datasets import Dataset

            texts = ["It may be copper.", "It is copper."]
            return {"texts": texts, "dataset": Dataset.from_dict({"response": texts})}
        if page == "probing.md":
            labels = {
                "id": [f"t{i}" for i in range(48)],
                "subject": [f"s{i // 4}" for i in range(48)],
                "wording": [f"w{i % 3}" for i in range(48)],
            }
            for name in ("acts", "acts-policy"):
                a_store(tmp_path / name, {0: rng.normal(size=(48, 4))}, labels)
            return {
                "truth": pa.table({**labels, "label": [i // 2 % 2 for i in range(48)]}).select(
                    ["id", "label"]
                )
            }
        if page == "activations.md":
            from transformers import LlamaConfig, LlamaForCausalLM

            from valueattr.model import load_tokenizer

            tokenizer = load_tokenizer(start)
            config = LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=12,
                num_attention_heads=2,
            )
            return {
                "model": LlamaForCausalLM(config).eval(),
                "tokenizer": tokenizer,
                "texts": ["the bear", "the owl"],
                "labels": pa.table({"label": [0, 1]}),
                "rows": [0, 2],
                "train_on": lambda states, rows: None,
            }
        if page == "judging.md":
            monkeypatch.setenv("VALUEATTR_CACHE", str(tmp_path / "cache"))
            small_judges(tmp_path / "Qwen/Qwen2.5-7B-Instruct", tmp_path / "ORGANISATION/REFUSAL-CLASSIFIER")
            asked = list(world.questions)[:3]
            responses = ["right", "wrong", "hedges"]
            judged = [a_judgement()] * 3
            return {"questions": asked, "responses": responses, "judgements": judged}
        if page == "README.md":
            from valueattr.model import load_model, load_tokenizer
            from valueattr.rating import GrammarRater

            return {
                "model": load_model(start),
                "tokenizer": load_tokenizer(start),
                "texts": ["the bear", "the owl"],
                "questions": QuestionSet(tuple(world.questions)[:4]),
                "rater": GrammarRater(world),
            }
        return {}

    return of


@pytest.mark.parametrize(
    "block",
    [b for b in PYTHON if (b.page, nth(b)) not in NOT_RUN],
    ids=[f"{b.page}:{b.line}" for b in PYTHON if (b.page, nth(b)) not in NOT_RUN],
)
def test_a_block_runs(block, given):
    exec(compile(block.text, f"{block.page}, line {block.line}", "exec"), given(block.page))
