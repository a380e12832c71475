"""Exact resume: a training that is stopped anywhere ends with the weights of one that was not."""

from heartseg.training.exact_resume import ExactResume
from heartseg.training.run_folder import new_run
from heartseg.training.seeding import EpochSampler, SeededCacheDataset

__all__ = ["EpochSampler", "ExactResume", "SeededCacheDataset", "new_run"]
