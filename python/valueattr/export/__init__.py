"""A run in the files of other tools: logs that inspect's viewer and `samples_df` open."""

from valueattr.export._inspect import ExportError, export_inspect

__all__ = ["ExportError", "export_inspect"]
