"""Unsafe archives: nothing is written outside the folder, nothing is left half-unpacked, memory is bounded."""

import gzip
import hashlib
import io
import tarfile
import tracemalloc

import pytest
from answers import tree
from archives import SOUND, special, tar_of

from heartseg.data.archives import MAX_NAME, MAX_RATIO
from heartseg.data.download import fetch
from heartseg.errors import InputError

ODD = "Task02_Heart/odd"


def block(name, size, kind=tarfile.REGTYPE):
    """Return the header of a member alone, with the size that it claims, and no content."""
    info = tarfile.TarInfo(name)
    info.type = kind
    content = bytearray(info.tobuf())
    content[124:136] = size
    content[148:156] = b" " * 8  # the checksum counts itself as blanks
    content[148:156] = b"%06o\0 " % sum(content)
    return bytes(content)


def octal(size):
    return b"%011o\0" % size


def base256(size):
    """Return a number as GNU tar writes those that octal digits cannot hold, negative ones too."""
    return (b"\xff" if size < 0 else b"\x80") + (size & (2**88 - 1)).to_bytes(11, "big")


def pax(**attributes):
    """Return a member with these pax headers."""
    info = tarfile.TarInfo(ODD)
    info.pax_headers = attributes
    return info


SOUND_TAR = tar_of()
START = SOUND_TAR.rstrip(b"\0")
START += b"\0" * (-len(START) % tarfile.BLOCKSIZE)  # without the two empty blocks at its end
UNSAFE = {
    "link out of the folder": (tar_of(SOUND, special(ODD, tarfile.SYMTYPE, "../../../etc")), "is a link or a device"),
    "hard link out": (tar_of(SOUND, special(ODD, tarfile.LNKTYPE, "/etc/passwd")), "is a link or a device"),
    "device": (tar_of(SOUND, special(ODD, tarfile.BLKTYPE)), "is a link or a device"),
    "pipe": (tar_of(SOUND, special(ODD, tarfile.FIFOTYPE)), "is a link or a device"),
    "folder through a link": (
        tar_of({**SOUND, f"{ODD}/x": b"evil"}, special(ODD, tarfile.SYMTYPE, "/tmp")),
        "is a link or a device",
    ),
    "name by a pax header": (tar_of(SOUND, pax(path="../evil")), "leads out of its folder"),
    "absolute": (tar_of({**SOUND, "/evil": b"x"}), "leads out of its folder"),
    "bomb": (tar_of({**SOUND, ODD: bytes(10**7)}, mode="w:gz"), f"unpacks to over {MAX_RATIO} times its size"),
    "claimed size": (START + block(ODD, base256(2**60)) + bytes(1024), f"unpacks to over {MAX_RATIO} times its size"),
    "many empty files": (
        tar_of({f"Task02_Heart/{number}": b"" for number in range(5000)}, mode="w:gz"),
        f"unpacks to over {MAX_RATIO} times its size",
    ),
    "negative size": (START + block(ODD, base256(-(2**40))) + bytes(1024), "is damaged (a header that claims -"),
    "negative size by a pax header": (tar_of(SOUND, pax(size="-1099511627776")), "is damaged ("),
    "long name": (
        START + block(ODD, octal(MAX_NAME + 1), tarfile.GNUTYPE_LONGNAME) + bytes(2 * MAX_NAME),
        f"is damaged (a header that claims {MAX_NAME + 1} bytes)",
    ),
    "name of a folder and a file": (tar_of({**SOUND, ODD: b"x", f"{ODD}/y": b"y"}), "is damaged ("),
    "name that no disk takes": (tar_of({**SOUND, "Task02_Heart/" + "n" * 3000: b"x"}), "is damaged ("),
    "zero byte in a name": (tar_of(SOUND, pax(path="Task02_Heart/a\0b")), "is damaged ("),
}


def refused(server, out, content):
    server.content = content
    with pytest.raises(InputError) as info:
        fetch("task02", out, url=server.url, md5=hashlib.md5(content).hexdigest(), progress=False)
    assert "\n" not in str(info.value)
    return str(info.value)


@pytest.mark.parametrize("name", UNSAFE)
def test_an_unsafe_archive_is_refused_and_leaves_nothing(name, server, tmp_path):
    content, said = UNSAFE[name]
    (tmp_path / "mine.txt").write_text("of before")
    before = tree(tmp_path)
    line = refused(server, tmp_path / "out", content)
    archive = tmp_path / "out" / "Task02_Heart.tar"
    assert line.startswith(f"{archive}: ") and said in line
    assert line.endswith(("; do not use this archive", "; remove it and run again"))
    after = tree(tmp_path)
    assert after.pop(archive.relative_to(tmp_path))[0] == content
    assert after == before
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["Task02_Heart.tar"]


def test_a_long_name_of_a_gigabyte_never_reaches_the_memory(server, tmp_path):
    """64 MiB of zeros in 64 kB: tarfile would read them as one name."""
    packed = io.BytesIO()
    with gzip.open(packed, "wb", compresslevel=1) as file:
        file.write(START + block(ODD, octal(2**30), tarfile.GNUTYPE_LONGNAME) + bytes(2**26))
    tracemalloc.start()
    line = refused(server, tmp_path, packed.getvalue())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert f"a header that claims {2**30} bytes" in line and peak < 2**25
