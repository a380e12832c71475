"""The script that runs on Kaggle: one file that carries heartseg and a bundle, tied to a commit."""

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
from heartseg.kaggle.kernel import CLAUSE, NAME, name_of

LIMIT = 1_000_000  # bytes of a script, about what Kaggle takes
PLATFORM_MINUTES = 720  # that Kaggle lets a session with a GPU run: https://www.kaggle.com/docs/notebooks
MINUTES = 660  # that a kernel prepares and trains; what is left is for evaluating and saving
# What of a bundle goes along: all but weights, and pictures of the model card.
OF_A_BUNDLE = ("LICENSE", "configs/*", "docs/*.md", "models/*.json", "models/LICENSE")
OF_THE_SESSION = ("dataset_dir", "output_dir", "bundle_root")  # ids that are for the session to say
WIDTH = 100  # characters of the archive on a line


class Script(NamedTuple):
    """A script: its text (ASCII), the commit (``-dirty`` for local changes, None if installed), the archive's SHA-256,
    and the bytes of each file in the archive."""

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
    """What the session is to do, in plain values.

    Args:
        bundle: its folder.
        data: slugs ``OWNER/SLUG`` of the data sets that are attached for it to train on.
        overlays, set_: as of ``heartseg train``.
        minutes: after which training ends, from the start of the kernel; None: 660.
        resume: it has to go on with an attached output, and must not begin anew.

    Raises InputError for an unknown overlay or id, and for a value that does not fit, as a training here would.
    """
    minutes = MINUTES if minutes is None else minutes
    if not 1 <= minutes < PLATFORM_MINUTES:
        limit = f"Kaggle ends a session after {PLATFORM_MINUTES}, and judging takes time too"
        raise InputError(f"--minutes {minutes:g}: {limit}; give about {MINUTES}")
    settings = parse_settings(set_)
    if own := [name for name in OF_THE_SESSION if name in settings]:
        raise InputError(f"--set {own[0]}: on Kaggle the kernel says it itself; leave it out")
    compose(bundle, config_files(bundle, "train", overlays), settings)
    what = {"data": list(data), "overlays": list(overlays), "settings": settings, "minutes": minutes}
    return {**what, "resume": resume}


def kernel_script(bundle: Path, options: Mapping[str, Any], internet: bool = True) -> Script:
    """The script for a bundle's folder. The same commit gives the same text, byte for byte, on any machine.

    Args:
        bundle: its folder, with ``configs/``.
        options: from `session_options`.
        internet: whether the kernel may install from the package index and download data.

    Raises InputError where it is too large for Kaggle, naming the largest file.
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
        raise InputError(f"{bundle}: the script has {len(text):,} bytes, and Kaggle takes {LIMIT:,}; {largest}")
    return Script(text, commit, checksum, {name: len(files[name]) for name in sorted(files)})


def _text(header: Mapping[str, Any], archive: bytes) -> str:
    made_of = f"heartseg {header['heartseg']}, {header['bundle']}, commit {header['commit']}"
    coded = base64.b85encode(archive).decode("ascii")
    lines = [f'    "{coded[start : start + WIDTH]}"' for start in range(0, len(coded), WIDTH)]
    source = Path(kernel.__file__).read_text(encoding="utf-8")
    return "\n".join(
        [
            f"# Generated from {made_of.encode('ascii', 'replace').decode()}. Do not edit: generate it again.",
            "# A zip of heartseg and the bundle in base85, and at the end what unpacks and runs it.",
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
    """A zip that depends on names and contents alone.

    bzip2 has one implementation. Of zlib there are several, which compress alike but not the same.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            about = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            about.create_system = 3  # Unix, wherever it is packed
            about.external_attr = 0o100644 << 16
            archive.writestr(about, files[name], zipfile.ZIP_BZIP2, compresslevel=9)
    return buffer.getvalue()


def _files(bundle: Path) -> dict[str, bytes]:
    """Content of each file by its name in the archive, with the line ends of Unix."""
    found = {f"heartseg/{name}": PACKAGE / name for name in _listed(PACKAGE, ("*.py",))}
    found |= {f"bundles/{bundle.name}/{name}": bundle / name for name in _listed(bundle, OF_A_BUNDLE)}
    return {name: path.read_bytes().replace(b"\r\n", b"\n") for name, path in found.items()}


def _listed(folder: Path, patterns: Sequence[str]) -> list[str]:
    """Files of a folder that fit a pattern: those that git does not ignore, or all where there is no checkout."""
    listed = _git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard", ".")
    if listed:
        names = [name for name in listed.split("\0") if name]
    else:
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
    inner = "bundles/"  # where a wheel keeps them
    return [
        name
        for name in dict.fromkeys(names)
        if _fits(name, patterns) and not name.startswith(inner) and (folder / name).is_file()
    ]


def _commit(bundle: Path) -> str | None:
    """The commit that heartseg is checked out at, with ``-dirty`` where what is packed differs from it."""
    root = PACKAGE.parent
    if not (root / ".git").exists() or (found := _git(root, "rev-parse", "--short=12", "HEAD")) is None:
        return commit_of_package()
    changed = _git(root, "diff", "--name-only", "--no-renames", "-z", "HEAD") or ""
    new = _git(root, "ls-files", "-z", "--others", "--exclude-standard") or ""
    patterns = ["heartseg/*.py", "pyproject.toml", "constraints.txt"]
    if bundle.is_relative_to(root):
        patterns += [f"{bundle.relative_to(root).as_posix()}/{pattern}" for pattern in OF_A_BUNDLE]
    dirty = any(_fits(name, patterns) for name in (changed + new).split("\0"))
    return found.strip() + ("-dirty" if dirty else "")


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _git(folder: Path, *words: str) -> str | None:
    """What git says in a folder; None where there is no git, or no checkout."""
    try:
        call = ["git", "-C", str(folder), *words]
        return subprocess.run(call, capture_output=True, check=True, timeout=60).stdout.decode("utf-8")
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def _requirements(bundle: Path) -> tuple[str, list[str], list[str]]:
    """The Python that heartseg runs on, what it requires, and the tested versions.

    In a checkout from pyproject.toml and constraints.txt. An installed heartseg has neither: what is installed beside
    it counts as tested. What only the bundle needs is in its metadata.
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
    for requirement in requirements:
        if CLAUSE.sub("", NAME.sub("", requirement, count=1)).strip(" ,"):
            raise InputError(f"{requirement}: the kernel understands only name>=1.6,<1.7; write it so")
    return python, requirements, sorted(set(pins), key=str.lower)
