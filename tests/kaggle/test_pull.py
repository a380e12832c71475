"""From the stub into a folder: all of a run or nothing, verified, and nothing twice."""

import json
import os
import shutil

import pytest
from answers import tree
from evaluations import case, evaluate
from kaggle_runs import FILES, KERNEL, manifest_of
from kaggle_stub import Fault, refusal

from heartseg.handlers import CaseMetrics
from heartseg.kaggle.manifest import MANIFEST, MAX_BYTES
from heartseg.kaggle.pull import pull


def held(tmp_path):
    run = tmp_path / "run"
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_the_first_pull(get, stub, tmp_path, capsys):
    pulled = get()
    assert pulled.changed and pulled.folder == tmp_path / "run"
    assert pulled.manifest["bundle"] == "toy" and list(pulled.manifest["files"]) == sorted(FILES)
    assert held(tmp_path) == {**FILES, MANIFEST: manifest_of(FILES)}
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert stub.asked("__results__.html") == 0  # nor anything else that the manifest does not name
    out, err = capsys.readouterr()
    assert "commit 0123456789ab, 12 epochs, finished\n" in out
    assert out.endswith(f"pulled: {tmp_path / 'run'} (4 of 4 files were new)\n")
    assert "tensorboard/events.out.tfevents.1" in err and "the run was not evaluated: there are no scores" in err


def test_the_same_again_changes_nothing_and_says_so(get, stub, tmp_path, capsys):
    get()
    stub.calls.clear()
    before = tree(tmp_path)
    capsys.readouterr()
    assert not get().changed
    assert tree(tmp_path) == before
    downloads = [call.name for call in stub.calls if call.name in (*FILES, MANIFEST)]
    assert downloads == [MANIFEST]
    assert capsys.readouterr().out.endswith(f"{tmp_path / 'run'}: nothing has changed since the last pull\n")


def test_an_empty_folder_will_do(get, tmp_path):
    (tmp_path / "run").mkdir()
    get()
    assert held(tmp_path) == {**FILES, MANIFEST: manifest_of(FILES)}


def test_another_run_replaces_the_first(get, serve, tmp_path, capsys):
    get()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    kept = (tmp_path / "run" / "config.yaml").stat().st_mtime_ns
    files = {"model.pt": b"better", "config.yaml": FILES["config.yaml"], "curves.png": b"curves"}
    serve(files, epochs=20)
    capsys.readouterr()
    assert get().changed
    assert held(tmp_path) == {**files, "notes.txt": b"mine", MANIFEST: manifest_of(files, epochs=20)}
    assert not (tmp_path / "run" / "pictures").exists()
    assert (tmp_path / "run" / "config.yaml").stat().st_mtime_ns == kept
    out, err = capsys.readouterr()
    assert "pictures/a.png: does not belong to this run; removed\n" in err and "restored" not in err
    assert "(2 of 3 files were new)" in out and "20 epochs" in out


def test_what_was_lost_or_changed_here_is_brought_back(get, stub, tmp_path, capsys):
    get()
    (tmp_path / "run" / "config.yaml").write_text("epochs: 13\n")
    (tmp_path / "run" / "pictures" / "a.png").unlink()
    stub.calls.clear()
    capsys.readouterr()
    assert get().changed
    assert held(tmp_path) == {**FILES, MANIFEST: manifest_of(FILES)}
    assert stub.asked("model.pt") == 0
    err = capsys.readouterr().err
    assert "config.yaml: its sha256 differs from the manifest; restored\n" in err
    assert "pictures/a.png: is missing; restored\n" in err


def test_only_the_manifest_differs(get, serve, tmp_path):
    get()
    serve(commit="fedcba")
    assert get().changed
    assert held(tmp_path)[MANIFEST] == manifest_of(FILES, commit="fedcba")


def test_a_run_that_is_not_finished_says_how_to_go_on(get, serve, capsys):
    serve(finished=False, commit=None)
    get()
    told = "commit unknown, 12 epochs, not finished; resume with: heartseg kaggle push toy --resume\n"
    assert told in capsys.readouterr().out


def test_the_table_of_scores(get, serve, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "120")
    evaluate(CaseMetrics(tmp_path / "eval", {"atrium": 1}), [case("a", (3, 5), (4, 6)), case("b", (2, 6), (2, 6))])
    serve({**FILES, "evaluation_results.json": (tmp_path / "eval" / "evaluation_results.json").read_bytes()})
    get()
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if "mean of 2" in line)
    assert "Cases on their own grids (distances in mm)" in out and "0.7500" in row  # of 0.5 and 1


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"clean": {}}', b'{"clean": null}', b"\xff"])
def test_invalid_scores_are_not_shown(get, serve, capsys, content):
    serve({**FILES, "evaluation_results.json": content})
    assert get().changed
    assert "evaluation_results.json: is not the table of an evaluation" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("model.pt", FILES["model.pt"][:-1] + b"x", "model.pt: its sha256 differs from the manifest; nothing was kept"),
        ("model.pt", FILES["model.pt"][:-1], "model.pt: has 76799 bytes instead of the 76800 of the manifest;"),
        ("model.pt", FILES["model.pt"] + b"x", "model.pt: is larger than the 76800 bytes that it may have"),
        (MANIFEST, b"{", "manifest.json: is not the manifest of a run"),
        (MANIFEST, b" " * (MAX_BYTES + 1), f"manifest.json: is larger than the {MAX_BYTES} bytes that it may have"),
        (MANIFEST, b'{"files": {"../model.pt": {"size": 1, "sha256": ""}}}', "'../model.pt': is not a valid name"),
        ("../x", b"", "'../x': is not a valid name for a file of a kernel's output; nothing was downloaded"),
        ("/abs/x", b"", "'/abs/x': is not a valid name"),
        ("a\\x", b"", "is not a valid name"),
    ],
)
@pytest.mark.parametrize("earlier", [False, True])
def test_invalid_outputs_are_refused(get, refused, serve, name, content, said, earlier):
    if earlier:
        serve({"config.yaml": b"of before"})
        get()
    serve(extra={name: content})
    assert said in refused()


@pytest.mark.parametrize(
    "fault", [Fault("truncate"), Fault("drop"), Fault(status=403, body=b"<html>"), Fault(status=500), Fault("endless")]
)
@pytest.mark.parametrize("name", ["model.pt", MANIFEST])
def test_a_download_that_fails(get, refused, stub, serve, fault, name):
    serve({"model.pt": b"of before"})
    get()
    serve()
    stub.fail(name, *[fault] * 9)
    if name == MANIFEST and fault.how == "endless":
        assert "manifest.json: is not the manifest of a run" in refused()
    else:
        assert refused().startswith(f"{name}: ")


def test_a_download_that_breaks_off_once(get, stub, tmp_path):
    stub.fail("model.pt", Fault("truncate"), Fault("drop"))
    assert get().changed and held(tmp_path)["model.pt"] == FILES["model.pt"]


def test_duplicate_names(refused, stub):
    stub.files.append(("model.pt", b"evil"))
    assert "model.pt occurs twice" in refused()


def test_a_file_of_the_manifest_that_is_not_among_the_outputs(refused, stub):
    stub.files = [file for file in stub.files if file[0] != "config.yaml"]
    assert refused() == "config.yaml: is in the manifest but not among the outputs; run the kernel again"
    assert stub.asked("model.pt") == 0


def test_no_manifest(refused, stub, capsys):
    stub.files = [file for file in stub.files if file[0] != MANIFEST]
    stub.log = json.dumps([{"stream_name": "stderr", "time": 1.0, "data": "one\nheartseg: no data\n"}])
    assert refused().startswith(
        f"{KERNEL}: left no manifest.json: it is not a kernel of heartseg's, or it was stopped early"
    )
    assert "  one\n  heartseg: no data\n" in capsys.readouterr().err


def test_other_files_are_not_downloaded(get, serve, stub, tmp_path):
    serve({**FILES, "evil.py": b"import os", "pictures/x/y.png": b""})
    get()
    assert set(held(tmp_path)) == {*FILES, MANIFEST}
    assert stub.asked("evil.py") == 0
    assert not get().changed


def test_pages(get, stub, tmp_path):
    stub.page_size = 2
    get()
    assert set(held(tmp_path)) == {*FILES, MANIFEST}
    assert stub.asked("ListKernelSessionOutput") == 4


@pytest.mark.parametrize("name", ["model.pt", "notes.txt", "manifest.json/x"])
def test_a_folder_of_other_things_is_refused_before_anything_is_asked(refused, stub, tmp_path, name):
    (tmp_path / "run" / name).parent.mkdir(parents=True)
    (tmp_path / "run" / name).write_text("mine")
    assert refused() == (
        f"{tmp_path / 'run'}: holds other files than an earlier pull (no manifest.json); use a new folder"
    )
    assert stub.calls == []


def test_a_manifest_of_another_program(refused, stub, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / MANIFEST).write_text('{"name": "web app"}')
    assert f"{tmp_path / 'run'}: manifest.json: is not the manifest of a run" in refused()
    assert stub.calls == []


def test_a_file_in_the_place_of_the_folder(refused, tmp_path):
    (tmp_path / "run").write_text("mine")
    assert f"{tmp_path / 'run'}: holds other files" in refused()


def test_a_link_out_of_the_folder_is_not_followed(get, refused, serve, tmp_path):
    get()
    (tmp_path / "elsewhere").mkdir()
    shutil.rmtree(tmp_path / "run" / "pictures")
    (tmp_path / "run" / "pictures").symlink_to(tmp_path / "elsewhere")
    serve({**FILES, "pictures/a.png": b"other"})
    said = f"{tmp_path / 'run' / 'pictures' / 'a.png'}: is a folder, or reached by a link; remove it and run again"
    assert refused() == said


def test_a_linked_file_is_replaced_and_not_written_through(get, tmp_path):
    get()
    (tmp_path / "mine.pt").write_bytes(b"mine")
    (tmp_path / "run" / "model.pt").unlink()
    (tmp_path / "run" / "model.pt").symlink_to(tmp_path / "mine.pt")
    assert get().changed
    assert not (tmp_path / "run" / "model.pt").is_symlink() and (tmp_path / "mine.pt").read_bytes() == b"mine"


def test_what_a_killed_pull_left_goes(get, tmp_path):
    for left in (tmp_path / ".partial-4194305-run", tmp_path / "run" / ".partial-4194305-pull"):
        get()
        left.mkdir()
        (left / "model.pt").write_bytes(b"half")
        shutil.rmtree(tmp_path / "run") if left.parent == tmp_path else None
        get()
        assert not left.exists()


def test_two_pulls_at_once(get, tmp_path):
    """One that lives, here the parent of this process, is not disturbed."""
    for left in (tmp_path / f".partial-{os.getppid()}-run", tmp_path / "run" / f".partial-{os.getppid()}-pull"):
        get() if left.parent != tmp_path else None
        left.mkdir(parents=True)
        (left / "model.pt").write_bytes(b"half")
        said = f"{tmp_path / 'run'}: process {os.getppid()} is pulling there; wait for it, or use another folder"
        assert refusal(get) == said
        assert (left / "model.pt").read_bytes() == b"half"
        shutil.rmtree(left)


def test_a_full_disk(refused, monkeypatch):
    usage = type(shutil.disk_usage("."))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1))
    assert refused().endswith(
        "run: cannot be written (No space left on device); free some space, then run the same command again"
    )


def test_a_place_that_cannot_be_written(service, serve, tmp_path):
    (tmp_path / "file").touch()
    assert f"{tmp_path / 'file' / 'run'}: cannot be written (" in refusal(
        pull, service, KERNEL, tmp_path / "file" / "run"
    )


def test_an_interrupted_download_leaves_nothing(get, service, tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("heartseg.kaggle.pull._show_file", interrupt)
    with pytest.raises(KeyboardInterrupt):
        get()
    assert list(tmp_path.iterdir()) == []
