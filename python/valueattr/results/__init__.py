"""The results of a run: tables with fixed columns in a directory that is readable without valueattr."""

from valueattr.results._directory import (
    DirectoryTakenError,
    RunDirectory,
    RunDirectoryError,
    locked_folder,
    part_name,
    start_of_seed,
    usable,
    write_atomically,
)
from valueattr.results._processes import end_with_parent
from valueattr.results._tables import FACTS, GENERATIONS, MEASURES, STEPS, SUMMARY, VERDICTS, as_table

__all__ = [
    "FACTS",
    "GENERATIONS",
    "MEASURES",
    "STEPS",
    "SUMMARY",
    "VERDICTS",
    "DirectoryTakenError",
    "RunDirectory",
    "RunDirectoryError",
    "as_table",
    "end_with_parent",
    "locked_folder",
    "part_name",
    "start_of_seed",
    "usable",
    "write_atomically",
]
