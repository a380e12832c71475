"""Data sets: cases and splits, checks, reading scans and writing masks, wrong headers, downloads."""

from heartseg.data.anatomy import AnatomicalAxesd, RandPosed
from heartseg.data.cases import find_cases, folds_of, select_cases, split_cases
from heartseg.data.download import fetch, fetch_missing
from heartseg.data.scans import LoadScand, SaveMaskd, list_scans
from heartseg.data.stacks import SliceAxisLastd

__all__ = [
    "AnatomicalAxesd",
    "LoadScand",
    "RandPosed",
    "SaveMaskd",
    "SliceAxisLastd",
    "fetch",
    "fetch_missing",
    "find_cases",
    "folds_of",
    "list_scans",
    "select_cases",
    "split_cases",
]
