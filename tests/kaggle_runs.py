"""The outputs of kernels: their files and manifests."""

import hashlib
import json
from pathlib import Path

from heartseg.kaggle.manifest import write_manifest

MANIFEST = "manifest.json"
KERNEL = "alice/heartseg-toy"
ABOUT = {"bundle": "toy", "commit": "0123456789ab", "finished": True, "epochs": 12}
FILES = {
    "model.pt": bytes(range(256)) * 300,
    "config.yaml": b"epochs: 12\n",
    "pictures/a.png": b"png",
    "tensorboard/events.out.tfevents.1": b"events",
}


def manifest_of(files, **about):
    entries = {name: {"size": len(c), "sha256": hashlib.sha256(c).hexdigest()} for name, c in sorted(files.items())}
    return json.dumps({"files": entries, **ABOUT, **about}).encode()


def earlier_output(folder: Path, epochs: int, bundle: str = "left_atrium") -> Path:
    """Write the output of an earlier session, in small."""
    (folder / "pictures").mkdir(parents=True)
    for name in ("checkpoint.pt", "model.pt", "run.lock", "evaluation_results.json", "pictures/a.png"):
        (folder / name).write_text(f"{name} of {epochs}")
    (folder / "notes.txt").write_text("not allowed")
    write_manifest(folder, {"bundle": bundle, "epochs": epochs})
    return folder


def evaluation(dice, name="LA"):
    """An evaluation of one case of one class."""
    row = {"dice": dice, "hd95": 5.0, "assd": 1.5, "nsd": None, "pred_ml": 60.0, "truth_ml": 61.0}
    case = {"id": "la_003", "seen": False, **row, "classes": {name: row}}
    over = {"cases": 1, "seen": False}
    return {"clean": {**row, "missing": 1, "classes": {name: row}, "averaged_over": over, "cases": [case]}}


def outputs(folder, dice=0.9012, started="2026-11-20T08:00:00+00:00", more=None, **about):
    """The files that a complete kernel left, as Kaggle serves them: its own and those of the manifest."""
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
    known |= {"minutes": 31.5, "started": started, "gpus": ["Tesla T4"], "metric": "dice", "dice": dice, "settings": {}}
    manifest = write_manifest(folder, {**known, **about})
    return {**files, "manifest.json": manifest.read_bytes(), "__results__.html": b"Kaggle's own"}
