"""The small results of a run, copied from the stub of Kaggle into a working tree."""

import json

import pytest
from answers import refused, tree
from kaggle_runs import outputs
from kaggle_stub import Fault

from heartseg.errors import InputError
from heartseg.kaggle.manifest import write_manifest
from heartseg.kaggle.sync import sync

KERNEL, BRANCH = "alice/heartseg-left-atrium", "kaggle/heartseg-left-atrium"
RESULTS = ("curves.png", "evaluation_results.json", "manifest.json", "run_summary.md", "training_metrics.json")
LATER = "2026-11-21T08:00:00+00:00"


@pytest.fixture(autouse=True)
def action(tmp_path, monkeypatch):
    """The environment of a step of a GitHub Action."""
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    monkeypatch.setenv("GITHUB_REPOSITORY", "alice/heart")
    monkeypatch.setenv("RUNNER_TEMP", str(tmp_path))


@pytest.fixture
def checkout(tmp_path):
    """A working tree. No git is needed."""
    (tmp_path / "checkout").mkdir()
    return tmp_path / "checkout"


@pytest.fixture
def folder(checkout):
    """The folder of the kernel's results in it."""
    return checkout / "results" / "heartseg-left-atrium"


@pytest.fixture
def bring(service, checkout):
    """Sync what the stub serves; the options are those of sync."""
    return lambda **options: sync(service, KERNEL, checkout=checkout, sleep=lambda seconds: None, **options)


@pytest.fixture
def written(tmp_path):
    """Return what the step has written since the last call: its outputs, or another file."""

    def call(name="output"):
        path = tmp_path / name
        text = path.read_text() if path.exists() else ""
        path.unlink(missing_ok=True)
        return text

    return call


class TestFirst:
    @pytest.fixture
    def synced(self, stub, bring, tmp_path):
        stub.serve(outputs(tmp_path / "run"))
        return bring(weights_out=tmp_path / "weights")

    def test_small_results_and_nothing_else(self, synced, stub, checkout, folder):
        assert synced == (True, "COMPLETE", 0.9012)
        assert tuple(sorted(path.name for path in checkout.rglob("*") if path.is_file())) == RESULTS
        for name in RESULTS:
            assert (folder / name).read_bytes() == dict(stub.files)[name]

    def test_weights_go_to_another_folder(self, synced, tmp_path):
        assert {path.name: path.read_bytes() for path in (tmp_path / "weights").iterdir()} == {
            "model.pt": b"weights 0.9012",
            "model.json": b"{}",
        }

    def test_outputs_and_summary(self, synced, tmp_path, written):
        body = tmp_path / "heartseg-sync.md"
        lines = ["changed=true", "dice=0.9012", f"branch={BRANCH}", "title=Kaggle: left-atrium Dice 0.9012"]
        *first, run, last = written().splitlines()
        assert first == lines and last == f"body={body}"
        # By this line the workflow knows a closed request.
        assert f"\n- {run.removeprefix('run=')}\n" in body.read_text()
        summary = written("summary.md")
        assert summary.startswith("## Kaggle: left-atrium Dice 0.9012\n") and summary == f"{body.read_text()}\n"
        assert "| mean of 1 unseen case | 0.9012 | 5.00 | 1.50 | missing |" in summary
        curves = f"https://github.com/alice/heart/raw/{BRANCH}/results/heartseg-left-atrium/curves.png"
        assert f"![Curves of the training]({curves})" in summary


def test_by_hand_no_body_is_left(stub, bring, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("GITHUB_OUTPUT")
    stub.serve(outputs(tmp_path / "run"))
    assert bring().changed and not (tmp_path / "heartseg-sync.md").exists()
    assert f"{folder}: Kaggle: left-atrium Dice 0.9012\n" in capsys.readouterr().out


def test_another_folder_and_branch(stub, bring, checkout, tmp_path, written):
    stub.serve(outputs(tmp_path / "run"))
    bring(results="docs/scores", branch="scores/new")
    assert (checkout / "docs" / "scores" / "heartseg-left-atrium" / "manifest.json").is_file()
    assert "branch=scores/new\n" in written()


class TestAgain:
    @pytest.fixture(autouse=True)
    def first(self, stub, bring, tmp_path, written):
        stub.serve(outputs(tmp_path / "run"))
        bring()
        written(), written("summary.md"), written("heartseg-sync.md")

    def test_the_same_run_changes_nothing(self, stub, bring, checkout, folder, tmp_path, written, capsys):
        before, asked = tree(checkout), stub.asked("model.pt")
        assert bring(weights_out=tmp_path / "weights") == (False, "COMPLETE", None)
        assert f"{KERNEL}: nothing changed, {folder} has this run\n" in capsys.readouterr().out
        assert written() == "changed=false\n" and written("summary.md") == written("heartseg-sync.md") == ""
        assert tree(checkout) == before and stub.asked("model.pt") == asked and not (tmp_path / "weights").exists()

    def test_nor_when_waiting_for_it(self, stub, bring, checkout, written):
        before = tree(checkout)
        stub.statuses = ["RUNNING", "RUNNING", "COMPLETE"]
        assert not bring(wait=True).changed
        assert written() == "changed=false\n" and tree(checkout) == before

    def test_a_new_run_shows_the_difference(self, stub, bring, tmp_path, written):
        stub.serve(outputs(tmp_path / "better", 0.9052, LATER))
        assert bring().changed
        assert "title=Kaggle: left-atrium Dice 0.9052 (+0.0040)\n" in written()
        summary = written("summary.md")
        assert "| mean of 1 unseen case | 0.9052 (+0.0040) | 5.00 (+0.00) | 1.50 (+0.00) | missing |" in summary
        assert "of commit `0123456789ab`, started `2026-11-20T08:00:00+00:00`; lower is better for HD95 and" in summary

    def test_files_of_an_earlier_run_are_removed_and_others_stay(self, stub, bring, folder, tmp_path):
        (folder / "deep").mkdir()
        for name in ("clinical.csv", "run_summary.md", "notes.md", "deep/a.txt"):
            (folder / name).write_text("earlier")
        stub.serve(outputs(tmp_path / "new", 0.9052, LATER))
        assert bring().changed
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        assert names == sorted([*RESULTS, "notes.md", "deep/a.txt"])
        assert (folder / "run_summary.md").read_bytes() == b"# Summary"

    def test_weights_of_an_earlier_run_are_removed(self, stub, bring, tmp_path):
        weights = tmp_path / "weights"
        weights.mkdir()
        (weights / "final.pt").write_bytes(b"earlier")
        stub.serve(outputs(tmp_path / "new", 0.9052, LATER))
        bring(weights_out=weights)
        assert sorted(path.name for path in weights.iterdir()) == ["model.json", "model.pt"]

    def test_a_manifest_that_cannot_be_read_counts_as_none(self, bring, folder, written):
        (folder / "manifest.json").write_text("{")
        assert bring().changed and "title=Kaggle: left-atrium Dice 0.9012\n" in written()


def test_another_key_metric(stub, bring, tmp_path, written):
    """A classifier has no Dice: its key metric is named in the manifest."""

    def serve(name, auroc, started="2026-11-20T08:00:00+00:00"):
        row = {"auroc": auroc, "log_loss": 0.3}
        clean = {**row, "cases": [{"id": "x1", "seen": False, **row}]}
        more = {"evaluation_results.json": json.dumps({"clean": clean}).encode()}
        about = {"bundle": "presence", "metric": "auroc", "auroc": auroc}
        stub.serve(outputs(tmp_path / name, None, started, more, **about))

    serve("run", 0.9)
    assert bring().value == 0.9
    assert written().splitlines()[1:4] == ["dice=", f"branch={BRANCH}", "title=Kaggle: presence AUROC 0.9000"]
    serve("better", 0.91, LATER)
    bring()
    assert "title=Kaggle: presence AUROC 0.9100 (+0.0100)\n" in written()
    assert "| mean of 1 case | 0.9100 (+0.0100) | 0.3000 (+0.0000) |" in written("summary.md")


def test_unfinished(stub, bring, tmp_path, written):
    stub.serve(outputs(tmp_path / "run", finished=False))
    bring()
    assert "title=Kaggle: left-atrium Dice 0.9012, unfinished\n" in written()
    assert "`heartseg kaggle push left_atrium --resume` continues it" in written("summary.md")


def test_stopped_before_the_first_validation(stub, bring, tmp_path, written):
    files = outputs(tmp_path / "run", None, finished=False)
    for name in ("model.pt", "evaluation_results.json"):
        (tmp_path / "run" / name).unlink()
        del files[name]
    about = json.loads(files["manifest.json"])
    del about["files"]
    stub.serve({**files, "manifest.json": write_manifest(tmp_path / "run", about).read_bytes()})
    assert bring(weights_out=tmp_path / "weights").value is None
    lines = ["changed=true", "dice=", f"branch={BRANCH}", "title=Kaggle: left-atrium, no Dice, unfinished"]
    assert written().splitlines()[:4] == lines
    assert "There is no evaluation of cases." in written("summary.md")


def test_large_results_stay_out(stub, bring, folder, tmp_path, monkeypatch, written, capsys):
    monkeypatch.setattr("heartseg.kaggle.sync.LARGEST", 2**20)
    folder.mkdir(parents=True)
    (folder / "evaluation_results.csv").write_text("earlier")
    stub.serve(outputs(tmp_path / "run", more={"evaluation_results.csv": bytes(2**20 + 1)}))
    bring()
    assert not (folder / "evaluation_results.csv").exists()
    assert "evaluation_results.csv: is over 1 MiB and stays out of the repository" in capsys.readouterr().out
    assert "too large for the repository: `evaluation_results.csv`" in written("summary.md")


class TestStatus:
    @pytest.mark.parametrize("status", ["QUEUED", "RUNNING", "NEW_SCRIPT"])
    def test_not_complete(self, status, stub, bring, checkout, written, capsys):
        stub.statuses = [status]
        assert bring() == (False, status, None)
        assert f"{KERNEL}: is {status}; nothing to sync yet\n" in capsys.readouterr().out
        assert tree(checkout) == {} and written() == "changed=false\n"

    def test_a_run_that_starts_meanwhile(self, stub, bring, checkout, tmp_path, written):
        stub.statuses = ["COMPLETE", "RUNNING"]
        stub.serve(outputs(tmp_path / "run"))
        assert bring() == (False, "RUNNING", None)
        assert tree(checkout) == {} and written() == "changed=false\n"

    def test_wait(self, stub, bring, tmp_path):
        stub.statuses = ["QUEUED", "QUEUED", "RUNNING", "COMPLETE"]
        stub.serve(outputs(tmp_path / "run"))
        assert bring(wait=True).changed

    @pytest.mark.parametrize("status", ["ERROR", "CANCEL_ACKNOWLEDGED"])
    def test_a_run_that_failed(self, status, stub, bring, checkout, tmp_path, written):
        stub.statuses, stub.failure_message = [status], "out of memory"
        stub.serve(outputs(tmp_path / "run"))
        with pytest.raises(InputError, match="out of memory" if status == "ERROR" else "(?i)cancel"):
            bring()
        assert tree(checkout) == {} and written() == ""

    def test_outputs_that_differ_from_the_manifest(self, stub, bring, checkout, tmp_path):
        stub.serve({**outputs(tmp_path / "run"), "curves.png": b"another!"})
        with pytest.raises(InputError, match=r"curves\.png"):
            bring(weights_out=tmp_path / "weights")
        assert tree(checkout) == {} and not (tmp_path / "weights").exists()

    def test_no_manifest(self, stub, bring, checkout, tmp_path):
        files = outputs(tmp_path / "run")
        del files["manifest.json"]
        stub.serve(files)
        with pytest.raises(InputError, match=r"manifest\.json"):
            bring()
        assert tree(checkout) == {}

    def test_a_server_that_fails(self, stub, bring, checkout):
        stub.fail("GetKernelSessionStatus", *[Fault(status=500)] * 9)
        with pytest.raises(InputError, match="500"):
            bring()
        assert tree(checkout) == {}


class TestRefused:
    @pytest.mark.parametrize(("kernel", "line"), [("", "^kernel: is empty"), ("../x", r"^\.\./x: is not a kernel")])
    def test_kernels(self, kernel, line, service, checkout, stub):
        with pytest.raises(InputError, match=line):
            sync(service, kernel, checkout=checkout)
        assert stub.calls == []

    @pytest.mark.parametrize(
        "name",
        ["../out", "/results", "a//b", ".git", "a/.git/hooks", "a/..", "a\nb", "a\\b", "a b", "-x y", "a\u2028b"],
    )
    @pytest.mark.parametrize("option", ["results", "branch"])
    def test_folders_and_branches(self, option, name, bring, stub):
        with pytest.raises(InputError, match=rf"^--{option} .*: is not a plain name"):
            bring(**{option: name})
        assert stub.calls == []

    @pytest.mark.parametrize("name", ["main", "master", "HEAD", "refs/heads/main"])
    def test_default_branches(self, name, bring, stub):
        with pytest.raises(InputError, match=f"^--branch {name}: is a default branch, .*; use another name$"):
            bring(branch=name)
        assert stub.calls == []

    @pytest.mark.parametrize("worktree", [False, True])
    def test_the_branch_that_is_checked_out(self, worktree, bring, checkout, stub, tmp_path):
        (git := tmp_path / "git" if worktree else checkout / ".git").mkdir()
        if worktree:
            (checkout / ".git").write_text("gitdir: ../git\n")
        (git / "HEAD").write_text("ref: refs/heads/scores/mine\n")
        with pytest.raises(InputError, match="^--branch scores/mine: is checked out, .*; use another name$"):
            bring(branch="scores/mine")
        assert stub.calls == []
        stub.serve(outputs(tmp_path / "run"))
        assert bring(branch="scores/new").changed

    def test_options_are_checked_before_the_credentials(self, no_account, heartseg):
        for option in ("--results", "--branch"):
            assert f"{option} ../x: is not a plain name" in refused(heartseg("kaggle", "sync", KERNEL, option, "../x"))

    def test_a_file_where_the_folder_should_be(self, bring, checkout, stub, tmp_path, written):
        (checkout / "results").write_text("a file")
        stub.serve(outputs(tmp_path / "run"))
        with pytest.raises(InputError, match="results.*: cannot be written"):
            bring()
        assert (checkout / "results").read_text() == "a file" and written() == ""
