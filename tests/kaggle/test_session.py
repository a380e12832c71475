"""The session on Kaggle: its training command, its outputs, and the state after a failure."""

import json
import shutil
import sys
import time
from pathlib import Path

import pytest
from kaggle_runs import earlier_output

from heartseg.config.bundles import bundle_names, config_files, find_bundle
from heartseg.config.composition import compose
from heartseg.data.download import DATASETS
from heartseg.errors import InputError
from heartseg.kaggle import session
from heartseg.kaggle.inputs import find_file
from heartseg.kaggle.manifest import read_manifest
from heartseg.kaggle.script import session_options


@pytest.fixture
def answering(tmp_path, monkeypatch):
    """Replace Python: `answering(status, line, ...)` makes it print lines; it records its arguments and its folder."""
    noted, python = tmp_path / "words.json", sys.executable

    def answer(status, *lines):
        program = tmp_path / "python"
        program.write_text(
            f"#!{python}\nimport json, os, sys\n"
            f"json.dump([os.getcwd(), *sys.argv[1:]], open({str(noted)!r}, 'w'))\n"
            f"print({chr(10).join(lines)!r}, file=sys.stderr)\nsys.exit({status})\n"
        )
        program.chmod(0o755)
        monkeypatch.setattr(session.sys, "executable", str(program))
        return lambda: json.loads(noted.read_text())

    return answer


FILES = ["configs/train.yaml", "configs/quick.yaml"]
SAID = ["monai.bundle", "run", "training", "--config_file", "['configs/train.yaml','configs/quick.yaml']"]


def test_one_device_is_trained_on_by_the_plain_words(answering, tmp_path):
    words = answering(0)
    session.train(tmp_path, FILES, {"epochs": 2, "spacing": [1, 2]})
    assert words() == [str(tmp_path), "-m", *SAID, "--epochs", "2", "--spacing", "[1, 2]"]


def test_several_by_torchrun(answering, tmp_path):
    words = answering(0)
    session.train(tmp_path, FILES, {"epochs": 2}, processes=2)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m"]
    assert words() == [str(tmp_path), *launcher, *SAID, "--epochs", "2"]


def test_a_failed_training_is_reported_by_its_own_line(answering, tmp_path, capsys):
    answering(2, "heartseg: loading", "heartseg: data/x.nii.gz: is empty; fix it", "torchrun: a long story")
    with pytest.raises(InputError, match=r"^data/x\.nii\.gz: is empty; fix it$"):
        session.train(tmp_path, FILES, {})
    assert "torchrun: a long story" in capsys.readouterr().out  # the log has it all
    answering(137)
    with pytest.raises(InputError, match="training ended with status 137; its log says why"):
        session.train(tmp_path, FILES, {})


def test_the_number_of_processes(monkeypatch):
    monkeypatch.setattr(session.torch.cuda, "device_count", lambda: 2)
    assert session.count_processes() == 2
    monkeypatch.setattr(session.torch.cuda, "device_count", lambda: 0)
    assert session.count_processes() == 1
    monkeypatch.setenv(session.PROCESSES_VARIABLE, "3")
    assert session.count_processes() == 3
    for wrong in ("0", "two", "-1"):
        monkeypatch.setenv(session.PROCESSES_VARIABLE, wrong)
        with pytest.raises(InputError, match="is not a number of processes"):
            session.count_processes()


# Whole sessions, with stubs for training and evaluation

LEFT = ("model.pt", "checkpoint.pt", "checkpoint.previous.pt", ".best.pt")


@pytest.fixture
def began():
    return time.time() - 600


@pytest.fixture
def sessions(tmp_path, monkeypatch, began):
    """Run a session on ``tmp_path``; return its status and the arguments of its training and evaluation."""
    asked = {}

    def train(bundle, files, values, processes=1):
        asked["train"] = (files, dict(values), processes)
        best = {"metric": "val_mean_dice", "value": 0.7, "epoch": 6} if "model.pt" in asked["leaves"] else None
        summary = {"status": "stopped", "epochs": 7, "minutes": 1.5, "best": best}
        (tmp_path / "working" / "run_summary.json").write_text(json.dumps(summary))
        for name in asked.pop("leaves"):
            (tmp_path / "working" / name).write_text(name)

    def run(bundle, run_id, files, values):
        asked["run"] = (run_id, list(files), dict(values))
        (tmp_path / "working" / "evaluation_results.json").write_text('{"clean": {"dice": 0.75}}')

    monkeypatch.setattr(session, "train", train)
    monkeypatch.setattr(session, "run", run)

    def call(bundle="left_atrium", internet=False, leaves=LEFT, **options):
        asked["leaves"] = leaves
        header = {"bundle": bundle, "commit": "abc", "sha256": "0" * 64, "heartseg": "0.1.0", "internet": internet}
        header["options"] = session_options(find_bundle(bundle), **options)
        return session.run_session(header, tmp_path, began), asked

    return call


def mounted(phantoms, root, slug="alice/heart"):
    return Path(shutil.copytree(phantoms, root / "input" / "datasets" / slug))


def test_a_session_trains_evaluates_and_writes_the_manifest(sessions, phantoms, tmp_path, capsys):
    data, working = mounted(phantoms, tmp_path), tmp_path / "working"
    (working / "pictures").mkdir(parents=True)
    for name in ("manifest.json", "pictures/old.png", "evaluation_results.csv"):
        (working / name).write_text("of an earlier session")
    set_ = ["anatomy=ASR", "epochs=9", "overlap=0.25", "device=cpu"]
    status, asked = sessions(overlays=["quick"], set_=set_, minutes=100)
    assert status == 0
    files, values, processes = asked["train"]
    assert files == config_files(find_bundle("left_atrium"), "train", ["quick"]) and processes == 1
    given = {"anatomy": "ASR", "epochs": 9, "overlap": 0.25, "device": "cpu"}
    minutes = values.pop("max_minutes")
    assert values == {"output_dir": str(working), "dataset_dir": str(data), **given}
    assert 80 < minutes <= 90  # ten have passed, and what a slow machine takes
    run_id, files, values = asked["run"]
    assert run_id == "evaluating" and files[:2] == ["configs/inference.yaml", "configs/evaluate.yaml"]
    assert values["split"] == "val" and values["weights"] == str(working / "model.pt")
    assert (values["anatomy"], values["overlap"], values["fold"], values["device"]) == ("ASR", 0.25, 0, "cpu")
    manifest = read_manifest(working / "manifest.json")
    assert list(manifest["files"]) == [
        "checkpoint.pt", "config.yaml", "evaluation_results.json", "model.pt", "run_summary.json"
    ]  # fmt: skip
    about = {
        "bundle": "left_atrium",
        "commit": "abc",
        "archive_sha256": "0" * 64,
        "heartseg": "0.1.0",
        "finished": False,
        "epochs": 7,
        "metric": "dice",
        "dice": 0.75,
    }
    assert {key: manifest[key] for key in about} == about
    assert manifest["minutes"] == 1.5 and manifest["started"].endswith("+00:00")
    assert manifest["settings"] == {**given, "overlays": ["quick"]}
    assert sorted(path.name for path in working.iterdir()) == sorted([*manifest["files"], "manifest.json"])


def test_two_gpus_take_the_overlay_for_them(sessions, phantoms, tmp_path, monkeypatch):
    mounted(phantoms, tmp_path)
    monkeypatch.setenv(session.PROCESSES_VARIABLE, "2")
    status, asked = sessions()
    assert status == 0 and asked["train"][2] == 2
    assert asked["train"][0] == ["configs/train.yaml", "configs/multi_gpu.yaml"]
    assert asked["run"][1] == ["configs/inference.yaml", "configs/evaluate.yaml"]  # evaluated by one


def test_a_bundle_without_that_overlay_trains_on_one(sessions, phantoms, tmp_path, monkeypatch):
    mounted(phantoms, tmp_path)
    bundle = find_bundle("left_atrium")
    shutil.copytree(bundle, tmp_path / "mine", ignore=shutil.ignore_patterns("*.pt", "multi_gpu.yaml"))
    monkeypatch.setenv(session.PROCESSES_VARIABLE, "2")
    status, asked = sessions(str(tmp_path / "mine"))
    assert status == 0 and asked["train"][0] == ["configs/train.yaml"] and asked["train"][2] == 1


def test_a_file_that_the_bundle_needs_is_taken_from_the_inputs(sessions, phantoms, tmp_path, capsys):
    mounted(phantoms, tmp_path)
    bundle = Path(shutil.copytree(find_bundle("left_atrium"), tmp_path / "mine", ignore=shutil.ignore_patterns("*.pt")))
    status, asked = sessions(str(bundle))
    assert status == 0 and asked["train"][1]["anatomy"] == "header"
    assert "heartseg: anatomy=header: no attached data set has pose.pt; headers are believed" in capsys.readouterr().out
    status, asked = sessions(str(bundle), set_=["anatomy=ASR"])
    assert asked["train"][1]["anatomy"] == "ASR" and "header" not in capsys.readouterr().out
    weights = tmp_path / "input" / "poses" / "deep" / "pose.pt"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"pose")
    assert find_file(tmp_path / "input", "pose.pt") == weights
    status, asked = sessions(str(bundle))
    assert "anatomy" not in asked["train"][1] and (bundle / "models" / "pose.pt").read_bytes() == b"pose"


@pytest.mark.parametrize(
    ("key", "row", "score"),
    [
        ("val_mean_dice", {"dice": 0.75}, {"metric": "dice", "dice": 0.75}),
        ("val_auroc", {"auroc": 0.9, "accuracy": 0.8}, {"metric": "auroc", "auroc": 0.9}),
        ("val_auroc", {"auroc": None}, {"metric": "auroc", "auroc": None}),
        ("val_sharpness", {"dice": 0.75}, {"metric": None, "dice": None}),
    ],
)
def test_the_key_metric_is_in_the_manifest(key, row, score, tmp_path):
    for name, content in (("run_summary", {"best": {"metric": key}}), ("evaluation_results", {"clean": row})):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    header = {"bundle": "presence", "commit": None, "sha256": "", "heartseg": "0.1.0"}
    about = session.about(header, {}, [], tmp_path, 0.0)
    assert {name: about[name] for name in ("metric", "dice", "auroc") if name in about} == score


@pytest.mark.parametrize("bundle", bundle_names())
def test_what_a_bundle_declares_for_kaggle_exists(bundle):
    folder = find_bundle(bundle)
    declared = json.loads((folder / "configs" / "metadata.json").read_text()).get("kaggle", {})
    assert declared.keys() <= {"fetch", "needs"} and declared.get("fetch", "task02") in DATASETS
    for need in declared.get("needs", {}).values():
        assert need.keys() == {"if", "else", "note"}
        for settings in (need["if"], need["else"]):
            compose(folder, config_files(folder, "train", []), settings)  # refuses a knob that does not exist


def test_missing_data_are_downloaded_if_possible(sessions, phantoms, tmp_path, monkeypatch, capsys):
    fetched = []
    monkeypatch.setattr(session, "fetch", lambda name, out, progress: fetched.append((name, out)) or phantoms)
    status, asked = sessions(internet=True)
    assert status == 0 and asked["train"][1]["dataset_dir"] == str(phantoms) == asked["run"][2]["dataset_dir"]
    ((name, out),) = fetched
    assert name == "task02" and not out.is_relative_to(tmp_path)  # it is no output
    assert f"heartseg: {tmp_path / 'input'}: holds no data set; Task02_Heart is downloaded" in capsys.readouterr().out
    for bundle, said in (("left_atrium", ", and the internet is off"), ("ventricles", "")):
        capsys.readouterr()
        internet = bundle == "ventricles"  # which has no public data set
        status, _ = sessions(bundle, internet=internet)
        err = capsys.readouterr().err
        assert status == 2 and err.startswith(f"heartseg: {tmp_path / 'input'}: holds no data set (imagesTr and ")
        assert f"as in ACDC){said}; attach one with --data OWNER/SLUG\n" in err and err.count("\n") == 1
        assert not (tmp_path / "working" / "manifest.json").exists()


def test_a_failure_leaves_no_manifest_of_an_earlier_session(sessions, phantoms, tmp_path, monkeypatch, capsys):
    mounted(phantoms, tmp_path)
    assert sessions()[0] == 0 and (tmp_path / "working" / "manifest.json").exists()

    def fail(*_, **__):
        raise InputError("x.nii.gz: is empty; fix it")

    monkeypatch.setattr(session, "train", fail)
    capsys.readouterr()
    assert sessions()[0] == 2
    assert capsys.readouterr().err.splitlines()[-1] == "heartseg: x.nii.gz: is empty; fix it"
    assert not (tmp_path / "working" / "manifest.json").exists()


def test_a_session_resumes_an_attached_output(sessions, phantoms, tmp_path, capsys):
    mounted(phantoms, tmp_path)
    earlier_output(tmp_path / "input" / "notebooks" / "alice" / "heartseg-left-atrium", 20)
    assert sessions()[0] == 0
    assert "heartseg: resumes an earlier output, of 20 epochs" in capsys.readouterr().out
    assert (tmp_path / "working" / "run.lock").read_text() == "run.lock of 20"


def test_with_resume_it_never_starts_from_scratch(sessions, phantoms, tmp_path, capsys):
    mounted(phantoms, tmp_path)
    earlier_output(tmp_path / "input" / "notebooks" / "alice" / "heartseg-ventricles", 20, "ventricles")
    status, asked = sessions(resume=True)
    assert status == 2 and "train" not in asked
    assert "holds no output of left_atrium to resume (manifest.json and checkpoint.pt); " in capsys.readouterr().err


def test_without_weights_nothing_is_evaluated(sessions, phantoms, tmp_path, capsys):
    mounted(phantoms, tmp_path)
    status, asked = sessions(leaves=["checkpoint.pt"])
    manifest = read_manifest(tmp_path / "working" / "manifest.json")
    assert status == 0 and "run" not in asked and manifest["metric"] is None and manifest["finished"] is False
    assert "checkpoint.pt" in manifest["files"]
    assert "the time ended before the first validation" in capsys.readouterr().out
