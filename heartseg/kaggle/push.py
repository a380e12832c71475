"""Pushing a bundle to Kaggle for training: one script and its metadata, checked before they are sent."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from heartseg.config.bundles import PACKAGE
from heartseg.config.command_lines import say
from heartseg.data.files import atomic, write_json
from heartseg.errors import InputError, first_of
from heartseg.kaggle.metadata import FILE, OWNER, compose_metadata, lint, metadata_warnings, read_metadata
from heartseg.kaggle.script import LIMIT, Script, kernel_script, session_options
from heartseg.kaggle.service import Pushed, Service


class Kernel(NamedTuple):
    """Kernel to push: its script and its metadata."""

    script: Script
    metadata: dict[str, Any]

    def of(self, owner: str) -> Kernel:
        """Return the kernel with a user as its owner."""

        def owned(name: str) -> str:
            return f"{owner}/{name.removeprefix(f'{OWNER}/')}" if name.startswith(f"{OWNER}/") else name

        sources = [owned(name) for name in self.metadata["kernel_sources"]]
        return Kernel(self.script, {**self.metadata, "id": owned(self.metadata["id"]), "kernel_sources": sources})


def make_kernel(
    bundle: Path,
    data: Sequence[str] = (),
    gpu: str | None = None,
    overlays: Sequence[str] = (),
    set_: Sequence[str] = (),
    minutes: float | None = None,
    resume: bool = False,
    wheels: str | None = None,
    internet: bool | None = None,
    public: bool | None = None,
) -> Kernel:
    """Return the kernel that trains a bundle; the options are those of ``heartseg kaggle push``.

    It starts from the checkout's ``kernel-metadata.json``, if there is one. Its owner is `OWNER` until `Kernel.of`
    replaces that.

    Raises InputError for invalid metadata or options.
    """
    content = _checkout_metadata()
    if content is not None and (faults := lint(content)):
        raise InputError(f"{FILE}: {first_of(faults)}")
    metadata = compose_metadata(bundle.name, OWNER, content, data, gpu, internet, wheels, resume, public)
    if faults := lint(metadata):
        raise InputError(f"{FILE}: {first_of(faults)}")
    options = session_options(bundle, data, overlays, set_, minutes, resume)
    return Kernel(kernel_script(bundle, options, metadata["enable_internet"] is True), metadata)


def write_kernel(kernel: Kernel, folder: Path) -> None:
    """Write ``kernel-metadata.json`` and the script into a folder. Raises InputError for invalid metadata."""
    with atomic(folder / str(kernel.metadata["code_file"])) as temporary:
        temporary.write_bytes(kernel.script.text.encode("ascii"))
    if faults := lint(kernel.metadata, folder):
        raise InputError(f"{FILE}: {first_of(faults)}")
    write_json(folder / FILE, kernel.metadata)


def describe(kernel: Kernel, whole: bool = False) -> list[str]:
    """Return what is sent as lines to print; ``whole``: with each file of the archive, the largest first."""
    script, files = kernel.script, kernel.script.files
    lines = [f"{name}: {value}" for name, value in kernel.metadata.items() if value not in (None, [])]
    lines += [
        f"script: {len(script.text):,} of {LIMIT:,} bytes, commit {script.commit}",
        f"archive: {len(files)} files of {sum(files.values()):,} bytes, sha256 {script.sha256}",
    ]
    largest = sorted(files, key=lambda name: -files[name]) if whole else []
    return lines + [f"  {files[name]:>9,} {name}" for name in largest]


def warn(kernel: Kernel) -> None:
    """Print what may not be intended to standard error."""
    for line in metadata_warnings(kernel.metadata):
        say(f"warning: {line}")
    named = (_checkout_metadata() or kernel.metadata)["id"]
    if not named.startswith(f"{OWNER}/") and named.partition("/")[2] != kernel.metadata["id"].partition("/")[2]:
        say(f"warning: {FILE}: its id names the kernel {named}; pushed is {kernel.metadata['id']}")
    if (kernel.script.commit or "").endswith("-dirty"):
        say(f"warning: commit {kernel.script.commit}: the pushed files differ from it; commit your changes")


def differing_fields(kernel: Kernel) -> list[str]:
    """Return the fields of ``kernel-metadata.json``, as a plain push sends it, that do not fit the script."""
    needs = ("enable_internet", "dataset_sources", "kernel_sources", "code_file")
    content = _checkout_metadata() or kernel.metadata
    return [name for name in needs if content.get(name) != kernel.metadata[name]]


def push(kernel: Kernel, service: Service) -> Pushed:
    """Send a kernel, which starts it. Raises InputError if it is invalid, or if Kaggle refuses any of it."""
    with tempfile.TemporaryDirectory(prefix="heartseg-") as folder:
        write_kernel(kernel, Path(folder))
        return service.push(folder)


def _checkout_metadata() -> dict[str, Any] | None:
    """Return the metadata of heartseg's checkout; None if there are none, or heartseg is installed."""
    base = PACKAGE.parent / FILE
    return read_metadata(base) if base.is_file() else None
