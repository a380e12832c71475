"""The workflows: what the linters say, and what the house asks beyond them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from kaggle_stub import SECRETS
from repositories import BRANCH, FOLDER, KERNEL, made, outputs, told

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SYNC = ROOT / ".github" / "workflows" / "sync-kaggle.yml"
STRICT = "check-extra-masked-returns,check-set-e-suppressed,deprecate-which,quote-safe-variables"
PINNED = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+(\.\d+){2}")

repository = pytest.fixture(made)


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
        """What a person or the service chose reaches a script as a variable, never as text of the script."""
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
def step(stub, repository, monkeypatch):
    """Run the step that syncs as GitHub does: its script, by bash, in the checkout, for a kernel."""
    (script,) = [step["run"] for step in steps(SYNC) if step.get("id") == "sync"]
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "")  # as a secret that nobody set

    def call(kernel):
        environment = {**os.environ, "KERNEL": kernel}
        call = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script]
        done = subprocess.run(
            call, cwd=repository.checkout, env=environment, capture_output=True, text=True, timeout=200
        )
        assert not [secret for secret in SECRETS if secret in done.stdout + done.stderr]
        return done

    return call


class TestStep:
    """The script of the workflow and the command line behind it."""

    def test_first_then_again(self, step, stub, repository, tmp_path):
        stub.serve(outputs(tmp_path / "run"))
        first = step(KERNEL)
        assert first.returncode == 0, first.stderr
        assert repository.log("%s") == "Kaggle: left-atrium Dice 0.9012"
        assert f"{FOLDER}/evaluation_results.json" in repository.names()
        assert (repository.checkout / "weights" / "model.pt").read_bytes() == b"weights 0.9012"
        assert told(tmp_path) == f"changed=true\ndice=0.9012\nbranch={BRANCH}\n"
        again = step(KERNEL)
        assert again.returncode == 0 and f"{KERNEL}: nothing changed, {BRANCH} holds this run" in again.stdout
        assert told(tmp_path) == "changed=false\n"

    def test_what_is_no_kernel_is_neither_an_option_nor_a_script(self, step, repository):
        done = step("--help=$(touch here)")
        assert done.returncode == 2 and "write OWNER/NAME" in done.stderr and "Traceback" not in done.stderr
        assert repository.branches() == ["main"] and not (repository.checkout / "here").exists()


def test_every_kind_of_credentials_reaches_the_sync():
    (step,) = [step for step in steps(SYNC) if step.get("id") == "sync"]
    assert {"KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "GH_TOKEN", "KERNEL"} == step["env"].keys()


def test_weights_are_kept_where_the_sync_puts_them():
    (step,) = [step for step in steps(SYNC) if step.get("id") == "sync"]
    (keep,) = [step for step in steps(SYNC) if "upload-artifact" in step.get("uses", "")]
    assert f"--weights-out {keep['with']['path']} " in step["run"]
    assert keep["if"] == "steps.sync.outputs.changed == 'true'"
