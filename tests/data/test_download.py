import errno
import hashlib
import shutil
import tarfile
from collections import namedtuple

import pytest
from archives import SOUND, special, tar_of

from heartseg.data import transfer
from heartseg.data.download import fetch
from heartseg.errors import InputError


def md5(content):
    return hashlib.md5(content).hexdigest()


@pytest.fixture(autouse=True)
def sound_archive(server, monkeypatch):
    monkeypatch.setattr(transfer, "BACK_OFF", 0.001)
    monkeypatch.setattr(transfer, "CHUNK", 2**12)
    server.content = tar_of()


def get(server, out, **keys):
    return fetch("task02", out, **{"url": server.url, "md5": md5(server.content), "progress": False, **keys})


def fault(server, out, **keys):
    with pytest.raises(InputError) as caught:
        get(server, out, **keys)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


WHOLE = ["Task02_Heart/dataset.json", "Task02_Heart/imagesTr/a.nii.gz", "Task02_Heart/labelsTr/a.nii.gz"]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_downloads_unpacks_and_cleans_up(server, tmp_path, mode):
    server.content = tar_of({**SOUND, "README": b"beside the folder"}, mode=mode)
    folder = get(server, tmp_path / "new" / "out")
    assert folder == tmp_path / "new" / "out" / "Task02_Heart"
    assert names(folder.parent) == WHOLE  # no ._ files, no archive, no temporary folder
    assert server.ranges == [None]


def test_the_second_call_finds_it_there(server, tmp_path, capfd):
    folder = get(server, tmp_path)
    assert get(server, tmp_path, progress=True) == folder
    assert len(server.ranges) == 1
    assert f"{folder}: already there" in capfd.readouterr().err


def test_progress_goes_to_stderr(server, tmp_path, capfd):
    get(server, tmp_path, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "Task02_Heart.tar" in err


def test_an_incomplete_folder_is_left_alone(server, tmp_path):
    folder = get(server, tmp_path)
    (folder / "labelsTr" / "a.nii.gz").unlink()
    line = fault(server, tmp_path)
    assert line.startswith(f"{folder}: is incomplete; move it away and run again (")
    assert (folder / "imagesTr" / "a.nii.gz").is_file()


def part_of(tmp_path, content):
    (tmp_path / "Task02_Heart.tar.part").write_bytes(content)


def test_resumes_where_it_stopped(server, tmp_path):
    part_of(tmp_path, server.content[:70000])
    get(server, tmp_path)
    assert server.ranges == ["bytes=70000-"]
    assert names(tmp_path) == WHOLE


def test_a_server_that_ignores_ranges(server, tmp_path):
    part_of(tmp_path, server.content[:70000])
    server.knows_ranges = False
    get(server, tmp_path)
    assert server.ranges == ["bytes=70000-"]
    assert names(tmp_path) == WHOLE


def test_a_server_that_sends_another_range(server, tmp_path):
    part_of(tmp_path, server.content[:70000])
    server.wrong_range = True
    get(server, tmp_path)
    assert server.ranges == ["bytes=70000-", None]


def test_a_part_that_is_complete(server, tmp_path):
    part_of(tmp_path, server.content)
    get(server, tmp_path)
    assert server.ranges == [f"bytes={len(server.content)}-"]
    assert names(tmp_path) == WHOLE


@pytest.mark.parametrize("length", [70000, 10**6])
def test_a_part_of_another_file_costs_a_second_download(server, tmp_path, length):
    part_of(tmp_path, b"x" * length)
    get(server, tmp_path)
    assert server.ranges == [f"bytes={length}-", None]
    assert names(tmp_path) == WHOLE


def test_a_dropped_connection_is_resumed(server, tmp_path):
    server.cuts = [50000, 60000]
    get(server, tmp_path)
    assert server.ranges == [None, "bytes=50000-", "bytes=110000-"]
    assert names(tmp_path) == WHOLE


def test_a_dropped_connection_without_a_length_shows_in_the_checksum(server, tmp_path):
    server.cuts, server.length = [50000], False
    assert "the checksum differs" in fault(server, tmp_path)


def test_attempts_are_bounded_and_the_part_is_kept(server, tmp_path):
    server.cuts = [10000] * 9
    line = fault(server, tmp_path)
    size = len(server.content)
    assert f"the download failed (the connection was closed at 50000 of {size} bytes); check the network" in line
    assert len(server.ranges) == transfer.ATTEMPTS
    assert names(tmp_path) == ["Task02_Heart.tar.part"]
    server.cuts = []
    get(server, tmp_path)
    assert server.ranges[-1] == "bytes=50000-"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server, tmp_path, status):
    server.states = [status, status]
    get(server, tmp_path)
    assert len(server.ranges) == 3


@pytest.mark.parametrize(("status", "reason"), [(403, "Forbidden"), (404, "Not Found")])
def test_a_refusal_is_final(server, tmp_path, status, reason):
    server.states = [status]
    line = fault(server, tmp_path)
    assert line.startswith(f"{server.url}: the server answers {status} {reason}; give a mirror's url")
    assert len(server.ranges) == 1
    assert names(tmp_path) == []


def test_no_server(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "ATTEMPTS", 2)
    line = fault(server, tmp_path, url="http://127.0.0.1:1/Task02_Heart.tar")
    assert "the download failed (" in line
    assert "check the network and run again" in line


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    line = fault(server, tmp_path, md5="0" * 32)
    assert line == f"{server.url}: the checksum differs from the published one; run again or give another url"
    assert len(server.ranges) == 1
    assert names(tmp_path) == []


def test_the_published_checksum_is_the_default(server, tmp_path):
    assert "the checksum differs" in fault(server, tmp_path, md5=None)


def test_an_existing_archive_is_verified_used_and_kept(server, tmp_path):
    archive = tmp_path / "Task02_Heart.tar"
    archive.write_bytes(server.content[:-1])
    assert f"{archive}: the checksum differs" in fault(server, tmp_path)
    archive.write_bytes(server.content)
    get(server, tmp_path)
    assert server.ranges == []
    assert names(tmp_path) == ["Task02_Heart.tar", *WHOLE]


@pytest.mark.parametrize("name", ["/etc/evil", "../evil", "Task02_Heart/../../evil", "C:\\evil", "a\\..\\evil"])
def test_names_that_lead_out_of_the_folder(server, tmp_path, name):
    server.content = tar_of({**SOUND, name: b"evil"})
    line = fault(server, tmp_path / "out")
    assert f"{name!r} leads out of its folder; do not use this archive" in line
    assert names(tmp_path) == ["out/Task02_Heart.tar"]  # checked before anything was unpacked


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "/etc"),
        (tarfile.SYMTYPE, "imagesTr"),
        (tarfile.LNKTYPE, "Task02_Heart/dataset.json"),
        (tarfile.CHRTYPE, ""),
        (tarfile.FIFOTYPE, ""),
    ],
)
def test_links_and_devices(server, tmp_path, kind, target):
    server.content = tar_of(SOUND, special("Task02_Heart/odd", kind, target))
    assert "'Task02_Heart/odd' is a link or a device" in fault(server, tmp_path)
    assert names(tmp_path) == ["Task02_Heart.tar"]


def test_a_bomb(server, tmp_path):
    server.content = tar_of({**SOUND, "Task02_Heart/zeros": bytes(10**7)}, mode="w:gz")
    assert "unpacks to over 20 times its size" in fault(server, tmp_path)
    assert names(tmp_path) == ["Task02_Heart.tar"]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"no archive at all" * 99, "is damaged ("),
        (tar_of()[:100000], "is damaged ("),
        (tar_of({"Other/imagesTr/a.nii": b"x"}), "does not hold the data set Task02_Heart (Task02_Heart: there is no"),
        (tar_of({"Task02_Heart/imagesTr/a.nii": b"x"}), "does not hold the data set Task02_Heart (Task02_Heart: holds"),
    ],
)
def test_an_archive_of_something_else(server, tmp_path, content, line):
    server.content = content
    assert line in fault(server, tmp_path)
    assert names(tmp_path) == ["Task02_Heart.tar"]


Usage = namedtuple("Usage", "total used free")


def test_too_little_space_is_seen_before_the_download(server, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1, 1, len(server.content) - 1))
    assert fault(server, tmp_path) == (
        f"{tmp_path}: cannot be written (No space left on device); free some space, then run the same command again"
    )


def test_too_little_space_to_unpack(server, tmp_path, monkeypatch):
    server.content = tar_of(mode="w:gz")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1, 1, len(server.content)))
    assert "free some space" in fault(server, tmp_path)
    assert names(tmp_path) == ["Task02_Heart.tar"]


def test_a_full_disk_is_not_taken_for_a_network_error(server, tmp_path, monkeypatch):
    class Full:
        def __init__(self, *args):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *args):
            return None

        def write(self, chunk):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfer, "open", Full, raising=False)
    assert "free some space" in fault(server, tmp_path)
    assert len(server.ranges) == 1


def test_a_place_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").touch()
    assert f"{tmp_path}/file: cannot be written (" in fault(server, tmp_path / "file")


def test_unknown_names_and_addresses(server, tmp_path):
    with pytest.raises(InputError, match=r"^task99: is not a known data set; did you mean task02\?$"):
        fetch("task99", tmp_path)
    assert "is not a web address" in fault(server, tmp_path, url="file:///etc/passwd")
