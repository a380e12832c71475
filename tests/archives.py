"""Archives of a data set, valid or not, in memory."""

import io
import random
import tarfile

SOUND = {
    "Task02_Heart/dataset.json": b"{}",
    "Task02_Heart/._dataset.json": b"mac",
    "Task02_Heart/imagesTr/a.nii.gz": bytes(range(256)) * 30 + random.Random(0).randbytes(200_000),
    "Task02_Heart/imagesTr/._a.nii.gz": b"mac",
    "Task02_Heart/labelsTr/a.nii.gz": b"label",
}


def tar_of(files=SOUND, *members, mode="w"):
    """Return an archive of {name: content} and of ready TarInfo entries."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for member in members:
            tar.addfile(member)
    return buffer.getvalue()


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info
