"""Fetching a public data set: resumed, and verified against its published checksum."""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

import heartseg
from heartseg.data.archives import unpack
from heartseg.data.cases import find_cases
from heartseg.errors import InputError, flat

DATASETS = {"task02": "Task02_Heart"}
ATTEMPTS = 5
BACK_OFF = 1.0  # seconds before the second attempt; doubled before each further one
TIMEOUT = 30.0  # seconds without a byte
CHUNK = 2**20


def fetch(
    name: str,
    out: str | os.PathLike[str],
    *,
    url: str | None = None,
    md5: str | None = None,
    progress: bool = True,
) -> Path:
    """Download a public data set and unpack it into a folder of its own under ``out``.

    A download that was cut off goes on where it stopped; a data set that is complete is left as it is.

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
        raise InputError(f"{name}: is no known data set; use one of {', '.join(DATASETS)}")
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
    """`fetch` a data set to ``dataset_dir`` if that is missing. InputError if the folder's name is another."""
    folder = Path(dataset_dir)
    if folder.exists():
        return folder
    if name in DATASETS and folder.name != DATASETS[name]:
        raise InputError(f"{folder}: the download makes a folder {DATASETS[name]}; let the data folder end in that")
    return fetch(name, folder.absolute().parent)


def already_there(folder: Path, console: Console) -> bool:
    """Whether a data set is there, said in a line. InputError where it is not whole.

    Folders appear whole, by a rename, but users may have put or emptied one themselves.
    """
    if not folder.exists():
        return False
    try:
        find_cases(folder, labelled=True)
    except InputError as error:
        raise InputError(f"{folder}: is there but not whole; move it away and run again ({error})") from error
    console.print(f"{folder}: already there", markup=False, highlight=False, soft_wrap=True)
    return True


@contextmanager
def disk_errors(out: str | os.PathLike[str]) -> Iterator[None]:
    """Tell the disk's errors below a folder as InputError."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise InputError(f"{out}: the disk is full; free some space and run again") from error
        raise InputError(f"{out}: cannot be written ({flat(error)}); choose another folder") from error


def transfer_bar(console: Console) -> Progress:
    """The progress of downloads, in bytes."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console)


def _download(url: str, archive: Path, md5: str, console: Console) -> None:
    """Bring ``archive`` here by way of ``archive.part``, which stays for the next run if this is cut off."""
    part = archive.with_name(archive.name + ".part")
    resumed = part.exists()
    with transfer_bar(console) as bar:
        task = bar.add_task(archive.name, total=None)
        for attempt in range(ATTEMPTS):
            try:
                _receive(url, part, bar, task)
            except (urllib.error.URLError, http.client.HTTPException) as error:
                _refuse_hopeless(error, url)
                if attempt == ATTEMPTS - 1:
                    reason = flat(getattr(error, "reason", None) or error)
                    remedy = "check the network and run again, what has come is kept"
                    raise InputError(f"{url}: the download failed ({reason}); {remedy}") from error
                time.sleep(BACK_OFF * 2**attempt)
                continue
            if _md5(part) == md5:
                os.replace(part, archive)
                return
            part.unlink()
            if not resumed:
                break
            resumed = False  # what lay here may have been of another file: once more, from the start
    raise InputError(f"{url}: the checksum differs from the published one; run again or give another url")


def _receive(url: str, part: Path, bar: Progress, task: TaskID) -> None:
    """One request for what ``part`` lacks. The network raises URLError or HTTPException, the disk OSError."""
    start = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": f"heartseg/{heartseg.__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if start and error.code == 416:  # there is no more than what lies here: the checksum decides
            return
        raise
    except urllib.error.URLError:
        raise
    except OSError as error:
        raise urllib.error.URLError(error) from error
    with response:
        if response.status != 206:
            start = 0  # the server knows no ranges and sends all
        elif not (response.headers.get("Content-Range") or "").startswith(f"bytes {start}-"):
            part.unlink()
            raise http.client.HTTPException("the server sent another range than was asked for")
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        if total and shutil.disk_usage(part.parent).free < total - start:
            raise OSError(errno.ENOSPC, "no space left")
        bar.update(task, completed=start, total=total)
        with open(part, "ab" if start else "wb") as file:
            while chunk := _next_chunk(response):
                file.write(chunk)
                bar.advance(task, len(chunk))
    if total and part.stat().st_size < total:
        raise http.client.HTTPException(f"the connection closed at {part.stat().st_size} of {total} bytes")


def _next_chunk(response: Any) -> bytes:
    try:
        return bytes(response.read(CHUNK))
    except OSError as error:
        raise urllib.error.URLError(error) from error


def _refuse_hopeless(error: Exception, url: str) -> None:
    """Raise InputError for what no second attempt mends."""
    if isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code not in (408, 425, 429):
        remedy = "give a mirror's url, or put the archive there yourself"
        raise InputError(f"{url}: the server answers {error.code} {error.reason}; {remedy}") from error
    if isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
        remedy = "check the clock and the proxy of this machine"
        raise InputError(f"{url}: its certificate is not valid; {remedy}") from error


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
