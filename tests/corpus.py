"""Broken inputs, each made from a sound one, with a part of the expected message.

A builder damages a file in place, without nibabel where that would refuse to write it.
"""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np

SHAPE = (24, 20, 16)
AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])


class Broken(NamedTuple):
    name: str
    build: Callable[[Path], object]
    said: str


def image(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Return grey values with a bright ball off the centre."""
    x, y, z = np.meshgrid(*map(np.arange, shape), indexing="ij")
    ball = (x - shape[0] / 3) ** 2 + (y - shape[1] / 2) ** 2 + (z - shape[2] / 2) ** 2 < (min(shape) / 3) ** 2
    return (np.random.RandomState(seed).randint(50, 100, shape) + 300 * ball).astype(np.int16)


def label(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return (image(0, shape) > 200).astype(np.uint8)


def save(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def dataset(folder: Path, cases: int = 4) -> Path:
    """Write a sound data set in Decathlon layout: case_0, case_1, ..."""
    for number in range(cases):
        save(folder / "imagesTr" / f"case_{number}.nii.gz", image(number))
        save(folder / "labelsTr" / f"case_{number}.nii.gz", label())
    return folder


def _packed(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Return a builder that changes the bytes of the file."""
    return lambda path: path.write_bytes(change(path.read_bytes()))


def _header(offset: int, form: str, *values: float) -> Callable[[Path], object]:
    """Return a builder that changes bytes of the header; https://nifti.nimh.nih.gov/nifti-1."""

    def change(content: bytes) -> bytes:
        block = bytearray(gzip.decompress(content))
        struct.pack_into(form, block, offset, *values)
        return gzip.compress(bytes(block))

    return _packed(change)


def _voxels(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], object]:
    def build(path: Path) -> object:
        loaded = nib.load(path)
        return save(path, change(np.asanyarray(loaded.dataobj)), loaded.affine)

    return build


def _set(value: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return a change of one voxel."""

    def change(voxels: np.ndarray) -> np.ndarray:
        voxels = voxels.astype(np.float32)  # a copy
        voxels[1, 2, 3] = value
        return voxels

    return change


def _flip(content: bytes, place: int) -> bytes:
    block = bytearray(content)
    block[place] ^= 0x10
    return bytes(block)


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _lost(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nowhere.nii.gz"))


FILES = [  # faults of images and labels alike
    Broken("empty file", _packed(lambda content: b""), "is empty; copy or export it again"),
    Broken("text", _packed(lambda content: b"name,age\nx,3\n" * 50), "is neither gzip nor NIfTI"),
    Broken("gzip of a text", _packed(lambda content: gzip.compress(b"text " * 99)), "is not a single-file NIfTI"),
    Broken("gzip cut in its middle", _packed(lambda content: content[: len(content) // 2]), "copy or export it again"),
    Broken("gzip without its end", _packed(lambda content: content[:-5]), "copy or export it again"),
    Broken("gzip with a flipped bit", _packed(lambda content: _flip(content, len(content) // 2)), "export it again"),
    Broken("gzip with a wrong checksum", _packed(lambda content: _flip(content, -6)), "CRC"),
    Broken("zeros after the header", _packed(lambda content: content[:40] + bytes(500)), "copy or export it again"),
    Broken("not compressed", _packed(gzip.decompress), "is not compressed; rename it to .nii"),
    Broken(
        "voxels cut short", _packed(lambda content: gzip.compress(gzip.decompress(content)[:-9])), "export it again"
    ),
    Broken("wrong magic", _header(344, "4s", b"nope"), "is not a single-file NIfTI"),
    Broken("header of a pair", _header(344, "4s", b"ni1\0"), "is not a single-file NIfTI"),
    Broken("wrong header size", _header(0, "<i", 347), "is not a single-file NIfTI"),
    Broken("zero spacing", _header(80, "<f", 0), "the voxel spacing is 0 x 4 x 4 mm"),
    Broken("spacing of NaN", _header(84, "<f", np.nan), "the voxel spacing is 4 x nan x 4 mm"),
    Broken("spacing of infinity", _header(88, "<f", np.inf), "the voxel spacing is 4 x 4 x inf mm"),
    Broken("affine of NaN", _header(292, "<f", np.nan), "the affine holds NaN or infinity"),
    Broken("affine of infinity", _header(280, "<f", np.inf), "the affine holds NaN or infinity"),
    Broken("singular affine", _header(280, "<4f", 0, 0, 0, 0), "the affine is singular"),
    Broken("two axes along one line", _header(296, "<4f", 4, 0, 0, 0), "the affine is singular"),
    Broken("huge size", _header(42, "<3h", 30000, 30000, 30000), "voxels need 54000000000352 bytes"),
    Broken("negative size", _header(44, "<h", -20), "has an axis without voxels"),
    Broken("no slices", _header(46, "<h", 0), "has an axis without voxels"),
    Broken("nine axes", _header(40, "<h", 9), "axes; copy or export it again"),
    Broken("4D", _voxels(lambda voxels: np.stack([voxels, voxels], axis=-1)), "is 4D (24 x 20 x 16 x 2), not 3D"),
    Broken("fourth axis of one", _voxels(lambda voxels: voxels[..., None]), "has a fourth axis of length 1; drop it"),
    Broken("2D", _voxels(lambda voxels: voxels[..., 3]), "is 2D (24 x 20), not 3D; stack the slices"),
    Broken("voxels far behind", _header(108, "<f", 1e9), "copy or export it again"),
    Broken("unknown voxel type", _header(70, "<h", 999), "is not a voxel type"),
    Broken("colour", _header(70, "<h", 128), "colour or complex"),
]
IMAGES = [
    Broken("NaN", _voxels(_set(np.nan)), "1 voxel is NaN or infinite; set it to a number"),
    Broken("infinity", _voxels(_set(np.inf)), "1 voxel is NaN or infinite"),
    Broken("scaled to infinity", _header(112, "<f", 3e38), "; scale them below 1e+12"),
    Broken("constant", _voxels(lambda voxels: np.full_like(voxels, 7)), "every voxel is 7; the image shows nothing"),
    Broken(
        "micrometres",
        lambda path: save(path, image(), np.diag([4000.0, 4000.0, 4000.0, 1.0])),
        "spacing 4000 x 4000 x 4000 is not in mm",
    ),
]
LINKS = [
    Broken("link to itself", _loop, "is a broken link"),
    Broken("link to nothing", _lost, "is a broken link"),
]
LABELS = [
    Broken("empty label", _voxels(np.zeros_like), "is empty, every voxel is background; draw the label"),
    Broken("labels 0 and 255", _voxels(lambda voxels: voxels * 255), "holds the label 255; allowed: 0, 1"),
    Broken("negative label", _voxels(lambda voxels: -voxels.astype(np.int16)), "holds the label -1; allowed: 0, 1"),
    Broken("fractions", _voxels(lambda voxels: voxels * 0.5), "holds 0.5, not a whole number; resample with nearest"),
    Broken("NaN in the label", _voxels(_set(np.nan)), "1 voxel is NaN or infinite"),
    Broken("an image for a label", _voxels(lambda voxels: image()), "allowed: 0, 1; map or declare it"),
    Broken("other shape", _voxels(lambda voxels: voxels[:-1]), "has 23 x 20 x 16 voxels, its image 24 x 20 x 16"),
    Broken(
        "other place",
        lambda path: save(path, label(), AFFINE + np.eye(4, k=3) * 5),
        "is up to 5 mm away from its image; resample it onto the image",
    ),
]
