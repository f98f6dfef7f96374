"""docs/verdict.md holds the figures of the controls that ship with the package."""

import runpy
from pathlib import Path

from valueattr.diagnosis import Calibration

DOCS = Path(__file__).parents[2] / "docs"


def test_every_figure_of_the_page_is_that_of_the_shipped_controls(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)  # as for a script
    written = (DOCS / "verdict.md").read_text("utf-8")
    made = runpy.run_path(str(DOCS / "plot_verdict.py"))["page"]
    assert written == made(written, Calibration.shipped())
    assert written.count("<!-- end -->") == 4
    assert "<!-- auroc -->\n<!-- end -->" not in written
