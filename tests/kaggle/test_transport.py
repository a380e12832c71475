"""Errors of the network and the server, with the real kaggle client."""

import json

import pytest
from kaggle_runs import KERNEL
from kaggle_stub import KEY, SIGNATURE, STORAGE, Fault, refusal

from heartseg.data import transfer
from heartseg.kaggle import TransientError, transport
from heartseg.kaggle.service import Service

RUN_OUT = "its address may have expired: run again"


@pytest.fixture
def pauses(monkeypatch):
    """Record the seconds of each sleep, and do not sleep."""
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    return slept


def get(service, stub, path, name="model.pt", **keys):
    return service.download(service.outputs(KERNEL)[0][name], path, **keys)


CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def weights(stub):
    stub.serve({"model.pt": CONTENT})


def test_download(service, stub, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "CHUNK", 100_000)
    shown = []
    get(service, stub, tmp_path / "new" / "model.pt", limit=len(CONTENT), progress=lambda *now: shown.append(now))
    assert (tmp_path / "new" / "model.pt").read_bytes() == CONTENT
    assert shown == [(done, len(CONTENT)) for done in (0, 100_000, 200_000, 256_000)]
    assert "Authorization" not in stub.calls[-1].headers


@pytest.mark.parametrize("fault", [Fault("truncate"), Fault("drop"), Fault(status=500), Fault(status=429)])
def test_a_download_is_tried_again(service, stub, weights, tmp_path, fault):
    stub.fail("model.pt", fault, fault)
    get(service, stub, tmp_path / "model.pt")
    assert (tmp_path / "model.pt").read_bytes() == CONTENT
    assert stub.asked("model.pt") == 3


@pytest.mark.parametrize(
    ("fault", "said", "times"),
    [
        (Fault("truncate"), "model.pt: the connection failed (IncompleteRead", 5),
        (Fault("drop"), "model.pt: the connection failed (Remote end closed connection", 5),
        (Fault(status=503), "model.pt: the server answers 503 (Service Unavailable); run again later", 5),
        (Fault(status=403, body=b"<html>"), f"model.pt: the server answers 403 (Forbidden); {RUN_OUT}", 1),
        (Fault(status=404), f"model.pt: the server answers 404 (Not Found); {RUN_OUT}", 1),
        (Fault(status=204), "model.pt: the server answers 204 without a file", 1),
        (Fault("endless"), "model.pt: is larger than the 256000 bytes that it may have; it was not kept", 1),
        (Fault("redirect", body=b"http://example.org/x?secret=" + SIGNATURE.encode()), "example.org: is offered wi", 1),
    ],
)
def test_a_download_that_fails_leaves_nothing(service, stub, weights, tmp_path, fault, said, times):
    stub.fail("model.pt", *[fault] * 9)
    assert said in refusal(get, service, stub, tmp_path / "model.pt", limit=len(CONTENT))
    assert stub.asked("model.pt") == times
    assert list(tmp_path.iterdir()) == []


def test_an_address_without_https(service, stub, tmp_path):
    stub.serve({"model.pt": b""})
    stub.urls["model.pt"] = f"http://storage.example.org/model.pt?X-Goog-Signature={SIGNATURE}"
    assert "storage.example.org: is offered without https" in refusal(get, service, stub, tmp_path / "model.pt")
    assert stub.asked("model.pt") == 0


def test_only_a_service_on_this_machine_may_do_without_https(weights, stub):
    request = transport.requests.Request("GET", f"{STORAGE}/model.pt").prepare()
    assert "127.0.0.1: is offered without https" in refusal(transport.BoundedAdapter(local=False).send, request)


def test_a_server_that_never_answers(service, stub, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(transport, "TIMEOUT", (5.0, 0.1))
    monkeypatch.setattr(transfer, "ATTEMPTS", 2)
    stub.fail("GetKernelSessionStatus", *[Fault("hang")] * 2)
    assert refusal(service.status, KERNEL) == f"{KERNEL}: the server does not answer (waited 0.1 s); run again later"
    stub.fail("model.pt", *[Fault("hang")] * 2)
    assert "the server does not answer" in refusal(get, service, stub, tmp_path / "model.pt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", [Fault(status=500), Fault(status=502), Fault("drop"), Fault(status=429)])
def test_a_fault_that_passes(service, stub, fault):
    stub.fail("GetKernelSessionStatus", fault, fault)
    assert service.status(KERNEL).name == "COMPLETE"
    assert stub.asked("GetKernelSessionStatus") == 3


@pytest.mark.parametrize(
    ("fault", "said", "times"),
    [
        (Fault(status=500, body=b"<html>oh</html>"), "the server answers 500 (Internal Server Error); run again la", 5),
        (Fault("drop"), "the connection failed (Remote end closed connection without response); check the netwo", 5),
        (Fault(status=429), "the server answers 429 (Too Many Requests); too many requests: wait some minutes", 5),
        (Fault(status=200, body=b"<html>", headers={"Content-Type": "application/json"}), "answer is not JSON", 1),
    ],
)
def test_a_transient_fault_that_stays(service, stub, fault, said, times):
    stub.fail("GetKernelSessionStatus", *[fault] * times * 2)
    assert said in refusal(service.status, KERNEL)
    assert stub.asked("GetKernelSessionStatus") == times
    with pytest.raises(TransientError):
        service.status(KERNEL)


@pytest.mark.parametrize(
    ("status", "message", "said"),
    [
        (401, "Unauthenticated", "(Unauthenticated); the credentials of KAGGLE_USERNAME and KAGGLE_KEY are refused;"),
        (403, "Permission 'kernels.get' was denied", "(Permission 'kernels.get' was denied); check its name, and that"),
        (404, "Not found", "the server answers 404 (Not found); check its name"),
        (
            400,
            f"bad key {KEY} at https://x.org/?sig={SIGNATURE}",
            "(bad key *** at https://x.org/?***); see its message",
        ),
        (403, "x" * 1000, "(" + "x" * 300 + "...)"),
    ],
)
def test_a_refusal(service, stub, status, message, said):
    body = json.dumps({"code": status, "message": message}).encode()
    stub.fail("GetKernelSessionStatus", Fault(status=status, body=body, headers={"Content-Type": "application/json"}))
    assert said in refusal(service.status, KERNEL)
    assert stub.asked("GetKernelSessionStatus") == 1


def test_the_wait_that_a_server_asks_for_is_kept(service, stub, pauses):
    stub.fail("GetKernelSessionStatus", Fault(status=429, headers={"Retry-After": "7"}), Fault(status=429))
    assert service.status(KERNEL).name == "COMPLETE"
    assert [pause for pause in pauses if pause] == [7]


def test_a_wait_that_is_too_long(service, stub, pauses):
    stub.fail("GetKernelSessionStatus", Fault(status=429, headers={"Retry-After": "3600"}))
    assert "asks to wait 3600 s before the next request" in refusal(service.status, KERNEL)
    assert pauses == []


def test_an_invalid_wait(service, stub):
    stub.fail("GetKernelSessionStatus", Fault(status=503, headers={"Retry-After": "soon"}))
    assert service.status(KERNEL).name == "COMPLETE"


def test_pauses_grow(stub, pauses):
    service = Service.connect()
    stub.fail("GetKernelSessionStatus", *[Fault(status=500)] * 4)
    assert service.status(KERNEL).name == "COMPLETE"
    assert [pause for pause in pauses if pause] == [2, 4, 8]  # the first one follows at once
