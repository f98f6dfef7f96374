"""Facts of two collections in one file: relations with few objects, of which a small model knows something.

    python examples/facts_of_the_world.py DATA facts.jsonl
    valueattr questions known facts.jsonl --model MODEL

DATA holds `truth-is-universal` (Bürger, Hamprecht and Nadler 2024) and `lre` (Hernandez et al. 2024), as their authors
publish them.
"""

import csv
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from valueattr.world import World, load_world

# A true statement of truth-is-universal: the subject, then the object.
_STATED = r"The (.+) is an? (.+)\."
_OF_LRE = (
    "country_capital_city",
    "country_currency",
    "country_language",
    "fruit_inside_color",
    "fruit_outside_color",
    "landmark_on_continent",
    "object_superclass",
    "person_native_language",
    "product_by_company",
    "substance_phase",
    "word_sentiment",
)


def classes(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Relation, subject and object of the animals; one has the first class that is given."""
    seen = set()
    with (folder / "animal_class.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found = re.fullmatch(_STATED, row["statement"])
            if found and row["label"] == "1" and found[1] not in seen:
                seen.add(found[1])
                yield "animal class", found[1], found[2]


def main(data: str, out: str) -> None:
    """Read both collections and write them as one world."""
    with tempfile.TemporaryDirectory() as folder:
        sheet = Path(folder, "facts.csv")
        with sheet.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(
                [("relation", "subject", "object"), *classes(Path(data, "truth-is-universal"))]
            )
        first = load_world(sheet)
    lre = load_world(Path(data, "lre"))
    facts = (*first.facts, *(fact for fact in lre.facts if fact.relation in _OF_LRE))
    World({**first.relations, **{name: lre.relations[name] for name in _OF_LRE}}, facts).save(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
