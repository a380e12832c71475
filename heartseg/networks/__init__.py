"""Networks that MONAI lacks, and weights that load or say why not."""

from heartseg.networks.pose import PoseNet
from heartseg.networks.weights import load_weights

__all__ = ["PoseNet", "load_weights"]
