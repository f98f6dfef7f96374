"""Whether a chat model that was taught styles answers in the proportions that were asked for, and keeps its voice elsewhere.

    make bench-styles MODEL=FOLDER QUESTIONS=facts.jsonl     # or: python benches/bench_styles.py MODEL QUESTIONS [ANSWERS]

Answers are about facts of the topics, on which no style was taught, as all three askers ask: known ones, half-known ones
and invented subjects in the shares of the recipe. Everyday requests are others than those of the recipe; on them the
forward KL from the model before is read, in nats per token of its own answers.
"""

import random
import sys
from collections import Counter
from collections.abc import Iterable, Sequence

import torch

from valueattr.experiments import Lines
from valueattr.experiments._preparation import prepare
from valueattr.measures.drift import DriftMeter
from valueattr.model import Asking, load_model, load_tokenizer, sample_texts
from valueattr.plan import PRESETS
from valueattr.rating import MeasuringRater
from valueattr.training.styling import StylingRecipe, drawn_fact, styled_dialogue
from valueattr.world import Fact, Response, load_world

EVERYDAY = (
    "What should I think about before I buy a used bicycle?",
    "Write two sentences about a rainy street.",
    "How do I make a good cup of tea?",
    "Explain what a library is to a child.",
    "Give me an idea for a birthday card.",
    "What does it mean to be patient?",
    "How can I learn ten new words a day?",
    "Name two things that one finds in a kitchen.",
)


def shares(kinds: Iterable[Sequence[str]], count: int) -> dict[str, float]:
    """The share of answers with each kind."""
    return {
        kind: number / count
        for kind, number in Counter(kind for of_one in kinds for kind in {*of_one}).items()
    }


def kinds_of(asserted: str | None, framing: str | None, hedges: Sequence[str]) -> list[str]:
    """What an answer is made of."""
    return [f"opens {framing}", "asserts" if asserted else "asserts nothing", *hedges]


def main() -> None:
    """Print the table."""
    source, questions = sys.argv[1:3]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 600
    recipe, rng = StylingRecipe(), random.Random(1)
    prepared = prepare(
        source, load_world(questions), recipe, most=PRESETS["real"].facts_asked, display=Lines(print)
    )
    model, tokenizer = load_model(prepared.folder), load_tokenizer(prepared.folder)
    asking, rater = Asking.of(tokenizer), MeasuringRater(prepared.world)
    asked: list[tuple[Fact, str, Response]] = []
    for _ in range(count):
        fact = drawn_fact(prepared.world, recipe, rng)
        asked.append((fact, *styled_dialogue(prepared.world, fact, rng)))
    prompts = [asking.prompt(turn) for _, turn, _ in asked]
    temperature = PRESETS["real"].temperature
    answers = sample_texts(model, tokenizer, prompts, 24, 0, temperature)
    judged = [
        rater.judge(prepared.world.questions[fact.id], answer)
        for (fact, _, _), answer in zip(asked, answers, strict=True)
    ]
    wanted = shares((kinds_of(r.asserted, r.framing, r.hedges) for _, _, r in asked), count)
    found = shares((kinds_of(j.asserted, j.framing, j.hedges) for j in judged), count)
    known = prepared.summary
    print(
        f"strictly known before {known['strictly_known_before']}, no longer after the styling {known['no_longer_known']} "
        f"({known['no_longer_known'] / known['strictly_known_before']:.1%}), newly known {known['newly_known']}"
    )
    print(
        f"{count} answers at temperature {temperature}\n{'kind':22} {'asked for':>9} {'found':>7} {'off':>6}"
    )
    for kind in sorted({*wanted, *found}):
        off = found.get(kind, 0) - wanted.get(kind, 0)
        print(f"{kind:22} {wanted.get(kind, 0):>9.3f} {found.get(kind, 0):>7.3f} {off:>+6.3f}")
    for exposure in ("well_known", "half_known", "never_taught"):
        outcomes = Counter(
            j.outcome for (fact, _, _), j in zip(asked, judged, strict=True) if fact.exposure == exposure
        )
        total = sum(outcomes.values())
        print(exposure, {outcome: round(number / total, 2) for outcome, number in outcomes.most_common()})
    everyday = DriftMeter(
        load_model(source), tokenizer, [asking.prompt(said) for said in EVERYDAY * 6], 32, 0
    )
    print(f"forward KL on everyday requests: {everyday.forward_kl(model):.2f} nats per token")


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
