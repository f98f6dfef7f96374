"""The scanner against its peers in one run on one core: python benches/bench_scan.py [MEGABYTES] [FOLDER]

It writes a seeded dump for each density of phrases, checks that all tools find the same phrases, and then takes the
least CPU time of several runs. Peers: `hyperscan` with a Python callback (with and without starts), `ahocorasick_rs`
(DFA, overlapping, word bounds checked in Python as it cannot), polars' `extract_many` on the file (which knows neither
kinds nor word bounds). Ratios above 1 say that valueattr is faster.
"""

import itertools
import json
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

os.environ["POLARS_MAX_THREADS"] = "1"
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import ahocorasick_rs  # noqa: E402
import hyperscan  # noqa: E402
import polars as pl  # noqa: E402
import pyarrow as pa  # noqa: E402

from valueattr.hedging import HedgeScanner  # noqa: E402
from valueattr.hedging.dumps import scan_dump  # noqa: E402

DENSITIES = (1, 10, 70)  # phrases in 10 kB
LITERALS = 600
WORDS = re.findall(
    r"\w+",
    """the of and to a in that is was for it with as on be by at this are from an which you not have were all we
their has one will more when who so no out up into than its time them some only new about over also after our even most
me two first then any like other how well where through just each both between own such while before under during water
system government question company number group problem fact hand part place week case point home room mother area money
story issue side kind head house service friend father power hour game line end member law car city community name
measured found copper winter river people answer train paper letter garden bridge colour season valley village""",
)


def literals(scanner: HedgeScanner) -> dict[str, str]:
    """Wordings of the shipped lexicon and their kinds; none holds another, so that all meanings of a hit agree."""
    kind_of: dict[str, str] = {}
    for entry in scanner.entries:
        if "<" in entry.pattern:
            continue
        parts = re.findall(r"\{[^}]*\}|\[[^\]]*\]|[^{\[]+", entry.pattern)
        choices = [part.strip("{}[]").split("|") + ([""] if part[0] == "[" else []) for part in parts]
        for wording in itertools.islice(itertools.product(*choices), 12):
            kind_of.setdefault(" ".join("".join(wording).lower().split()), entry.kind)
    kept: dict[str, str] = {}
    for wording in sorted(kind_of, key=lambda w: (len(w), w)):
        inside = f" {wording} "
        if len(wording.split()) > 1 and not any(f" {short} " in inside for short in kept):
            kept[wording] = kind_of[wording]
    chosen = random.Random(1).sample(sorted(kept), min(LITERALS, len(kept)))
    return {wording: kept[wording] for wording in chosen}


def dump(path: Path, megabytes: float, density: int, phrases: list[str]) -> list[str]:
    """Texts of about 2 kB, and the same as JSON lines."""
    rng = random.Random(density)
    texts, size = [], 0
    share = density * 5.6 / 10_000
    while size < megabytes * 1e6:
        words: list[str] = []
        for _ in range(int(rng.lognormvariate(5.7, 0.6))):
            if rng.random() < share:
                # Marks around it: the words beside a phrase make no other phrase with it.
                words += [";", rng.choice(phrases) + ";"]
                continue
            words.append(rng.choice(WORDS))
            if rng.random() < 0.07:
                words[-1] += rng.choice([".", ".", ".", ";", "?", ".\n\n"])
        text = " ".join(words)
        texts.append(text[0].upper() + text[1:])
        size += len(text)
    with path.open("w") as file:
        file.writelines(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(texts))
    return texts


def fastest(work: Callable[[], object], repeats: int = 3) -> float:
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def hyperscan_tally(kind_of: dict[str, str], starts: bool) -> Callable[[list[str]], Counter[str]]:
    phrases, kinds = list(kind_of), list(kind_of.values())
    flags = hyperscan.HS_FLAG_CASELESS | (hyperscan.HS_FLAG_SOM_LEFTMOST if starts else 0)
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(
        expressions=[rf"\b{phrase}\b".encode() for phrase in phrases],
        ids=list(range(len(phrases))),
        elements=len(phrases),
        flags=[flags] * len(phrases),
    )

    def tally(texts: list[str]) -> Counter[str]:
        found = [0] * len(phrases)
        spans: list[tuple[int, int, int]] = []

        def counted(phrase: int, start: int, end: int, flags: int, context: object) -> None:
            found[phrase] += 1

        def spanned(phrase: int, start: int, end: int, flags: int, context: object) -> None:
            found[phrase] += 1
            spans.append((phrase, start, end))

        for text in texts:
            database.scan(text.encode(), match_event_handler=spanned if starts else counted)
        total: Counter[str] = Counter()
        for kind, n in zip(kinds, found, strict=True):
            total[kind] += n
        return +total

    return tally


def aho_corasick_tally(kind_of: dict[str, str]) -> Callable[[list[str]], Counter[str]]:
    kinds = list(kind_of.values())
    automaton = ahocorasick_rs.AhoCorasick(list(kind_of), implementation=ahocorasick_rs.Implementation.DFA)

    def bounded(text: str, start: int, end: int) -> bool:
        return not ((start and text[start - 1].isalnum()) or (end < len(text) and text[end].isalnum()))

    def tally(texts: list[str]) -> Counter[str]:
        total = [0] * len(kinds)
        for text in texts:
            lower = text.lower()
            for phrase, start, end in automaton.find_matches_as_indexes(lower, overlapping=True):
                if bounded(lower, start, end):
                    total[phrase] += 1
        found: Counter[str] = Counter()
        for kind, n in zip(kinds, total, strict=True):
            found[kind] += n
        return +found

    return tally


def own_tally(scanner: HedgeScanner, texts: list[str]) -> Counter[str]:
    counts = scanner.scan(texts)
    return +Counter({kind: pa.compute.sum(counts.column(kind)).as_py() for kind in scanner.kinds})


def main() -> None:
    megabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 200.0
    shipped, with_stance = HedgeScanner(threads=1), HedgeScanner(threads=1, stance=True)
    kind_of = literals(shipped)
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as folder:
        lexicon = Path(folder, "literals.toml")
        entries = (f'[[entry]]\nkind = "{kind}"\npattern = {json.dumps(p)}\n' for p, kind in kind_of.items())
        lexicon.write_text("".join(entries))
        own = HedgeScanner(lexicon, threads=1)
        peers = {
            "hyperscan, callback": hyperscan_tally(kind_of, starts=False),
            "hyperscan, spans": hyperscan_tally(kind_of, starts=True),
            "ahocorasick_rs": aho_corasick_tally(kind_of),
        }
        print(f"{len(kind_of)} literals; {megabytes:g} MB a density; one core, CPU time, MB/s\n")
        for density in DENSITIES:
            path = Path(folder, f"{density}.jsonl")
            texts = dump(path, megabytes, density, list(kind_of))
            size = sum(map(len, texts)) / 1e6
            expected = own_tally(own, texts)
            for name, tally in peers.items():
                found = tally(texts)
                assert found == expected, f"{name} finds other phrases: {found} not {expected}"
            hits = sum(expected.values()) / size / 100
            print(f"## {hits:.1f} phrases in 10 kB (the same in all tools)")
            counts = size / fastest(lambda texts=texts: own.scan(texts))
            spans = size / fastest(lambda texts=texts: own.spans(texts))
            full = size / fastest(lambda texts=texts: shipped.scan(texts))
            stance = size / fastest(lambda texts=texts: with_stance.scan(texts))
            print(f"valueattr counts {counts:.0f}, spans {spans:.0f}; shipped lexicon with guards {full:.0f}")
            print(f"with a stance {stance:.0f}: {stance / full:.0%} of that")
            for name, tally in peers.items():
                speed = size / fastest(lambda tally=tally, texts=texts: tally(texts), 2)
                ours = spans if "spans" in name else counts
                print(f"{name} {speed:.0f}: ratio {ours / speed:.1f}")
            files(path, own, kind_of, counts)


def files(path: Path, own: HedgeScanner, kind_of: dict[str, str], in_memory: float) -> None:
    size = path.stat().st_size / 1e6
    plain = size / fastest(lambda: scan_dump([path], field="text", scanner=own))
    print(f".jsonl {plain:.0f}: {plain / in_memory:.0%} of in memory")
    packed = path.with_suffix(".jsonl.zst")
    with pa.CompressedOutputStream(str(packed), "zstd") as stream:
        stream.write(path.read_bytes())

    def polars() -> int:
        found = pl.read_ndjson(packed)["text"].str.extract_many(
            list(kind_of), ascii_case_insensitive=True, overlapping=True
        )
        return int(found.list.len().sum())

    ours = size / fastest(lambda: scan_dump([packed], field="text", scanner=own))
    theirs = size / fastest(polars, 2)
    print(f".jsonl.zst {ours:.0f}; polars read and extract_many {theirs:.0f}: ratio {ours / theirs:.1f}\n")


if __name__ == "__main__":
    main()
