"""The house keeps its shape: imports go downwards, files stay small, nothing heavy or private is tracked."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "heartseg"

# A room is a module or folder of heartseg. It may import rooms of its own row and of the rows below it, never
# of a row above, and no two rooms may need each other. A new room is written into its row.
LAYERS = [
    ["__main__"],
    ["cli"],
    ["kaggle"],
    ["heartseg", "inference"],  # what `import heartseg` offers
    ["config"],
    ["handlers"],
    ["report"],
    ["results"],
    ["training"],
    ["phantoms"],
    ["metrics", "artifacts", "networks", "data"],
    ["numbers", "errors", "distributed", "machine"],
]
ROW = {room: row for row, rooms in enumerate(LAYERS) for room in rooms}

MAY_NAME_A_BUNDLE = {"cli"}
MAX_LINES = 300
SCANS = re.compile(r"\.(nii|nii\.gz|mgz|mha|mhd|nrrd|dcm|ima|h5|hdf5|npz)$", re.IGNORECASE)

SOURCES = sorted(PACKAGE.rglob("*.py"))
BUNDLES = sorted(path.parent.parent.name for path in ROOT.glob("bundles/*/configs/metadata.json"))


def module(path: Path) -> str:
    """Return the dotted name of a source file: heartseg/data/cases.py is heartseg.data.cases."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(name: str) -> str:
    """Return the room of a dotted name: heartseg.data.cases belongs to data."""
    parts = name.split(".")
    if len(parts) == 1 or not any((PACKAGE / f"{parts[1]}{end}").exists() for end in ("", ".py")):
        return "heartseg"  # something that heartseg/__init__.py defines
    return parts[1]


def imports(path: Path, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of everything that a file imports, anywhere in the file."""
    package = module(path).split(".") if path.name == "__init__.py" else module(path).split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name != "heartseg")
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{start}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "heartseg":
            yield node.lineno, f"heartseg.{node.attr}"  # `import heartseg`, then heartseg.segment


def inner_imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of what a file imports from heartseg itself, except its version and place."""
    for line, name in imports(path, ast.parse(path.read_text(encoding="utf-8"))):
        if name.startswith("heartseg.") and not re.fullmatch(r"heartseg\.__\w+__", name):
            yield line, name


def test_every_room_has_a_row_and_every_row_names_rooms() -> None:
    rooms = {room(module(path)) for path in SOURCES}
    assert not rooms - set(ROW), f"write these rooms into LAYERS: {sorted(rooms - set(ROW))}"
    assert not set(ROW) - rooms, f"remove these from LAYERS, there is no such room: {sorted(set(ROW) - rooms)}"


def test_imports_go_downwards() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {room(module(path))} may not import {name}"
        for path in SOURCES
        for line, name in inner_imports(path)
        if ROW[room(name)] < ROW[room(module(path))]
    ]
    assert not wrong, "\n".join(wrong)


def test_no_two_rooms_need_each_other() -> None:
    needs: dict[str, set[str]] = {name: set() for name in ROW}
    for path in SOURCES:
        here = room(module(path))
        needs[here] |= {room(name) for _, name in inner_imports(path)} - {here}
    TopologicalSorter(needs).prepare()  # raises CycleError, which names the rooms


def test_heartseg_names_no_bundle() -> None:
    """Bundles need heartseg, not the other way: no import and no string contains their names (docs may)."""
    bundle = re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, BUNDLES)) or '(?!)'})(?![\w-])")
    named = []
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        place = path.relative_to(ROOT)
        taken = [(line, name) for line, name in imports(path, tree) if re.match(r"(heartseg\.)?bundles\b", name)]
        named += [f"{place}:{line}: imports {name}" for line, name in taken]
        if room(module(path)) in MAY_NAME_A_BUNDLE:
            continue
        prose = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
        named += [
            f"{place}:{node.lineno}: {node.value!r}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
            if node not in prose and bundle.search(node.value)
        ]
    assert not named, "\n".join(named)


def test_files_are_small() -> None:
    lengths = {path.relative_to(ROOT): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    long = [f"{path} has {lines} lines" for path, lines in lengths.items() if lines > MAX_LINES]
    assert not long, f"split what has more than {MAX_LINES} lines: {', '.join(long)}"


def test_no_file_name_occurs_twice() -> None:
    """So that a name says which file is meant; every folder has its own __init__.py."""
    places: dict[str, list[str]] = {}
    for path in SOURCES:
        if path.name != "__init__.py":
            places.setdefault(path.name, []).append(str(path.relative_to(ROOT)))
    twice = [" and ".join(paths) for paths in places.values() if len(paths) > 1]
    assert not twice, f"rename one of each: {'; '.join(twice)}"


def test_the_wheel_holds_every_room() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    rooms = {module(path) for path in PACKAGE.rglob("__init__.py")}
    assert set(settings["packages"]) == rooms | {"heartseg.bundles"}, "correct `packages` in pyproject.toml"


def test_no_scan_is_tracked() -> None:
    """Patients' images never enter the history, nor does any other data set."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nothing is tracked")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    scans = [name for name in listed.stdout.split("\0") if SCANS.search(name)]
    assert not scans, f"git rm --cached these: {scans}"
