"""Finding the inputs of a kernel: data in any place where Kaggle mounts them, and the output of an earlier session."""

import shutil

import pytest
from kaggle_runs import earlier_output

from heartseg.data.cases import find_cases
from heartseg.errors import InputError
from heartseg.kaggle.inputs import find_data, take_earlier_run
from heartseg.phantoms.writing import write_phantoms

# Data


@pytest.mark.parametrize("place", ["heart", "datasets/alice/heart", "datasets/alice/heart/Task02_Heart/deeper"])
def test_data_are_found_in_every_mount(place, phantoms, tmp_path):
    (tmp_path / "other" / "notes").mkdir(parents=True)
    shutil.copytree(phantoms, tmp_path / place)
    assert find_data(tmp_path) == tmp_path / place


@pytest.mark.parametrize("place", ["acdc", "datasets/bob/acdc/ACDC/database/training"])
def test_patients_folders_are_found_too(place, tmp_path):
    write_phantoms(tmp_path / place, kind="cine", cases=2, seed=1, size="small")
    found = find_data(tmp_path)
    assert found is not None and (tmp_path / place).is_relative_to(found)
    assert len(find_cases(found, labelled=True)) == 4


def test_of_several_the_named_one_counts(phantoms, tmp_path):
    for place in ("a", "datasets/alice/b"):
        shutil.copytree(phantoms, tmp_path / place)
    with pytest.raises(InputError) as error:
        find_data(tmp_path)
    assert f"holds several data sets: {tmp_path / 'a'}, {tmp_path / 'datasets/alice/b'}; " in str(error.value)
    assert find_data(tmp_path, ["alice/b"]) == tmp_path / "datasets/alice/b"
    assert find_data(tmp_path, ["alice/a"]) == tmp_path / "a"
    with pytest.raises(InputError, match="several"):
        find_data(tmp_path, ["alice/a", "alice/b"])


def test_of_the_parts_of_one_data_set_the_larger_counts(tmp_path, capsys):
    for part, cases in (("testing", 2), ("training", 3)):
        write_phantoms(tmp_path / "acdc" / part / part, kind="cine", cases=cases, seed=1, size="small")
    found = find_data(tmp_path, ["alice/acdc"])
    assert found == tmp_path / "acdc" / "training"
    assert capsys.readouterr().out == f"{found}: is used for training, the largest of 2 parts\n"


def test_no_data_and_broken_data(phantoms, tmp_path):
    assert find_data(tmp_path / "absent") is None and find_data(tmp_path) is None
    shutil.copytree(phantoms, tmp_path / "heart")
    (tmp_path / "heart" / "labelsTr" / "la_001.nii.gz").unlink()
    with pytest.raises(InputError, match="la_001"):
        find_data(tmp_path)


# An earlier output


def test_the_earlier_output_with_the_most_epochs_is_resumed(tmp_path):
    inputs, working = tmp_path / "input", tmp_path / "working"
    earlier_output(inputs / "heartseg-left-atrium", 20)
    earlier_output(inputs / "notebooks" / "alice" / "older", 9)
    earlier_output(inputs / "notebooks" / "alice" / "another", 90, bundle="ventricles")
    assert take_earlier_run(inputs, "left_atrium", working) == 20
    assert sorted(path.name for path in working.rglob("*")) == ["checkpoint.pt", "model.pt", "run.lock"]
    assert (working / "checkpoint.pt").read_text() == "checkpoint.pt of 20"


def test_an_output_without_checkpoint_or_manifest_is_ignored(tmp_path):
    (earlier_output(tmp_path / "a", 3) / "checkpoint.pt").unlink()
    (earlier_output(tmp_path / "b", 3) / "manifest.json").unlink()
    assert take_earlier_run(tmp_path, "left_atrium", tmp_path / "working") is None
    assert not (tmp_path / "working").exists()


def test_a_damaged_output_is_refused(tmp_path):
    (earlier_output(tmp_path / "input", 3) / "checkpoint.pt").write_text("checkpoint.pt of 4")
    with pytest.raises(InputError, match=r"checkpoint\.pt: its sha256"):
        take_earlier_run(tmp_path / "input", "left_atrium", tmp_path / "working")
    assert not (tmp_path / "working").exists()


# The words that train
