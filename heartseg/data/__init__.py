"""Data: cases and splits, checks, scans, headers that lie, phantoms, downloads."""

from heartseg.data.anatomy import AnatomicalAxesd, RandPosed
from heartseg.data.cases import find_cases, folds_of, select_cases, split_cases
from heartseg.data.download import fetch, fetch_missing
from heartseg.data.runs import new_run
from heartseg.data.scan import LoadScand, SaveMaskd, list_scans
from heartseg.data.seeded import EpochSampler, SeededCacheDataset
from heartseg.data.stacks import SliceAxisLastd

__all__ = [
    "AnatomicalAxesd",
    "EpochSampler",
    "LoadScand",
    "RandPosed",
    "SaveMaskd",
    "SeededCacheDataset",
    "SliceAxisLastd",
    "fetch",
    "fetch_missing",
    "find_cases",
    "folds_of",
    "list_scans",
    "new_run",
    "select_cases",
    "split_cases",
]
