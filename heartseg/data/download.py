"""Fetching a public data set: resumed, and verified against its published checksum."""

from __future__ import annotations

import hashlib
import http.client
import os
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from rich.console import Console

import heartseg
from heartseg.data.archives import unpack
from heartseg.data.cases import find_cases
from heartseg.data.transfer import TransferError, disk_errors, progress_bar, save
from heartseg.errors import InputError, flat, nearest

DATASETS = {"task02": "Task02_Heart"}
TIMEOUT = 30.0  # seconds without a byte
BUSY = (408, 425, 429)  # states below 500 after which another attempt makes sense


def fetch(
    name: str,
    out: str | os.PathLike[str],
    *,
    url: str | None = None,
    md5: str | None = None,
    progress: bool = True,
) -> Path:
    """Download a public data set and unpack it into its own folder under ``out``.

    A download that was cut off is resumed; a data set that is complete is left as it is.

    Args:
        name: "task02" (Medical Segmentation Decathlon Task02 Heart).
        out: folder that will hold ``Task02_Heart/``.
        url: a mirror of the archive; default: the one that MONAI uses.
        md5: checksum of the archive; default: the published one.
        progress: show a progress bar on stderr.

    Returns:
        The folder of the data set.

    Raises:
        InputError: unknown name, no network, refused by the server, wrong checksum, unsafe archive, full
            disk, or a folder of that name that is not the whole data set.
    """
    from monai.apps import DecathlonDataset  # slow to import, and needed for two constants only

    if name not in DATASETS:
        raise unknown(name)
    task = DATASETS[name]
    url, md5 = url or DecathlonDataset.resource[task], md5 or DecathlonDataset.md5[task]
    if not url.startswith(("https://", "http://")):
        raise InputError(f"{url}: is not a web address; give one that starts with https://")
    folder, archive = Path(out) / task, Path(out) / f"{task}.tar"
    console = Console(stderr=True, quiet=not progress)
    if already_there(folder, console):
        return folder
    with disk_errors(out):
        folder.parent.mkdir(parents=True, exist_ok=True)
        ours = not archive.exists()
        if ours:
            _download(url, archive, md5, console)
        elif _md5(archive) != md5:
            raise InputError(f"{archive}: the checksum differs from the published one; remove it and run again")
        unpack(archive, folder)
        if ours:
            archive.unlink()
    return folder


def fetch_missing(name: str, dataset_dir: str | os.PathLike[str]) -> Path:
    """Return ``dataset_dir``, after `fetch` if it is missing. InputError if its name is not that of the data set."""
    folder = Path(dataset_dir)
    if folder.exists():
        return folder
    if name in DATASETS and folder.name != DATASETS[name]:
        raise InputError(f"{folder}: the download makes a folder {DATASETS[name]}; name the data folder so")
    return fetch(name, folder.absolute().parent)


def already_there(folder: Path, console: Console) -> bool:
    """Return whether a data set is there, and print it. InputError if it is incomplete.

    Folders appear whole, by a rename, but users may have made or emptied one themselves.
    """
    if not folder.exists():
        return False
    try:
        find_cases(folder, labelled=True)
    except InputError as error:
        raise InputError(f"{folder}: is incomplete; move it away and run again ({error})") from error
    console.print(f"{folder}: already there", markup=False, highlight=False, soft_wrap=True)
    return True


def unknown(name: str) -> InputError:
    """Return the error for a name that is not of a data set."""
    return InputError(f"{name}: is not a known data set; {nearest(name, DATASETS)}")


def _download(url: str, archive: Path, md5: str, console: Console) -> None:
    """Download to ``archive.part``, which stays for the next run if the download fails, and rename it."""
    part = archive.with_name(archive.name + ".part")
    with progress_bar(archive.name, console) as progress:
        for again in (part.exists(), False):
            try:
                save(lambda start: _request(url, start), part, progress=progress)
            except TransferError as error:
                remedy = "check the network and run again, the part that was received is kept"
                raise InputError(f"{url}: the download failed ({flat(error)}); {remedy}") from error
            if _md5(part) == md5:
                os.replace(part, archive)
                return
            part.unlink()
            if not again:  # else the part may have been of another file: once more, from the start
                break
    raise InputError(f"{url}: the checksum differs from the published one; run again or give another url")


def _request(url: str, start: int) -> Any:
    """Open an address from a byte on. Raises TransferError, or InputError where another attempt is no use."""
    headers = {"User-Agent": f"heartseg/{heartseg.__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if start and error.code == 416:
            return error  # a response too
        error.close()
        if error.code < 500 and error.code not in BUSY:
            remedy = "give a mirror's url, or put the archive there yourself"
            raise InputError(f"{url}: the server answers {error.code} {error.reason}; {remedy}") from error
        raise TransferError(flat(error)) from error
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, ssl.SSLCertVerificationError):
            remedy = "check the clock and the proxy of this machine"
            raise InputError(f"{url}: its certificate is not valid; {remedy}") from error
        raise TransferError(flat(reason)) from error


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
