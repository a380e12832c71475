"""Event handlers for ignite engines, beyond MONAI's own."""

from heartseg.handlers.case_pictures import CasePictures
from heartseg.handlers.classification import ClassificationMetrics
from heartseg.handlers.clinical_report import ClinicalReport
from heartseg.handlers.early_stop import ResumableEarlyStop
from heartseg.handlers.evaluation import CaseMetrics
from heartseg.handlers.final_validation import FinalValidation
from heartseg.handlers.gradient_clipping import GradientClipping
from heartseg.handlers.robustness import RobustnessMetrics
from heartseg.handlers.robustness_pictures import RobustnessPictures
from heartseg.handlers.run_summary import RunSummary
from heartseg.handlers.tensorboard_overlay import TensorBoardOverlay
from heartseg.handlers.tensorboard_run import TensorBoardRun

__all__ = [
    "CaseMetrics",
    "CasePictures",
    "ClassificationMetrics",
    "ClinicalReport",
    "FinalValidation",
    "GradientClipping",
    "ResumableEarlyStop",
    "RobustnessMetrics",
    "RobustnessPictures",
    "RunSummary",
    "TensorBoardOverlay",
    "TensorBoardRun",
]
