"""Check images, labels and whole data sets; each fault is one line."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes

from heartseg.data.layout import LAYOUT, MISSING, Case, Part, declared_labels, scan
from heartseg.data.nifti import (
    check_same_grid,
    check_spacing,
    check_voxels,
    count_labels,
    dimensions,
    listed,
    read_nifti,
)
from heartseg.errors import InputError, counted, one_line


@dataclass
class CaseCheck:
    """Findings in one case. ``spacing`` in mm; ``voxels`` counts each foreground label."""

    id: str
    patient: str
    image: str
    label: str | None
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    shape: tuple[int, ...] | None = None
    spacing: tuple[float, ...] | None = None
    axes: str | None = None
    voxels: dict[int, int] = field(default_factory=dict)
    digest: str | None = None

    @property
    def millilitres(self) -> dict[int, float]:
        """The volume of each foreground label in mL."""
        voxel = float(np.prod(self.spacing)) / 1000 if self.spacing else 0.0
        return {label: count * voxel for label, count in self.voxels.items()}


@dataclass
class DatasetReport:
    """Findings in every case of a data set, and in the data set as a whole."""

    dataset_dir: str
    labels: dict[int, str]
    cases: list[CaseCheck]
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def all_errors(self) -> list[str]:
        """The errors of the data set, then those of each case."""
        return [one_line(e) for e in self.errors + [error for case in self.cases for error in case.errors]]

    @property
    def all_warnings(self) -> list[str]:
        """The warnings of the data set, then those of each case."""
        return [one_line(w) for w in self.warnings + [warning for case in self.cases for warning in case.warnings]]

    def volumes(self) -> dict[int, list[float]]:
        """Return the volumes of each label in mL, over the cases that contain it."""
        found: dict[int, list[float]] = {}
        for case in self.cases:
            for label, volume in case.millilitres.items():
                found.setdefault(label, []).append(volume)
        return dict(sorted(found.items()))

    def lines(self) -> list[str]:
        """Return a summary of geometry and labels, without errors and warnings."""
        labelled = sum(case.label is not None for case in self.cases)
        patients = len({case.patient for case in self.cases})
        lines = [f"cases: {len(self.cases)} ({labelled} labelled) of {counted(patients, 'patient')}"]
        if good := [case for case in self.cases if case.shape and case.spacing]:
            axes = Counter(case.axes for case in good)
            lines.append(f"shape: {_ranges([case.shape for case in good])} voxels")
            lines.append(f"spacing: {_ranges([case.spacing for case in good])} mm")
            lines.append("axes: " + ", ".join(f"{code} ({count})" for code, count in sorted(axes.items())))
        for label, volumes in self.volumes().items():
            mean, name = sum(volumes) / len(volumes), self.labels.get(label)
            what = f"label {label} ({name})" if name else f"label {label}"
            span = f"{min(volumes):.1f} to {max(volumes):.1f} mL"
            lines.append(f"{what}: mean {mean:.1f} mL, {span}, in {counted(len(volumes), 'case')}")
        return lines + [f"note: {note}" for note in self.notes]


def check_dataset(
    dataset_dir: str | os.PathLike[str],
    labels: Collection[int] | None = None,
    progress: Callable[[list[Case]], Iterable[Case]] | None = None,
) -> DatasetReport:
    """Check every case of a data set, reading each file once; faults in one case do not stop the check.

    Args:
        dataset_dir: Decathlon layout, patients' folders as in ACDC, or a plain folder of images.
        labels: values allowed in a label; None: those of ``dataset.json``, else any whole number from 0 up.
        progress: wraps the iteration over the cases, such as `rich.progress.track`.

    Raises:
        InputError: the folder or its ``dataset.json`` cannot be read. All other faults are in the report.
    """
    training, test = scan(dataset_dir)
    declared = dict.fromkeys(labels, "") if labels is not None else declared_labels(dataset_dir)
    report = DatasetReport(str(dataset_dir), declared or {}, [])
    _check_lists(report, training, test)
    cases = training.cases + test.cases
    for case in progress(cases) if progress else cases:
        report.cases.append(_check_case(case, declared))
    if declared is None and any(case.label for case in report.cases):
        report.notes.append("no labels are declared (dataset.json), so any whole number is accepted as a label")
    same: dict[str, str] = {}
    for result in report.cases:
        if result.digest and same.setdefault(result.digest, result.id) != result.id:
            result.warnings.append(f"{result.image}: has the same voxels as {same[result.digest]}")
    codes = Counter(case.axes for case in report.cases if case.axes)
    if len(codes) > 1:
        orders = ", ".join(sorted(codes))
        report.warnings.append(f"{dataset_dir}: axis orders differ between cases ({orders})")
    return report


def _check_lists(report: DatasetReport, training: Part, test: Part) -> None:
    """Report faults in the lists of files; missing files are reported with their case."""
    faults = [fault for fault in training.faults + test.faults if not fault.endswith(MISSING)]
    report.errors += faults + training.unpaired + test.unpaired
    if not training.cases and not test.cases:
        report.errors.append(f"{report.dataset_dir}: holds no images; {LAYOUT}")
    elif not any("label" in case for case in training.cases + test.cases):
        report.notes.append("no case has a label: usable for segmentation, not for training or evaluation")
    shared = {case["patient"] for case in training.cases} & {case["patient"] for case in test.cases}
    for name in sorted(shared):
        report.warnings.append(f"{report.dataset_dir}: patient {name} is in training and test")


def _check_case(case: Case, declared: dict[int, str] | None) -> CaseCheck:
    result = CaseCheck(case["id"], case["patient"], case["image"], case.get("label"))
    image = None
    try:
        image, voxels = read_nifti(result.image)
        result.shape = image.shape
        result.spacing = tuple(float(size) for size in voxel_sizes(image.affine))
        result.axes = "".join(nib.orientations.aff2axcodes(image.affine))
        result.warnings += _oddities(image, result.image)
        check_voxels(voxels, result.image)
        result.digest = blake2b(voxels.ravel(order="K").data).hexdigest()
        del voxels  # one volume in memory at a time
        check_spacing(image.affine, result.image)
    except InputError as error:
        result.errors.append(str(error))
    if result.label is None:
        return result
    try:
        label, voxels = read_nifti(result.label)
        result.voxels = count_labels(voxels, declared, result.label)
        absent = [value for value in declared or {} if value and value not in result.voxels]
        if absent:
            result.warnings.append(f"{result.label}: has no voxels of label {listed(absent)}")
        if image is not None:
            check_same_grid(image, label, result.label)
    except InputError as error:
        result.errors.append(str(error))
    return result


def _oddities(image: nib.Nifti1Image, name: str) -> list[str]:
    """Return warnings about header entries that readers interpret differently, or that make no sense for a heart."""
    header, found = image.header, []
    spacing = voxel_sizes(image.affine)
    if not np.allclose(spacing, header.get_zooms()[:3], rtol=1e-2):
        stated = dimensions(header.get_zooms()[:3])
        found.append(f"{name}: pixdim says {stated} mm, the affine {dimensions(spacing)} mm; the affine is used")
    if not int(header["sform_code"]) and not int(header["qform_code"]):
        found.append(f"{name}: the header states no orientation; its axes are used as stored")
    if header.get_xyzt_units()[0] in ("meter", "micron"):
        found.append(f"{name}: lengths are in {header.get_xyzt_units()[0]}; they are read as mm")
    return found


def _ranges(rows: list[Any]) -> str:
    """Format the ranges of several shapes or spacings: ``320 x 320 x 90..130``."""
    spans = [(f"{min(axis):.4g}", f"{max(axis):.4g}") for axis in zip(*rows, strict=True)]
    return " x ".join(low if low == high else f"{low}..{high}" for low, high in spans)
