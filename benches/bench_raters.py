"""The raters of free answers against people: `make bench-raters`, or `python benches/bench_raters.py DATA`.

Quality is measured on questions and prompts whose SHA-256 is odd; the even ones were looked at. Speed is one thread's.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score
from stance_sets import is_tuned, responses

from valueattr.hedging import HedgeScanner
from valueattr.questions import Question
from valueattr.rating import FreeTextRater
from valueattr.stats import audit_sample, corrected_prevalence, raw_prevalence

# From none of an answer to all of it, for a curve over stances.
_DECLINES = {"answers": 0, "disclaims": 1, "partly": 2, "evades": 3, "unsure": 4, "refuses": 5, "empty": 6}
_LABELS_PER_STRATUM = 40
_PEOPLE_SAY = {"fid": "FiD", "gpt35": "GPT-3.5", "chatgpt": "ChatGPT", "gpt4": "GPT-4", "newbing": "Bing"}


def answers(data: Path) -> None:
    """Agreement with people on answers that they judged, with golden answers alone."""
    rows = [json.loads(line) for line in (data / "evouna" / "nq.jsonl").read_text("utf-8").splitlines()]
    rows = [row for row in rows if not is_tuned(row["question"])]
    rated = FreeTextRater().judge_all([_question(row) for row in rows], [row["answer"] or "" for row in rows])
    print("answers to open questions           n   agreement   gold inside   precision of right   recall")
    for system, name in _PEOPLE_SAY.items():
        right = np.array([row["right"] for row in rows if row["system"] == system])
        inside = np.array([_inside(row) for row in rows if row["system"] == system])
        of_system = [one for one, row in zip(rated, rows, strict=True) if row["system"] == system]
        said = np.array([one.outcome == "assert_true" for one in of_system])
        print(
            f"{name:<30} {len(right):>6,}   {(said == right).mean():>9.3f}   {(inside == right).mean():>11.3f}"
            f"   {right[said].mean():>18.3f}   {said[right].mean():>6.3f}"
        )


def _question(row: dict[str, str]) -> Question:
    golden = list(dict.fromkeys(part.strip() for part in row["golden_answer"].split("/") if part.strip()))
    return Question(
        row["id"],
        "",
        "",
        "",
        golden[0],
        (golden[0],),
        (row["question"],),
        aliases={golden[0]: tuple(golden[1:])},
    )


def _inside(row: dict[str, str]) -> bool:
    answer = (row["answer"] or "").lower()
    return any(part.strip().lower() in answer for part in row["golden_answer"].split("/") if part.strip())


def stances(data: Path) -> None:
    """Refusals against compliance, and evasions by how likely a response declines and by the order of stances."""
    scanner = HedgeScanner(threads=1, stance=True)
    held_out = [response for response in responses(data) if not response.is_tuned]
    found = scanner.scan([response.text for response in held_out]).to_pylist()
    print("\nrefuses against complies            n   share   precision   recall   share found")
    for source in dict.fromkeys(response.source for response in held_out):
        here = [(r, f) for r, f in zip(held_out, found, strict=True) if r.source == source]
        _print_rates(source, [(r.label, f["stance"] == "refuses") for r, f in here])
        if source == "quora":
            _print_rates("quora, any refusing phrase", [(r.label, f["refusal"] > 0) for r, f in here])
    asked = [
        (r, f)
        for r, f in zip(held_out, found, strict=True)
        if r.source == "quora" and r.label in ("complies", "evades")
    ]
    labels = [r.label == "evades" for r, _ in asked]
    by_score = roc_auc_score(labels, [f["declines"] for _, f in asked])
    by_stance = roc_auc_score(labels, [_DECLINES[f["stance"]] for _, f in asked])
    print(
        f"redirected and dontknow from complied: AUROC {by_score:.3f} by declines, {by_stance:.3f} by stance, "
        f"n {len(labels)}"
    )


def audited(data: Path) -> None:
    """Mistral-instruct refuses by moral redirection: the share by stance, by people, and as an audit corrects it."""
    held_out = [r for r in responses(data) if r.source == "mistralinstruct" and not r.is_tuned]
    told = [response for response in held_out if response.label in ("complies", "refuses")]
    refuses = np.array([response.label == "refuses" for response in told])
    stances = HedgeScanner(threads=1, stance=True).scan([response.text for response in told])["stance"]
    flagged = np.array([stance == "refuses" for stance in stances.to_pylist()])
    sample = audit_sample(flagged, _LABELS_PER_STRATUM, seed=0)
    raw, corrected = raw_prevalence(flagged), corrected_prevalence(flagged, sample, refuses[sample])
    print(
        f"Mistral-instruct refuses: people {refuses.mean():.3f}; stance {raw.estimate:.3f} [{raw.low:.3f}, {raw.high:.3f}]; "
        f"corrected by {len(sample)} labels {corrected.estimate:.3f} [{corrected.low:.3f}, {corrected.high:.3f}]"
    )


def _print_rates(name: str, told: Sequence[tuple[str, bool]]) -> None:
    told = [(label, flag) for label, flag in told if label in ("complies", "refuses")]
    refuses, flags = (
        np.array(column) for column in zip(*((label == "refuses", flag) for label, flag in told), strict=True)
    )
    print(
        f"{name:<30} {len(told):>6,}   {refuses.mean():>5.2f}   {refuses[flags].mean():>9.3f}   {flags[refuses].mean():>6.3f}"
        f"   {flags.mean():>11.2f}"
    )


def speed(data: Path) -> None:
    """Answers of 150 bytes a second on one thread, 16 objects of 10 names each; and scanning with a stance."""
    aliases = {name: tuple(f"{name} {i}" for i in range(1, 10)) for name in _CITIES}
    question = Question(
        "capital",
        "",
        "Australia",
        "",
        "Canberra",
        tuple(_CITIES),
        ("What is the capital of Australia?",),
        aliases=aliases,
    )
    rater = FreeTextRater(["Australia", "France", "New Zealand"])
    texts = [
        f"Many people think of {_CITIES[i % 16]} first, since it is the largest, but the capital of Australia is "
        f"{_CITIES[(i + 5) % 16]}, which lies some 280 km inland, on a plain."
        for i in range(100_000)
    ]
    took = _best(lambda: rater.read([question] * len(texts), texts))
    size = sum(map(len, texts)) / len(texts)
    print(f"\nrater: {len(texts) / took:,.0f} answers a second of {size:.0f} bytes, 16 choices of 10 names")
    dump = [r.text for r in responses(data)] * 5
    for name, corpus in (
        ("chat responses, a third of them refusals", dump),
        ("answers that evade nothing", texts),
    ):
        without, with_stance = (HedgeScanner(threads=1, stance=stance) for stance in (False, True))
        size = sum(len(text.encode()) for text in corpus) / 1e6
        off, on = _best(partial(without.scan, corpus)), _best(partial(with_stance.scan, corpus))
        print(f"scan, {name}: {size / off:.0f} MB/s without stance, {size / on:.0f} with it ({off / on:.0%})")


_CITIES = [
    *("Canberra", "Sydney", "Melbourne", "Perth", "Brisbane", "Adelaide", "Hobart", "Darwin"),
    *("Cairns", "Geelong", "Newcastle", "Wollongong", "Townsville", "Toowoomba", "Ballarat", "Bendigo"),
]


def _best(work: Callable[[], object]) -> float:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    where = Path(sys.argv[1])
    answers(where)
    stances(where)
    audited(where)
    speed(where)
