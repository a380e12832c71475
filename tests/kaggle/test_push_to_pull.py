"""From push to pull: the script that the service received is run to its end, and its outputs come back verified."""

import json
import sys
from pathlib import Path

import yaml
from answers import tree
from kaggle_round import KERNEL, attach_phantoms, quick, run_pushed, serve_outputs

from heartseg.config.composition import settings_of_run
from heartseg.kaggle.manifest import read_manifest, verify

ROOT = Path(__file__).resolve().parents[2]


def test_push_to_pull(stub, heartseg, tmp_path):
    bundle, root, out = "left_atrium", tmp_path / "kaggle", tmp_path / "run"
    attach_phantoms(root)
    words = [*quick(bundle, epochs=1), "--data", "alice/phantoms", "--no-internet"]
    status, said, err = heartseg("kaggle", "push", bundle, *words)
    assert status == 0, err
    assert said.splitlines()[-1] == f"next: heartseg kaggle pull {KERNEL} --wait --out runs/kaggle"

    ended = run_pushed(stub, root, sys.executable)
    assert ended.returncode == 0, ended.stdout
    assert ended.stdout.splitlines()[-1] == f"heartseg: {root / 'working' / 'manifest.json'}"
    assert "it/s]" not in ended.stdout  # lines, not bars
    assert "heartseg: cd /" in ended.stdout and str(ROOT / "bundles") not in ended.stdout  # what it carries, it ran
    left = {path.name for path in (root / "working").iterdir()}
    assert not {"checkpoint.previous.pt", ".best.pt"} & left

    serve_outputs(stub, root, ended.stdout)
    stub.statuses = ["QUEUED", "COMPLETE"]
    assert heartseg("kaggle", "pull", KERNEL, "--out", out)[0] == 2 and not out.exists()
    status, said, err = heartseg("kaggle", "pull", KERNEL, "--out", out)
    assert status == 0, err
    manifest = read_manifest(out / "manifest.json")
    verify(out, manifest)
    needed = {"model.pt", "final.pt", "checkpoint.pt", "model.json", "run.lock", "config.yaml", "curves.png"}
    needed |= {"training_metrics.json", "evaluation_results.json", "run_summary.md"}
    assert needed <= set(manifest["files"])
    assert any(name.startswith("tensorboard/events.") for name in manifest["files"])
    header = json.loads(stub.pushed[-1]["text"].partition('r"""')[2].partition('""")')[0])
    results = json.loads((out / "evaluation_results.json").read_text())
    assert manifest["archive_sha256"] == header["sha256"]
    assert manifest["commit"] == header["commit"] == results["provenance"]["commit"]
    assert (manifest["bundle"], manifest["finished"], manifest["epochs"]) == (bundle, True, 1)
    assert manifest["dice"] == results["clean"]["dice"] is not None
    assert results["provenance"]["weights"]["sha256"] == manifest["files"]["model.pt"]["sha256"]
    assert f"{manifest['dice']:.4f}" in said

    # It is a run's folder as any: its settings and its own cases are found again.
    assert settings_of_run(out)["spacing"] == [5, 5, 5] and settings_of_run(out)["anatomy"] == "header"
    assert yaml.safe_load((out / "config.yaml").read_text())["epochs"] == 1
    seen = {case["id"] for case in results["clean"]["cases"]}
    assert seen == set(json.loads((out / "model.json").read_text())["val"])

    before = tree(out)
    status, said, _ = heartseg("kaggle", "pull", KERNEL, "--out", out)
    assert status == 0 and "nothing has changed" in said and tree(out) == before
