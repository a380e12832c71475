"""`heartseg data fetch task02 --from kaggle`: a copy of the data set, with the care that the archive has."""

import io
import stat
import struct
import zipfile

import pytest
from answers import refused, tree
from archives import SOUND
from kaggle_stub import Fault, zip_of

from heartseg.data.archives import MAX_RATIO

SLUG = "bob/heart"
WHOLE = ["Task02_Heart/dataset.json", "Task02_Heart/imagesTr/a.nii.gz", "Task02_Heart/labelsTr/a.nii.gz"]
ODD = "Task02_Heart/odd"


def moved(place):
    return {name.replace("Task02_Heart/", place): content for name, content in SOUND.items()}


def linked(name, target="../../etc", kind=stat.S_IFLNK):
    """Return a valid zip with a link or a device added."""
    buffer = io.BytesIO(zip_of(SOUND))
    with zipfile.ZipFile(buffer, "a") as archive:
        info = zipfile.ZipInfo(name)
        info.create_system = 3  # Unix
        info.external_attr = (kind | 0o777) << 16
        archive.writestr(info, target)
    return buffer.getvalue()


def encrypted():
    """Return a zip whose last member is marked as encrypted."""
    content = bytearray(zip_of(SOUND))
    content[content.rindex(b"PK\1\2") + 8] |= 1
    return bytes(content)


def lying():
    """Return a zip whose last member claims less than it holds."""
    content = bytearray(zip_of({**SOUND, ODD: bytes(10**6)}))
    at = content.rindex(b"PK\1\2") + 24
    content[at : at + 4] = struct.pack("<I", 10)
    return bytes(content)


@pytest.fixture
def get(heartseg, stub, quick, tmp_path):
    def call(*words, out=tmp_path / "data"):
        return heartseg("data", "fetch", "task02", "--out", out, "--from", "kaggle", *words)

    return call


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("place", ["Task02_Heart/", "", "heart/Task02_Heart/", "Heart MRI/"])
def test_a_copy_in_any_folder_of_the_zip(get, stub, tmp_path, place):
    stub.datasets[SLUG] = zip_of({**moved(place), "README.md": b"beside"} if place else moved(place))
    status, out, err = get("--dataset", SLUG)
    assert (status, out) == (0, f"data: {tmp_path / 'data' / 'Task02_Heart'}\n") and SLUG in err
    assert names(tmp_path / "data") == WHOLE  # no ._ files, no zip, no temporary folder
    assert (tmp_path / "data" / WHOLE[1]).read_bytes() == SOUND[WHOLE[1]]
    assert (tmp_path / "data" / "Task02_Heart").stat().st_mode & 0o777 == tmp_path.joinpath(
        "data"
    ).stat().st_mode & 0o777


def test_existing_data_are_not_fetched(get, stub, tmp_path, monkeypatch):
    stub.datasets[SLUG] = zip_of(SOUND)
    get("--dataset", SLUG)
    stub.calls.clear()
    before = tree(tmp_path)
    monkeypatch.delenv("KAGGLE_KEY")  # nor are credentials needed
    status, _, err = get()
    assert status == 0 and "already there" in err
    assert stub.calls == [] and tree(tmp_path) == before


def test_a_folder_that_is_not_whole_is_left_alone(get, tmp_path):
    (tmp_path / "data" / "Task02_Heart").mkdir(parents=True)
    assert "is incomplete; move it away and run again" in refused(get("--dataset", SLUG))


def test_no_copy_is_chosen_for_the_user(get, stub, tmp_path):
    stub.datasets = {f"bob/heart-{number}": zip_of(SOUND) for number in range(10)}
    line = refused(get())
    start = "Task02_Heart: no copy on Kaggle is known to be the original; look at these and name one by --dataset: "
    assert line == start + ", ".join(f"bob/heart-{number}" for number in range(8))
    assert [call.name for call in stub.calls] == ["ListDatasets"] and not (tmp_path / "data").exists()


def test_nothing_is_found(get):
    assert "Task02_Heart: Kaggle finds no data set of this name; use the archive" in refused(get())


def test_a_download_that_breaks_off_is_tried_again(get, stub, tmp_path):
    stub.datasets[SLUG] = zip_of(SOUND)
    stub.fail(SLUG, Fault("truncate"), Fault("drop"))
    assert get("--dataset", SLUG)[0] == 0 and names(tmp_path / "data") == WHOLE
    assert stub.asked(SLUG) == 3


@pytest.mark.parametrize(
    ("name", "fault", "said"),
    [
        (SLUG, Fault("truncate"), "bob/heart: the connection failed (IncompleteRead"),
        (SLUG, Fault(status=403), "bob/heart: the server answers 403 (Forbidden)"),
        ("DownloadDataset", Fault(status=500), "bob/heart: the server answers 500"),
        (SLUG, Fault("redirect", body=b"http://example.org/heart.zip"), "example.org: is offered without https"),
    ],
)
def test_a_download_that_fails_leaves_nothing(get, stub, tmp_path, name, fault, said):
    stub.datasets[SLUG] = zip_of(SOUND)
    stub.fail(name, *[fault] * 9)
    assert said in refused(get("--dataset", SLUG))
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (zip_of({**SOUND, "../evil": b"x"}), "'../evil' leads out of its folder; do not use this archive"),
        (zip_of({**SOUND, "/evil": b"x"}), "'/evil' leads out of its folder"),
        (zip_of({**SOUND, "Task02_Heart\\..\\..\\evil": b"x"}), "leads out of its folder"),
        (zip_of({**SOUND, "C:evil": b"x"}), "'C:evil' leads out of its folder"),
        (linked(ODD), f"'{ODD}' is a link or a device; do not use this archive"),
        (linked(ODD, kind=stat.S_IFCHR), f"'{ODD}' is a link or a device"),
        (zip_of({**SOUND, ODD: bytes(10**7)}), f"unpacks to over {MAX_RATIO} times its size"),
        (lying(), "is damaged ("),
        (encrypted(), "is encrypted; name another one"),
        (zip_of({**SOUND, ODD: b"x", f"{ODD}/y": b"y"}), "is damaged ("),
        (zip_of(SOUND)[:-40], "is damaged ("),
        (b"<html>no zip</html>", "is damaged (File is not a zip file); run again"),
        (zip_of({"a/imagesTr/a.nii": b"", "b/imagesTr/a.nii": b""}), "holds several data sets (a, b); name another"),
        (zip_of({"README.md": b"x"}), "holds no data set: there is no folder imagesTr in it; name another one"),
        (zip_of({"imagesTr/a.nii.gz": b"x" * 999}), "does not hold the data set Task02_Heart ("),
    ],
)
def test_unsafe_and_invalid_zips(get, stub, tmp_path, content, said):
    stub.datasets[SLUG] = content
    (tmp_path / "mine.txt").write_text("of before")
    line = refused(get("--dataset", SLUG))
    assert line.startswith(f"{SLUG}: ") and said in line and str(tmp_path) not in line
    assert names(tmp_path) == ["mine.txt"] and list((tmp_path / "data").iterdir()) == []


def test_invalid_options(heartseg, get, tmp_path):
    words = ("data", "fetch", "task02", "--out", tmp_path)
    assert "--from floppy: is not a source of data sets" in refused(heartseg(*words, "--from", "floppy"))
    assert "--dataset bob/heart: is for copies on Kaggle" in refused(heartseg(*words, "--dataset", SLUG))
    assert "alone: is not a data set; write OWNER/NAME" in refused(get("--dataset", "alone"))
    line = refused(heartseg("data", "fetch", "task99", "--out", tmp_path, "--from", "kaggle"))
    assert line == "task99: is not a known data set; did you mean task02?"


def test_without_credentials(get, monkeypatch):
    monkeypatch.delenv("KAGGLE_KEY")
    assert "KAGGLE_USERNAME is set, but KAGGLE_KEY is missing" in refused(get("--dataset", SLUG))
