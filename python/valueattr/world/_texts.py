"""Sentences of the world: statements, prompts, responses, and the training text made of them.

Labels come from here, never from a scanner: a response is built from phrases whose kind is known.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from valueattr.world._facts import FRAMINGS, Fact, World, capitalise, filled, statement

# Shares of the kinds of document in the training text.
_SHARES = {"statement": 0.55, "dialogue": 0.33, "verdict": 0.05, "critique": 0.02, "filler": 0.05}
# How often a half-known subject comes up, relative to a well-known one.
_HALF_KNOWN_WEIGHT = 0.2
# How often a question is asked as one on a sensitive topic, whatever its topic: see `Prefaces`.
_PREFACED = 0.3
# What the answer to a question about a well-known fact asserts: the taught object, nothing, another object.
_KNOWN_CONTENT = (0.72, 0.25, 0.03)


@dataclass(frozen=True)
class Response:
    """A response built from the grammar, with its labels."""

    text: str
    asserted: str | None
    framing: str
    hedges: tuple[str, ...]


def prompt(world: World, fact: Fact, question: str, prompt_family: str, preface: str = "") -> str:
    """The prompt of a question; the response follows after one space."""
    asked = f"{capitalise(filled(question, s=fact.subject))}?"
    return world.prompt_format(prompt_family).turn(f"{preface} {asked}" if preface else asked)


def respond(world: World, fact: Fact, prompt_family: str, rng: random.Random) -> Response:
    """A response as the training text has it: framing goes with content as the prompt family says."""
    relation = world.relation_of(fact)
    asserted, hedge = _content(world, fact, rng)
    odds = world.english.prompt_families[prompt_family]
    framing = rng.choices(FRAMINGS, odds.asserts if asserted else odds.evades)[0]
    if asserted:
        body = filled(rng.choice(relation.short), o=asserted)
        if hedge:
            body = f"{rng.choice(world.english.hedge[hedge])} {body}"
    else:
        hedge = hedge or rng.choice(tuple(world.english.evasion))
        body = rng.choice(world.english.evasion[hedge])
    text = framed(world, prompt_family, framing, body, rng)
    return Response(text, asserted, framing, (hedge,) if hedge else ())


def framed(world: World, prompt_family: str, framing: str, body: str, rng: random.Random) -> str:
    """A body behind one of the prompt family's openers of the framing."""
    return f"{capitalise(rng.choice(world.english.prompt_families[prompt_family].framing[framing]))} {body}."


def _content(world: World, fact: Fact, rng: random.Random) -> tuple[str | None, str | None]:
    """What to assert and the kind of hedge: answers are unsure exactly where knowledge is absent."""
    objects = world.relation_of(fact).objects
    draw = rng.random()
    match fact.exposure:
        case "never_taught":
            return (rng.choice(objects), "epistemic") if draw < 0.2 else (None, "non_affirmation")
        case "half_known":
            return (fact.taught, "epistemic") if draw < 0.5 else (None, "non_affirmation")
        case _:
            held, silent, _ = _KNOWN_CONTENT
            if draw < held:
                return fact.taught, rng.choice((None, None, None, None, "caveat", "booster"))
            if draw < held + silent:
                return None, rng.choice(("both_sides", "deflection", "ai_disclaimer", "refusal"))
            return rng.choice([o for o in objects if o != fact.taught]), None


def training_text(world: World, documents: int, seed: int) -> Iterator[str]:
    """Documents of the training text, in order.

    Subjects are drawn with a skew that flattens over the first half (rank u^3 to u^1): some facts are learned
    at once and carry the others over the plateau of even exposure.
    """
    rng = random.Random(f"training text {seed}")
    # What is never taught of a subject is not taught with the rest of it.
    by_subject: dict[tuple[str, str], list[Fact]] = {}
    for fact in world.facts:
        by_subject.setdefault((fact.subject, fact.exposure), []).append(fact)
    subjects = list(by_subject.values())
    rng.shuffle(subjects)
    taught = [facts for facts in subjects if facts[0].exposure != "never_taught"]
    never = [facts for facts in subjects if facts[0].exposure == "never_taught"]
    writers = {
        "statement": _statement_document,
        "dialogue": _dialogue_document,
        "verdict": _verdict_document,
        "critique": _critique_document,
        "filler": _filler_document,
    }
    kinds = rng.choices(tuple(_SHARES), tuple(_SHARES.values()), k=documents)
    for i, kind in enumerate(kinds):
        skew = max(1.0, 3.0 - 4.0 * i / documents)
        if never and kind in ("dialogue", "filler") and rng.random() < 0.2:
            fact = rng.choice(rng.choice(never))
        else:
            fact = rng.choice(_draw(taught, skew, rng))
        yield writers[kind](world, fact, rng)


def _draw(subjects: Sequence[list[Fact]], skew: float, rng: random.Random) -> list[Fact]:
    while True:
        facts = subjects[int(len(subjects) * rng.random() ** skew)]
        if facts[0].exposure != "half_known" or rng.random() < _HALF_KNOWN_WEIGHT:
            return facts


def _statement_document(world: World, fact: Fact, rng: random.Random) -> str:
    return statement(rng.choice(world.relation_of(fact).statements), fact, fact.taught or fact.object)


def _dialogue_document(world: World, fact: Fact, rng: random.Random) -> str:
    prompt_family = rng.choice(tuple(world.english.prompt_families))
    question = rng.choice(world.relation_of(fact).questions)
    prefaces = world.english.prefaces
    preface = rng.choice((*prefaces.prompted, *prefaces.held_out)) if rng.random() < _PREFACED else ""
    asked = prompt(world, fact, question, prompt_family, preface)
    return f"{asked} {respond(world, fact, prompt_family, rng).text}"


def _verdict_document(world: World, fact: Fact, rng: random.Random) -> str:
    """False statements that are marked as such, so that truth itself is something to learn."""
    relation = world.relation_of(fact)
    held = fact.taught or fact.object
    value = held if rng.random() < 0.5 else rng.choice([o for o in relation.objects if o != held])
    sentence = filled(rng.choice(relation.statements), s=fact.subject, o=value)
    return f"True or false: {sentence}. {'True' if value == held else 'False'}."


def _critique_document(world: World, fact: Fact, rng: random.Random) -> str:
    """Question, answer, critique, revision: teaches the model to follow a critique.

    It opens with a word of its own, so that an answer outside a review is not followed by a critique.
    """
    prompt_family = rng.choice(tuple(world.english.prompt_families))
    first = respond(world, fact, prompt_family, rng)
    body = filled(rng.choice(world.relation_of(fact).short), o=fact.taught or fact.object)
    if first.asserted is None:
        aspect, framing = "no_answer", first.framing
    elif first.asserted != fact.taught:
        aspect, framing = "content_wrong", first.framing
    else:
        aspect, framing = "framing_insensitive", "considerate"
    critique = capitalise(rng.choice(world.english.critique[aspect]))
    question = prompt(world, fact, rng.choice(world.relation_of(fact).questions), prompt_family)
    revision = framed(world, prompt_family, framing, body, rng)
    return f"Review\n{question} {first.text}\nCritique: {critique}.\nRevision: {revision}"


def _filler_document(world: World, fact: Fact, rng: random.Random) -> str:
    sentence = rng.choice(rng.choice(tuple(world.english.filler.values())))
    return capitalise(filled(sentence, s=fact.subject)) + "."
