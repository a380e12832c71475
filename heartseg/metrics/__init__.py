"""What a mask is worth: overlap, surface distances in mm, volumes."""

from heartseg.metrics.cases import case_metrics, mean_metrics
from heartseg.metrics.surface import surface_metrics

__all__ = ["case_metrics", "mean_metrics", "surface_metrics"]
