"""A public data set from one of its copies at Kaggle."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from rich.console import Console

from heartseg.data.archives import unpack
from heartseg.data.download import DATASETS, already_there, disk_errors, transfer_bar
from heartseg.errors import InputError
from heartseg.kaggle.service import Service

CANDIDATES = 8  # data sets that the line of an error names


def fetch(name: str, out: str | os.PathLike[str], dataset: str | None = None, service: Service | None = None) -> Path:
    """Download a copy of a public data set from Kaggle and unpack it into a folder of its own under ``out``.

    There is no published checksum of a copy: the archive is judged as `heartseg.data.archives` does, no more.

    Args:
        name: as of `heartseg.data.download.fetch`.
        out: folder that will hold the data set.
        dataset: OWNER/SLUG at Kaggle. No copy is known to be the original, hence none is chosen: without it Kaggle is
            searched, and what it finds is named.
        service: the signed-in door to Kaggle; default: one is opened where it is needed.

    Returns:
        The folder of the data set.

    Raises:
        InputError: unknown name, no ``dataset``, refused by Kaggle, unsafe archive, not the whole data set, full disk.
    """
    if name not in DATASETS:
        raise InputError(f"{name}: is no known data set; use one of {', '.join(DATASETS)}")
    folder = Path(out) / DATASETS[name]
    console = Console(stderr=True)
    if already_there(folder, console):
        return folder
    service = service or Service.connect()
    if dataset is None:
        raise InputError(_candidates(service, DATASETS[name]))
    with disk_errors(out):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder.parent) as temporary:
            archive = Path(temporary) / f"{folder.name}.zip"
            with transfer_bar(console) as bar:
                task = bar.add_task(dataset, total=None)
                service.download_dataset(dataset, archive, lambda size: bar.update(task, completed=size))
            unpack(archive, folder, source=dataset)
    return folder


def _candidates(service: Service, words: str) -> str:
    found = service.datasets(words)
    if not found:
        return f"{words}: Kaggle finds no data set of this name; use the archive of the Decathlon (without --from)"
    named = ", ".join(found[:CANDIDATES])
    return f"{words}: no copy at Kaggle is known to be the original; look at these and name one by --dataset: {named}"
