"""A run as a kernel leaves it: its files and their manifest."""

import hashlib
import json

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
