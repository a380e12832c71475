"""The Model Zoo's checks of every bundle. A new folder in bundles/ is found."""

import json
from importlib.metadata import version as installed
from pathlib import Path

import pytest
import torch
from answers import refused
from every_bundle import BUNDLES, ROOT, configuration, each_bundle
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, verify_net_in_out
from monai.bundle.properties import InferProperties, MetaProperties, TrainProperties
from monai.bundle.scripts import _get_fake_spatial_shape

import heartseg

METADATA = ["schema", "version", "changelog", "monai_version", "pytorch_version", "numpy_version", "task"]
METADATA += ["required_packages_version", "description", "authors", "copyright", "network_data_format"]
TENSOR = ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"]


def metadata(bundle: Path) -> dict:
    return json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))


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
    """As the Zoo exports: TorchScript by scripting; the answers of what is loaded again are equal but for rounding."""
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
        # What was scripted may run fused, so in another order.
        torch.testing.assert_close(exported(image), network(image), rtol=1e-4, atol=1e-5)


@each_bundle
def test_impossible_settings_are_refused_before_anything_is_built(bundle, monai_run, heartseg, tmp_path, monkeypatch):
    """In one line: there are no data, and nobody asks for them."""
    monkeypatch.chdir(tmp_path)
    words = ["training", "--config_file", "configs/train.yaml", "--output_dir", tmp_path / "out", "--patience", 0]
    status, said = monai_run(bundle.name, *words)
    assert (status, said.splitlines()[-1]) == (
        2,
        "heartseg: patience: 0 is not a positive number; change it",
    )
    assert "Traceback" not in said
    device = f"device=cuda:{torch.cuda.device_count()}"  # one more than there are
    for door, named in (("train", ["--data", "nowhere"]), ("evaluate", ["--data", "nowhere", "--weights", "no.pt"])):
        line = refused(heartseg(door, bundle.name, *named, "--set", device, "--out", "out"))
        assert line.startswith("device: cuda:") and line.endswith("; use cpu, or leave it out")
    (tmp_path / "scan.nii.gz").touch()
    line = refused(heartseg("segment", bundle.name, "scan.nii.gz", "--set", device, "--out", "out"))
    assert line.startswith("device: cuda:")
    assert [path.name for path in tmp_path.iterdir()] == ["scan.nii.gz"]


KINDS = {
    "train": (["train"], {**TrainProperties, **MetaProperties}),
    "inference": (["inference"], {**InferProperties, **MetaProperties}),
    "evaluate": (["inference", "evaluate"], {**InferProperties, **MetaProperties}),
    "robustness": (["inference", "robustness"], {**InferProperties, **MetaProperties}),
}


def layers(bundle: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The configurations of a kind of run, from the bundle's folder, where macros are resolved."""
    configuration(bundle, *KINDS[kind][0])
    monkeypatch.chdir(bundle)
    return [f"configs/{file}.yaml" for file in KINDS[kind][0]]


@each_bundle
@pytest.mark.parametrize("kind", KINDS)
def test_properties_stand_where_monai_looks_for_them(bundle, kind, monkeypatch):
    """`ConfigWorkflow.check_properties` without data: required ids exist, optional ones are not elsewhere."""
    properties = KINDS[kind][1]
    workflow = ConfigWorkflow(
        layers(bundle, kind, monkeypatch),
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
    parser = ConfigParser()
    parser.read_config(layers(bundle, kind, monkeypatch))
    named = {"train": "training", "evaluate": "evaluating"}.get(kind, kind)
    assert parser["run"] == f"%{named}"
    assert parser[named]
