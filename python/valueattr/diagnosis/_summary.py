"""What verdicts on many facts come to: shares with intervals, transitions, and what relearning brings back."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from valueattr.diagnosis._calibration import Calibration
from valueattr.diagnosis._saying import SAID
from valueattr.diagnosis._shares import corrected_share
from valueattr.diagnosis._verdict import VERDICTS
from valueattr.stats import Interval, TooFewClustersError, hierarchical_bootstrap

_DRAWS = 2000

_IN_WORDS: dict[str, str] = {
    "holds/raw": "still held, before the correction",
    "holds/corrected": "still held, corrected for the error",
    **{str(verdict): f"verdict: {verdict}" for verdict in VERDICTS},
    "hidden/said_true": "answers on hidden facts: true",
    "hidden/said_false": "answers on hidden facts: false",
    "hidden/hedged": "answers on hidden facts: hedge only",
    "hidden/refused": "answers on hidden facts: refusal",
    "hidden/other": "answers on hidden facts: other",
    "said to unsaid": "said in most answers before, and not now",
    "unsaid to said": "said in most answers now, and not before",
    "p of the two (McNemar, by subject)": "p value of as many changes both ways (McNemar, clustered by subject)",
}

_COLUMNS = ("of", "measure", "estimate", "low", "high", "interval", "facts")


def summarised(
    verdicts: pd.DataFrame, shams: Sequence[pd.DataFrame], calibration: Calibration
) -> pd.DataFrame:
    """A row per model ("after", "sham 0" and on) and measure, with `low` and `high` where there is an interval.

    Of the facts that were known before: `holds/raw` and `holds/corrected`, the share that is held; the share of each
    verdict; of the hidden ones, the mean shares of what is said instead; of all facts, the shares that were said in most
    answers before and are not now (`said to unsaid`), the reverse, and McNemar's p of the two, clustered by subject; and
    `brought back`, as `brought_back`, against each sham.
    """
    rows = _of_one("after", verdicts, calibration)
    for i, sham in enumerate(shams):
        rows += _of_one(f"sham {i}", sham, calibration)
        if (share := brought_back(verdicts, sham)) is not None:
            rows.append(_row("after", f"brought back, against sham {i}", share))
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def in_words(measure: str) -> str:
    """A measure of the summary as people read it."""
    return _IN_WORDS.get(measure, measure)


def known_before(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The facts that the model before held."""
    return verdicts[verdicts["verdict"] != "not known before"]


def said_instead(hidden: pd.DataFrame) -> tuple[str, float]:
    """Which answers but true ones are the most frequent about hidden facts, as in `SAID`, and their share of all."""
    shares = {name: float(hidden[f"{name}_after"].mean()) for name in SAID if name != "said_true"}
    most = max(shares, key=lambda name: shares[name])
    return most, shares[most]


def brought_back(verdicts: pd.DataFrame, sham: pd.DataFrame) -> Interval | None:
    """Of the belief that is lost against a sham, the share that equal relearning brings back.

    1 - (gap of the relearned belief) / (gap of the plain belief), over facts that were known before. Its interval
    resamples subjects, the pair being given. None without relearning, with fewer than two subjects, or where the
    interval of the loss includes 0, so that there is nothing to bring back.
    """
    if "relearned_after" not in verdicts:
        return None
    known = known_before(verdicts)
    other = sham.set_index("fact").loc[known["fact"]]
    gaps = pd.DataFrame(
        {
            "subject": known["subject"].to_numpy(),
            "plain": other["belief_after"].to_numpy() - known["belief_after"].to_numpy(),
            "relearned": other["relearned_after"].to_numpy() - known["relearned_after"].to_numpy(),
        }
    )
    of_subject = gaps.groupby("subject")[["plain", "relearned"]].mean().to_numpy()
    if len(of_subject) < 2:
        return None
    rng = np.random.default_rng(0)
    plain, relearned = of_subject[rng.integers(0, len(of_subject), (_DRAWS, len(of_subject)))].mean(1).T
    if np.quantile(plain, 0.025) <= 0:
        return None
    low, high = np.quantile(1 - relearned / plain, [0.025, 0.975])
    lost, still = of_subject.mean(0)
    method = "bootstrap over subjects, given the pair"
    return Interval(float(1 - still / lost), float(low), float(high), len(known), method)


def clustered_mcnemar(was: pd.Series, now: pd.Series, cluster: pd.Series) -> float:
    """Two-sided p of as many changes either way, where facts of a cluster may change together.

    The squared sum of the clusters' differences over the sum of their squares is chi-squared with one degree of freedom
    (Durkalski et al. 2003, Analysis of clustered matched-pair data, Stat. Med. 22). 1 where nothing changed.
    """
    changes = (now.astype(int) - was.astype(int)).groupby(cluster.to_numpy()).sum().to_numpy(float)
    squares = float((changes**2).sum())
    return float(stats.chi2.sf(changes.sum() ** 2 / squares, 1)) if squares else 1.0


def _of_one(of: str, verdicts: pd.DataFrame, calibration: Calibration) -> list[dict[str, Any]]:
    known = known_before(verdicts)
    if known.empty:
        return []
    raw = float((known["p_holds"] >= 0.5).mean())
    corrected = corrected_share(known["p_holds"], calibration.rates())
    rows = [_row(of, "holds/raw", raw, len(known)), _row(of, "holds/corrected", corrected)]
    for verdict in VERDICTS[:-1]:
        rows.append(_row(of, verdict, _share(known, known["verdict"] == verdict)))
    hidden = known[known["verdict"] == "hidden"]
    for outcome in SAID:
        if len(hidden):
            rows.append(_row(of, f"hidden/{outcome}", float(hidden[f"{outcome}_after"].mean()), len(hidden)))
    was, now = (verdicts[f"said_true_{when}"] > 0.5 for when in ("before", "after"))
    rows.append(_row(of, "said to unsaid", _share(verdicts, was & ~now)))
    rows.append(_row(of, "unsaid to said", _share(verdicts, ~was & now)))
    p = clustered_mcnemar(was, now, verdicts["subject"])
    return [*rows, _row(of, "p of the two (McNemar, by subject)", p, len(verdicts))]


def _share(facts: pd.DataFrame, which: pd.Series) -> Interval | float:
    """A share of facts; its interval resamples subjects, or is Wilson's where all facts or none are of the kind."""
    if which.all() or not which.any():
        exact = stats.binomtest(int(which.sum()), len(which)).proportion_ci(method="wilson")
        return Interval(float(which.mean()), exact.low, exact.high, len(facts), "Wilson")
    frame = pd.DataFrame({"subject": facts["subject"], "fact": facts["fact"], "value": which.astype(float)})
    try:
        found = hierarchical_bootstrap(frame, ["subject", "fact"], "value", draws=_DRAWS)
    except TooFewClustersError:
        return float(which.mean())
    return Interval(float(which.mean()), found.low, found.high, len(facts), found.method)


def _row(of: str, measure: str, value: Interval | float, facts: int = 0) -> dict[str, Any]:
    if not isinstance(value, Interval):
        return {"of": of, "measure": measure, "estimate": value, "facts": facts}
    return {
        "of": of,
        "measure": measure,
        "estimate": value.estimate,
        "low": value.low,
        "high": value.high,
        "interval": value.method,
        "facts": value.n,
    }


def told(verdicts: pd.DataFrame, summary: pd.DataFrame) -> str:
    """What became of the facts that were known before, in a few sentences."""
    known = known_before(verdicts)
    of_after = summary[summary["of"] == "after"].set_index("measure")
    share, low, high = of_after.loc["holds/corrected", ["estimate", "low", "high"]].astype(float)
    counts = {verdict: int((known["verdict"] == verdict).sum()) for verdict in VERDICTS}
    sentences = [
        f"The model before held {len(known)} of {len(verdicts)} facts; the model after still holds "
        f"{share:.1%} of them (95% interval {low:.1%} to {high:.1%}).",
        f"{counts['kept']} are kept, {counts['hidden']} hidden, {counts['lost']} lost, and {counts['unsure']} unsure.",
    ]
    if counts["hidden"]:
        most, share = said_instead(known[known["verdict"] == "hidden"])
        sentences.append(f"Of the hidden ones it mostly {_DOES[most]} ({share:.0%} of answers).")
    return " ".join(sentences)


_DOES = {
    "said_false": "says something false",
    "hedged": "only hedges",
    "refused": "refuses",
    "other": "says something else",
}
