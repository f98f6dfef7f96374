"""The shipped lexicon against people's labels, where the data lie at hand: python benches/bench_scan_quality.py DATA

Every set is cut in two by a hash of its document's (or prompt's) name; the lexicon was tuned on the one half, and the
table is of the other. A second table has each topic of SFU (all of it, and the half not tuned on) without what it may
have taught. With --tune it prints, of the tuning half, the cues that were missed and the entries that misled.
"""

import argparse
import json
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from valueattr.hedging import MODAL, HedgeScanner


def half(name: str) -> int:
    """0 for tuning, 1 for testing."""
    return zlib.crc32(name.encode()) & 1


def scores(flagged: np.ndarray, gold: np.ndarray) -> tuple[float, float, float]:
    hits = float((flagged & gold).sum())
    precision, recall = hits / max(flagged.sum(), 1), hits / max(gold.sum(), 1)
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-9)


def sentences(path: Path, side: int) -> pd.DataFrame:
    rows = [json.loads(line) for line in path.open()]
    return pd.DataFrame([row for row in rows if half(row["id"].rpartition(":")[0]) == side])


def show(name: str, n: int, gold: np.ndarray, flagged: np.ndarray, goal: str) -> None:
    precision, recall, f1 = scores(flagged, gold)
    print(f"| {name} | {n:,} | {gold.mean():.2f} | {precision:.3f} | {recall:.3f} | {f1:.3f} | {goal} |")


def speculation(data: Path, scanner: HedgeScanner, side: int, tune: bool) -> None:
    sets = [
        ("BioScope abstracts", "bioscope/abstracts.jsonl", "uncertain", ["epistemic"], "F1 .89"),
        ("BioScope full papers", "bioscope/full_papers.jsonl", "uncertain", ["epistemic"], "F1 .80, P .85"),
        ("SFU, core", "sfu-speculation/sfu_*.jsonl", "uncertain_core", ["epistemic"], "F1 .75"),
        ("SFU, all", "sfu-speculation/sfu_*.jsonl", "uncertain", ["epistemic"], ""),
        ("SFU, all, with modal", "sfu-speculation/sfu_*.jsonl", "uncertain", ["epistemic", MODAL], "F1 .75"),
    ]
    for name, pattern, label, kinds, goal in sets:
        frame = sentences(next(data.glob(pattern)), side)
        counts = scanner.scan(frame["text"].tolist()).to_pandas()
        flagged = counts[kinds].sum(axis=1).to_numpy() > 0
        gold = frame[label].to_numpy() == 1
        show(name, len(frame), gold, flagged, goal)
        if tune:
            explain_errors(scanner, frame, gold, flagged, kinds)


def explain_errors(
    scanner: HedgeScanner, frame: pd.DataFrame, gold: np.ndarray, flagged: np.ndarray, kinds: list[str]
) -> None:
    missed: Counter[str] = Counter()
    for cues in frame["cues"][gold & ~flagged]:
        missed.update({cue["text"].lower() for cue in cues if cue["type"] == "speculation"})
    spans = scanner.spans(frame["text"].tolist()).to_pandas()
    spans = spans[spans["kind"].isin(kinds)].drop_duplicates(["document", "entry"])
    spans["right"] = gold[spans["document"]]
    alone = spans.groupby("document")["entry"].transform("size") == 1
    by_entry = spans[alone].groupby("entry", observed=True)["right"].agg(["sum", "size"])
    by_entry["wrong"] = by_entry["size"] - by_entry["sum"]
    print("missed:", missed.most_common(45))
    worst = by_entry[by_entry["wrong"] > 0].sort_values("wrong", ascending=False).head(30)
    print("misled:", [(entry, int(row["sum"]), int(row["wrong"])) for entry, row in worst.iterrows()])


def unseen_topics(data: Path, scanner: HedgeScanner) -> None:
    """Core cues of each SFU topic, as if the lexicon had been tuned on other text only.

    It was tuned on halves of all topics. So what an entry gets right on a topic counts only if other text vouches for
    the entry: at least half of the sentences that hold it are speculation, on the other topics and in BioScope (tuning
    halves). What it gets wrong always counts. Wordings and guards within an entry cannot be taken back in this way.
    """
    sfu = next(data.glob("sfu-speculation/sfu_*.jsonl"))
    halves = [sentences(sfu, side).assign(side=side) for side in (0, 1)]
    frame = pd.concat(halves, ignore_index=True).assign(gold=lambda frame: frame["uncertain_core"] == 1)
    parts = [sentences(data / f"bioscope/{part}.jsonl", 0) for part in ("abstracts", "full_papers")]
    biology = pd.concat(parts, ignore_index=True).assign(gold=lambda frame: frame["uncertain"] == 1)
    found, in_biology = (epistemic_entries(scanner, texts) for texts in (frame, biology))
    gold, untuned = frame["gold"].to_numpy(), (frame["side"] == 1).to_numpy()
    flagged = np.zeros(len(frame), bool)
    print("\n| SFU reviews, core cues, topic left out | n | share | precision | recall | F1 | goal |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for topic in sorted(frame["topic"].unique()):
        others = pd.concat([in_biology, found[(found["topic"] != topic) & (found["side"] == 0)]])
        precision = others.groupby("entry")["gold"].mean()
        counts = found["entry"].isin(precision.index[precision >= 0.5]) | ~found["gold"]
        here = (frame["topic"] == topic).to_numpy()
        flagged |= here & frame.index.isin(found["document"][counts])
        show(topic, here.sum(), gold[here], flagged[here], "F1 .78")
        show(
            f"{topic}, half", (here & untuned).sum(), gold[here & untuned], flagged[here & untuned], "F1 .78"
        )
    show("all", len(gold), gold, flagged, "F1 .78")
    show("all, half", untuned.sum(), gold[untuned], flagged[untuned], "F1 .78")


def epistemic_entries(scanner: HedgeScanner, frame: pd.DataFrame) -> pd.DataFrame:
    """The sentences that hold each epistemic entry, a row each."""
    spans = scanner.spans(frame["text"].tolist()).to_pandas()
    spans = spans.loc[spans["kind"] == "epistemic", ["document", "entry"]].drop_duplicates()
    return spans.astype({"entry": str}).join(frame.drop(columns="text"), on="document")


def graded(data: Path, scanner: HedgeScanner) -> None:
    rows = [json.loads(line) for line in (data / "graded-certainty/sentence_level_certainty.jsonl").open()]
    texts = [row["finding"] for row in rows]
    certainty = [row["sentence-level-certainty"] for row in rows]
    strength = summed_strength(scanner, texts)
    rho = spearmanr(strength, certainty).statistic
    held_out = np.array([half(text) == 1 for text in texts])
    rest = spearmanr(strength[held_out], np.array(certainty)[held_out]).statistic
    print("\nSpearman of summed strength (modal forms too) and people's certainty of findings, goal -.62:")
    print(f"{rho:.3f} on all {len(texts):,}, {rest:.3f} on the {held_out.sum()} of the half not tuned on")
    path = data / "graded-certainty/llm_explanation_assertiveness.jsonl"
    rows = [row for row in map(json.loads, path.open()) if row["mean_human_assertiveness"] is not None]
    strength = summed_strength(scanner, [row["response"] for row in rows])
    words = scanner.scan([row["response"] for row in rows]).to_pandas()["words"].to_numpy()
    rho = spearmanr(strength / words, [row["mean_human_assertiveness"] for row in rows]).statistic
    print(f"The same per word and people's assertiveness, GPT-4's explanations (n {len(rows)}): {rho:.3f}")


def summed_strength(scanner: HedgeScanner, texts: list[str]) -> np.ndarray:
    strength_of = {
        entry.pattern: entry.strength or 0.0 for entry in scanner.entries if entry.kind != "booster"
    }
    spans = scanner.spans(texts).to_pandas()
    summed = spans.assign(strength=spans["entry"].astype(str).map(strength_of).fillna(0.0))
    return summed.groupby("document")["strength"].sum().reindex(range(len(texts)), fill_value=0.0).to_numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--tune", action="store_true")
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        print(f"{arguments.data} is not at hand: nothing measured")
        return
    side = 0 if arguments.tune else 1
    scanner = HedgeScanner(modal=True)
    print(f"{len(scanner.entries)} entries; {'tuning' if arguments.tune else 'held-out'} half\n")
    print("| sentences with speculation | n | share | precision | recall | F1 | goal |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    speculation(arguments.data, scanner, side, arguments.tune)
    if not arguments.tune:
        unseen_topics(arguments.data, scanner)
    graded(arguments.data, scanner)


if __name__ == "__main__":
    main()
