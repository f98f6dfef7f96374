"""Responses of chat models, labelled by hand, for what fits and measures stances."""

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_XSTEST = ("gpt4", "llama2orig", "llama2new", "mistralguard", "mistralinstruct")
_LABELS = {
    "complied": "complies",
    "rejected": "refuses",
    "redirected": "evades",
    "dontknow": "evades",
    "1_full_compliance": "complies",
    "2_full_refusal": "refuses",
    "3_partial_refusal": "partly",
}


@dataclass(frozen=True)
class Response:
    """A response and what people call it: complies, refuses, evades, partly or other."""

    source: str
    text: str
    label: str
    is_tuned: bool


def is_tuned(text: str) -> bool:
    """Whether the SHA-256 of a prompt or question is even: that half may be looked at."""
    return hashlib.sha256(text.encode()).digest()[-1] % 2 == 0


def responses(data: Path) -> Iterator[Response]:
    """The Quora part of chat-refusals, and XSTest's completions of five models."""
    for line in (data / "chat-refusals" / "quora.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        yield Response("quora", row["response"], _LABELS.get(row["tone"], "other"), is_tuned(row["prompt"]))
    for model in _XSTEST:
        with (data / "xstest" / f"xstest_v2_completions_{model}.csv").open(
            encoding="utf-8", newline=""
        ) as file:
            for row in csv.DictReader(file):
                label = _LABELS.get(row["final_label"], "other")
                yield Response(model, row["completion"], label, is_tuned(row["prompt"]))
