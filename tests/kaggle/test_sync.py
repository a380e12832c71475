"""Results brought onto a branch of a real git remote, from the stub of Kaggle."""

import json

import pytest
from answers import tree
from repositories import BOT, BRANCH, FOLDER, KERNEL, bringing, made, one_on_top, outputs, told

from heartseg.errors import InputError
from heartseg.kaggle.manifest import write_manifest

repository = pytest.fixture(made)
bring = pytest.fixture(bringing)


class TestFirst:
    @pytest.fixture
    def synced(self, stub, bring, tmp_path):
        stub.serve(outputs(tmp_path / "run"))
        return bring(weights_out=tmp_path / "weights")

    def test_results_are_one_commit_on_top_of_main(self, synced, repository):
        assert synced == (True, "COMPLETE", BRANCH, 0.9012, repository.head())
        assert one_on_top(repository) and repository.branches() == [BRANCH, "main"]
        assert repository.log("%s") == "Kaggle: left-atrium Dice 0.9012"
        assert repository.log("%an <%ae>") == repository.log("%cn <%ce>") == BOT

    def test_small_results_and_nothing_else(self, synced, repository, stub):
        small = ("curves.png", "evaluation_results.json", "manifest.json", "run_summary.md", "training_metrics.json")
        assert repository.names() == ["README.md", *(f"{FOLDER}/{name}" for name in small)]
        for name in small:
            assert repository.read(f"{FOLDER}/{name}") == dict(stub.files)[name]

    def test_weights_go_elsewhere(self, synced, tmp_path):
        assert {path.name: path.read_bytes() for path in (tmp_path / "weights").iterdir()} == {
            "model.pt": b"weights 0.9012",
            "model.json": b"{}",
        }

    def test_the_action_is_told(self, synced, repository, tmp_path):
        assert told(tmp_path) == f"changed=true\ndice=0.9012\nbranch={BRANCH}\n"
        summary = told(tmp_path, "summary.md")
        assert summary.startswith("## Kaggle: left-atrium Dice 0.9012\n")
        assert "| mean of 1 unseen case | 0.9012 | 5.00 | 1.50 | missing |" in summary
        assert f"https://github.com/alice/heart/raw/{repository.head()}/{FOLDER}/curves.png" in summary

    def test_a_pull_request_is_opened(self, synced, repository):
        (_, (words, text)) = repository.asked()
        subject = "Kaggle: left-atrium Dice 0.9012"
        assert words == f"pr create --head {BRANCH} --base main --title".split() + [subject, "--body-file", "-"]
        assert text.startswith(f"## {subject}")


def test_the_checkout_stays_as_it_is(stub, bring, repository, tmp_path):
    repository.git("checkout", "--quiet", "-b", "mine")
    (repository.checkout / "README.md").write_text("half a thought")
    (repository.checkout / "new.txt").write_text("not added")
    (repository.checkout / "staged.txt").write_text("staged")
    repository.git("add", "staged.txt")
    hook = repository.checkout / ".git" / "hooks" / "pre-push"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    kept = {place: content for place, content in tree(repository.checkout).items() if "objects" not in place.parts}
    stub.serve(outputs(tmp_path / "run"))
    assert bring().changed
    # Of .git only objects were added, and what the remote was seen to hold.
    after = {place: content for place, content in tree(repository.checkout).items() if "objects" not in place.parts}
    assert {place for place in after if after[place] != kept.get(place)} <= {
        place
        for place in after
        if place.parts[:3] == (".git", "refs", "remotes") or place.parts[:2] == (".git", "logs")
    }
    assert kept.keys() <= after.keys()
    assert repository.git("for-each-ref", "refs/heartseg") == ""


class TestAgain:
    @pytest.fixture(autouse=True)
    def first(self, stub, bring, repository, tmp_path):
        stub.serve(outputs(tmp_path / "run"))
        self.tip = bring().commit
        told(tmp_path), told(tmp_path, "summary.md"), repository.asked()

    def test_the_same_run_changes_nothing(self, stub, bring, repository, tmp_path, capsys):
        repository.there.write_text(
            json.dumps([{"number": 7, "state": "OPEN", "headRefOid": self.tip, "isCrossRepository": False}])
        )
        asked = stub.asked("model.pt")
        assert bring(weights_out=tmp_path / "weights") == (False, "COMPLETE", BRANCH, None, None)
        assert repository.head() == self.tip
        assert f"{KERNEL}: nothing changed, {BRANCH} holds this run\n" in capsys.readouterr().out
        assert told(tmp_path) == "changed=false\n" and told(tmp_path, "summary.md") == ""
        assert stub.asked("model.pt") == asked and not (tmp_path / "weights").exists()
        assert [words[:2] for words, _ in repository.asked()] == [["pr", "list"]]

    def test_nor_after_it_was_merged(self, bring, repository, capsys):
        repository.merge()
        repository.write_main({"other.txt": "since"})
        assert not bring().changed
        assert f"{KERNEL}: nothing changed, main holds this run\n" in capsys.readouterr().out
        assert repository.branches() == ["main"] and repository.asked() == []

    def test_a_new_run_says_the_difference(self, stub, bring, repository, tmp_path):
        stub.serve(outputs(tmp_path / "better", 0.9052, "2026-11-21T08:00:00+00:00"))
        assert bring().changed and one_on_top(repository) and repository.head() != self.tip
        assert repository.log("%s") == "Kaggle: left-atrium Dice 0.9052 (+0.0040)"
        summary = told(tmp_path, "summary.md")
        assert "| mean of 1 unseen case | 0.9052 (+0.0040) | 5.00 (+0.00) | 1.50 (+0.00) | missing |" in summary
        assert "of commit `0123456789ab`, started `2026-11-20T08:00:00+00:00`" in summary

    def test_the_difference_is_to_the_newest_run_not_to_a_branch_left_behind(self, stub, bring, repository, tmp_path):
        repository.git("fetch", "--quiet", "origin")
        repository.merge()
        repository.git("push", "--quiet", "origin", f"{self.tip}:refs/heads/{BRANCH}")
        stub.serve(outputs(tmp_path / "second", 0.9052, "2026-11-21T08:00:00+00:00"))
        bring()
        repository.merge()
        repository.git("push", "--quiet", "origin", f"{self.tip}:refs/heads/{BRANCH}")
        stub.serve(outputs(tmp_path / "third", 0.9062, "2026-11-22T08:00:00+00:00"))
        bring()
        assert repository.log("%s") == "Kaggle: left-atrium Dice 0.9062 (+0.0010)"

    def test_a_newer_main_that_changed_the_same_files(self, stub, bring, repository, tmp_path):
        """The run's files win on the branch, all else of main is there; main itself is left to people."""
        changes = {
            "run_summary.md": "mine",
            "clinical.csv": "of an older run",
            "notes.md": "kept",
            "deep/a.txt": "kept",
        }
        repository.write_main({f"{FOLDER}/{name}": text for name, text in changes.items()} | {"src.py": "newer"})
        main = repository.head("main")
        stub.serve(outputs(tmp_path / "new", 0.9052, "2026-11-21T08:00:00+00:00"))
        assert bring().changed and one_on_top(repository) and repository.head("main") == main
        assert repository.read(f"{FOLDER}/run_summary.md") == b"# Summary"
        assert repository.read(f"{FOLDER}/notes.md") == repository.read(f"{FOLDER}/deep/a.txt") == b"kept"
        assert repository.read("src.py") == b"newer" and f"{FOLDER}/clinical.csv" not in repository.names()

    def test_commits_of_people_are_not_lost(self, stub, bring, repository, tmp_path):
        repository.git("fetch", "--quiet", "origin")
        repository.git("checkout", "--quiet", "--detach", f"origin/{BRANCH}")
        repository.write_main({"thought.txt": "a person's"}, BRANCH)
        tip = repository.head()
        stub.serve(outputs(tmp_path / "new", 0.9052))
        with pytest.raises(
            InputError, match=rf"^branch {BRANCH}: .*would be lost; merge it or name another by --branch$"
        ):
            bring()
        assert repository.head() == tip and told(tmp_path) == ""

    def test_main_merged_into_the_branch_is_no_hindrance(self, stub, bring, repository, tmp_path):
        repository.write_main({"other.txt": "since"})
        repository.git("fetch", "--quiet", "origin")
        repository.git("checkout", "--quiet", "--detach", f"origin/{BRANCH}")
        repository.git("merge", "--quiet", "-m", "update branch", "origin/main")
        repository.git("push", "--quiet", "origin", f"HEAD:{BRANCH}")
        stub.serve(outputs(tmp_path / "new", 0.9052))
        assert bring().changed and one_on_top(repository)

    @pytest.fixture
    def meanwhile(self, repository, monkeypatch):
        """Let somebody replace the branch, once, between the look at it and the push; gives their commit."""
        from heartseg.kaggle.origin import Origin

        commit, others = Origin.commit, []

        def of(message):
            def made(self, base, *more):
                mine = commit(self, base, *more)
                if not others:
                    others.append(commit(self, base, FOLDER, {}, [], message))
                    repository.git("push", "--quiet", "--force", "origin", f"{others[0]}:{BRANCH}")
                return mine

            monkeypatch.setattr(Origin, "commit", made)
            return others

        return of

    def test_two_syncs_at_once(self, stub, bring, repository, tmp_path, meanwhile):
        meanwhile(f"other\n\nKaggle-Kernel: {KERNEL}\n")
        stub.serve(outputs(tmp_path / "new", 0.9052))
        assert bring().commit == repository.head() and one_on_top(repository)

    def test_a_commit_of_people_at_the_same_moment(self, stub, bring, repository, tmp_path, meanwhile):
        others = meanwhile("a person's")
        stub.serve(outputs(tmp_path / "new", 0.9052))
        with pytest.raises(InputError, match="would be lost"):
            bring()
        assert repository.head() == others[0]

    def test_weights_of_an_older_run_go(self, stub, bring, tmp_path):
        weights = tmp_path / "weights"
        weights.mkdir()
        (weights / "final.pt").write_bytes(b"older")
        stub.serve(outputs(tmp_path / "new", 0.9052))
        bring(weights_out=weights)
        assert sorted(path.name for path in weights.iterdir()) == ["model.json", "model.pt"]


def test_bytes_stay_as_the_manifest_says(stub, bring, repository, tmp_path):
    """Tables have the line ends of CSV, which git may be told to change."""
    repository.git("config", "core.autocrlf", "input")
    stub.serve(outputs(tmp_path / "run", more={"evaluation_results.csv": b"id,dice\r\n"}))
    bring()
    assert repository.read(f"{FOLDER}/evaluation_results.csv") == b"id,dice\r\n"


def test_unfinished(stub, bring, repository, tmp_path):
    stub.serve(outputs(tmp_path / "run", finished=False))
    bring()
    assert repository.log("%s") == "Kaggle: left-atrium Dice 0.9012, unfinished"
    assert "`heartseg kaggle push left_atrium --resume` goes on with it" in told(tmp_path, "summary.md")


def test_stopped_before_the_first_validation(stub, bring, repository, tmp_path):
    files = outputs(tmp_path / "run", None, finished=False)
    for name in ("model.pt", "evaluation_results.json"):
        (tmp_path / "run" / name).unlink()
        del files[name]
    about = json.loads(files["manifest.json"])
    del about["files"]
    stub.serve({**files, "manifest.json": write_manifest(tmp_path / "run", about).read_bytes()})
    assert bring(weights_out=tmp_path / "weights").dice is None
    assert repository.log("%s") == "Kaggle: left-atrium, no Dice, unfinished"
    assert told(tmp_path) == f"changed=true\ndice=\nbranch={BRANCH}\n"
    assert "There is no evaluation of cases." in told(tmp_path, "summary.md")


def test_large_results_stay_out(stub, bring, repository, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("heartseg.kaggle.sync.LARGEST", 2**20)
    stub.serve(outputs(tmp_path / "run", more={"evaluation_results.csv": bytes(2**20 + 1)}))
    bring()
    assert f"{FOLDER}/evaluation_results.csv" not in repository.names()
    assert "evaluation_results.csv: is over 1 MiB and stays out of the repository" in capsys.readouterr().out
    assert "since it is large: `evaluation_results.csv`" in told(tmp_path, "summary.md")
