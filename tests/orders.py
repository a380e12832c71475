"""The 48 orders and directions in which a file may store the axes of a scan, for the tests of whole segmentations."""

from itertools import permutations, product
from typing import Any

import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

ORDERS = ["".join(codes) for axes in permutations(("RL", "AP", "SI")) for codes in product(*axes)]
# Nothing changed, each axis reversed, two axes swapped, all three rotated either way, and all of it together. The
# others take a minute; tests/networks/test_pose.py and tests/data have all 48 of the transforms that turn a scan.
FEW = ["RAS", "LAS", "RPS", "RAI", "RSA", "ASR", "SRA", "IPL"]

each_order = pytest.mark.parametrize(
    "codes", [codes if codes in FEW else pytest.param(codes, marks=pytest.mark.proof) for codes in ORDERS]
)


def stored(image: Any, codes: str) -> Any:
    """Return a nibabel image with its axes in this order and direction, and a header that says so."""
    return image.as_reoriented(ornt_transform(io_orientation(image.affine), axcodes2ornt(tuple(codes))))
