"""The tables of a result page, in Markdown, from a run directory.

python docs/print_results.py runs/e1 > tables.md
"""

import sys

from valueattr.report import forgotten_or_hidden, headline, headline_table
from valueattr.report._findings import Findings
from valueattr.report._holding import COLUMNS, holding_rows
from valueattr.report._page import _contrast_row, _ratio_row
from valueattr.results import RunDirectory

_RATIO_COLUMNS = ("ratio", "estimate", "95% interval", "seeds")
_CONTRAST_COLUMNS = (
    *("difference", "estimate", "t interval", "bootstrap over subjects, given the seeds"),
    *("p", "p (Holm)", "p (equivalence)", "verdict"),
)
_PROBES = {"frozen": "attribute_frozen_auroc", "refit": "attribute_refit_auroc"}
_PROBED = ("penalised", "untouched", "never_taught")


def table(columns, rows):
    """Lines of a Markdown table."""
    yield f"| {' | '.join(columns)} |"
    yield f"| {' | '.join('---' for _ in columns)} |"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def probes(run):
    """AUROC of the attribute probes at the end: a row a layer, a column an arm and split, a table a probe."""
    measures = run.table("measures")
    last = measures.groupby("arm", observed=True)["step"].transform("max")
    ends = measures[(measures["step"] == last) & measures["split"].isin(_PROBED)].astype({"layer": "Int32"})
    for probe, measure in _PROBES.items():
        rows = ends[ends["measure"] == measure].astype({"arm": str, "split": str})
        by_layer = rows.pivot_table(index="layer", columns=["split", "arm"], values="value")
        columns = [f"layer ({probe})", *(f"{split}, {arm}" for split, arm in by_layer.columns)]
        cells = ([f"{value:.2f}" for value in row] for row in by_layer.to_numpy())
        yield from table(
            columns, ([str(layer), *row] for layer, row in zip(by_layer.index, cells, strict=True))
        )


def main():
    """Print them."""
    run = RunDirectory(sys.argv[1])
    findings = Findings(run)
    print(f"> {headline(run)}\n>\n> {forgotten_or_hidden(run)}\n")
    for columns, rows in (
        (COLUMNS, holding_rows(findings)),
        (_RATIO_COLUMNS, map(_ratio_row, findings.evaluation.ratios)),
        (_CONTRAST_COLUMNS, map(_contrast_row, findings.evaluation.contrasts)),
        headline_table(run),
    ):
        print("\n".join(table(columns, rows)))
    print("\n".join(probes(run)))


if __name__ == "__main__":
    main()
