"""Writing what a server sends to a file: resumed, bounded in attempts, with progress. For every download of heartseg.

It needs the standard library only, since requests is there with the kaggle extra alone. A response is either that of
urllib or the raw one of requests: both have ``status``, ``headers`` and ``read``.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from heartseg.errors import InputError, UnwritableError, flat

ATTEMPTS = 5
BACK_OFF = 1.0  # seconds before the second attempt; doubled before each further one
CHUNK = 2**20  # bytes


class TransferError(Exception):
    """A connection that failed or was closed early; another attempt may succeed."""


def save(
    request: Callable[[int], Any],
    file: Path,
    limit: int | None = None,
    progress: Callable[[int, int | None], object] = lambda done, total: None,
    name: str | None = None,
) -> None:
    """Write the body of a response to a file, after the bytes that the file has; resume after a lost connection.

    Args:
        request: send the request, for what follows a number of bytes. A server that answers 200 sends all again, and
            416 means that there is nothing more.
        file: where the body goes. It stays as it is on an error, for the caller to keep or to remove.
        limit: bytes that the file may have.
        progress: called with the bytes in the file, and the total if it is known.
        name: what an error names, instead of the file.

    Raises:
        TransferError: the connection failed `ATTEMPTS` times.
        InputError: over the limit, or an answer without a file.
        OSError: the disk is full or cannot be written.
    """
    for attempt in range(ATTEMPTS):
        try:
            with request(file.stat().st_size if file.exists() else 0) as response:
                _write(response, file, limit, progress, name or file.name)
            return
        except TransferError:
            if attempt == ATTEMPTS - 1:
                raise
        time.sleep(BACK_OFF * 2**attempt)


def _write(
    response: Any, file: Path, limit: int | None, progress: Callable[[int, int | None], object], name: str
) -> None:
    start = file.stat().st_size if file.exists() else 0
    if response.status == 416 and start:
        return
    if response.status not in (200, 206):
        raise InputError(f"{name}: the server answers {response.status} without a file; run again later")
    if response.status == 200:
        start = 0
    elif not (response.headers.get("Content-Range") or "").startswith(f"bytes {start}-"):
        file.unlink(missing_ok=True)
        raise TransferError("the server sent another range than it was asked for")
    length = None if response.headers.get("Content-Encoding") else response.headers.get("Content-Length")
    total, done = (start + int(length) if length else None), start
    if total and shutil.disk_usage(file.parent).free < total - start:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    progress(done, total)
    with open(file, "ab" if start else "wb") as target:
        while chunk := _read(response):
            done += len(chunk)
            if limit is not None and done > limit:
                raise InputError(f"{name}: is larger than the {limit} bytes that it may have; it was not kept")
            target.write(chunk)
            progress(done, total)
    if total and done < total:
        raise TransferError(f"the connection was closed at {done} of {total} bytes")


def _read(response: Any) -> bytes:
    try:
        return bytes(response.read(CHUNK))
    except Exception as error:  # of urllib, http.client, ssl, socket or urllib3
        raise TransferError(flat(error)) from error


@contextmanager
def disk_errors(out: str | os.PathLike[str]) -> Iterator[None]:
    """Raise UnwritableError, which names the folder, for an error of the disk."""
    try:
        yield
    except OSError as error:
        raise UnwritableError(out, error) from error


@contextmanager
def progress_bar(name: str, console: Console, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Show the progress of a download in bytes; yield ``show(done, total=None, name=None)``, for `save` to call."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task(name, total=total)

        def show(done: int, total: int | None = None, name: str | None = None) -> None:
            bar.update(task, completed=done, total=total, description=name)  # None: as it was

        yield show
