"""A stub of Kaggle on the loopback interface, an environment that leads the client there, and a watch on secrets."""

import logging
import os
from pathlib import Path

import kaggle_stub
import pytest
from answers import tree
from kaggle_runs import FILES, KERNEL, MANIFEST, manifest_of

from heartseg.kaggle.client import import_client


@pytest.fixture
def no_account(monkeypatch, tmp_path_factory):
    """A user without credentials of any form, whose home is a temporary folder."""
    for name in os.environ:
        if name.startswith("KAGGLE_"):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("MPLCONFIGDIR", os.environ.get("MPLCONFIGDIR") or str(Path.home() / ".cache" / "matplotlib"))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(home / ".kaggle"))
    # The client looks for its folder once, when it is imported.
    monkeypatch.setattr(import_client(), "config", str(home / ".kaggle" / "kaggle.json"))
    return home


@pytest.fixture
def stub(no_account, monkeypatch):
    """The stub, and an environment that leads a client to it as alice, also from a separate process."""
    with kaggle_stub.running() as stub:
        for name, value in stub.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("KAGGLE_USERNAME", kaggle_stub.USER)
        monkeypatch.setenv("KAGGLE_KEY", kaggle_stub.KEY)
        yield stub
    assert not stub.tunnels, "a client wanted to leave this machine"


@pytest.fixture
def quick(monkeypatch):
    """No pauses between attempts."""
    from heartseg.data import transfer

    monkeypatch.setattr(transfer, "BACK_OFF", 0.0)


@pytest.fixture
def service(stub, quick):
    """alice, signed in at the stub and nowhere else."""
    from heartseg.kaggle.service import Service

    service = Service.connect()
    assert service.endpoint == kaggle_stub.ENDPOINT
    return service


@pytest.fixture
def serve(stub):
    """Make a run of these files the kernel's output, with the files that Kaggle adds: ``serve(files, epochs=20)``."""

    def call(files=FILES, extra=None, **about):
        added = {"__results__.html": b"<html>", "heartseg-toy.log": b"[]"}
        stub.serve({**added, **files, MANIFEST: manifest_of(files, **about), **(extra or {})})
        stub.calls.clear()

    call()
    return call


@pytest.fixture
def get(service, serve, tmp_path):
    """Pull the run that is served into a folder ``run``."""
    from heartseg.kaggle.pull import pull

    return lambda **keys: pull(service, KERNEL, tmp_path / "run", **keys)


@pytest.fixture
def refused(get, tmp_path):
    """Return the error of a pull that is refused and changes nothing."""

    def call(**keys):
        before = tree(tmp_path)
        line = kaggle_stub.refusal(get, **keys)
        assert tree(tmp_path) == before and not list(tmp_path.rglob(".partial-*"))
        return line

    return call


@pytest.fixture(autouse=True)
def discreet(capsys, caplog, monkeypatch):
    """No test of this folder prints or logs a key, a token or a signed address. Tests use capsys, not capfd."""
    caplog.set_level(logging.INFO)
    printed = []
    read = capsys.readouterr

    def readouterr():
        result = read()
        printed.extend(result)
        return result

    monkeypatch.setattr(capsys, "readouterr", readouterr)
    yield
    readouterr()
    for secret in kaggle_stub.SECRETS:
        assert secret not in "".join(printed), "a secret was printed"
        assert secret not in caplog.text, "a secret was logged"
