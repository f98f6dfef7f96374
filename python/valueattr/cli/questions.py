"""`valueattr questions`: what a file of facts holds, and what a model knows of it."""

from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from valueattr.cli import parsing, render

if TYPE_CHECKING:
    from valueattr.measures.knowledge import Knowledge
    from valueattr.world import World

app = typer.Typer(help="Look into facts, and into what a model knows of them.", no_args_is_help=True)

_Path = Annotated[
    Path,
    typer.Argument(
        help="The facts: a CSV file, a JSONL file with a world, a JSON file or folder of LRE, or a folder of ParaRel."
    ),
]


@app.command("check", epilog=render.example("valueattr questions check lre/factual"))
def check(path: _Path) -> None:
    """Show the relations of a file of facts.

    Each comes with a question as it would be asked, and with what is left out of the file and why.
    """
    world = _read(path, _say)
    table = render.table(
        "relation",
        "facts",
        "objects",
        "commonest",
        "asked",
        "measured",
        numbers=("facts", "objects", "commonest"),
    )
    of_relation = world.by_relation()
    shown = world.with_facts(facts[0] for facts in of_relation.values()).questions
    for name, facts in of_relation.items():
        commonest = Counter(fact.object for fact in facts).most_common(1)[0][1]
        question = shown[facts[0].id]
        table.add_row(
            render.cell(name),
            f"{len(facts):,}",
            f"{len(world.relations[name].objects):,}",
            f"{commonest / len(facts):.0%}",
            render.cell(question.wordings[0]),
            render.cell(f"{question.statements[0]} ..."),
        )
    console = render.console()
    console.print(table)
    render.line(console, f"Facts: {len(world.facts):,}; relations: {len(world.relations):,}")


@app.command(
    "known", epilog=render.example("valueattr questions known lre --model smollm2 --out known.jsonl")
)
def known(
    path: _Path,
    model: Annotated[
        str, typer.Option(help=f"The model to ask: {parsing.MODEL_FORMS}. See docs/own-models.md.")
    ],
    most: Annotated[
        int,
        typer.Option(
            min=2, help="Facts to ask of each relation, at most; each object equally often where it can be."
        ),
    ] = 150,
    out: Annotated[
        Path | None,
        typer.Option(help="A JSONL file for the facts as the model knows them, to give to --questions."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON for machines in place of the table.")
    ] = False,
) -> None:
    """Ask a model what it knows, before anything is trained.

    A fact is known where its object is the likeliest in most held-out wordings, as a statement and in answer to a
    question, and is likelier than for invented subjects.
    """
    world = _read(path, lambda _: None)
    try:
        from valueattr.measures.knowledge import measure_knowledge
        from valueattr.model import ModelError, load_model, load_tokenizer
    except ModuleNotFoundError as error:
        render.fail(f"{error.name} is not installed. Asking a model needs it: pip install 'valueattr[train]'")
    from valueattr.outputs import OutputError, new_output
    from valueattr.questions import TooFewQuestionsError

    with (
        render.failures(ModelError, OutputError, TooFewQuestionsError),
        new_output(out) if out else nullcontext() as place,
    ):
        measured = measure_knowledge(
            load_model(model),
            load_tokenizer(model),
            world,
            most=most,
            say=_say,
        )
        if place is not None:
            measured.world.save(place)
    _show(measured, as_json)


def _show(measured: "Knowledge", as_json: bool) -> None:
    from valueattr.questions import FEWEST_TOPICS, choose_topics

    by_relation, topics = measured.by_relation(), choose_topics(measured.world.questions)
    if as_json:
        render.as_json({"topics": topics, "relations": by_relation.to_dict("index")})
        return
    counts = ("known", "half known", "false belief", "unknown", "invented")
    table = render.table(
        "relation", *counts, "statements", "questions", numbers=(*counts, "statements", "questions")
    )
    for relation, row in by_relation.to_dict("index").items():
        numbers = [f"{row[count.replace(' ', '_')]:,}" for count in counts]
        table.add_row(render.cell(str(relation)), *numbers, f"{row['plain']:.2f}", f"{row['question']:.2f}")
    console = render.console()
    console.print(table)
    render.line(
        console, "statements, questions: share of wordings in which the true object is the likeliest."
    )
    if len(topics) >= FEWEST_TOPICS:
        render.line(console, f"A run would take these topics: {render.shown(', '.join(topics))}.")
    else:
        render.line(
            console,
            f"A run needs three topics of which two facts are known, and there are {len(topics)}: "
            "give facts of more relations, or a model that knows more.",
        )


def _say(text: str) -> None:
    typer.echo(render.shown(text), err=True)


def _read(path: Path, say: Callable[[str], None]) -> "World":
    from valueattr.world import WorldError, load_world

    with render.failures(WorldError):
        return load_world(path, say)
