"""Facts of several collections in one CSV file, in relations that share as few names as can be.

    python examples/facts_of_the_world.py DATA facts.csv
    valueattr questions known facts.csv --model MODEL

DATA holds `truth-is-universal` (Bürger, Hamprecht and Nadler 2024) and `lre` (Hernandez et al. 2024), as their authors
publish them.
"""

import csv
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

Fact = tuple[str, str, str]

# Of each, the sentence in which truth-is-universal states a fact: the subject, then the object.
_STATED = {
    "animal class": ("animal_class.csv", r"The (.+) is an? (.+)\."),
    "city": ("cities.csv", r"The city of (.+) is in (.+)\."),
    "Spanish word": ("sp_en_trans.csv", r"The Spanish word '(.+)' means '(?:to )?(.+)'\."),
}
_RELATIONS_OF_LRE = (
    "country_currency",
    "landmark_on_continent",
    "person_native_language",
    "product_by_company",
)


def stated(folder: Path) -> Iterator[Fact]:
    """The true statements of truth-is-universal."""
    for relation, (name, sentence) in _STATED.items():
        with (folder / name).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                found = re.fullmatch(sentence, row["statement"])
                if found and row["label"] == "1":
                    yield relation, found[1], found[2]


def paired(folder: Path) -> Iterator[Fact]:
    """The facts of some relations of LRE."""
    for relation in _RELATIONS_OF_LRE:
        for pair in json.loads((folder / f"{relation}.json").read_text("utf-8"))["samples"]:
            yield relation, pair["subject"], pair["object"]


def main(data: str, out: str) -> None:
    """Write the file; a subject has the first object that is given."""
    facts: dict[tuple[str, str], str] = {}
    for relation, subject, value in (
        *stated(Path(data, "truth-is-universal")),
        *paired(Path(data, "lre", "factual")),
    ):
        facts.setdefault((relation, subject), value)
    with Path(out).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["relation", "subject", "object"])
        writer.writerows([relation, subject, value] for (relation, subject), value in facts.items())


if __name__ == "__main__":
    main(*sys.argv[1:])
