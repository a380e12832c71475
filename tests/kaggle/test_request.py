"""The pull request of a sync, by a gh that keeps what it was asked."""

import json

import pytest
from repositories import BRANCH, bringing, made, outputs, told

repository = pytest.fixture(made)
bring = pytest.fixture(bringing)


@pytest.mark.parametrize("how", ["missing", "failing"])
def test_without_gh_the_results_are_there_all_the_same(how, stub, bring, repository, tmp_path, capsys):
    if how == "missing":
        (repository.bin / "gh").unlink()
    else:
        repository.fault.touch()
    stub.serve(outputs(tmp_path / "run"))
    assert bring().changed and repository.branches() == [BRANCH, "main"]
    out = capsys.readouterr().out
    assert f"open it: https://github.com/alice/heart/compare/main...{BRANCH}?expand=1" in out
    reasons = {
        "missing": "gh is not installed",
        "failing": "gh: GitHub Actions is not permitted to create pull requests",
    }
    assert f"no pull request ({reasons[how]}); " in out


def test_gh_does_not_tell_it(stub, bring, repository, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GH_TOKEN", "ghs_t0ken")
    (repository.bin / "gh").write_text('#!/bin/sh\necho "bad credentials $GH_TOKEN" >&2\nexit 4\n')
    stub.serve(outputs(tmp_path / "run"))
    assert bring().changed
    out = capsys.readouterr().out
    assert "bad credentials ***" in out and "ghs_t0ken" not in out


class TestAgain:
    @pytest.fixture(autouse=True)
    def first(self, stub, bring, repository, tmp_path):
        stub.serve(outputs(tmp_path / "run"))
        self.tip = bring().commit
        told(tmp_path), told(tmp_path, "summary.md")
        self.body = repository.asked()[-1][1]

    def test_a_request_that_could_not_be_opened_is_opened_later(self, bring, repository):
        assert not bring().changed
        assert [words[:2] for words, _ in repository.asked()] == [["pr", "list"], ["pr", "create"]]

    def test_a_request_that_people_closed_stays_closed(self, bring, repository):
        repository.there.write_text(
            json.dumps([{"number": 7, "state": "CLOSED", "headRefOid": self.tip, "isCrossRepository": False}])
        )
        assert not bring().changed
        assert [words[:2] for words, _ in repository.asked()] == [["pr", "list"]]

    def test_nor_is_it_opened_where_its_branch_was_removed_since(self, bring, repository):
        """GitHub offers to; the branch that is made anew has another commit."""
        repository.there.write_text(
            json.dumps(
                [
                    {
                        "number": 7,
                        "state": "CLOSED",
                        "headRefOid": "0" * 40,
                        "isCrossRepository": False,
                        "body": self.body,
                    }
                ]
            )
        )
        repository.git("push", "origin", "--delete", BRANCH)
        assert bring().changed
        assert [words[:2] for words, _ in repository.asked()] == [["pr", "list"]]

    def test_a_request_from_a_fork_is_another(self, bring, repository):
        fork = {"number": 6, "state": "OPEN", "headRefOid": self.tip, "isCrossRepository": True}
        repository.there.write_text(json.dumps([fork]))
        assert not bring().changed
        assert [words[:2] for words, _ in repository.asked()] == [["pr", "list"], ["pr", "create"]]

    def test_the_open_request_gets_the_new_words(self, stub, bring, repository, tmp_path):
        repository.there.write_text(
            json.dumps([{"number": 7, "state": "OPEN", "headRefOid": self.tip, "isCrossRepository": False}])
        )
        stub.serve(outputs(tmp_path / "worse", 0.8912, "2026-11-21T08:00:00+00:00"))
        bring()
        _, (words, given) = repository.asked()
        assert words == ["api", "--method", "PATCH", "repos/{owner}/{repo}/pulls/7", "--input", "-"]
        assert json.loads(given)["title"] == "Kaggle: left-atrium Dice 0.8912 (-0.0100)"
        assert json.loads(given)["body"].startswith("## Kaggle: left-atrium Dice 0.8912 (-0.0100)\n")
