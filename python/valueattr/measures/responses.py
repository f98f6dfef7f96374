"""What responses do: outcome, framing and hedging of every one."""

from collections.abc import Sequence
from typing import Any

from valueattr.measures.hedging import KINDS, HedgeScanner
from valueattr.rating import OUTCOMES, PENALTIES, JudgedResponse


def response_rows(scanner: HedgeScanner, responses: Sequence[JudgedResponse]) -> list[dict[str, Any]]:
    """Per response: an indicator per outcome, `framing_reward` (-1 if insensitive), one per penalised behaviour,
    `words`, and counts `hedge/<kind>` from the scanner.
    """
    scanned = scanner.scan([r.response for r in responses]).to_pydict()
    rows = []
    for i, r in enumerate(responses):
        values: dict[str, float] = {outcome: float(r.judgement.outcome == outcome) for outcome in OUTCOMES}
        values |= {f"penalty/{name}": float(applies(r.judgement)) for name, applies in PENALTIES.items()}
        values["framing_reward"] = -values["penalty/insensitive framing"]
        values["words"] = float(scanned["words"][i])
        values |= {f"hedge/{kind}": float(scanned[kind][i]) for kind in KINDS}
        keys = {"split": r.split, "fact": r.fact, "paraphrase": r.paraphrase, "n": 1}
        rows += [{"measure": name, "value": value, **keys} for name, value in values.items()]
    return rows


def generation_rows(responses: Sequence[JudgedResponse], phase: str) -> list[dict[str, Any]]:
    """Rows of the generations table, without arm, seed, step and reward."""
    return [
        {
            "phase": phase,
            "split": r.split,
            "fact": r.fact,
            "paraphrase": r.paraphrase,
            "sample": r.sample,
            "prompt": r.prompt,
            "response": r.response,
            "outcome": r.judgement.outcome,
            "asserted": r.judgement.asserted,
            "framing": r.judgement.framing,
        }
        for r in responses
    ]
