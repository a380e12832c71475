"""The folder of a run: never a second run in one."""

import json

import pytest

import heartseg
from heartseg.data import new_run
from heartseg.data.files import read_cases_of
from heartseg.errors import InputError


def cases(*ids):
    return [{"id": identity, "patient": identity, "image": f"{identity}.nii.gz"} for identity in ids]


def test_a_new_run_notes_its_cases_beside_its_weights(tmp_path):
    run = tmp_path / "runs" / "first"
    new_run(run, cases("b", "a"), cases("c"))
    assert [path.name for path in run.iterdir()] == ["model.json"]
    content = json.loads((run / "model.json").read_text())
    assert (content["train"], content["val"]) == (["b", "a"], ["c"])
    assert content["heartseg"] == heartseg.__version__
    assert content["weights"] is None
    assert read_cases_of(run / "model.pt")["train"] == ["b", "a"]


def test_a_run_that_ended_before_its_first_weights_can_be_begun_again(tmp_path):
    new_run(tmp_path, cases("a"), cases("b"))
    new_run(str(tmp_path), cases("c"), cases("d"))
    assert read_cases_of(tmp_path / "model.pt")["train"] == ["c"]


@pytest.mark.parametrize("held", ["model.pt", "checkpoint.pt", "training_metrics.json"])
def test_an_existing_run_is_refused_and_left_as_it_is(tmp_path, held):
    new_run(tmp_path, cases("a"), cases("b"))
    (tmp_path / held).write_bytes(b"weeks of work")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError) as caught:
        new_run(tmp_path, cases("c"), cases("d"))
    assert str(caught.value) == f"{tmp_path}: holds a run already ({held}); name another output folder"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_all_that_a_run_holds_is_named(tmp_path):
    for name in ("checkpoint.pt", "model.pt", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"holds a run already \(model.pt, checkpoint.pt\); "):
        new_run(tmp_path, cases("a"), cases("b"))


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_folder_that_cannot_be_made(tmp_path, name):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError) as caught:
        new_run(tmp_path / name, cases("a"), cases("b"))
    line = str(caught.value)
    assert line.startswith(f"{tmp_path / name}: cannot be written (")
    assert line.endswith("; name another output folder")
    assert (tmp_path / "file").read_text() == "no folder"
