"""The readers of the Python interface, each as a command: it prints what it read, or the error that it documents."""

import json
import sys


def _reader(read, *errors):
    def command(path):
        try:
            found = read(path)
        except errors as error:
            print(error, file=sys.stderr)
            sys.exit(1)
        print(json.dumps(found, default=str))

    return command


def _read_rows(path):
    from valueattr.tables import TableError, read_rows

    # Cells of CSV are texts.
    return _reader(
        lambda path: [{k: str(v) for k, v in row.items()} for _, row in read_rows(path)], TableError
    )(path)


def _read_table(path):
    from valueattr.tables import TableError, read_table

    return _reader(
        lambda path: [dict(sorted(row.items())) for row in read_table(path).to_pylist()], TableError
    )(path)


def _read_texts(path):
    from valueattr.tables import TableError, read_texts

    return _reader(lambda path: read_texts(path, "text")[0], TableError)(path)


def _world(path):
    from valueattr.world import World, WorldError

    return _reader(lambda path: _known(World.load(path)), WorldError)(path)


def _load_world(path):
    from valueattr.world import WorldError, load_world

    def load(path):
        world = load_world(path)
        return *_known(world), _asked(world)

    return _reader(load, WorldError)(path)


def _known(world):
    return world.fingerprint(), len(world.questions)


def _asked(world):
    """What the facts are and how they are asked, without the names of their relations."""
    wordings = [
        (relation.objects[:9], relation.statements, relation.questions, relation.held_out)
        for relation in world.relations.values()
    ]
    return [(fact.subject, fact.object) for fact in world.facts], wordings


def _statements(path):
    from valueattr.measures.statements import StatementError, load_statements

    return _reader(lambda path: load_statements(path).digest, StatementError)(path)


def _model(path):
    from valueattr.model import ModelError, load_model, load_tokenizer

    def load(path):
        ids = load_tokenizer(path)("the emblem of the")["input_ids"]
        return ids, float(sum(weights.double().sum() for weights in load_model(path).parameters()))

    return _reader(load, ModelError)(path)


def _store(path):
    from valueattr.activations import ActivationStore, StoreError

    def load(path):
        store = ActivationStore(path)
        sums = {layer: float(store.read(layer).sum()) for layer in store.layers}
        return store.captures, store.index().to_pylist(), sums

    return _reader(load, StoreError)(path)


def _run(path):
    from valueattr.plan import Plan
    from valueattr.results import RunDirectory, RunDirectoryError

    def load(path):
        run = RunDirectory(path)
        tables = {
            name: len(run.table(name)) for name in ("facts", "generations", "measures", "steps", "summary")
        }
        return Plan.read(run).to_json(), run.environment, run.start_model, run.config, tables

    return _reader(load, RunDirectoryError)(path)


READERS = {
    "read_rows": _read_rows,
    "read_table": _read_table,
    "read_texts": _read_texts,
    "World.load": _world,
    "load_world": _load_world,
    "load_statements": _statements,
    "load_model": _model,
    "ActivationStore": _store,
    "RunDirectory": _run,
}

BEGUN_DIAGNOSIS = "begun diagnosis"


def begin_diagnosis(before, after, questions, out):
    """Leave a folder as `valueattr diagnose` does that was stopped once it had read the model before."""
    from pathlib import Path

    import pandas as pd

    from valueattr.diagnosis import EVIDENCE, SAID, diagnose
    from valueattr.world import load_world

    class StoppedError(Exception):
        pass

    def say(text):
        raise StoppedError(text)

    out, world = Path(out), load_world(questions)
    try:
        diagnose(before, after, world, out=out, say=say)
    except StoppedError:
        ids = pd.Index([question.id for question in world.questions], name="fact")
        (out / "readings").mkdir()
        reading = pd.DataFrame(0.0, ids, ["belief", *EVIDENCE, *SAID, "said_held"])
        reading.to_parquet(out / "readings" / "before.parquet")
