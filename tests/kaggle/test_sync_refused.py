"""What a sync does not bring, and where it brings nothing to."""

import pytest
from kaggle_stub import Fault
from repositories import BRANCH, KERNEL, bringing, made, outputs, told

from heartseg.errors import InputError

repository = pytest.fixture(made)
bring = pytest.fixture(bringing)


class TestStatus:
    @pytest.mark.parametrize("status", ["QUEUED", "RUNNING", "NEW_SCRIPT"])
    def test_nothing_yet(self, status, stub, bring, repository, tmp_path, capsys):
        stub.statuses = [status]
        assert bring() == (False, status, BRANCH, None, None)
        assert f"{KERNEL}: is {status}; nothing to bring yet\n" in capsys.readouterr().out
        assert repository.branches() == ["main"] and told(tmp_path) == "changed=false\n"

    def test_wait(self, stub, bring, repository, tmp_path):
        stub.statuses = ["QUEUED", "QUEUED", "RUNNING", "COMPLETE"]
        stub.serve(outputs(tmp_path / "run"))
        assert bring(wait=True).changed and repository.branches() == [BRANCH, "main"]

    @pytest.mark.parametrize("status", ["ERROR", "CANCEL_ACKNOWLEDGED"])
    def test_a_run_that_failed(self, status, stub, bring, repository, tmp_path):
        stub.statuses, stub.failure_message = [status], "out of memory"
        stub.serve(outputs(tmp_path / "run"))
        with pytest.raises(InputError, match="out of memory" if status == "ERROR" else "(?i)cancel"):
            bring()
        assert repository.branches() == ["main"] and told(tmp_path) == "" and repository.asked() == []

    def test_outputs_that_are_not_what_the_manifest_says(self, stub, bring, repository, tmp_path):
        files = outputs(tmp_path / "run")
        stub.serve({**files, "curves.png": b"another!"})
        with pytest.raises(InputError, match=r"curves\.png"):
            bring(weights_out=tmp_path / "weights")
        assert repository.branches() == ["main"] and not (tmp_path / "weights").exists()

    def test_no_manifest(self, stub, bring, repository, tmp_path):
        files = outputs(tmp_path / "run")
        del files["manifest.json"]
        stub.serve(files)
        with pytest.raises(InputError, match=r"manifest\.json"):
            bring()
        assert repository.branches() == ["main"]

    def test_a_server_that_fails(self, stub, bring, repository):
        stub.fail("GetKernelSessionStatus", *[Fault(status=500)] * 9)
        with pytest.raises(InputError, match="500"):
            bring()
        assert repository.branches() == ["main"]


class TestRefused:
    @pytest.mark.parametrize(
        ("kernel", "line"), [("", "^kernel: none is named"), ("../x", r"^\.\./x: is not a kernel")]
    )
    def test_kernels(self, kernel, line, service, repository, stub):
        from heartseg.kaggle.sync import sync

        with pytest.raises(InputError, match=line):
            sync(service, kernel, checkout=repository.checkout)
        assert stub.calls == []

    @pytest.mark.parametrize(
        "results", ["../out", "/results", "a//b", ".git", "a/.git/hooks", "a/..", "", "a\nb", "a\\b"]
    )
    def test_folders(self, results, bring, repository, stub):
        with pytest.raises(InputError, match=r"^--results .*: is no plain folder of the repository"):
            bring(results=results)
        assert stub.calls == []

    @pytest.mark.parametrize("branch", ["a b", "-x", "a..b", "x.lock", "a\nb", "a\u2028b"])
    def test_names_of_branches(self, branch, bring, stub):
        with pytest.raises(InputError, match="is no name for a branch"):
            bring(branch=branch)
        assert stub.calls == []

    def test_the_default_branch(self, bring, repository, stub):
        main = repository.head("main")
        with pytest.raises(InputError, match="^branch main: is the default branch, which only people change"):
            bring(branch="main")
        assert repository.head("main") == main and stub.calls == []

    def test_a_branch_of_people(self, bring, repository, stub, tmp_path):
        repository.write_main({"work.txt": "weeks of it"}, "develop")
        tip = repository.head("develop")
        stub.serve(outputs(tmp_path / "run"))
        with pytest.raises(InputError, match="would be lost"):
            bring(branch="develop")
        assert repository.head("develop") == tip

    def test_a_file_where_the_folder_should_be(self, bring, repository, stub, tmp_path):
        repository.write_main({"results": "a file"})
        stub.serve(outputs(tmp_path / "run"))
        with pytest.raises(InputError, match="^results: is no folder on the default branch"):
            bring()
        assert repository.branches() == ["main"]

    def test_no_checkout(self, service, nobody):
        from heartseg.kaggle.sync import sync

        with pytest.raises(InputError, match="git remote: .*not a git repository"):
            sync(service, KERNEL, checkout=nobody)

    def test_an_empty_remote(self, bring, repository, tmp_path):
        empty = tmp_path / "empty.git"
        repository.git("init", "--quiet", "--bare", empty)
        repository.git("remote", "set-url", "origin", empty)
        with pytest.raises(InputError, match="^origin: has no default branch with a commit"):
            bring()

    def test_a_remote_that_refuses_the_push(self, bring, repository, stub, tmp_path):
        hook = repository.origin / "hooks" / "pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\necho protected >&2\nexit 1\n")
        hook.chmod(0o755)
        stub.serve(outputs(tmp_path / "run"))
        with pytest.raises(InputError, match="^git push: .*rejected"):
            bring()
        assert repository.branches() == ["main"] and told(tmp_path) == ""
