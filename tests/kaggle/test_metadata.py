"""Checks of a kernel's metadata, beyond those of the kaggle client."""

import json
from pathlib import Path

import pytest

from heartseg.errors import InputError
from heartseg.kaggle.metadata import (
    DEFAULTS,
    FILE,
    compose_metadata,
    kernel_of,
    lint,
    metadata_warnings,
    read_metadata,
    slug_of,
)
from heartseg.kaggle.script import LIMIT

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path):
    """A folder with the code file."""
    (tmp_path / "kernel.py").write_text("print()")
    return tmp_path


def test_the_repository_has_valid_and_complete_metadata(folder):
    content = read_metadata(ROOT / FILE)
    assert lint(content, folder) == [] and metadata_warnings(content) == []
    assert list(content) == list(DEFAULTS)
    assert content == compose_metadata("left_atrium")  # and they are what is pushed where there is no such file
    assert (content["is_private"], content["enable_gpu"], content["enable_internet"]) == (True, True, True)
    assert content["machine_shape"] == "NvidiaTeslaT4"


@pytest.mark.parametrize(
    "title", ["Left Atrium (2)", "heartseg left atrium", "Café & co.", "a__b--c", " It's 1.5 mm ", "Ünïcode Tïtle"]
)
def test_slugs_are_those_of_the_client(title):
    slugify = pytest.importorskip("slugify").slugify
    assert slug_of(title) == slugify(title)


@pytest.mark.parametrize("path", sorted(ROOT.glob("bundles/*/configs/train.yaml")), ids=lambda path: path.parts[-3])
def test_each_bundle_has_a_kernel(path, folder):
    name = path.parts[-3]
    metadata = compose_metadata(name, "alice")
    assert lint(metadata, folder) == []
    assert metadata["id"] == f"alice/{kernel_of(name)}" == f"alice/heartseg-{name.replace('_', '-')}"


FAULTS = [
    ({"enable_gpus": True}, "enable_gpus: is not a field of a kernel, did you mean enable_gpu?; rename"),
    ({"x": 1}, "x: is not a field of a kernel, there are: id, title,"),
    ({"id": "heartseg-left-atrium"}, "id: 'heartseg-left-atrium' is not OWNER/SLUG"),
    ({"id": "a/b/c"}, "id: 'a/b/c' is not OWNER/SLUG"),
    ({"id": None}, "id: None is not OWNER/SLUG"),
    ({"title": "Something else"}, "title: 'Something else' becomes something-else, and the id says heartseg-left-"),
    ({"title": "Hi", "id": "alice/hi"}, "title: 'Hi' has 2 characters; give 5 to 50"),
    ({"title": "t" * 51, "id": "alice/" + "t" * 51}, "has 51 characters"),
    ({"title": 5}, "title: 5 is not text"),
    ({"code_file": "../kernel.py"}, "code_file: ../kernel.py leads out of the folder"),
    ({"code_file": "a/../../kernel.py"}, "leads out of the folder"),
    ({"code_file": "/etc/passwd"}, "leads out of the folder"),
    ({"code_file": "C:\\kernel.py"}, "leads out of the folder"),
    ({"code_file": "..\\kernel.py"}, "leads out of the folder"),
    ({"code_file": "absent.py"}, "code_file: there is no "),
    ({"code_file": ""}, "code_file: '' is not text"),
    ({"language": "Python"}, "language: 'Python' is not python, r or rmarkdown"),
    ({"kernel_type": "scripts"}, "kernel_type: 'scripts' is not script or notebook"),
    ({"is_private": "true"}, "is_private: 'true' is not true or false"),
    ({"enable_internet": None}, "enable_internet: None is not true or false"),
    ({"machine_shape": 4}, "machine_shape: 4 is not text or null"),
    ({"dataset_sources": "alice/heart"}, "dataset_sources: 'alice/heart' is not a list"),
    ({"dataset_sources": ["heart"]}, "dataset_sources: 'heart' is not OWNER/SLUG"),
    ({"dataset_sources": ["../heart"]}, "dataset_sources: '../heart' is not OWNER/SLUG"),
    ({"dataset_sources": [3]}, "dataset_sources: 3 is not OWNER/SLUG"),
    ({"kernel_sources": ["alice/a b"]}, "kernel_sources: 'alice/a b' is not OWNER/SLUG"),
    ({"competition_sources": ["a/b"]}, "competition_sources: 'a/b' is not SLUG"),
    ({"model_sources": ["a/b/c"]}, "model_sources: 'a/b/c' is not OWNER/MODEL/FRAMEWORK/NAME/VERSION"),
    ({"keywords": "heart"}, "keywords: 'heart' is not a list"),
    ({"docker_image_pinning_type": "newest"}, "docker_image_pinning_type: 'newest' is not original, latest or null"),
]


@pytest.mark.parametrize(("change", "said"), FAULTS, ids=[json.dumps(change)[:50] for change, _ in FAULTS])
def test_each_fault_is_reported(change, said, folder):
    (fault,) = lint({**compose_metadata("left_atrium", "alice"), **change}, folder)
    assert said in fault and "\n" not in fault


def test_all_faults_are_reported(folder):
    wrong = {**compose_metadata("left_atrium", "alice"), "is_private": 1, "enabel_gpu": True}
    del wrong["title"]
    assert [fault.partition(":")[0] for fault in lint(wrong, folder)] == ["enabel_gpu", "title", "is_private"]
    assert lint({}, folder)[0] == "id: is missing; add it"


def test_a_script_that_is_too_large(folder):
    metadata = compose_metadata("left_atrium", "alice")
    (folder / "kernel.py").write_bytes(b"#" * LIMIT)
    assert lint(metadata, folder) == []
    (folder / "kernel.py").write_bytes(b"#" * (LIMIT + 1))
    assert lint(metadata, folder) == [
        "code_file: kernel.py has 1,000,001 bytes, over Kaggle's 1,000,000; make it smaller"
    ]
    assert lint(metadata) == []  # where no file is written yet, none is looked at


def test_sources_with_versions_and_other_good_values(folder):
    good = {
        "dataset_sources": ["alice/heart", "alice/heart_2/7"],
        "kernel_sources": ["alice/x/3"],
        "model_sources": ["google/gemma/pyTorch/2b/1"],
        "docker_image_pinning_type": "original",
        "machine_shape": None,
        "id_no": 12,
    }
    assert lint({**compose_metadata("left_atrium", "alice"), **good}, folder) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"gpu": "p100"}, "machine_shape: Kaggle retires NvidiaTeslaP100"),
        ({"base": {"machine_shape": "NvidiaTeslaT5"}}, "NvidiaTeslaT5 is not known here; known are NvidiaTeslaT4"),
        ({"base": {"enable_gpu": False}}, "enable_gpu: is false, and machine_shape asks for NvidiaTeslaT4"),
        ({"public": True}, "is_private: is false: everybody can read"),
    ],
)
def test_warnings(options, said):
    (warning,) = metadata_warnings(compose_metadata("left_atrium", **options))
    assert said in warning


def test_options_override_the_base():
    base = {"docker_image": "gcr.io/x", "dataset_sources": ["bob/b"], "id": "bob/other", "enable_internet": True}
    made = compose_metadata(
        "ventricles", "alice", base, ["alice/a", "bob/b"], "none", None, "alice/wheels", True, False
    )
    assert made == {
        **DEFAULTS,
        "id": "alice/heartseg-ventricles",
        "title": "heartseg ventricles",
        "docker_image": "gcr.io/x",
        "dataset_sources": ["bob/b", "alice/a", "alice/wheels"],
        "kernel_sources": ["alice/heartseg-ventricles"],
        "enable_gpu": False,
        "machine_shape": None,
        "enable_internet": False,  # wheels stand for it
    }
    assert compose_metadata("x", internet=True, wheels="alice/wheels")["enable_internet"] is True
    assert compose_metadata("x", internet=False)["enable_internet"] is False
    assert base["dataset_sources"] == ["bob/b"] and DEFAULTS["dataset_sources"] == []
    with pytest.raises(InputError, match="--gpu a100: is not a Kaggle GPU; use t4, p100 or none"):
        compose_metadata("x", gpu="a100")


@pytest.mark.parametrize("content", [None, b"{", b"[]", b"\xff"])
def test_an_invalid_metadata_file(content, tmp_path):
    path = tmp_path / FILE
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_metadata(path)
    assert str(path) in str(error.value)
