"""The house rules for every bundle. A new folder in bundles/ is found."""

import json
import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
from every_bundle import BUNDLES, ROOT, configuration, each_bundle, each_yaml, ids
from monai.bundle import ConfigParser
from monai.transforms import Compose

from heartseg.config.knobs import grouped

WHOLE = re.compile(r"^# -{5,} knobs$", re.MULTILINE)  # a configuration with knobs of its own
UNIVERSAL = {"bundle_root", "device"}  # used by whoever runs the bundle
SYSTEM = re.compile(r"^# -{5,} the system$", re.MULTILINE)


def numbers(value: object) -> bool:
    """Return whether a value contains a number at any depth."""
    if isinstance(value, dict):
        return any(map(numbers, value.values()))
    if isinstance(value, list):
        return any(map(numbers, value))
    return isinstance(value, int | float) and not isinstance(value, bool)


def macro(identity: str) -> str:
    return f"%configs/inference.yaml::{identity}"


@each_bundle
def test_training_repeats_no_number_of_inference(bundle):
    base, train = ids(configuration(bundle, "inference")), ids(configuration(bundle, "train"))
    shared = [key for key in train if key in base and train[key] != macro(key)]
    repeated = [key for key in shared if numbers(train[key]) and train[key] == base[key]]
    assert repeated == [], "bring these by macro"
    same = ("network_def", "geometry", "normalisation", "preprocessing", "classes", "spacing")
    own = [key for key in same if key in shared]
    assert own == [], "what is trained has to be what is applied: bring these by macro"


@each_bundle
def test_macros_lead_somewhere(bundle):
    for path in bundle.glob("configs/*.yaml"):
        for value in ids(path).values():
            if isinstance(value, str) and (found := re.match(r"%configs/(\w+)\.yaml::(\w+)$", value)):
                assert found[2] in ids(configuration(bundle, found[1])), f"{path.name}: {value}"


@each_bundle
def test_an_artifact_comes_between_geometry_and_normalisation(bundle, monkeypatch):
    """The network's input is the same if both are applied at once or one before and one after an artifact."""
    monkeypatch.chdir(bundle)
    if not (bundle / "configs" / "robustness.yaml").is_file():
        pytest.skip(f"{bundle.name} has no robustness.yaml")
    parser = ConfigParser()
    parser.read_config(["configs/inference.yaml", "configs/robustness.yaml"])
    whole, geometry, normalisation = map(parser.get_parsed_content, ("preprocessing", "geometry", "normalisation"))
    parts = Compose([geometry, normalisation]).flatten().transforms
    assert whole.flatten().transforms == parts
    assert (parser["dataset::after"], parser["artifacts"]) == ("@normalisation", "$list(heartseg.artifacts.ARTIFACTS)")


@each_yaml
def test_a_yaml_says_what_it_is(path):
    assert re.match(r"# \w.{20,}", path.read_text(encoding="utf-8")), "begin with a comment"


@each_yaml
def test_ids_stand_on_top(path):
    """Composition replaces whole top-level ids: a nested one would reach past a knob."""
    assert [key for key in ids(path) if "::" in key or "#" in key or key.startswith("+")] == []


@each_yaml
def test_no_id_stands_twice(path):
    keys = re.findall(r"^(\w+):", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert [key for key in set(keys) if keys.count(key) > 1] == []


@each_yaml
def test_an_overlay_changes_ids_that_exist(path):
    """One without knobs of its own adds nothing: its first lines name the files that it may lie over."""
    text = path.read_text(encoding="utf-8")
    head = "".join(re.findall(r"^#.*\n", text.split("\n\n")[0] + "\n", re.MULTILINE))
    bases = re.findall(r"\b(\w+)\.yaml", head.partition(":")[0]) if head.startswith("# Over ") else []
    if WHOLE.search(text):
        return  # whole, or an overlay that explains what it adds; see test_each_knob_is_explained
    assert bases, "begin with: # Over NAME.yaml: ..."
    known = {key for base in bases for key in ids(path.with_name(f"{base}.yaml"))}
    assert sorted(set(ids(path)) - known) == []


@each_yaml
def test_each_knob_is_explained(path):
    text = path.read_text(encoding="utf-8")
    if not WHOLE.search(text):
        assert not SYSTEM.search(text)
        return
    assert SYSTEM.search(text), "knobs end where the system begins"
    knobs = text[WHOLE.search(text).end() : SYSTEM.search(text).start()]
    bare = [
        line
        for line in knobs.splitlines()
        if re.match(r"[a-z]\w*:", line) and '"%configs/' not in line
        if not re.search(r" # \S", re.sub(r'"[^"]*"', "", line))
    ]
    assert bare == []


@each_bundle
@pytest.mark.parametrize("name", ["train", "inference"])
def test_a_knob_is_declared_once_and_used(bundle, name, monkeypatch):
    """The headings decide what a run records and compares: no knob is listed again."""
    monkeypatch.chdir(bundle)
    path = configuration(bundle, name)
    parser = ConfigParser()
    parser.read_config(path)
    parser.resolve_macro_and_relative_ids()
    config = parser.get()
    text = json.dumps(config)
    names = {name for group in grouped(config).values() for name in group}
    assert [name for name in names - UNIVERSAL if not re.search(rf"@{name}\b", text)] == [], "these do nothing"
    lists = [value for value in ids(path).values() if isinstance(value, dict) and len(names & value.keys()) > 3]
    assert lists == [], "knobs are recorded by their heading"


@each_bundle
def test_weights_and_split_have_the_same_knobs_everywhere(bundle):
    """A run hands its knobs on to evaluations: each has to be known there."""
    train, inference, evaluate = (ids(configuration(bundle, name)) for name in ("train", "inference", "evaluate"))
    assert grouped(train)["_weights_"].keys() == grouped(inference)["_weights_"].keys()
    assert grouped(train)["_split_"].keys() <= evaluate.keys()


# Parts that are equal in all bundles, and those that are equal in all bundles that write masks.
EVERYWHERE = {
    "train": ["train::sampler", "train::final_validation", "train::loss_of", "silent", "writer", "cases", "training"],
    "inference": ["initialize", "inference"],
}
OF_MASKS = {
    "train": ["ema", "schedule_by_epoch", "optimizer", "validate::score", "validate::early_stop"],
    "inference": ["saving", "dataset", "dataloader", "handlers", "evaluator"],
    "evaluate": ["cases", "load_truth", "dataset", "saving", "settings", "evaluating"],
    "robustness": ["conditions", "cases", "load_truth", "settings", "dataset", "saving", "robustness"],
}


def part(config, identity):
    for key in identity.split("::"):
        config = config.get(key) if isinstance(config, dict) else None
    return config


@pytest.mark.parametrize("name", ["train", "inference", "evaluate", "robustness"])
def test_parts_that_bundles_share_do_not_drift(name):
    """A bundle is read by itself, so each of them contains these parts."""
    masks = [bundle for bundle in BUNDLES if "saving" in ids(bundle / "configs" / "inference.yaml")]
    different = []
    for shared, bundles in ((EVERYWHERE, BUNDLES), (OF_MASKS, masks)):
        configs = [ids(bundle / "configs" / f"{name}.yaml") for bundle in bundles]
        for identity in shared.get(name, ()):
            first, *others = (part(config, identity) for config in configs)
            assert first is not None, identity
            different += [identity] if any(other != first for other in others) else []
    assert different == [], f"{name}.yaml: bring these into line in all bundles"


def test_weights_that_are_not_for_commerce_stay_out_of_what_is_published():
    """Weights with such a licence in model.json are excluded from wheel and source archive in pyproject.toml."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    excluded = settings["exclude-package-data"]["heartseg.bundles"]
    bound = set()
    for notes in ROOT.glob("bundles/*/models/*.json"):
        if not json.loads(notes.read_text(encoding="utf-8")).get("licence", {}).get("commercial", True):
            # Other files there may contain the same weights: a checkpoint, the last weights.
            bound |= {path.relative_to(ROOT / "bundles") for path in (notes, *notes.parent.glob("*.pt"))}
    published = [path.with_suffix(".pt") for path in bound]
    assert published  # else nothing is seen
    assert [str(path) for path in published if not any(fnmatch(str(path), pattern) for pattern in excluded)] == []
    idle = [pattern for pattern in excluded if not any(fnmatch(str(path), pattern) for path in published)]
    assert idle == [], "nothing forbids these: publish them"
    # The source archive holds what MANIFEST.in names beside the packages' data, whatever that leaves out.
    lines = (ROOT / "MANIFEST.in").read_text(encoding="utf-8").splitlines()
    assert settings["include-package-data"] is False
    assert [line for line in lines if not line.startswith("#") and re.search(r"bundles|\.pt\b", line)] == []


def texts(bundle: Path) -> Iterator[Path]:
    for path in sorted(bundle.rglob("*")):
        inside = path.relative_to(bundle).parts[0]
        if path.is_file() and inside in ("configs", "docs", "models", "LICENSE") and path.suffix not in (".pt", ".png"):
            yield path


@each_bundle
def test_no_secret_and_no_place_of_one_machine(bundle):
    private = re.compile(
        r"(?i)(?<![\w.])/(home|root|work|users|tmp|mnt|media|var)/|\b[a-z]:\\"
        r"|BEGIN [A-Z ]*PRIVATE KEY|AKIA[0-9A-Z]{16}|(password|secret|token|api_?key)\s*[:=]\s*\S|[\w.]+@[\w-]+\.\w{2,}"
    )
    found = [
        f"{path.relative_to(bundle)}:{number}: {match[0]}"
        for path in texts(bundle)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        for match in private.finditer(line)
    ]
    assert found == []
