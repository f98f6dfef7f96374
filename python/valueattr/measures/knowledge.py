"""What a model knows of facts before anything is done to it, in wordings that no prompt uses: what fills the splits of a run.

Each fact is asked in up to three held-out statements (`plain`) and three held-out questions (`question`), as a choice among
the objects of its relation. It is

* known, where its object is the likeliest in two of three wordings of both formats, and above the floor in both
* a false belief, where one and the same other object is all that
* half known, where its object is the likeliest in some wordings of a format, and above the floor in that format
* unknown, where it is neither

The floor comes from subjects that nobody has heard of. It is the 95th percentile of the margin that the same object has over
the others for them; margins are averaged over the wordings of a format. A model that says "Antarctica" of every place knows none.
"""

import math
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valueattr.model import Asking, ModelError, closed_set_log_probs, evaluating
from valueattr.questions import Exposure, PromptFormat, Question, TooFewQuestionsError
from valueattr.world import MEASURED_WORDINGS, Fact, World, invented_subjects

FORMATS = ("plain", "question")

MOST_OBJECTS = 256
"""Objects of a relation that is asked, at most."""

_FACTS, _WORLD = "facts.parquet", "world.jsonl"

_LIKELIEST_IN = 2 / 3
_FLOOR = 0.95
_INVENTED = 48
_FEWEST_INVENTED = 8
_ASKED_AT_ONCE = 256

KnowledgeClass = Literal["known", "half_known", "false_belief", "unknown"]
EXPOSURE: dict[KnowledgeClass, Exposure] = {
    "known": "well_known",
    "half_known": "half_known",
    "false_belief": "false_belief",
}
"""The exposure of a fact by how it is known; unknown facts have none."""


@dataclass(frozen=True)
class Knowledge:
    """What a model knows of a world.

    facts: a row a fact that was asked, by its id: `relation`, `topic`, `knowledge` (known, half_known, false_belief or
    unknown), `held` (what the model holds to be the object; missing where it holds nothing), `plain` and `question` (the
    shares of wordings in which the true object is the likeliest), `margin` of the true object over the others in statements
    and its `floor` (nats).
    world: the facts that it knows, half knows or has wrong, with these exposures; and invented ones, never taught.
    """

    facts: pd.DataFrame
    world: World

    def save(self, folder: Path) -> None:
        """Write both to a folder that is new."""
        folder.mkdir(parents=True)
        self.facts.to_parquet(folder / _FACTS)
        self.world.save(folder / _WORLD)

    @classmethod
    def load(cls, folder: Path) -> "Knowledge":
        """Read what `save` wrote."""
        return cls(pd.read_parquet(folder / _FACTS), World.load(folder / _WORLD))

    def by_relation(self) -> pd.DataFrame:
        """Numbers of facts by how they are known, and the shares of right answers in each format, by relation."""
        counts = pd.crosstab(self.facts["relation"], self.facts["knowledge"])
        counts = counts.reindex(columns=["known", "half_known", "false_belief", "unknown"], fill_value=0)
        shares = self.facts.groupby("relation")[list(FORMATS)].mean()
        invented = pd.Series(
            {
                name: sum(f.exposure == "never_taught" for f in facts)
                for name, facts in self.world.by_relation().items()
            },
            name="invented",
        )
        table = pd.concat([counts, invented, shares], axis=1).loc[counts.index]
        return table.fillna({"invented": 0}).astype({"invented": int})


def measure_knowledge(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    world: World,
    *,
    most: int = 150,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> Knowledge:
    """Ask a model up to `most` facts of each relation, drawn by `seed` so that each object comes up as often as it can.

    Facts of the world that are never taught are not asked: they are the invented subjects, where a relation has some, so
    that what was found can be asked again. say: is told which relation is being asked, or left out.

    Raises:
        ModelError: a text is longer than the model's context, or of tokens that it lacks.
        TooFewQuestionsError: every relation is left out.
    """

    def length(name: str) -> int:
        return len(tokenizer(f" {name}", add_special_tokens=False)["input_ids"])

    tables, kept = [], []
    for relation, facts in world.by_relation().items():
        if len(world.relations[relation].objects) > MOST_OBJECTS:
            say(f"{relation} is left out: it has more than {MOST_OBJECTS} objects to choose among")
            continue
        _check_told_apart(tokenizer, relation, world.relations[relation].objects)
        real = [fact for fact in facts if fact.exposure != "never_taught"]
        asked = balanced(real, most, random.Random(f"asked {seed} {relation}"))
        invented = [fact for fact in facts if fact.exposure == "never_taught"]
        invented = invented or _invented(world, relation, real, length, seed, min(_INVENTED, most))
        if not asked:
            continue
        say(f"asking {relation}")
        if len(invented) < _FEWEST_INVENTED:
            say(
                f"{relation} has few names: only {len(invented)} could be invented, so that its floor is weak"
            )
        both = world.with_facts((*asked, *invented)).questions
        scores = _scores(model, tokenizer, [both[fact.id] for fact in (*asked, *invented)])
        table = _judged([both[fact.id] for fact in asked], scores, len(asked))
        tables.append(table)
        kept += _with_exposures(asked, table)
        kept += invented
    if not tables:
        raise TooFewQuestionsError(
            f"no relation can be asked: each needs facts, and at most {MOST_OBJECTS} objects to choose among"
        )
    return Knowledge(pd.concat(tables), world.with_facts(kept))


def _check_told_apart(tokenizer: PreTrainedTokenizerBase, relation: str, objects: Sequence[str]) -> None:
    seen: dict[tuple[int, ...], str] = {}
    written = tokenizer([f" {value}" for value in objects], add_special_tokens=False)["input_ids"]
    for value, ids in zip(objects, written, strict=True):
        if (other := seen.setdefault(tuple(ids), value)) != value:
            raise ModelError(
                f"{tokenizer.name_or_path}: the tokenizer writes {other!r} and {value!r} of the relation {relation!r} with "
                "the same tokens, so that they cannot be told apart: leave one of them out"
            )


def balanced(facts: Sequence[Fact], most: int, rng: random.Random) -> list[Fact]:
    """Up to `most` facts at random, so that each object comes up as often as others where there are facts enough."""
    of_object: dict[str, list[Fact]] = defaultdict(list)
    for fact in rng.sample(facts, len(facts)):
        of_object[fact.object].append(fact)
    turns = [(turn, fact) for own in of_object.values() for turn, fact in enumerate(own)]
    return [fact for _, fact in sorted(turns, key=lambda pair: pair[0])[:most]]


def _invented(
    world: World, relation: str, real: Sequence[Fact], length: Callable[[str], int], seed: int, most: int
) -> list[Fact]:
    """Up to `most` facts that nobody taught the model, of subjects that are nobody's; the object is of a real fact, at random."""
    if not real:
        return []
    rng = random.Random(f"objects {seed} {relation}")
    taken = {fact.id for fact in world.facts}
    ids = (name for i in count() if (name := f"invented-{i}-{relation}") not in taken)
    names = invented_subjects([fact.subject for fact in real], most, length, world.subjects, seed)
    return [
        Fact(next(ids), name, real[0].topic, relation, rng.choice(real).object, "never_taught")
        for name in names
    ]


_Scores = dict[str, NDArray[np.float64]]
"""Log probabilities by format, (questions, wordings, objects)."""


def _scores(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question]
) -> _Scores:
    asking = Asking.of(tokenizer)
    texts: dict[str, list[Sequence[str]]] = {
        "plain": [question.statements[:MEASURED_WORDINGS] for question in questions],
        "question": [
            [
                f"{asking.prompt(wording)}{asking.gap}{PromptFormat().begun(question)}"
                for wording in question.held_out_wordings[:MEASURED_WORDINGS]
            ]
            for question in questions
        ],
    }
    with evaluating(model):
        return {name: _log_probs(model, tokenizer, questions, of_all) for name, of_all in texts.items()}


def _log_probs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    texts: Sequence[Sequence[str]],
) -> NDArray[np.float64]:
    """Log probabilities of the objects after each text, (questions, texts, objects)."""
    found = []
    for start in range(0, len(questions), _ASKED_AT_ONCE):
        part = slice(start, start + _ASKED_AT_ONCE)
        flat = [
            (text, q.choices) for q, own in zip(questions[part], texts[part], strict=True) for text in own
        ]
        scores = closed_set_log_probs(
            model, tokenizer, [text for text, _ in flat], [choices for _, choices in flat]
        )
        found += [score.log_p for score in scores]
    return np.array(found).reshape(len(questions), len(texts[0]), len(questions[0].choices))


def _judged(questions: Sequence[Question], scores: _Scores, asked: int) -> pd.DataFrame:
    """The table of `Knowledge` for one relation; the first `asked` rows of the scores are of the questions."""
    objects = questions[0].choices
    margins = {name: _margins(log_p).mean(1) for name, log_p in scores.items()}
    floor = {name: _floor(of_all[asked:]) for name, of_all in margins.items()}
    rows = []
    for i, question in enumerate(questions):
        above = {name: margins[name][i] > floor[name] for name in FORMATS}
        shares = {
            name: np.bincount(log_p[i].argmax(-1), minlength=len(objects)) / log_p.shape[1]
            for name, log_p in scores.items()
        }
        mostly = [
            o
            for o in range(len(objects))
            if all(above[f][o] and shares[f][o] >= _LIKELIEST_IN - 1e-9 for f in FORMATS)
        ]
        true = objects.index(question.answer)
        held = mostly[0] if mostly else None
        knowledge: KnowledgeClass
        if held is not None:
            knowledge = "known" if held == true else "false_belief"
        else:
            somewhat = any(above[f][true] and shares[f][true] > 0 for f in FORMATS)
            knowledge = "half_known" if somewhat else "unknown"
        rows.append(
            {
                "relation": question.relation,
                "topic": question.topic,
                "knowledge": knowledge,
                "held": None if held is None else objects[held],
                **{name: float(shares[name][true]) for name in FORMATS},
                "margin": float(margins["plain"][i, true]),
                "floor": float(floor["plain"][true]),
            }
        )
    return pd.DataFrame(rows, index=pd.Index([question.id for question in questions], name="fact"))


def _floor(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the margin of each object must be above, from those of invented subjects, (subjects, objects)."""
    if not len(margins):
        return np.full(margins.shape[1], -np.inf)
    floor: NDArray[np.float64] = np.quantile(margins, _FLOOR, axis=0)
    return floor


def _margins(log_p: NDArray[np.float64]) -> NDArray[np.float64]:
    """log P of each object less the log of the others' mean P, in nats; the objects are the last axis."""
    objects = log_p.shape[-1]
    others = [np.logaddexp.reduce(np.delete(log_p, o, axis=-1), axis=-1) for o in range(objects)]
    margins: NDArray[np.float64] = log_p - np.stack(others, axis=-1) + math.log(objects - 1)
    return margins


def _with_exposures(facts: Sequence[Fact], table: pd.DataFrame) -> list[Fact]:
    """The facts of which the model holds or half holds something."""
    found = []
    for fact, row in zip(facts, table.to_dict("records"), strict=True):
        if exposure := EXPOSURE.get(row["knowledge"]):
            taught = row["held"] if exposure == "false_belief" else fact.object
            found.append(replace(fact, exposure=exposure, taught=taught))
    return found
