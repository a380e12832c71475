"""Bad input ends a program with one line and status 2, however deep inside MONAI it was found."""

import errno
import logging
import os
import pickle
import signal
import sys

import pytest
from monai.data import DataLoader, Dataset
from monai.transforms import Compose, Lambdad

from heartseg.errors import InputError, LostWorkerError, counted, input_error, readable_errors

LINE = "scan.nii.gz: is empty; export it again"


def refuse(value):
    raise InputError(LINE)


def caught(function, *args):
    with pytest.raises(Exception) as info:  # MONAI and PyTorch raise various kinds
        function(*args)
    return info.value


def chain(cause=None, context=None):
    """Return a RuntimeError raised from ``cause``, or while ``context`` was being handled."""
    error = RuntimeError("applying transform")
    error.__cause__, error.__context__ = cause, context
    return error


def test_finds_the_input_error_at_the_end_of_causes_and_contexts():
    bottom = InputError(LINE)
    assert input_error(bottom) is bottom
    assert input_error(chain(cause=bottom)) is bottom
    assert input_error(chain(context=chain(cause=chain(context=bottom)))) is bottom


def test_finds_nothing_in_other_errors():
    assert input_error(None) is None
    assert input_error(ValueError(LINE)) is None
    assert input_error(chain(cause=KeyError("x"))) is None


def test_a_cycle_of_errors_terminates():
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__context__, second.__context__ = second, first
    assert input_error(first) is None


def test_finds_the_input_error_that_a_transform_raised():
    error = caught(Compose([Lambdad("image", refuse)]), {"image": 1})
    assert not isinstance(error, InputError)  # MONAI wraps it, else this test shows nothing
    assert str(input_error(error)) == LINE


@pytest.mark.parametrize("transform", [Lambdad("image", refuse), refuse], ids=["wrapped", "bare"])
def test_finds_the_input_error_of_a_worker_process(transform):
    loader = DataLoader(Dataset([{"image": 1}], transform), num_workers=1)
    error = caught(next, iter(loader))
    assert "Traceback" in str(error)  # the chain is lost, only its text arrives
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


def test_monai_bundle_run_reports_it_the_same_way(python, tmp_path):
    """`python -m monai.bundle run` with a configuration whose expression raises InputError."""
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


def test_a_killed_worker_is_reported():
    error = caught(next, iter(DataLoader(Dataset([{"image": 1}], kill), num_workers=1)))
    found = input_error(error)
    assert isinstance(found, LostWorkerError)
    assert str(found).startswith("data loader process ") and str(found).endswith(
        ": was killed, perhaps because memory ran out; "
        "run the same command again, with --set num_workers=0 if it happens again"
    )
    assert str(found).split()[3].strip(":").isdigit()


@pytest.mark.parametrize(("number", "said"), [(0, "0 errors"), (1, "1 error"), (2, "2 errors")])
def test_a_number_with_its_noun(number, said):
    assert counted(number, "error") == said


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
def test_a_disk_that_takes_no_file_is_reported(number):
    bottom = OSError(number, os.strerror(number), "runs/a/curves.png")
    assert str(input_error(chain(cause=bottom))) == (
        f"runs/a/curves.png: cannot be written ({os.strerror(number)}); "
        + ("use another output folder" if number == errno.EROFS else "free some space, then run the same command again")
    )
    unnamed = str(input_error(OSError(number, os.strerror(number))))
    assert unnamed.startswith("an output file: cannot be written (")


def test_other_system_errors_are_not_input_errors():
    assert input_error(OSError(errno.EIO, "Input/output error", "scan.nii.gz")) is None
    assert input_error(FileNotFoundError(errno.ENOENT, "No such file or directory", "scan.nii.gz")) is None


@pytest.fixture
def factory():
    """Restore the log record factory afterwards."""
    before = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(before)


def test_the_log_holds_no_traceback_of_an_input_error(factory, monkeypatch, caplog):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    readable_errors()
    for error in (chain(cause=InputError(LINE)), RuntimeError("a fault of the program")):
        logging.getLogger("StatsHandler").error("Exception: %s", error, exc_info=error)
    user_error, fault = caplog.records
    assert user_error.getMessage() == "Exception: applying transform" and not user_error.exc_info
    assert fault.exc_info[1] is error


def test_a_message_is_one_line_for_any_name():
    error = InputError("a\nb\x1ec\u2028d\udc80e Größe 心: is odd; rename it")
    assert str(error) == r"a\nb\x1ec\u2028d\udc80e Größe 心: is odd; rename it"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # as a worker process sends it
