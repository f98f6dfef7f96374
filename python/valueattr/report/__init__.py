"""One self-contained HTML page about a run, and its headline."""

from valueattr.report._page import changed_plan, headline, headline_table, table_note, write_report
from valueattr.report.pages.overview import write_overview

__all__ = ["changed_plan", "headline", "headline_table", "table_note", "write_overview", "write_report"]
