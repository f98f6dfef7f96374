"""The results of a run: tables with fixed columns in a directory that is readable without valueattr."""

from valueattr.results._directory import (
    DirectoryTakenError,
    RunDirectory,
    RunDirectoryError,
    part_name,
    write_atomically,
)
from valueattr.results._tables import FACTS, GENERATIONS, MEASURES, STEPS, SUMMARY, as_table

__all__ = [
    "FACTS",
    "GENERATIONS",
    "MEASURES",
    "STEPS",
    "SUMMARY",
    "DirectoryTakenError",
    "RunDirectory",
    "RunDirectoryError",
    "as_table",
    "part_name",
    "write_atomically",
]
