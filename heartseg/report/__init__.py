"""Pictures and pages for people."""

from heartseg.report.pictures import CasePictures
from heartseg.report.summary import RunSummary
from heartseg.report.tensorboard import TensorBoardOverlay

__all__ = ["CasePictures", "RunSummary", "TensorBoardOverlay"]
