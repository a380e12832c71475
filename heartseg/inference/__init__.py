"""From a scan to a mask."""

from heartseg.inference.half_precision import BFloat16Inferer
from heartseg.inference.organ_windows import OrganWindowInferer
from heartseg.inference.stack_slices import StackInferer
from heartseg.inference.ventricles import Ventricles

__all__ = ["BFloat16Inferer", "OrganWindowInferer", "StackInferer", "Ventricles"]
