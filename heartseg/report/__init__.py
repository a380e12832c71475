"""Pictures and pages for people."""

from heartseg.report.clinical import ClinicalReport
from heartseg.report.pictures import CasePictures
from heartseg.report.robustness import RobustnessPictures
from heartseg.report.summary import RunSummary
from heartseg.report.tensorboard import TensorBoardOverlay

__all__ = ["CasePictures", "ClinicalReport", "RobustnessPictures", "RunSummary", "TensorBoardOverlay"]
