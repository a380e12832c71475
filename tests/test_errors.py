"""Bad input ends a program with one line and status 2, however deep in MONAI it was found."""

import errno
import logging
import os
import pickle
import signal
import sys

import pytest
from monai.data import DataLoader, Dataset
from monai.transforms import Compose, Lambdad

from heartseg.errors import InputError, LostWorkerError, input_error, readable_errors

LINE = "scan.nii.gz: is empty; export it again"


def refuse(value):
    raise InputError(LINE)


def caught(function, *args):
    with pytest.raises(Exception) as info:  # whatever MONAI and PyTorch make of it
        function(*args)
    return info.value


def chain(cause=None, context=None):
    """A RuntimeError raised from ``cause``, or while ``context`` was handled."""
    error = RuntimeError("applying transform")
    error.__cause__, error.__context__ = cause, context
    return error


def test_is_found_at_the_bottom_of_causes_and_contexts():
    bottom = InputError(LINE)
    assert input_error(bottom) is bottom
    assert input_error(chain(cause=bottom)) is bottom
    assert input_error(chain(context=chain(cause=chain(context=bottom)))) is bottom


def test_other_errors_hold_none():
    assert input_error(None) is None
    assert input_error(ValueError(LINE)) is None
    assert input_error(chain(cause=KeyError("x"))) is None


def test_a_ring_of_errors_comes_to_an_end():
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__context__, second.__context__ = second, first
    assert input_error(first) is None


def test_is_found_beneath_a_transform():
    error = caught(Compose([Lambdad("image", refuse)]), {"image": 1})
    assert not isinstance(error, InputError)  # MONAI wraps it, else this test shows nothing
    assert str(input_error(error)) == LINE


@pytest.mark.parametrize("transform", [Lambdad("image", refuse), refuse], ids=["wrapped", "bare"])
def test_is_found_in_what_a_worker_process_sends(transform):
    loader = DataLoader(Dataset([{"image": 1}], transform), num_workers=1)
    error = caught(next, iter(loader))
    assert "Traceback" in str(error)  # the chain is lost, only text comes over
    assert str(input_error(error)) == LINE


def test_a_program_ends_with_one_line_and_status_2(python):
    lines = [
        "from heartseg.errors import InputError, readable_errors",
        "readable_errors()",
        "try:",
        f"    raise InputError({LINE!r})",
        "except InputError as error:",
        "    raise RuntimeError('applying transform') from error",
    ]
    ended = python("-c", "\n".join(lines))
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", f"heartseg: {LINE}\n")


def test_other_errors_keep_their_traceback(python):
    ended = python("-c", "from heartseg.errors import readable_errors\nreadable_errors()\nraise KeyError('x')")
    assert ended.returncode == 1
    assert ended.stderr.startswith("Traceback") and ended.stderr.rstrip().endswith("KeyError: 'x'")


def test_a_bundle_speaks_so_under_monai_too(python, tmp_path):
    """`python -m monai.bundle run` of a configuration that refuses its input within an expression."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "tiny.yaml").write_text(
        "imports: [$import heartseg, $import heartseg.data, $import heartseg.errors]\n"
        "initialize: [$heartseg.errors.readable_errors()]\n"
        "cases: \"$heartseg.data.find_cases('nowhere')\"\n"
        'run: ["$len(@cases)"]\n'
    )
    ended = python("-m", "monai.bundle", "run", "--config_file", "configs/tiny.yaml", cwd=tmp_path)
    said = [line for line in ended.stderr.splitlines() if "nowhere" in line]
    assert ended.returncode == 2
    assert len(said) == 1 and said[0].startswith("heartseg: nowhere: ")
    assert said[0] == ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


def kill(_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_was_killed_is_told_of():
    error = caught(next, iter(DataLoader(Dataset([{"image": 1}], kill), num_workers=1)))
    found = input_error(error)
    assert isinstance(found, LostWorkerError)
    assert str(found).startswith("process ") and str(found).endswith(
        ", which prepared images, was killed, perhaps for want of memory; "
        "give the same command again, with --set num_workers=0 where that repeats"
    )
    assert str(found).split()[1].strip(",").isdigit()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
def test_a_disk_that_is_full_is_bad_input(number):
    bottom = OSError(number, os.strerror(number), "runs/a/curves.png")
    line = f"runs/a/curves.png: cannot be written ({os.strerror(number)}); make room, then give the same command again"
    assert str(input_error(chain(cause=bottom))) == line
    unnamed = str(input_error(OSError(number, os.strerror(number))))
    assert unnamed.startswith("a file of the output: cannot be written (")


def test_other_faults_of_the_system_are_not():
    assert input_error(OSError(errno.EIO, "Input/output error", "scan.nii.gz")) is None
    assert input_error(FileNotFoundError(errno.ENOENT, "No such file or directory", "scan.nii.gz")) is None


@pytest.fixture
def factory():
    """How records of a log are made, as it was before."""
    before = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(before)


def test_the_log_holds_no_traceback_of_what_one_line_tells(factory, monkeypatch, caplog):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    readable_errors()
    for error in (chain(cause=InputError(LINE)), RuntimeError("a fault of the program")):
        logging.getLogger("StatsHandler").error("Exception: %s", error, exc_info=error)
    told, fault = caplog.records
    assert told.getMessage() == "Exception: applying transform" and not told.exc_info
    assert fault.exc_info[1] is error


def test_a_message_is_one_line_whatever_a_name_holds():
    error = InputError("a\nb\x1ec\u2028d\udc80e Größe 心: is odd; rename it")
    assert str(error) == r"a\nb\x1ec\u2028d\udc80e Größe 心: is odd; rename it"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # as a worker sends it
