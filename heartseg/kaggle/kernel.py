"""The bootstrap of a kernel on Kaggle: unpack heartseg, install what is missing, begin. Standard library only.

`heartseg.kaggle.script` writes the source of this file behind the archive of the script that is pushed. So it has no
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

ROOT = "/kaggle"  # data lie in its input/, results go to its working/
ROOT_VARIABLE = "HEARTSEG_KAGGLE_ROOT"  # another place for both, to try a script elsewhere
CLAUSE = re.compile(r"(>=|<=|==|!=|<|>)\s*([\w.!+*-]+)")
WITH_TORCH = re.compile(r"torch|triton|nvidia|cuda")  # names of packages that a build of torch belongs with
NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


class KernelError(Exception):
    """What keeps the kernel from running, in one line."""


def main(header: Mapping[str, Any], archive: str) -> int:
    """Unpack, install and run; the exit status.

    Args:
        header: what `heartseg.kaggle.script.kernel_script` wrote: ``sha256`` of the archive, ``python`` and
            ``requirements`` as in pyproject.toml, tested versions (``pins``), ``internet``, and what is to be done.
        archive: a zip in base85.
    """
    began = time.time()
    root = Path(os.environ.get(ROOT_VARIABLE, ROOT))
    try:
        (root / "working" / "manifest.json").unlink(missing_ok=True)  # it tells of a run that has ended well
    except OSError as error:
        print(f"heartseg: {root / 'working'}: cannot be written ({error.strerror}); mend that", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="heartseg-") as folder:
        try:
            unpack(archive, header["sha256"], Path(folder))
            check_python(header["python"])
            install(header["requirements"], header["pins"], header["internet"], root / "input")
        except KernelError as error:
            print(f"heartseg: {error}", file=sys.stderr, flush=True)
            return 2
        # For this process, and for those that train.
        sys.path.insert(0, folder)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
        from heartseg.kaggle.session import run_session

        return run_session(header, root, began)


def unpack(archive: str, checksum: str, folder: Path) -> None:
    """Put the files of an archive into a folder. Raises KernelError where it is not what was packed."""
    try:
        content = base64.b85decode(archive)
    except ValueError:
        content = b""
    if sha256(content).hexdigest() != checksum:
        raise KernelError("this script is damaged: its archive is not what was packed; generate and push it again")
    with zipfile.ZipFile(io.BytesIO(content)) as files:
        files.extractall(folder)


def check_python(wanted: str) -> None:
    """Raises KernelError where this Python is of another version than those that heartseg runs on."""
    here = ".".join(map(str, sys.version_info[:3]))
    if not fits(here, wanted):
        raise KernelError(f"Python {here} runs here, and heartseg needs {wanted}; choose another image for the kernel")


def install(requirements: Iterable[str], pins: Iterable[str], internet: bool, inputs: Path) -> None:
    """Install the requirements that are missing, or there in a version that does not fit.

    All else that is there keeps its version, if pip can do it so. If not, what heartseg does not use itself may be
    replaced, and this is said. torch never is, nor what comes with it. What is not there gets the tested version.

    Args:
        requirements: as in ``monai>=1.6,<1.7``.
        pins: tested versions, as in ``monai==1.6.1``, of the requirements and of what these need.
        internet: from the package index; else only from wheels that lie in the inputs.
        inputs: folder of what is attached.

    Raises KernelError where pip cannot, with its words, or would have to replace torch.
    """
    requirements = list(requirements)
    before = installed()
    wanted = lacking(requirements, before)
    if not wanted:
        return
    if "torch" in wanted and "torch" in before:
        have = f"torch {before['torch']} is what this platform has, and heartseg needs {wanted['torch']}"
        raise KernelError(f"{have}; choose another image for the kernel: its torch is never replaced")
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
        if told := pip(constrained(kept, pins), *words, *wanted.values()):
            print(told, flush=True)
            errors = [line.removeprefix("ERROR:").strip() for line in told.splitlines() if line.startswith("ERROR:")]
            raise KernelError(f"pip cannot install what is missing: {errors[0] if errors else told.splitlines()[-1]}")
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
    """Versions that pip must take: those that are kept, and of all else the tested ones."""
    return [f"{name}=={version}" for name, version in kept.items()] + [pin for pin in pins if name_of(pin) not in kept]


def pip(constraints: Iterable[str], *words: str) -> str:
    """Let pip install under constraints; what it said if it could not, empty if it could."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "constraints.txt"
        file.write_text("\n".join(constraints) + "\n", encoding="utf-8")
        call = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
        call += ["--root-user-action", "ignore", "--constraint", str(file), *words]
        ended = subprocess.run(call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    return (ended.stdout.strip() or f"status {ended.returncode}") if ended.returncode else ""


def installed() -> dict[str, str]:
    """Version by name of all that can be imported here."""
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name, version = distribution.metadata["Name"], distribution.metadata["Version"]
        if name and version and re.fullmatch(r"[\w.!+]+", version):
            found.setdefault(name_of(name), version)  # the first on the path is the one that is imported
    return found


def lacking(requirements: Iterable[str], have: Mapping[str, str]) -> dict[str, str]:
    """By name, the requirements that these versions do not fulfil."""
    return {
        name_of(requirement): requirement
        for requirement in requirements
        if name_of(requirement) not in have or not fits(have[name_of(requirement)], requirement)
    }


def name_of(requirement: str) -> str:
    """The name in a requirement, written as the package index compares them."""
    match = NAME.match(requirement.strip())
    if match is None:
        raise KernelError(f"{requirement}: is no requirement, as in monai>=1.6,<1.7")
    return re.sub(r"[-_.]+", "-", match[0].rstrip("-_.")).lower()


def fits(version: str, requirement: str) -> bool:
    """Whether a version fulfils every clause, as in ``>=1.6,<1.7``.

    By release numbers alone: a platform's own build, such as ``2.8.0a0+nv``, counts as the release it is named for.
    """
    here = _release(version)
    judge = {
        ">=": lambda other: here >= other,
        "<=": lambda other: here <= other,
        "==": lambda other: here == other,
        "!=": lambda other: here != other,
        "<": lambda other: here < other,
        ">": lambda other: here > other,
    }
    return all(judge[sign](_release(number)) for sign, number in CLAUSE.findall(requirement))


def _release(version: str) -> tuple[int, ...]:
    match = re.match(r"(?:\d+!)?(\d+(?:\.\d+)*)", version)
    numbers = [int(part) for part in match[1].split(".")] if match else []
    while numbers and not numbers[-1]:
        numbers.pop()  # 1.6 is 1.6.0
    return tuple(numbers)
