"""What an engine does at an event, beyond MONAI's own handlers."""

from heartseg.handlers.cases import CaseMetrics
from heartseg.handlers.changes import described
from heartseg.handlers.clipping import GradientClipping
from heartseg.handlers.resume import ExactResume
from heartseg.handlers.robustness import RobustnessMetrics
from heartseg.handlers.stopping import ResumableEarlyStop
from heartseg.handlers.summary import machine_line
from heartseg.handlers.tensorboard import TensorBoardRun
from heartseg.handlers.validation import FinalValidation

__all__ = [
    "CaseMetrics",
    "ExactResume",
    "FinalValidation",
    "GradientClipping",
    "ResumableEarlyStop",
    "RobustnessMetrics",
    "TensorBoardRun",
    "described",
    "machine_line",
]
