"""Self-contained HTML pages about a run or a diagnosis, and a run's headline."""

from valueattr.report._diagnosis import summary_rows, write_diagnosis
from valueattr.report._page import (
    changed_plan,
    forgotten_or_hidden,
    headline,
    headline_table,
    table_note,
    write_report,
)
from valueattr.report.pages.overview import write_overview

__all__ = [
    "changed_plan",
    "forgotten_or_hidden",
    "headline",
    "headline_table",
    "summary_rows",
    "table_note",
    "write_diagnosis",
    "write_overview",
    "write_report",
]
