"""The bootstrap of a kernel on Kaggle: unpack heartseg, install what is missing, start the session.

`heartseg.kaggle.script` appends the source of this file to the archive in the script that is pushed. So it has no
``from __future__``, and imports nothing of heartseg before that is unpacked.
"""

import base64
import importlib
import importlib.metadata
import io
import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

try:
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet
    from packaging.utils import canonicalize_name
    from packaging.version import Version
except ImportError:  # pip, which installs what is missing, brings its own copy
    from pip._vendor.packaging.requirements import Requirement  # type: ignore[assignment]
    from pip._vendor.packaging.specifiers import SpecifierSet  # type: ignore[assignment]
    from pip._vendor.packaging.utils import canonicalize_name  # type: ignore[assignment]
    from pip._vendor.packaging.version import Version  # type: ignore[assignment]

ROOT = "/kaggle"  # data are in its input/, results go to its working/
ROOT_VARIABLE = "HEARTSEG_KAGGLE_ROOT"  # another folder for both, to try a script elsewhere
WITH_TORCH = re.compile(r"torch|triton|nvidia|cuda")  # names of packages that come with a build of torch


class KernelError(Exception):
    """A one-line reason why the kernel cannot run."""


def main(header: Mapping[str, Any], archive: str) -> int:
    """Unpack, install and run; return the exit status.

    Args:
        header: what `heartseg.kaggle.script.kernel_script` wrote: ``sha256`` of the archive, ``python`` and
            ``requirements`` as in pyproject.toml, tested versions (``pins``), ``internet``, and the session's options.
        archive: a zip in base85.
    """
    began = time.time()
    root = Path(os.environ.get(ROOT_VARIABLE, ROOT))
    try:
        (root / "working" / "manifest.json").unlink(missing_ok=True)  # it belongs to an earlier run
    except OSError as error:
        print(f"heartseg: {root / 'working'}: cannot be written ({error.strerror}); fix that", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="heartseg-") as folder:
        try:
            unpack(archive, header["sha256"], Path(folder))
            check_python(header["python"])
            install(header["requirements"], header["pins"], header["internet"], root / "input")
        except KernelError as error:
            print(f"heartseg: {error}", file=sys.stderr, flush=True)
            return 2
        # For this process and those that train.
        sys.path.insert(0, folder)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
        from heartseg.kaggle.session import run_session

        return run_session(header, root, began)


def unpack(archive: str, checksum: str, folder: Path) -> None:
    """Extract an archive into a folder. Raises KernelError if its checksum differs."""
    try:
        content = base64.b85decode(archive)
    except ValueError:
        content = b""
    if sha256(content).hexdigest() != checksum:
        raise KernelError("this script is damaged: the checksum of its archive differs; generate and push it again")
    with zipfile.ZipFile(io.BytesIO(content)) as files:
        files.extractall(folder)


def check_python(wanted: str) -> None:
    """Raise KernelError if heartseg does not run on this version of Python."""
    here = ".".join(map(str, sys.version_info[:3]))
    if here not in SpecifierSet(wanted):
        raise KernelError(f"this is Python {here}, and heartseg needs {wanted}; choose another image for the kernel")


def install(requirements: Iterable[str], pins: Iterable[str], internet: bool, inputs: Path) -> None:
    """Install the requirements that are missing or have a version that does not fit.

    Other packages keep their versions if pip can manage; if not, those that heartseg does not use itself may be
    replaced, which is printed. torch and what comes with it are never replaced. New packages get the tested version.

    Args:
        requirements: as in ``monai>=1.6,<1.7``.
        pins: tested versions, as in ``monai==1.6.1``, of the requirements and of what these need.
        internet: install from the package index; otherwise only from wheels in the inputs.
        inputs: folder of what is attached.

    Raises KernelError with pip's message if pip fails, or if it would have to replace torch.
    """
    requirements = list(requirements)
    before = installed()
    wanted = lacking(requirements, before)
    if not wanted:
        return
    if "torch" in wanted and "torch" in before:
        fault = f"this platform has torch {before['torch']}, and heartseg needs {wanted['torch']}"
        raise KernelError(f"{fault}; choose another image for the kernel: its torch is never replaced")
    folders = sorted({str(wheel.parent) for wheel in inputs.rglob("*.whl")})
    if not internet and not folders:
        raise KernelError(
            f"{', '.join(wanted.values())}: missing, and the internet is off; "
            "attach a data set of wheels (heartseg kaggle push --wheels OWNER/SLUG), or switch it on"
        )
    print(f"heartseg: installs {', '.join(wanted.values())}", flush=True)
    words = [*([] if internet else ["--no-index"]), *(word for place in folders for word in ("--find-links", place))]
    kept = {name: version for name, version in before.items() if name not in wanted}
    if pip(constrained(kept, pins), *words, *wanted.values()):
        used = {name_of(requirement) for requirement in requirements}
        kept = {name: version for name, version in kept.items() if name in used or WITH_TORCH.match(name)}
        if output := pip(constrained(kept, pins), *words, *wanted.values()):
            print(output, flush=True)
            errors = [line.removeprefix("ERROR:").strip() for line in output.splitlines() if line.startswith("ERROR:")]
            raise KernelError(f"pip cannot install what is missing: {errors[0] if errors else output.splitlines()[-1]}")
    importlib.invalidate_caches()
    after = installed()
    if before.get("torch", after.get("torch")) != after.get("torch"):
        raise KernelError(f"torch: was {before['torch']} and is now {after.get('torch')}; choose another image")
    if still := lacking(requirements, after):
        raise KernelError(f"{', '.join(still.values())}: still missing after pip has run; choose another image")
    for name in before:
        if before[name] != after.get(name):
            print(f"heartseg: replaced {name} {before[name]} by {after.get(name)}", flush=True)


def constrained(kept: Mapping[str, str], pins: Iterable[str]) -> list[str]:
    """Return pip's constraints: the versions that are kept, and the tested versions of all others."""
    return [f"{name}=={version}" for name, version in kept.items()] + [pin for pin in pins if name_of(pin) not in kept]


def pip(constraints: Iterable[str], *words: str) -> str:
    """Install with pip under constraints; return its output if it failed, an empty string otherwise."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "constraints.txt"
        file.write_text("\n".join(constraints) + "\n", encoding="utf-8")
        call = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
        call += ["--root-user-action", "ignore", "--constraint", str(file), *words]
        ended = subprocess.run(call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    return (ended.stdout.strip() or f"status {ended.returncode}") if ended.returncode else ""


def installed() -> dict[str, str]:
    """Return the versions of all installed packages, by name."""
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name, version = distribution.metadata["Name"], distribution.metadata["Version"]
        if name and version and re.fullmatch(r"[\w.!+]+", version):
            found.setdefault(name_of(name), version)  # the first on the path is the one that is imported
    return found


def lacking(requirements: Iterable[str], have: Mapping[str, str]) -> dict[str, str]:
    """Return, by name, the requirements that these versions do not meet."""
    named = {name_of(requirement): requirement for requirement in requirements}
    return {name: each for name, each in named.items() if name not in have or not fits(have[name], each)}


def name_of(requirement: str) -> str:
    """Return the name in a requirement, as the package index compares it."""
    return canonicalize_name(Requirement(requirement).name)


def fits(version: str, requirement: str) -> bool:
    """Return whether a version meets a requirement such as ``monai>=1.6,<1.7``.

    Only release numbers count: a platform's own build, such as ``2.8.0a0+nv``, is the release it is named after.
    """
    specifier = Requirement(requirement).specifier
    return not specifier or specifier.contains(Version(version).base_version)
