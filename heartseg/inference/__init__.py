"""From a scan to a mask."""

from heartseg.inference.inferers import BFloat16Inferer, OrganWindowInferer, StackInferer

__all__ = ["BFloat16Inferer", "OrganWindowInferer", "StackInferer"]
