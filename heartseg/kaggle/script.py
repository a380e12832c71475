"""The script that runs on Kaggle: one file that contains heartseg and a bundle, tied to a commit."""

from __future__ import annotations

import base64
import fnmatch
import io
import json
import subprocess
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import heartseg
from heartseg.config.bundles import PACKAGE, config_files
from heartseg.config.composition import compose, parse_settings
from heartseg.data.files import COMMIT_FILE
from heartseg.data.files import commit as commit_of_package
from heartseg.errors import InputError
from heartseg.kaggle import kernel
from heartseg.kaggle.kernel import name_of

LIMIT = 1_000_000  # bytes of a script, about the most that Kaggle accepts
PLATFORM_MINUTES = 720  # Kaggle's limit for a session with a GPU: https://www.kaggle.com/docs/notebooks
MINUTES = 660  # default limit for preparing and training; the rest is for evaluating and saving
# Everything except weights and pictures of the model card.
BUNDLE_FILES = ("LICENSE", "configs/*", "docs/*.md", "models/*.json", "models/LICENSE")
SESSION_IDS = ("dataset_dir", "output_dir", "bundle_root")  # set by the session itself
WIDTH = 100  # characters of the archive on a line


class Script(NamedTuple):
    """A script: its text (ASCII), the commit (``-dirty`` for local changes, None if heartseg is installed), the
    archive's SHA-256, and the size of each file in the archive in bytes."""

    text: str
    commit: str | None
    sha256: str
    files: dict[str, int]


def session_options(
    bundle: Path,
    data: Sequence[str] = (),
    overlays: Sequence[str] = (),
    set_: Sequence[str] = (),
    minutes: float | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Return the options of the session, as plain values.

    Args:
        bundle: its folder.
        data: ``OWNER/SLUG`` of the data sets that are attached for training.
        overlays, set_: as of ``heartseg train``.
        minutes: limit of the training, from the start of the kernel; None: 660.
        resume: continue an attached output, and fail if there is none.

    Raises InputError for an unknown overlay or id, or an invalid value, as a training on this machine would.
    """
    minutes = MINUTES if minutes is None else minutes
    if not 1 <= minutes < PLATFORM_MINUTES:
        limit = f"is not at least 1 and below {PLATFORM_MINUTES}, when Kaggle ends a session"
        raise InputError(f"--minutes {minutes:g}: {limit}; use about {MINUTES}, since evaluation takes time too")
    settings = parse_settings(set_)
    if own := [name for name in SESSION_IDS if name in settings]:
        raise InputError(f"--set {own[0]}: on Kaggle the kernel sets it; leave it out")
    compose(bundle, config_files(bundle, "train", overlays), settings)
    what = {"data": list(data), "overlays": list(overlays), "settings": settings, "minutes": minutes}
    return {**what, "resume": resume}


def kernel_script(bundle: Path, options: Mapping[str, Any], internet: bool = True) -> Script:
    """Return the script for a bundle. The same commit gives the same text, byte for byte, on any machine.

    Args:
        bundle: its folder, with ``configs/``.
        options: from `session_options`.
        internet: whether the kernel may install from the package index and download data.

    Raises InputError if it is too large for Kaggle, with the name of the largest file.
    """
    files = _files(bundle)
    commit = _commit(bundle)
    if commit is not None:
        files[f"heartseg/{COMMIT_FILE}"] = f"{commit}\n".encode("ascii")
    archive = _pack(files)
    python, requirements, pins = _requirements(bundle)
    checksum = sha256(archive).hexdigest()
    header = {
        "bundle": bundle.name,
        "commit": commit,
        "sha256": checksum,
        "heartseg": heartseg.__version__,
        "python": python,
        "requirements": requirements,
        "pins": pins,
        "internet": internet,
        "options": dict(options),
    }
    text = _text(header, archive)
    if len(text) > LIMIT:
        name = max(files, key=lambda key: len(files[key]))
        largest = f"the largest file in it is {name} ({len(files[name]):,} bytes); make it smaller"
        raise InputError(f"{bundle}: the script has {len(text):,} bytes, over Kaggle's {LIMIT:,}; {largest}")
    return Script(text, commit, checksum, {name: len(files[name]) for name in sorted(files)})


def _text(header: Mapping[str, Any], archive: bytes) -> str:
    made_of = f"heartseg {header['heartseg']}, {header['bundle']}, commit {header['commit']}"
    coded = base64.b85encode(archive).decode("ascii")
    lines = [f'    "{coded[start : start + WIDTH]}"' for start in range(0, len(coded), WIDTH)]
    source = Path(kernel.__file__).read_text(encoding="utf-8")
    return "\n".join(
        [
            f"# Generated from {made_of.encode('ascii', 'replace').decode()}. Do not edit: generate it again.",
            "# A zip of heartseg and the bundle in base85, followed by the code that unpacks and runs it.",
            "import json",
            "",
            f'HEADER = json.loads(r"""{json.dumps(header, indent=1, sort_keys=True)}""")',  # JSON has no """
            "ARCHIVE = (",
            *lines,
            ")",
            "",
            source,
            "",
            'if __name__ == "__main__":',
            "    status = main(HEADER, ARCHIVE)",
            "    if status:",
            "        sys.exit(status)",
            "",
        ]
    )


def _pack(files: Mapping[str, bytes]) -> bytes:
    """Return a zip that depends on names and contents alone.

    bzip2 has one implementation; those of zlib differ in their output.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            about = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            about.create_system = 3  # Unix, on any system
            about.external_attr = 0o100644 << 16
            archive.writestr(about, files[name], zipfile.ZIP_BZIP2, compresslevel=9)
    return buffer.getvalue()


def _files(bundle: Path) -> dict[str, bytes]:
    """Return the content of each file by its name in the archive, with Unix line ends."""
    found = {f"heartseg/{name}": PACKAGE / name for name in _listed(PACKAGE, ("*.py",))}
    found |= {f"bundles/{bundle.name}/{name}": bundle / name for name in _listed(bundle, BUNDLE_FILES)}
    return {name: path.read_bytes().replace(b"\r\n", b"\n") for name, path in found.items()}


def _listed(folder: Path, patterns: Sequence[str]) -> list[str]:
    """Return the files of a folder that match a pattern: all that git does not ignore, or all outside a checkout."""
    listed = _git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard", ".")
    if listed:
        names = [name for name in listed.split("\0") if name]
    else:
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
    inner = "bundles/"  # of a wheel
    return [
        name
        for name in dict.fromkeys(names)
        if _fits(name, patterns) and not name.startswith(inner) and (folder / name).is_file()
    ]


def _commit(bundle: Path) -> str | None:
    """Return the commit of heartseg's checkout, with ``-dirty`` if the packed files differ from it."""
    root = PACKAGE.parent
    if not (root / ".git").exists() or (found := _git(root, "rev-parse", "--short=12", "HEAD")) is None:
        return commit_of_package()
    changed = _git(root, "diff", "--name-only", "--no-renames", "-z", "HEAD") or ""
    new = _git(root, "ls-files", "-z", "--others", "--exclude-standard") or ""
    patterns = ["heartseg/*.py", "pyproject.toml", "constraints.txt"]
    if bundle.is_relative_to(root):
        patterns += [f"{bundle.relative_to(root).as_posix()}/{pattern}" for pattern in BUNDLE_FILES]
    dirty = any(_fits(name, patterns) for name in (changed + new).split("\0"))
    return found.strip() + ("-dirty" if dirty else "")


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _git(folder: Path, *words: str) -> str | None:
    """Return the output of git in a folder; None without git or a checkout."""
    try:
        call = ["git", "-C", str(folder), *words]
        return subprocess.run(call, capture_output=True, check=True, timeout=60).stdout.decode("utf-8")
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def _requirements(bundle: Path) -> tuple[str, list[str], list[str]]:
    """Return the versions of Python that heartseg runs on, its requirements, and the tested versions.

    They are in pyproject.toml and constraints.txt of a checkout. An installed heartseg has neither: there the installed
    versions count as tested. What only the bundle needs is in its metadata.
    """
    root = PACKAGE.parent
    if (root / "pyproject.toml").is_file() and (root / "constraints.txt").is_file():
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        python, requirements = project["requires-python"], list(project["dependencies"])
        lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
        pins = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    else:
        about = metadata.metadata("heartseg")
        python = about["Requires-Python"]
        requirements = [line for line in about.get_all("Requires-Dist") or [] if "extra ==" not in line]
        pins = [f"{name}=={metadata.version(name)}" for name in map(name_of, requirements)]
    content = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    known = {"heartseg", *map(name_of, requirements)}
    for name, version in sorted(content.get("required_packages_version", {}).items()):
        if name_of(name) not in known:
            requirements.append(name)
            pins.append(f"{name}=={version}")
    return python, requirements, sorted(set(pins), key=str.lower)
