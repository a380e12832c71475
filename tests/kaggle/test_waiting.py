"""Waiting for a run: the intervals, the limit, and the message for a failed run."""

import json

import pytest
from kaggle_runs import KERNEL
from kaggle_stub import KEY, Fault, refusal

from heartseg.kaggle import waiting
from heartseg.kaggle.waiting import wait_for


def test_it_waits_with_ever_longer_pauses_and_says_what_changes(get, stub, tmp_path, capsys):
    stub.statuses = ["QUEUED"] * 3 + ["RUNNING"] * 7 + ["COMPLETE"]
    pauses = []
    assert get(wait=True, sleep=pauses.append).changed
    assert pauses[:3] == [5, 7.5, 11.25] and pauses == sorted(pauses) and max(pauses) == 60 and len(pauses) == 10
    err = capsys.readouterr().err
    assert err.startswith(f"{KERNEL}: QUEUED\n{KERNEL}: RUNNING\n") and err.count("QUEUED") == err.count("RUNNING") == 1


@pytest.mark.parametrize("name", ["QUEUED", "RUNNING", "NEW_SCRIPT"])
def test_without_waiting_it_must_be_complete(refused, stub, name):
    stub.statuses = [name]
    assert refused() == f"{KERNEL}: is {name}, not complete; give --wait, or run again later"
    assert stub.asked("ListKernelSessionOutput") == 0


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize("name", ["ERROR", "CANCEL_REQUESTED", "CANCEL_ACKNOWLEDGED"])
def test_a_run_that_failed(refused, stub, capsys, name, wait):
    lines = [f"line {number}\n" for number in range(50)] + ["see https://x.org/a?sig=1\x1b[2J\n", "heartseg: no GPU\n"]
    stub.statuses, stub.failure_message = ["RUNNING"] * wait + [name], "Exit code 2"
    stub.log = json.dumps([{"stream_name": "stdout", "time": 1, "data": line} for line in lines])
    assert refused(wait=wait, sleep=lambda _: None) == (
        f"{KERNEL}: ended as {name} (Exit code 2); its log ends: heartseg: no GPU"
    )
    shown = capsys.readouterr().err.splitlines()[-waiting.LINES :]
    assert shown[0] == "  line 32" and shown[-2:] == ["  see https://x.org/a?***", "  heartseg: no GPU"]


def test_a_run_that_failed_without_a_word(refused, stub):
    stub.statuses = ["ERROR"]
    stub.fail("ListKernelSessionOutput", Fault(status=404))
    assert refused() == f"{KERNEL}: ended as ERROR"


def test_it_does_not_wait_for_ever(refused, stub):
    stub.statuses = ["RUNNING"]
    pauses = []
    assert refused(wait=True, minutes=2, sleep=pauses.append) == (
        f"{KERNEL}: is not complete after 2 minutes; run again to keep waiting"
    )
    assert sum(pauses) == 120


def test_what_questions_take_counts_too(service, stub):
    """A clock that advances by 300 s with each poll: of ten minutes, one pause is left after the first."""
    stub.statuses = ["RUNNING"]
    pauses, times = [], iter(range(0, 10**6, 300))
    line = refusal(wait_for, service, KERNEL, True, 10, pauses.append, clock=lambda: float(next(times)))
    assert line == f"{KERNEL}: is not complete after 10 minutes; run again to keep waiting"
    assert pauses == [5.0]


def test_the_user_s_key_in_a_log_is_not_shown(refused, stub, capsys):
    stub.statuses, stub.log = ["ERROR"], f"first {KEY}\nlast {KEY} {'x' * 3000}\n"
    line = refused()
    assert line.startswith(f"{KERNEL}: ended as ERROR; its log ends: last *** xxx") and len(line) < 500
    assert KEY not in capsys.readouterr().err


def test_it_waits_on_when_kaggle_does_not_answer(get, stub):
    stub.statuses = ["RUNNING", "COMPLETE"]
    stub.fail("GetKernelSessionStatus", *[Fault("drop")] * 12)
    pauses = []
    assert get(wait=True, sleep=pauses.append).changed
    assert len(pauses) == 3  # two questions of five attempts each had no answer


@pytest.mark.parametrize(("status", "times"), [(500, 5 * waiting.FAULTS), (403, 1)])
def test_it_gives_up_on_a_lasting_error(refused, stub, status, times):
    stub.fail("GetKernelSessionStatus", *[Fault(status=status)] * 5 * waiting.FAULTS)
    assert f"the server answers {status}" in refused(wait=True, sleep=lambda _: None)
    assert stub.asked("GetKernelSessionStatus") == times


def test_an_interrupted_wait_says_that_the_run_keeps_running(get, stub, tmp_path, capsys):
    stub.statuses = ["RUNNING"]

    def interrupt(seconds):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(wait=True, sleep=interrupt)
    assert capsys.readouterr().err == (
        f"{KERNEL}: RUNNING\n{KERNEL}: keeps running; the same command waits for it again\n"
    )
    assert list(tmp_path.iterdir()) == []
