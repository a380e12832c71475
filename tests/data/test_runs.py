"""The folder of a run: never a second run in one."""

import json

import pytest

import heartseg
from heartseg.data import new_run
from heartseg.data.files import read_cases_of, write_json
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


def test_fine_tuned_weights_inherit_the_licence(tmp_path):
    licence = {"name": "CC BY-NC-SA 4.0", "commercial": False}
    (tmp_path / "model.pt").write_bytes(b"weights")
    write_json(tmp_path / "model.json", {"train": ["a"], "licence": {**licence, "file": "LICENSE"}})
    new_run(tmp_path / "tuned", cases("b"), cases("c"), tmp_path / "model.pt")
    content = json.loads((tmp_path / "tuned" / "model.json").read_text())
    assert content["licence"] == licence  # its file lies elsewhere
    assert content["weights"]["licence"] == "CC BY-NC-SA 4.0"
    assert read_cases_of(tmp_path / "tuned" / "model.pt") == {"train": ["b", "a"], "val": ["c"]}
    new_run(tmp_path / "again", cases("d"), cases("e"), tmp_path / "tuned" / "final.pt")
    assert json.loads((tmp_path / "again" / "model.json").read_text())["licence"] == licence


def test_a_run_from_scratch_has_no_licence(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"weights")
    new_run(tmp_path / "scratch", cases("a"), cases("b"))
    new_run(tmp_path / "tuned", cases("a"), cases("b"), tmp_path / "model.pt")
    for run in ("scratch", "tuned"):
        assert "licence" not in json.loads((tmp_path / run / "model.json").read_text())


def test_a_licence_that_cannot_be_read_stops_the_run(tmp_path):
    write_json(tmp_path / "model.json", {"licence": {"name": "CC BY-NC-SA 4.0"}})
    with pytest.raises(InputError, match='model.json: "licence" cannot be read; write'):
        new_run(tmp_path / "tuned", cases("a"), cases("b"), tmp_path / "model.pt")
    assert not (tmp_path / "tuned").exists()
