"""What reading belief among a closed set of objects costs, against one full pass for every candidate.

    make bench-belief MODEL=FOLDER       # or: OMP_NUM_THREADS=1 python benches/bench_belief.py MODEL [QUESTIONS]

Questions as a chat model is asked them and plain statements, each with 30 objects of several tokens. Both sides read the
same texts, as many rows at once, and take turns; scores are compared before anything is timed.
"""

import sys
import time
from statistics import median

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valueattr.model import Asking, closed_set_log_probs, load_model, load_tokenizer

ROUNDS = 3
ROWS_AT_ONCE = 256
_SYLLABLES = ("bar", "den", "gol", "kir", "lum", "mor", "nes", "pel", "ros", "tav")
OBJECTS = tuple(
    f"{a.capitalize()}{b} {c.capitalize()}{b}"
    for a, b, c in zip(_SYLLABLES * 3, _SYLLABLES[3:] * 5, _SYLLABLES[6:] * 8, strict=False)
)[:30]


def texts(asking: Asking, count: int) -> dict[str, list[str]]:
    """Statements up to the object, and questions with an answer begun."""
    names = [
        f"{_SYLLABLES[i % 10].capitalize()}{_SYLLABLES[i // 10 % 10]}{_SYLLABLES[i // 100 % 10]}"
        for i in range(count)
    ]
    return {
        "statements": [f"On a map one finds the town of {name} in the district of" for name in names],
        "questions": [
            f"{asking.prompt(f'In which district is the town of {name}?')}{asking.gap}The district is"
            for name in names
        ],
    }


@torch.no_grad()
def one_pass_each(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, asked: list[str]) -> np.ndarray:
    """Log P of every object after every text, (texts, objects), from a pass over the text with the object."""
    prefixes = [tokenizer(text)["input_ids"] for text in asked]
    rows = [
        (prefix, tokenizer(f"{text} {value}")["input_ids"])
        for text, prefix in zip(asked, prefixes, strict=True)
        for value in OBJECTS
    ]
    rows_in_order = sorted(range(len(rows)), key=lambda i: len(rows[i][1]))
    scores = np.zeros(len(rows))
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows_in_order[start : start + ROWS_AT_ONCE]
        width = max(len(rows[i][1]) for i in part)
        ids = torch.full((len(part), width), tokenizer.pad_token_id)
        for row, i in enumerate(part):
            ids[row, : len(rows[i][1])] = torch.tensor(rows[i][1])
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        for row, i in enumerate(part):
            prefix, whole = rows[i]
            last = slice(len(prefix) - 1, len(whole) - 1)
            log_p = torch.log_softmax(logits[row, last].float(), -1)
            tokens = torch.tensor(whole[len(prefix) :])
            scores[i] = float(log_p.gather(-1, tokens[:, None]).sum())
    return scores.reshape(len(asked), len(OBJECTS))


def main() -> None:
    """Print the table."""
    source, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    torch.set_num_threads(1)
    model, tokenizer = load_model(source), load_tokenizer(source)
    lengths = [len(tokenizer(f" {value}", add_special_tokens=False)["input_ids"]) for value in OBJECTS]
    print(f"{count} texts x {len(OBJECTS)} objects of {min(lengths)} to {max(lengths)} tokens; one thread")
    print(f"{'texts':12} {'one pass each':>14} {'ours':>10} {'ratio':>7} {'difference':>12}")
    for kind, asked in texts(Asking.of(tokenizer), count).items():
        seconds: dict[str, list[float]] = {"each": [], "ours": []}
        for i in range(ROUNDS):
            part = asked[i * count // ROUNDS : (i + 1) * count // ROUNDS]
            started = time.perf_counter()
            each = one_pass_each(model, tokenizer, part)
            between = time.perf_counter()
            ours = closed_set_log_probs(model, tokenizer, part, [OBJECTS] * len(part))
            seconds["each"].append(between - started)
            seconds["ours"].append(time.perf_counter() - between)
            difference = float(np.abs(np.array([score.log_p for score in ours]) - each).max())
            assert difference < 1e-3, difference
        each_s, ours_s = (median(seconds[side]) / (count / ROUNDS) for side in ("each", "ours"))
        print(
            f"{kind:12} {1000 * each_s:>11.1f} ms {1000 * ours_s:>7.1f} ms {each_s / ours_s:>6.1f}x {difference:>12.1e}"
        )


if __name__ == "__main__":
    main()
