"""Small scans on disk, and affines from axis codes, for tests of loading and saving."""

import nibabel as nib
import numpy as np
import torch

SHAPE = (4, 5, 6)
PLAIN = np.diag([2.0, 3.0, 4.0, 1.0])


def voxels(dtype=np.int16):
    return np.arange(120).reshape(SHAPE).astype(dtype)


def half():
    """Return a mask ``[1, x, y, z]`` without symmetry."""
    return torch.from_numpy((voxels() > 70).astype(np.float32))[None]


def stored(path, affine=PLAIN, data=None, qform=1, sform=1, units="mm", kind=nib.Nifti1Image):
    image = kind(voxels() if data is None else data, affine)
    image.set_qform(affine, qform)
    image.set_sform(affine, sform)
    image.header.set_xyzt_units(units)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def oriented(codes, tilt=0.0):
    """Return an affine with these axis codes, tilted about the first axis by this angle in degrees."""
    ornt = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes))
    turned = np.diag([1.5, 2.5, 3.5, 1.0]) @ nib.orientations.inv_ornt_aff(ornt, SHAPE)
    angle = np.deg2rad(tilt)
    rotation = np.eye(4)
    rotation[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return rotation @ turned
