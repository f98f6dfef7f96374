"""One page over the experiments of a common run."""

from collections.abc import Sequence
from pathlib import Path

from valueattr.report._drawing import drawn
from valueattr.report._findings import Findings
from valueattr.report._holding import holding_sentence
from valueattr.report._template import write_page
from valueattr.report.pages import view_of
from valueattr.results import RunDirectory

_FIGURES_EACH = 2


def write_overview(runs: Sequence[RunDirectory], folder: Path) -> Path:
    """Write `report.html` in `folder`: per experiment its headline, verdicts and first figures, and a link to its page.

    Raises:
        RunDirectoryError: a run is not finished.
    """
    sections = []
    for run in runs:
        findings = Findings(run)
        view = view_of(findings.plan)
        sections.append(
            {
                "name": findings.plan.experiment,
                "title": findings.plan.title,
                "headline": findings.headline(),
                "holding": holding_sentence(findings),
                "standing": findings.standing(),
                "link": f"{run.path.name}/report.html",
                "verdicts": [(c.declared.title, c.verdict) for c in findings.evaluation.contrasts],
                "figures": drawn(view.plots[:_FIGURES_EACH], findings),
            }
        )
    return write_page("overview.html", folder / "report.html", sections=sections)
