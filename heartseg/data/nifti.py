"""Read NIfTI files that may be damaged: the whole volume, or an error of one line that says what is wrong."""

from __future__ import annotations

import gzip
import os
from collections.abc import Collection, Iterable
from itertools import product
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from nibabel.imageglobals import logger as nibabel_logger

from heartseg.data.layout import case_id
from heartseg.errors import InputError, flat

NIFTI1_SIZE = ((348).to_bytes(4, "little"), (348).to_bytes(4, "big"))  # the first bytes of a header
NIFTI2_SIZE = ((540).to_bytes(4, "little"), (540).to_bytes(4, "big"))
MAX_VOXELS = 2**30  # 1024^3: far beyond any heart scan, still readable on a workstation
DEFLATE_RATIO = 1032  # zlib's largest possible compression ratio: a header that claims more is wrong
MAX_BEYOND = 2**26  # bytes after the voxels, of which a small gzip file can hold very many
LARGEST_VOXEL = 1e12  # grey value; sums of squares over a volume stay far below float32's 3e38
SPACING_LIMITS = (0.05, 50.0)  # mm; beyond them the header is in metres or micrometres
GRID_TOLERANCE = 1e-3  # mm; above the rounding error of float32 headers, far below a voxel
CONVERT = "convert it to NIfTI (DICOM: dcm2niix)"


def read_nifti(path: str | os.PathLike[str], data: bool = True) -> tuple[nib.Nifti1Image, Any]:
    """Open a single-file NIfTI-1 or NIfTI-2 volume (https://nifti.nimh.nih.gov).

    The header is checked before anything is allocated, and the file is read once, to its end.

    Returns:
        The image as nibabel loads it (voxels on disk), and its scaled voxels [x, y, z] (None without ``data``).

    Raises:
        InputError: missing, unreadable, damaged or cut short; not NIfTI; not 3D; voxels that are not numbers; a
            spacing that is zero or not finite, a singular or non-finite affine, or a header that cannot be true.
    """
    name = str(path)
    if os.path.islink(name) and not os.path.exists(name):
        raise InputError(f"{name}: is a broken link; replace it with the file itself")
    if not os.path.exists(name):
        raise InputError(f"{name}: there is no such file; check the path")
    if os.path.isdir(name):
        raise InputError(f"{name}: is a folder, not a NIfTI file; {CONVERT}")
    if not os.path.isfile(name):  # opening a pipe would block
        raise InputError(f"{name}: is a pipe or a device, not a file; give a NIfTI file")
    if case_id(name) is None:
        raise InputError(f"{name}: is not named .nii or .nii.gz; {CONVERT}")
    level = nibabel_logger.level
    try:
        packed = _is_gzip(name)
        with gzip.open(name) if packed else open(name, "rb") as file:
            header = _header(file, name)
            _check_header(header, name, packed)
            voxels = header.data_from_fileobj(file) if data else None
            # nibabel stops at the last voxel, but only the end of the gzip stream holds its checksum
            beyond = 0
            while packed and data and (block := file.read(2**20)):
                beyond += len(block)
                if beyond > MAX_BEYOND:
                    raise InputError(f"{name}: has over {MAX_BEYOND} bytes after its voxels; export it again")
        nibabel_logger.setLevel("CRITICAL")  # nibabel logs trifles that it repairs
        image: Any = nib.load(name)
        check_grid(image.shape, image.affine, name)  # again, since a repair may change the affine
        return image, voxels
    except InputError:
        raise
    except Exception as error:  # nibabel, gzip and NumPy raise nearly anything for a damaged file
        reason = getattr(error, "strerror", None) or flat(error)
        raise InputError(f"{name}: cannot be read ({reason}); copy or export it again") from error
    finally:
        nibabel_logger.setLevel(level)


def _is_gzip(name: str) -> bool:
    with open(name, "rb") as file:
        start = file.read(4)
    if not start:
        raise InputError(f"{name}: is empty; copy or export it again")
    packed = start[:2] == b"\x1f\x8b"
    if packed != name.lower().endswith(".gz") and (packed or start in NIFTI1_SIZE + NIFTI2_SIZE):
        is_, suffix = ("gzip-compressed", ".nii.gz") if packed else ("not compressed", ".nii")
        raise InputError(f"{name}: is {is_}; rename it to {suffix}")
    if not packed and name.endswith(".gz"):
        raise InputError(f"{name}: is neither gzip nor NIfTI (it starts with {start!r}); {CONVERT}")
    return packed


def _header(file: Any, name: str) -> Any:
    """Read the header as it is: nibabel's own loading would repair it, and turn a spacing of 0 into 1."""
    block = file.read(348)
    header: Any = nib.Nifti1Header
    magic = block[344:348]
    if block[:4] in NIFTI2_SIZE:
        block += file.read(540 - 348)
        header, magic = nib.Nifti2Header, block[4:8]
    elif block[:4] not in NIFTI1_SIZE:
        magic = b""
    if len(block) < header.template_dtype.itemsize or magic not in (b"n+1\0", b"n+2\0"):
        raise InputError(f"{name}: is not a single-file NIfTI (no n+1 or n+2 in its header); {CONVERT}")
    return header(block, check=False)


def _check_header(header: Any, name: str, packed: bool) -> None:
    shape = header.get_data_shape()
    if not 0 <= int(header["dim"][0]) <= 7:
        raise InputError(f"{name}: the header claims {header['dim'][0]} axes; copy or export it again")
    check_grid(shape, np.eye(4), name)
    pixdim = header["pixdim"][1:4]
    if not np.isfinite(pixdim).all() or not pixdim.all():
        raise InputError(f"{name}: the voxel spacing is {dimensions(pixdim)} mm; set pixdim to the true one")
    check_grid(shape, header.get_best_affine(), name)
    try:
        dtype = header.get_data_dtype()
    except KeyError:
        raise InputError(f"{name}: {header['datatype']} is not a voxel type; copy or export it again") from None
    if dtype.kind not in "iuf":
        raise InputError(f"{name}: holds {dtype} voxels (colour or complex); save one grey value per voxel")
    offset = float(header["vox_offset"])
    if not header.single_vox_offset <= offset < 2**31:
        raise InputError(f"{name}: the header puts the voxels at byte {offset:g}; copy or export it again")
    count = int(np.prod([int(length) for length in shape], dtype=object))
    needed, there = offset + count * dtype.itemsize, os.path.getsize(name)
    if needed > there * (DEFLATE_RATIO if packed else 1):
        claim = f"{dimensions(shape)} voxels need {needed:.0f} bytes, the file has {there}"
        raise InputError(f"{name}: {claim}; copy or export it again")
    if count > MAX_VOXELS:
        raise InputError(f"{name}: {dimensions(shape)} voxels are too many; crop or resample below {MAX_VOXELS}")


def check_grid(shape: tuple[int, ...], affine: Any, name: str) -> None:
    """Raise InputError for a grid that is not 3D or whose affine (voxel to mm, 4x4) is singular or not finite."""
    if len(shape) == 4 and shape[3] == 1:
        raise InputError(f"{name}: has a fourth axis of length 1; drop it (nibabel.funcs.squeeze_image)")
    if len(shape) > 3:
        raise InputError(f"{name}: is {len(shape)}D ({dimensions(shape)}), not 3D; split it, one file per frame")
    if len(shape) < 3:
        raise InputError(f"{name}: is {len(shape)}D ({dimensions(shape)}), not 3D; stack the slices into one volume")
    if min(shape) < 1:
        raise InputError(f"{name}: has an axis without voxels ({dimensions(shape)}); export it again")
    matrix = np.asarray(affine, dtype=float)[:3]
    if not np.isfinite(matrix).all():
        raise InputError(f"{name}: the affine holds NaN or infinity; set it from the scanner's geometry")
    with np.errstate(over="ignore"):  # 1e300 in a damaged header becomes infinite here and is caught below
        spacing = voxel_sizes(np.vstack([matrix, [0, 0, 0, 1]]))
    # volume spanned by the axes' unit vectors: 1 at right angles, 0.87 for a gantry tilt of 30 degrees
    if not spacing.all() or abs(np.linalg.det(matrix[:, :3] / spacing)) < 1e-3:
        raise InputError(f"{name}: the affine is singular; set it from the scanner's geometry")


def check_spacing(affine: Any, name: str) -> None:
    """Raise InputError for an affine (4x4) whose spacing cannot be in mm."""
    spacing = voxel_sizes(affine)
    low, high = SPACING_LIMITS
    if spacing.min() < low or spacing.max() > high:
        sizes = " x ".join(f"{s:.4g}" for s in spacing)
        raise InputError(f"{name}: spacing {sizes} is not in mm ({low:g} to {high:g}); write mm into the header")


def check_voxels(voxels: np.ndarray, name: str) -> None:
    """Raise InputError for voxels that are NaN, infinite, too large for single precision, or all equal."""
    _check_finite(voxels, name)
    low, high = float(voxels.min()), float(voxels.max())
    if max(-low, high) > LARGEST_VOXEL:
        raise InputError(f"{name}: holds voxels from {low:g} to {high:g}; scale them below {LARGEST_VOXEL:g}")
    if np.float32(low) == np.float32(high):
        raise InputError(f"{name}: every voxel is {voxels.flat[0]}; the image shows nothing, export it again")


def check_same_grid(image: Any, label: Any, name: str) -> None:
    """Raise InputError if a label's shape differs from its image's, or its corners by over 1e-3 mm."""
    if image.shape != label.shape:
        shapes = f"has {dimensions(label.shape)} voxels, its image {dimensions(image.shape)}"
        raise InputError(f"{name}: {shapes}; resample it onto the image")
    corners = np.array(list(product(*((0, length - 1) for length in image.shape))))
    shift = apply_affine(image.affine, corners) - apply_affine(label.affine, corners)
    distance = float(np.linalg.norm(shift, axis=1).max())
    if distance > GRID_TOLERANCE:
        raise InputError(
            f"{name}: is up to {distance:.3g} mm away from its image; resample it onto the image, "
            "or copy the image's affine if the voxels do match"
        )


def count_labels(voxels: np.ndarray, labels: Collection[int] | None, name: str) -> dict[int, int]:
    """Count the voxels of each foreground value of a label map.

    Args:
        voxels: label map [x, y, z].
        labels: allowed values besides 0 (background); None: any whole number from 0 up.
        name: of the file, for errors.

    Raises:
        InputError: the map is empty, or holds fractional, negative, non-finite or undeclared values.
    """
    _check_finite(voxels, name)
    if voxels.dtype.kind == "f" and not (fractional := voxels == np.rint(voxels)).all():
        value = voxels[~fractional].flat[0]
        raise InputError(f"{name}: holds {value:g}, not a whole number; resample with nearest neighbour")
    low, high = int(voxels.min()), int(voxels.max())
    if low >= 0 and high < 2**16:  # counting is many times faster than sorting in np.unique
        counts = np.bincount(voxels.ravel(order="K").astype(np.uint16, copy=False))
        found = {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    else:
        values, counts = np.unique(voxels, return_counts=True)
        found = {int(value): int(count) for value, count in zip(values, counts, strict=True)}
    wrong = [value for value in found if value < 0 or (labels is not None and value and value not in labels)]
    if wrong:
        allowed = "whole numbers from 0 up" if labels is None else listed(sorted({0, *labels}))
        raise InputError(f"{name}: holds the label {listed(wrong)}; allowed: {allowed}; map or declare it")
    found.pop(0, None)
    if not found:
        raise InputError(f"{name}: is empty, every voxel is background; draw the label or leave the case out")
    return found


def _check_finite(voxels: np.ndarray, name: str) -> None:
    if voxels.dtype.kind == "f" and (bad := voxels.size - int(np.count_nonzero(np.isfinite(voxels)))):
        fault = "1 voxel is NaN or infinite; set it" if bad == 1 else f"{bad} voxels are NaN or infinite; set them"
        raise InputError(f"{name}: {fault} to a number")


def dimensions(values: Iterable[float]) -> str:
    """Format lengths: ``320 x 320 x 90``."""
    return " x ".join(f"{float(value):.6g}" for value in values)


def listed(values: list[int]) -> str:
    """Format the first few values: ``1, 2, 255``."""
    return ", ".join(str(value) for value in values[:8]) + (", ..." if len(values) > 8 else "")
