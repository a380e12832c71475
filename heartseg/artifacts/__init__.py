"""MRI artifacts: pure functions with physical parameters, random transforms that call them, and dictionary forms.

MONAI's transforms of the same kind are not used: its spikes are set as a logarithm in k-space, its Rician noise assumes
a background of 0 even after normalisation, its blur darkens the borders, its noise is not relative to the image, and
none of them has a plain function that an evaluation at fixed severity could call.
"""

from heartseg.artifacts.bias_field import RandBiasField, RandBiasFieldd, bias_field
from heartseg.artifacts.blur import RandBlur, RandBlurd, blur
from heartseg.artifacts.conditions import CLEAN, Condition, ConditionDataset, list_conditions
from heartseg.artifacts.despike import Despiked, despike
from heartseg.artifacts.gamma import RandGamma, RandGammad, gamma
from heartseg.artifacts.ghosting import RandGhosting, RandGhostingd, ghosting
from heartseg.artifacts.motion import RandMotion, RandMotiond, motion
from heartseg.artifacts.mri import RandMRIArtifacts, RandMRIArtifactsd
from heartseg.artifacts.noise import RandNoise, RandNoised, noise
from heartseg.artifacts.rician import RandRician, RandRiciand, rician
from heartseg.artifacts.severity import ARTIFACTS, LEVELS, at_severity, strengths
from heartseg.artifacts.slice_dropout import RandSliceDropout, RandSliceDropoutd, slice_dropout
from heartseg.artifacts.spike import RandSpike, RandSpiked, spike

__all__ = [
    "ARTIFACTS",
    "CLEAN",
    "LEVELS",
    "Condition",
    "ConditionDataset",
    "Despiked",
    "RandBiasField",
    "RandBiasFieldd",
    "RandBlur",
    "RandBlurd",
    "RandGamma",
    "RandGammad",
    "RandGhosting",
    "RandGhostingd",
    "RandMRIArtifacts",
    "RandMRIArtifactsd",
    "RandMotion",
    "RandMotiond",
    "RandNoise",
    "RandNoised",
    "RandRician",
    "RandRiciand",
    "RandSliceDropout",
    "RandSliceDropoutd",
    "RandSpike",
    "RandSpiked",
    "at_severity",
    "bias_field",
    "blur",
    "despike",
    "gamma",
    "ghosting",
    "list_conditions",
    "motion",
    "noise",
    "rician",
    "slice_dropout",
    "spike",
    "strengths",
]
