"""From a scan to a mask."""

from heartseg.inference.inferers import BFloat16Inferer, OrganWindowInferer, StackInferer
from heartseg.inference.ventricles import Ventricles

__all__ = ["BFloat16Inferer", "OrganWindowInferer", "StackInferer", "Ventricles"]
