"""`heartseg kaggle push`: what is sent, what is refused before it is, and what the service's answer makes of it."""

import json

import pytest
from answers import refused, tree
from kaggle_stub import Fault

from heartseg.kaggle.metadata import DEFAULTS, compose_metadata

KERNEL = "alice/heartseg-left-atrium"


def test_push_sends_the_script_and_says_what_comes_next(stub, heartseg):
    words = ["--data", "alice/heart", "--set", "epochs=3", "--resume", "--gpu", "t4", "--minutes", 90]
    status, out, err = heartseg("kaggle", "push", "left_atrium", *words)
    assert status == 0, err
    (sent,) = stub.pushed
    assert sent["slug"] == KERNEL and sent["newTitle"] == "heartseg left atrium"
    assert (sent["language"], sent["kernelType"], sent["machineShape"]) == ("python", "script", "NvidiaTeslaT4")
    assert sent["isPrivate"] is sent["enableGpu"] is sent["enableInternet"] is True
    assert sent["datasetDataSources"] == ["alice/heart"] and sent["kernelDataSources"] == [KERNEL]
    assert '"resume": true' in sent["text"]
    assert '"epochs": 3' in sent["text"] and '"minutes": 90' in sent["text"] and sent["text"].isascii()
    lines = out.splitlines()
    assert f"id: {KERNEL}" in lines and "dataset_sources: ['alice/heart']" in lines
    assert any(line.startswith(f"script: {len(sent['text']):,} of 1,000,000 bytes, commit ") for line in lines)
    assert lines[-2:] == [
        f"pushed: https://www.kaggle.com/code/{KERNEL} (version 1)",
        f"next: heartseg kaggle pull {KERNEL} --wait --out runs/kaggle",
    ]


def test_wheels_stand_for_the_internet(stub, heartseg):
    words = ["--wheels", "alice/wheels", "--gpu", "none", "--public"]
    status, _, err = heartseg("kaggle", "push", "ventricles", *words)
    (sent,) = stub.pushed
    assert status == 0 and "warning: is_private: is false" in err
    assert sent["slug"] == "alice/heartseg-ventricles" and sent["datasetDataSources"] == ["alice/wheels"]
    # What is false or null the client leaves out, or sends as such.
    assert not sent.get("enableInternet") and not sent.get("enableGpu") and not sent.get("isPrivate")
    assert not sent.get("machineShape") and '"data": []' in sent["text"] and '"internet": false' in sent["text"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["left_atrum"], "did you mean left_atrium?"),
        (["left_atrium", "--set", "epoch=3"], "did you mean epochs?"),
        (["left_atrium", "--overlay", "quik"], "did you mean quick?"),
        (["left_atrium", "--gpu", "h100"], "--gpu h100: is not a Kaggle GPU; use t4, p100 or none"),
        (["left_atrium", "--data", "heart"], "--data: 'heart' is not OWNER/SLUG"),
        (["left_atrium", "--wheels", "../x"], "--wheels: '../x' is not OWNER/SLUG"),
        (["left_atrium", "--minutes", 720], "--minutes 720: is not at least 1 and below 720"),
        (["left_atrium", "--minutes", 0], "--minutes 0: is not at least 1 and below 720"),
        (["left_atrium", "--out", "x"], "add --dry-run"),
    ],
)
def test_errors_are_found_before_any_call(words, said, stub, heartseg, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in refused(heartseg("kaggle", "push", *words))
    assert stub.calls == [] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"error": "Maximum weekly GPU quota of 30.00 hours was reached."}, "weekly GPU quota"),
        ({"invalidDatasetSources": ["alice/heart"]}, "without dataset sources alice/heart"),
    ],
)
def test_what_the_service_reports_fails_the_push(answer, said, stub, heartseg):
    stub.answer = answer
    status, out, err = heartseg("kaggle", "push", "left_atrium", "--data", "alice/heart")
    (line,) = [line for line in err.splitlines() if line.startswith("heartseg: ")]
    assert status == 2 and said in line and "pushed:" not in out and "Traceback" not in err


def test_a_push_that_is_forbidden(stub, heartseg):
    stub.fail("SaveKernel", Fault(status=403))
    status, out, err = heartseg("kaggle", "push", "left_atrium")
    assert status == 2 and "pushed:" not in out and "heartseg: push of" in err


def test_a_dry_run_needs_no_account_and_shows_all(no_account, heartseg, tmp_path):
    """Not even the kaggle client."""
    status, out, err = heartseg("kaggle", "push", "left_atrium", "--resume", "--dry-run", "--out", tmp_path / "sent")
    assert status == 0 and err.splitlines()[-1].startswith("nothing was sent; OWNER stands for")
    assert sorted(map(str, tree(tmp_path / "sent"))) == ["kernel-metadata.json", "kernel.py"]
    metadata = json.loads((tmp_path / "sent" / "kernel-metadata.json").read_text())
    assert metadata == compose_metadata("left_atrium", resume=True)
    assert metadata["kernel_sources"] == ["OWNER/heartseg-left-atrium"]
    lines = out.splitlines()
    assert lines[-1] == f"written: {tmp_path / 'sent'}"
    (archive,) = [line for line in lines if line.startswith("archive: ")]
    listed = [line.split() for line in lines if line.startswith("  ")]
    sizes = [int(size.replace(",", "")) for size, _ in listed]
    assert archive.startswith(f"archive: {len(listed)} files of {sum(sizes):,} bytes, sha256 ")
    assert sizes == sorted(sizes, reverse=True)
    assert "heartseg/kaggle/session.py" in [name for _, name in listed]


def test_the_checkout_s_metadata_are_the_base(monkeypatch, tmp_path, stub, heartseg):
    from heartseg.kaggle import push

    (tmp_path / "heartseg").mkdir()
    monkeypatch.setattr(push, "PACKAGE", tmp_path / "heartseg")
    named = {"id": "alice/heartseg-left-atrium", "title": "heartseg left atrium"}
    own = {"dataset_sources": ["bob/heart"], "machine_shape": "NvidiaTeslaT5", "enable_internet": False}
    (tmp_path / "kernel-metadata.json").write_text(json.dumps({**DEFAULTS, **named, **own}))
    status, _, err = heartseg("kaggle", "push", "left_atrium", "--data", "alice/more")
    (sent,) = stub.pushed
    assert status == 0 and "warning: machine_shape: NvidiaTeslaT5 is not known here" in err
    assert sent["datasetDataSources"] == ["bob/heart", "alice/more"] and sent["machineShape"] == "NvidiaTeslaT5"
    assert '"data": [\n   "alice/more"\n  ]' in sent["text"] and '"internet": false' in sent["text"]
    for wrong, said in (
        ({"enable_gpus": True}, "enable_gpus: is not a field of a kernel, did you mean enable_gpu?"),
        ({"code_file": "../evil.py"}, "code_file: ../evil.py leads out of the folder"),
        ({"title": "something else"}, "title: 'something else' becomes something-else, and the id says"),
        ({"id": "../../x"}, "id: '../../x' is not OWNER/SLUG"),
    ):
        (tmp_path / "kernel-metadata.json").write_text(json.dumps({**DEFAULTS, **named, **wrong}))
        for door in (["push", "left_atrium", "--dry-run"], ["script", "left_atrium", "--out", tmp_path / "kernel.py"]):
            assert f"kernel-metadata.json: {said}" in refused(heartseg("kaggle", *door))
    (tmp_path / "kernel-metadata.json").write_text(json.dumps({**DEFAULTS, **named}))
    status, _, err = heartseg("kaggle", "push", "ventricles", "--dry-run")
    said = "warning: kernel-metadata.json: its id names the kernel alice/heartseg-left-atrium; pushed is"
    assert status == 0 and f"{said} OWNER/heartseg-ventricles" in err
    assert len(stub.pushed) == 1


def test_script_writes_what_a_plain_push_needs(heartseg, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, _ = heartseg("kaggle", "script", "left_atrium", "--overlay", "quick")
    text = (tmp_path / "kernel.py").read_text()
    assert status == 0 and out.startswith(f"script: kernel.py ({len(text):,} bytes, commit ")
    assert '"overlays": [\n   "quick"\n  ]' in text


def test_script_says_what_the_metadata_beside_it_lack(heartseg, tmp_path):
    words = ["--out", tmp_path / "kernel.py", "--no-internet", "--data", "alice/heart"]
    status, _, err = heartseg("kaggle", "script", "left_atrium", *words)
    assert status == 0
    for needed in ('"enable_internet": false', '"dataset_sources": ["alice/heart"]'):
        assert f"warning: kernel-metadata.json: the script needs {needed}; write it there\n" in err


@pytest.mark.parametrize("door", ["push", "script", "pull", "sync"])
def test_each_door_teaches_with_an_example(door, heartseg):
    status, out, _ = heartseg("kaggle", door, "--help")
    assert status == 0 and f"Example: heartseg kaggle {door} " in out
