"""The workflows: the linters find nothing, and our own rules beyond them are kept."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from kaggle_runs import outputs
from kaggle_stub import SECRETS

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SYNC = ROOT / ".github" / "workflows" / "sync-kaggle.yml"
STRICT = "check-extra-masked-returns,check-set-e-suppressed,deprecate-which,quote-safe-variables"
PINNED = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+(\.\d+){2}")
KERNEL, FOLDER = "alice/heartseg-left-atrium", "results/heartseg-left-atrium"


def read(path):
    # YAML 1.1 takes `on` for true.
    return {"on" if key is True else key: value for key, value in yaml.safe_load(path.read_text("utf-8")).items()}


def steps(path):
    return [step for job in read(path)["jobs"].values() for step in job["steps"]]


def lint(tool, *words, **given):
    """Run a linter that is installed beside this Python."""
    found = shutil.which(tool, path=str(Path(sys.executable).parent)) or shutil.which(tool)
    assert found, f"{tool} is missing: install the extra dev"
    done = subprocess.run([found, *map(str, words)], capture_output=True, text=True, timeout=1200, **given)
    assert done.returncode == 0, done.stdout + done.stderr


def test_both_workflows_are_there():
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "sync-kaggle.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
class TestEveryWorkflow:
    def test_zizmor_finds_nothing(self, path):
        lint("zizmor", "--offline", "--persona", "pedantic", "--no-progress", path)

    def test_it_fits_the_schema(self, path):
        lint("check-jsonschema", "--builtin-schema", "vendor.github-workflows", path)

    def test_shellcheck_finds_nothing(self, path):
        for step in steps(path):
            if "run" in step:
                lint("shellcheck", "--shell", "bash", f"--enable={STRICT}", "-", input=step["run"])

    def test_scripts_hold_no_expression(self, path):
        """Input of a person or the service reaches a script as a variable, never as text of the script."""
        scripts = [step["run"] for step in steps(path) if "run" in step]
        assert scripts and not [script for script in scripts if "${{" in script]

    def test_actions_are_pinned_by_commit(self, path):
        used = re.findall(r"uses: *(.+)", path.read_text("utf-8"))
        assert used and not [action for action in used if not PINNED.fullmatch(action.strip())]

    def test_no_credentials_are_left_in_the_checkout(self, path):
        (checkout,) = [step for step in steps(path) if "actions/checkout@" in step.get("uses", "")]
        assert checkout["with"]["persist-credentials"] is False

    def test_rights_time_and_runs_at_once_are_limited(self, path):
        workflow = read(path)
        assert workflow["permissions"] == {} and workflow["concurrency"]["group"]
        for job in workflow["jobs"].values():
            assert job["timeout-minutes"] <= 60 and job["permissions"]

    def test_secrets_come_by_the_environment_of_one_step(self, path):
        # Each expression that names a secret is the whole value of a variable.
        text = path.read_text("utf-8")
        variables = [value for step in steps(path) for value in step.get("env", {}).values()]
        named = [value for value in variables if re.fullmatch(r"\$\{\{ (secrets\.\w+|github\.token) \}\}", str(value))]
        assert len(re.findall(r"secrets\.|github\.token", text)) == len(named)


def test_the_same_actions_in_both():
    pins = [dict(re.findall(r"uses: (\S+)@(\S+)", path.read_text("utf-8"))) for path in WORKFLOWS]
    both = pins[0].keys() & pins[1].keys()
    assert both == {"actions/checkout", "actions/setup-python"}
    assert all(pins[0][action] == pins[1][action] for action in both)


def test_the_sync_may_write_only_in_its_job():
    workflow = read(SYNC)
    assert workflow["jobs"]["sync"]["permissions"] == {"contents": "write", "pull-requests": "write"}
    assert workflow["on"].keys() == {"workflow_dispatch", "schedule", "repository_dispatch"}


@pytest.fixture
def step(stub, tmp_path, monkeypatch):
    """Run the step that syncs as GitHub does: its script, by bash, in a checkout, for a kernel."""
    script = named("sync")["run"]
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "")  # as the variable of a missing secret
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("RUNNER_TEMP", str(tmp_path))

    def call(kernel):
        environment = {**os.environ, "KERNEL": kernel}
        call = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script]
        done = subprocess.run(call, cwd=checkout, env=environment, capture_output=True, text=True, timeout=200)
        assert not [secret for secret in SECRETS if secret in done.stdout + done.stderr]
        return done

    return call


def named(identity):
    (step,) = [step for step in steps(SYNC) if step.get("id") == identity]
    return step


class TestStep:
    """The script of the workflow and the command that it runs."""

    def test_first_then_again(self, step, stub, tmp_path):
        stub.serve(outputs(tmp_path / "run"))
        first, output = step(KERNEL), tmp_path / "output"
        assert first.returncode == 0, first.stderr
        assert (tmp_path / "checkout" / FOLDER / "evaluation_results.json").is_file()
        assert (tmp_path / "weights" / "model.pt").read_bytes() == b"weights 0.9012"
        written = dict(line.split("=", 1) for line in output.read_text().splitlines())
        assert written["changed"] == "true" and Path(written["body"]).read_text().startswith(f"## {written['title']}")
        output.unlink()
        again = step(KERNEL)
        assert again.returncode == 0 and f"{KERNEL}: nothing changed, {FOLDER} has this run" in again.stdout
        assert output.read_text() == "changed=false\n"

    def test_a_kernel_that_is_an_option_or_a_script(self, step, tmp_path):
        done = step("--help=$(touch here)")
        assert done.returncode == 2 and "write OWNER/NAME" in done.stderr and "Traceback" not in done.stderr
        assert not list((tmp_path / "checkout").iterdir())


@pytest.mark.parametrize("closed", ["", "an older run", "both"])
def test_a_request_that_was_closed_stays_closed(tmp_path, monkeypatch, closed):
    """The step finds the run's own line in a closed request, with GitHub's line ends: nothing is opened or kept."""
    run = "commit `de4c9ad9dd9f`, `20` epochs in `1.2` minutes (`no GPU`), started `2026-11-21T17:38:05+00:00`"
    older = run.replace("17:38", "16:02")
    texts = {"": [], "an older run": [older], "both": [older, run]}[closed]
    own = {"isCrossRepository": False, "state": "CLOSED"}
    requests = [{"body": f"## Kaggle: left-atrium\r\n\r\n- {line}\r\n- in brackets: ...\r\n", **own} for line in texts]
    jq = shutil.which("jq")
    if jq:  # by which the fake gh filters; a request of a fork and a merged one do not count
        requests += [
            {"body": f"- {run}", **own, **other} for other in ({"isCrossRepository": True}, {"state": "MERGED"})
        ]
    answer = json.dumps(requests) if jq else "\n".join(request["body"] for request in requests)
    (tmp_path / "answer").write_bytes(answer.encode())
    words = f'for word in "$@"; do echo "$word"; done > "{tmp_path}/words"'
    say = (
        f'for filter in "$@"; do :; done\n"{jq}" -r "$filter" < "{tmp_path}/answer"'
        if jq
        else f'cat "{tmp_path}/answer"'
    )
    (tmp_path / "gh").write_text(f"#!/bin/sh\n{words}\n{say}\n")
    (tmp_path / "gh").chmod(0o755)
    variables = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "GITHUB_OUTPUT": str(tmp_path / "output")}
    call = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", named("closed")["run"]]
    given = {"BASE": "main", "BRANCH": "kaggle/a", "RUN": run}
    subprocess.run(call, env={**os.environ, **variables, **given}, check=True, timeout=60)
    *asked, query = (tmp_path / "words").read_text().splitlines()
    options = "--state closed --base main --head kaggle/a --limit 100 --json body,isCrossRepository,state --jq"
    assert " ".join(asked) == f"pr list {options}"
    assert query == '.[] | select(.isCrossRepository == false and .state == "CLOSED") | .body'
    written = (tmp_path / "output").read_text() if (tmp_path / "output").exists() else ""
    assert written == ("found=true\n" if closed == "both" else "")
    (keep,) = [step for step in steps(SYNC) if "upload-artifact" in step.get("uses", "")]
    assert all("steps.closed.outputs.found != 'true'" in step["if"] for step in (named("request"), keep))


def test_every_kind_of_credentials_reaches_the_sync():
    assert {"KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KERNEL"} == named("sync")["env"].keys()


def test_the_request_takes_the_outputs_of_the_sync():
    """Only the results enter the commit; the branch is made on top of the default branch, and is never that one."""
    given, checkout = named("request")["with"], steps(SYNC)[0]
    assert "steps.sync.outputs.changed == 'true'" in named("request")["if"] and given["add-paths"] == "results"
    assert checkout["with"]["ref"] == "${{ github.event.repository.default_branch }}" and "base" not in given
    wanted = {"branch": "branch", "title": "title", "body-path": "body", "commit-message": "title"}
    assert {key: given[key] for key in wanted} == {
        key: f"${{{{ steps.sync.outputs.{name} }}}}" for key, name in wanted.items()
    }


def test_the_weights_of_the_sync_are_kept():
    (keep,) = [step for step in steps(SYNC) if "upload-artifact" in step.get("uses", "")]
    assert '--weights-out "$RUNNER_TEMP/weights" ' in named("sync")["run"]
    assert keep["with"]["path"] == "${{ runner.temp }}/weights"
    assert "steps.sync.outputs.changed == 'true'" in keep["if"]
