"""Metrics of masks: overlap, surface distances in mm, volumes and clinical measures."""

from heartseg.metrics.case_metrics import case_metrics, mean_metrics
from heartseg.metrics.clinical import (
    ejection_fraction,
    myocardial_mass_g,
    stroke_volume_ml,
    ventricle_function,
    volume_ml,
)
from heartseg.metrics.surface_distances import surface_metrics

__all__ = [
    "case_metrics",
    "ejection_fraction",
    "mean_metrics",
    "myocardial_mass_g",
    "stroke_volume_ml",
    "surface_metrics",
    "ventricle_function",
    "volume_ml",
]
