"""The results of a run: tables with fixed columns in a directory that is readable without valueattr."""

from valueattr.results._directory import RunDirectory, RunDirectoryError, part_name, write_atomically
from valueattr.results._summary import summarise
from valueattr.results._tables import FACTS, GENERATIONS, MEASURES, STEPS, SUMMARY, as_table

__all__ = [
    "FACTS",
    "GENERATIONS",
    "MEASURES",
    "STEPS",
    "SUMMARY",
    "RunDirectory",
    "RunDirectoryError",
    "as_table",
    "part_name",
    "summarise",
    "write_atomically",
]
