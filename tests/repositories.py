"""A git repository with a remote, and what a kernel leaves, for the tests of what brings the one into the other."""

import json
import os
import subprocess
import sys

from heartseg.kaggle.manifest import write_manifest

KERNEL, BRANCH, FOLDER = "alice/heartseg-left-atrium", "kaggle/heartseg-left-atrium", "results/heartseg-left-atrium"
BOT = "github-actions[bot] <41898282+github-actions[bot]@users.noreply.github.com>"
GH = """#!{python}
import json, os, sys
given = sys.stdin.read()
with open({log!r}, "a") as log:
    log.write(json.dumps([sys.argv[1:], given]) + "\\n")
if os.path.exists({fault!r}):
    sys.exit("gh: GitHub Actions is not permitted to create pull requests")
print(open({there!r}).read() if sys.argv[1:3] == ["pr", "list"] else "https://github.com/alice/heart/pull/7")
"""


class Repository:
    """A bare repository as ``origin``, a checkout of it, and what is asked of gh."""

    def __init__(self, folder):
        self.origin, self.checkout, self.bin = folder / "origin.git", folder / "checkout", folder / "bin"
        self.git("init", "--quiet", "--bare", "--initial-branch=main", self.origin, cwd=folder)
        self.git("clone", "--quiet", self.origin, self.checkout, cwd=folder)
        self.git("checkout", "--quiet", "-b", "main")
        self.write_main({"README.md": "heart"})
        self.calls, self.there, self.fault = folder / "gh.jsonl", folder / "there.json", folder / "gh.fault"
        self.there.write_text("[]")
        self.bin.mkdir()
        gh = self.bin / "gh"
        names = {"log": str(self.calls), "there": str(self.there), "fault": str(self.fault)}
        gh.write_text(GH.format(python=sys.executable, **names))
        gh.chmod(0o755)

    def git(self, *words, cwd=None):
        call = ["git", *map(str, words)]
        return subprocess.run(call, cwd=cwd or self.checkout, check=True, capture_output=True, text=True).stdout.strip()

    def write_main(self, files, branch="main"):
        """What a person commits and pushes."""
        for name, text in files.items():
            (self.checkout / name).parent.mkdir(parents=True, exist_ok=True)
            (self.checkout / name).write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", "a person's")
        self.git("push", "--quiet", "origin", f"HEAD:{branch}")

    def head(self, branch=BRANCH):
        return self.git("rev-parse", f"refs/heads/{branch}", cwd=self.origin)

    def branches(self):
        return self.git("for-each-ref", "--format=%(refname:short)", "refs", cwd=self.origin).split()

    def log(self, form, branch=BRANCH):
        return self.git("log", "-1", f"--format={form}", branch, cwd=self.origin)

    def names(self, branch=BRANCH):
        return self.git("ls-tree", "-r", "--name-only", branch, cwd=self.origin).split("\n")

    def read(self, name, branch=BRANCH):
        return subprocess.run(
            ["git", "show", f"{branch}:{name}"], cwd=self.origin, check=True, capture_output=True
        ).stdout

    def merge(self):
        """What a person does with the pull request."""
        self.git("fetch", "--quiet", "origin")
        self.git("merge", "--quiet", "--ff-only", f"origin/{BRANCH}")
        self.git("push", "--quiet", "origin", "HEAD:main", f":{BRANCH}")

    def asked(self):
        """What gh was asked, and given."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        return [tuple(json.loads(line)) for line in lines]


def made(tmp_path, monkeypatch, nobody):
    """A fixture: a person's repository, in the environment of a GitHub Action."""
    for name in [name for name in os.environ if name.startswith(("GIT_", "GITHUB_", "GH_"))]:
        monkeypatch.delenv(name)
    for side in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{side}_NAME", "Person")
        monkeypatch.setenv(f"GIT_{side}_EMAIL", "person@example.org")
    repository = Repository(tmp_path)
    monkeypatch.setenv("PATH", f"{repository.bin}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    monkeypatch.setenv("GITHUB_REPOSITORY", "alice/heart")
    return repository


def evaluation(dice, name="LA"):
    row = {"dice": dice, "hd95": 5.0, "assd": 1.5, "nsd": None, "pred_ml": 60.0, "truth_ml": 61.0}
    case = {"id": "la_003", "seen": False, **row, "classes": {name: row}}
    over = {"cases": 1, "seen": False}
    return {"clean": {**row, "missing": 1, "classes": {name: row}, "averaged_over": over, "cases": [case]}}


def outputs(folder, dice=0.9012, started="2026-11-20T08:00:00+00:00", more=None, **about):
    """The files of a kernel that ended so, as Kaggle serves them: with its own beside those of the manifest."""
    files = {
        "model.pt": b"weights %.4f" % (dice or 0),
        "model.json": b"{}",
        "checkpoint.pt": b"all that resuming needs",
        "tensorboard/events.out.tfevents.1": b"events",
        "run_summary.md": b"# Summary",
        "training_metrics.json": b"[]",
        "curves.png": b"\x89PNG\r\n\x1a\n",
        "evaluation_results.json": json.dumps(evaluation(dice)).encode(),
        **(more or {}),
    }
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    known = {"bundle": "left_atrium", "commit": "0123456789ab", "heartseg": "0.1.0", "finished": True, "epochs": 60}
    known |= {"minutes": 31.5, "started": started, "gpus": ["Tesla T4"], "dice": dice, "settings": {}}
    manifest = write_manifest(folder, {**known, **about})
    return {**files, "manifest.json": manifest.read_bytes(), "__results__.html": b"Kaggle's own"}


def bringing(repository, service):
    """A fixture: sync what the stub serves; the options are sync's."""
    from heartseg.kaggle.sync import sync

    def call(**options):
        return sync(service, KERNEL, checkout=repository.checkout, sleep=lambda seconds: None, **options)

    return call


def told(tmp_path, name="output"):
    """What the step of an Action has written, since this was asked last."""
    path = tmp_path / name
    text = path.read_text() if path.exists() else ""
    path.unlink(missing_ok=True)
    return text


def one_on_top(repository):
    """The branch is one commit on top of the default branch."""
    return repository.log("%P") == repository.head("main")
