"""A run as a kernel leaves it: its files and their manifest."""

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
    """What a session left behind, in small."""
    (folder / "pictures").mkdir(parents=True)
    for name in ("checkpoint.pt", "model.pt", "run.lock", "evaluation_results.json", "pictures/a.png"):
        (folder / name).write_text(f"{name} of {epochs}")
    (folder / "notes.txt").write_text("not allowed")
    write_manifest(folder, {"bundle": bundle, "epochs": epochs})
    return folder
