"""Unpacking a data set safely: everything is checked before the first file is written, and the folder appears whole."""

from __future__ import annotations

import errno
import gzip
import lzma
import os
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PureWindowsPath
from typing import TypeVar

from heartseg.data.cases import find_cases
from heartseg.errors import InputError, flat

MAX_RATIO = 20  # unpacked over packed size; NIfTI in gzip stays below 10
MAX_NAME = 2**16  # bytes of a member's name and attributes, which tarfile reads at once
ENCRYPTED = 1  # among the flags of a zip's member
HEADER = tarfile.BLOCKSIZE  # bytes of a member in addition to its content, even if it is empty
OF_NAMES = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    ValueError,
    NotImplementedError,  # zipfile's, for an unusual compression
)
NO_NAME = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG)  # for example a file that is a folder too
Member = TypeVar("Member")


def unpack(archive: Path, folder: Path, source: str | None = None) -> None:
    """Unpack next to ``folder`` and rename, so that a folder of that name is always whole.

    Args:
        archive: a tar, compressed or not, that holds a folder of that name; or (``.zip``) a zip that holds the data
            set at its top or in any folder, as mirrors have it.
        folder: of the data set, in Decathlon layout.
        source: what an error names instead of the archive, if that is temporary.

    Raises:
        InputError: a link, a name that leads out of the folder, a bomb, damaged, or not the whole data set.
        OSError: the disk is full or cannot be written.
    """
    label = source or str(archive)
    temporary = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    try:
        if archive.suffix == ".zip":
            unpacked = _unpack_zip(archive, temporary / "zip", label)
        else:
            unpacked = temporary / folder.name
            with tarfile.open(archive, tarinfo=_Header) as tar:
                found = ((m.name, m.size, m.isfile() or m.isdir(), m) for m in tar)
                for member in _safe(found, archive, label):
                    tar.extract(member, temporary, filter="data")
        try:
            find_cases(unpacked, labelled=True)
        except InputError as error:
            fault = str(error).replace(f"{temporary}{os.sep}", "")
            raise InputError(f"{label}: does not hold the data set {folder.name} ({fault})") from error
        unpacked.rename(folder)
    except InputError:
        raise
    except (*DAMAGED, OSError) as error:
        if isinstance(error, OSError) and not isinstance(error, DAMAGED) and error.errno not in NO_NAME:
            raise
        fault = flat(error).replace(f"{temporary}{os.sep}", "")
        remedy = "run again" if source else "remove it and run again"
        raise InputError(f"{label}: is damaged ({fault}); {remedy}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class _Header(tarfile.TarInfo):
    """A header that is checked when it is read: tarfile believes any length, and reads long names whole."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        """Return one block of 512 bytes as a header. Raises tarfile's error for an impossible length."""
        member = super().frombuf(buf, encoding, errors)
        if member.size < 0 or (member.type in OF_NAMES and member.size > MAX_NAME):
            raise tarfile.ReadError(f"a header that claims {member.size} bytes")
        return member


def _unpack_zip(archive: Path, temporary: Path, label: str) -> Path:
    """Unpack a zip and return the one folder in it that holds a data set."""
    temporary.mkdir()
    with zipfile.ZipFile(archive) as file:
        if any(member.flag_bits & ENCRYPTED for member in file.infolist()):
            raise InputError(f"{label}: is encrypted; name another one")
        found = ((m.orig_filename, m.file_size, _plain(m), m) for m in file.infolist())
        for member in _safe(found, archive, label):
            file.extract(member, temporary)
    roots = sorted(path.parent for path in temporary.rglob("imagesTr") if path.is_dir())
    if len(roots) == 1:
        return roots[0]
    named = ", ".join(str(path.relative_to(temporary)) for path in roots)
    fault = f"holds several data sets ({named})" if roots else "holds no data set: there is no folder imagesTr in it"
    raise InputError(f"{label}: {fault}; name another one")


def _plain(member: zipfile.ZipInfo) -> bool:
    """Return whether a member of a zip is a file or a folder. Zips from other systems than Unix have no kind: zero."""
    return stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)


def _safe(found: Iterable[tuple[str, int, bool, Member]], archive: Path, label: str) -> list[Member]:
    """Return the members to unpack, all checked before the first is written; the ``._*`` files of a Mac are left out.

    Each is given as its name, its size in bytes, whether it is a file or folder, and itself.
    """
    members: list[Member] = []
    size, limit = 0, MAX_RATIO * archive.stat().st_size
    for name, length, plain, member in found:
        path = PureWindowsPath(name)  # knows both separators, and drives
        if path.drive or path.root or ".." in path.parts:
            raise InputError(f"{label}: {name!r} leads out of its folder; do not use this archive")
        if not plain:
            raise InputError(f"{label}: {name!r} is a link or a device; do not use this archive")
        if length < 0:  # as a pax header can have it
            raise tarfile.ReadError(f"{name!r} of {length} bytes")
        size += HEADER + length
        if size > limit:
            raise InputError(f"{label}: unpacks to over {MAX_RATIO} times its size; do not use this archive")
        if not path.name.startswith("._"):
            members.append(member)
    if shutil.disk_usage(archive.parent).free < size:
        raise OSError(errno.ENOSPC, "no space left")
    return members
