"""Training that resumes exactly: a stopped run gives the same weights as an uninterrupted one."""

from heartseg.training.exact_resume import ExactResume
from heartseg.training.run_folder import new_run
from heartseg.training.seeding import EpochSampler, SeededCacheDataset

__all__ = ["EpochSampler", "ExactResume", "SeededCacheDataset", "new_run"]
