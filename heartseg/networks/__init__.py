"""Networks that MONAI lacks, and strict, safe loading of weights."""

from heartseg.networks.pose import PoseNet
from heartseg.networks.weights import load_weights

__all__ = ["PoseNet", "load_weights"]
