"""The folder of a training run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from heartseg.data.files import provenance, read_cases_of, write_json
from heartseg.data.layout import Case
from heartseg.errors import InputError
from heartseg.networks.weights import licence_of, notes_file


def new_run(
    output_dir: str | os.PathLike[str],
    train: Sequence[Case],
    val: Sequence[Case],
    initial_weights: str | os.PathLike[str] | None = None,
) -> None:
    """Make the folder of a run and note beside its weights which cases train and which validate.

    What trained the initial weights has trained these too, and the licence of those binds these.

    Raises InputError where the folder holds a run already: nothing is overwritten.
    """
    folder = Path(output_dir)
    held = [name for name in ("model.pt", "checkpoint.pt", "training_metrics.json") if (folder / name).exists()]
    if held:
        raise InputError(f"{folder}: holds a run already ({', '.join(held)}); name another output folder")
    try:
        earlier = read_cases_of(initial_weights).get("train", []) if initial_weights else []
        ids = list(dict.fromkeys([case["id"] for case in train] + earlier))
        notes = {"train": ids, "val": [case["id"] for case in val], **provenance(initial_weights)}
        if licence := licence_of(initial_weights) if initial_weights else None:
            notes["licence"] = {"name": licence["name"], "commercial": licence["commercial"]}  # its file stays behind
        write_json(notes_file(folder / "model.pt"), notes)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); name another output folder") from None
