"""What every bundle must keep: the Model Zoo's checks and the house rules. A new folder in bundles/ is found."""

import json
import re
from collections.abc import Iterator
from importlib.metadata import version as installed
from pathlib import Path

import pytest
import torch
import yaml
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, verify_net_in_out
from monai.bundle.properties import InferProperties, MetaProperties, TrainProperties
from monai.bundle.scripts import _get_fake_spatial_shape

import heartseg

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = sorted(path.parents[1] for path in ROOT.glob("bundles/*/configs/metadata.json"))
YAMLS = sorted(path for bundle in BUNDLES for path in bundle.glob("configs/*.yaml"))
WHOLE = re.compile(r"^# -{5,} knobs$", re.MULTILINE)  # a configuration with knobs of its own
SYSTEM = re.compile(r"^# -{5,} the system$", re.MULTILINE)

METADATA = ["schema", "version", "changelog", "monai_version", "pytorch_version", "numpy_version", "task"]
METADATA += ["required_packages_version", "description", "authors", "copyright", "network_data_format"]
TENSOR = ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"]


def name(path: Path) -> str:
    return path.name if path in BUNDLES else f"{path.parents[1].name}-{path.stem}"


each_bundle = pytest.mark.parametrize("bundle", BUNDLES, ids=name)
each_yaml = pytest.mark.parametrize("path", YAMLS, ids=name)


def ids(path: Path) -> dict[str, object]:
    """Top-level ids and values of a YAML file, macros unread."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict), f"{path} holds no ids"
    return content


def metadata(bundle: Path) -> dict:
    return json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))


def configuration(bundle: Path, *names: str) -> Path:
    path = bundle / "configs" / f"{names[-1]}.yaml"
    if not path.is_file():
        pytest.skip(f"{bundle.name} has no {path.name}")
    return path


def numbers(value: object) -> bool:
    """Whether a number stands anywhere in a value."""
    if isinstance(value, dict):
        return any(map(numbers, value.values()))
    if isinstance(value, list):
        return any(map(numbers, value))
    return isinstance(value, int | float) and not isinstance(value, bool)


def test_there_are_bundles():
    assert "left_atrium" in [bundle.name for bundle in BUNDLES]  # else everything below is empty


# The Model Zoo


@each_bundle
@pytest.mark.parametrize(
    "file", ["LICENSE", "configs/inference.yaml", "configs/train.yaml", "configs/logging.conf", "docs/README.md"]
)
def test_files(bundle, file):
    assert (bundle / file).is_file() and (bundle / file).stat().st_size > 0


@each_bundle
def test_weights_are_plain_and_fit(bundle):
    weights = bundle / "models" / "model.pt"
    if not weights.is_file():
        pytest.skip(f"{weights.relative_to(ROOT)} is not there")
    state = torch.load(weights, map_location="cpu", weights_only=True)
    network_def(bundle).load_state_dict(state.get("model", state))


@each_bundle
def test_metadata_is_complete(bundle):
    content = metadata(bundle)
    assert [key for key in METADATA if not content.get(key)] == []
    assert content["version"] in content["changelog"]
    formats = content["network_data_format"]
    assert set(formats) == {"inputs", "outputs"}
    for tensors in formats.values():
        assert tensors
        for tensor, form in tensors.items():
            assert [key for key in TENSOR if key not in form] == [], tensor
            assert len(form["value_range"]) in (0, 2)
            if "channel_def" in form:
                assert list(form["channel_def"]) == [str(channel) for channel in range(form["num_channels"])]


@each_bundle
def test_metadata_names_the_versions_that_are_tested(bundle):
    content = metadata(bundle)
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    tested = dict(line.split(";")[0].strip().split("==") for line in lines if "==" in line.split("#")[0])
    assert content["monai_version"] == tested["monai"]
    assert content["pytorch_version"] == tested["torch"]
    needs = dict(content["required_packages_version"])
    assert needs.pop("heartseg") == heartseg.__version__
    assert {package: tested[package] for package in needs} == needs
    assert all(installed(package) for package in needs)


@each_bundle
def test_the_network_takes_and_gives_what_metadata_says(bundle, monkeypatch):
    monkeypatch.chdir(bundle)
    verify_net_in_out("network_def", "configs/metadata.json", "configs/inference.yaml", device="cpu")


def network_def(bundle: Path) -> torch.nn.Module:
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.yaml")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return parser.get_parsed_content("network_def").eval()


@each_bundle
def test_the_network_can_be_exported(bundle, tmp_path, monkeypatch):
    """As the Zoo exports: TorchScript by scripting; the answers of what is loaded again are equal."""
    network = network_def(bundle)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    monkeypatch.chdir(bundle)
    ckpt_export(
        "network_def",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(tmp_path / "model.pt"),
        meta_file="configs/metadata.json",
        config_file="configs/inference.yaml",
    )
    exported = torch.jit.load(tmp_path / "model.ts", map_location="cpu").eval()
    form = next(iter(metadata(bundle)["network_data_format"]["inputs"].values()))
    size = _get_fake_spatial_shape(form["spatial_shape"], p=1, n=1, any=1)
    image = torch.randn(1, form["num_channels"], *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(exported(image), network(image))


KINDS = {
    "train": (["train"], {**TrainProperties, **MetaProperties}),
    "inference": (["inference"], {**InferProperties, **MetaProperties}),
    "evaluate": (["inference", "evaluate"], {**InferProperties, **MetaProperties}),
    "robustness": (["inference", "robustness"], {**InferProperties, **MetaProperties}),
}


@each_bundle
@pytest.mark.parametrize("kind", KINDS)
def test_properties_stand_where_monai_looks_for_them(bundle, kind, monkeypatch):
    """`ConfigWorkflow.check_properties` without data: required ids exist, optional ones are not elsewhere."""
    files, properties = KINDS[kind]
    configuration(bundle, *files)
    monkeypatch.chdir(bundle)
    workflow = ConfigWorkflow(
        [f"configs/{file}.yaml" for file in files],
        workflow_type="train" if kind == "train" else "infer",
        logging_file=False,
    )
    workflow.parser.parse(True)
    required = {key: entry["id"] for key, entry in properties.items() if entry["required"]}
    optional = {key: entry for key, entry in properties.items() if not entry["required"]}
    assert [key for key, identity in required.items() if identity not in workflow.parser] == []
    assert [key for key, entry in optional.items() if not workflow._check_optional_id(key, entry)] == []
    # What another tool asks for has to be there, but for what has no meaning here.
    missing = {key for key, entry in optional.items() if entry["id"] not in workflow.parser}
    assert missing <= {"key_metric", "train_key_metric", "train_postprocessing"}


@each_bundle
@pytest.mark.parametrize("kind", KINDS)
def test_run_is_a_macro_of_the_named_run(bundle, kind, monkeypatch):
    """The ecosystem's tools call `run`; people call it by its name."""
    files, _ = KINDS[kind]
    configuration(bundle, *files)
    monkeypatch.chdir(bundle)
    parser = ConfigParser()
    parser.read_config([f"configs/{file}.yaml" for file in files])
    named = {"train": "training", "evaluate": "evaluating"}.get(kind, kind)
    assert parser["run"] == f"%{named}"
    assert parser[named]


# The house rules


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
    """What the network sees is the same, whether the two are applied as one or with an artifact between them."""
    monkeypatch.chdir(bundle)
    if not (bundle / "configs" / "robustness.yaml").is_file():
        pytest.skip(f"{bundle.name} has no robustness.yaml")
    parser = ConfigParser()
    parser.read_config(["configs/inference.yaml", "configs/robustness.yaml"])
    whole, geometry, normalisation = map(parser.get_parsed_content, ("preprocessing", "geometry", "normalisation"))
    assert whole.flatten().transforms == (*geometry.flatten().transforms, normalisation)
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
        if re.match(r"\w+:", line) and '"%configs/' not in line
        if not re.search(r" # \S", re.sub(r'"[^"]*"', "", line))
    ]
    assert bare == []


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
