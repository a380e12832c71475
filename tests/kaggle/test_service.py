"""The service, with the real kaggle client, against the stub."""

import json
import os
import subprocess
import sys

import kaggle_stub
import pytest
from kaggle_runs import KERNEL
from kaggle_stub import ENDPOINT, TOKEN, Fault, refusal

from heartseg.kaggle.service import Pushed, Status, owner_and_name


@pytest.fixture
def folder(tmp_path):
    """A kernel that can be pushed."""
    metadata = {"id": KERNEL, "title": "Heartseg toy", "code_file": "kernel.py", "enable_gpu": True}
    metadata |= {"language": "python", "kernel_type": "script", "dataset_sources": ["bob/heart"]}
    (tmp_path / "kernel-metadata.json").write_text(json.dumps(metadata))
    (tmp_path / "kernel.py").write_text("print('ä')\n", encoding="utf-8")
    return tmp_path


def test_the_stub_is_where_the_client_goes(service, stub):
    assert service.endpoint == ENDPOINT and service.username == "alice"
    assert stub.calls == []  # a key is not tried before it is needed


def test_push(service, stub, folder):
    assert service.push(folder) == Pushed(f"https://www.kaggle.com/code/{KERNEL}", 1)
    assert service.push(folder).version == 2
    body = stub.pushed[0]
    assert body["text"] == "print('ä')\n" and body["slug"] == KERNEL and body["newTitle"] == "Heartseg toy"
    assert body["enableGpu"] is True and body["datasetDataSources"] == ["bob/heart"]
    assert stub.calls[0].headers["User-Agent"].startswith("heartseg/")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"error": "Maximum weekly GPU quota of\n30.00 hours reached"}, "quota of 30.00 hours reached)"),
        ({"invalidDatasetSources": ["bob/gone", "bob/lost"]}, "was pushed without dataset sources bob/gone, bob/lost,"),
        ({"invalidKernelSources": ["bob/run"]}, "without kernel sources bob/run,"),
        ({"invalidCompetitionSources": ["c"]}, "without competition sources c,"),
        ({"invalidModelSources": ["m"]}, "without model sources m,"),
        ({"invalidTags": ["heart"]}, "version 1 was pushed without tags heart, which Kaggle does not know"),
        ({"versionNumber": 0}, "Kaggle returned no version number"),
    ],
)
def test_what_kaggle_reports_of_a_push_is_an_error(service, stub, folder, answer, said):
    stub.answer = answer
    assert said in refusal(service.push, folder)


def test_a_push_that_may_have_arrived_is_not_sent_again(service, stub, folder):
    for how in ("drop", "truncate"):
        stub.fail("SaveKernel", Fault(how, body=b"{}" * 9))
        assert "the connection failed" in refusal(service.push, folder)
    stub.fail("SaveKernel", Fault(status=504))
    assert "the server answers 504" in refusal(service.push, folder)
    assert len(stub.pushed) == 3
    stub.fail("SaveKernel", Fault(status=500), Fault(status=429))  # these say that it was not taken
    assert service.push(folder).version == 6


def test_a_folder_that_the_client_refuses(service, folder):
    (folder / "kernel.py").unlink()
    assert "the kaggle client says: Source file not found" in refusal(service.push, folder)


@pytest.mark.parametrize(
    "name", ["QUEUED", "RUNNING", "COMPLETE", "ERROR", "CANCEL_REQUESTED", "CANCEL_ACKNOWLEDGED", "NEW_SCRIPT"]
)
def test_status(service, stub, name):
    stub.statuses, stub.failure_message = [name], "Out of\n memory"
    assert service.status(KERNEL) == Status(name, "Out of memory")
    assert stub.calls[-1].body == {"userName": "alice", "kernelSlug": "heartseg-toy"}


def test_outputs_of_all_pages(service, stub):
    stub.serve({f"pictures/{number}.png": b"" for number in range(7)})
    stub.page_size, stub.log = 3, "the log"
    files, log = service.outputs(KERNEL)
    assert list(files) == [f"pictures/{number}.png" for number in range(7)] and log == "the log"
    assert [call.body.get("pageToken", "") for call in stub.calls] == ["", "3", "6"]


def test_a_listing_without_end(service, stub, monkeypatch):
    monkeypatch.setattr("heartseg.kaggle.service.MAX_PAGES", 3)
    monkeypatch.setattr(stub, "reply", lambda name, body: {"files": [], "nextPageToken": "1"})
    assert "does not end after 3 pages" in refusal(service.outputs, KERNEL)


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/abs/x", "a\\..\\x", "C:x", "C:/x", "//host/x", "a\nb", "", "."]
)
def test_a_name_that_leads_out_of_the_folder(service, stub, name):
    stub.serve({"model.pt": b"", name: b""})
    assert "is not a valid name for a file" in refusal(service.outputs, KERNEL)


def test_a_duplicate_name(service, stub):
    stub.files = [("model.pt", b"1"), ("a", b""), ("model.pt", b"2")]
    stub.page_size = 2
    assert refusal(service.outputs, KERNEL) == f"outputs of {KERNEL}: model.pt occurs twice; nothing was downloaded"


@pytest.mark.parametrize("kernel", ["alone", "a/b/c", "../x", "a/", "a/b?c=d", "a b/c", ""])
def test_invalid_kernels(service, stub, kernel):
    assert "write OWNER/NAME" in refusal(service.status, kernel)
    assert "write OWNER/NAME" in refusal(service.outputs, kernel)
    assert stub.calls == []


def test_owner_and_name():
    assert owner_and_name("alice/a-b_1") == ("alice", "a-b_1")


def test_search_and_download_of_data_sets(service, stub, tmp_path):
    stub.datasets = {"bob/heart": b"packed", "eve/heart": b""}
    assert service.datasets("Task02_Heart") == ["bob/heart", "eve/heart"]
    assert stub.calls[-1].body["search"] == "Task02_Heart"
    shown = []
    service.download_dataset("bob/heart", tmp_path / "heart.zip", lambda *now: shown.append(now))
    assert (tmp_path / "heart.zip").read_bytes() == b"packed" and shown == [(0, 6), (6, 6)]
    assert "Authorization" not in stub.calls[-1].headers  # it came by a redirect to another host
    line = refusal(service.download_dataset, "bob/none", tmp_path / "none.zip")
    assert line == "bob/none: the server answers 404 (Not found); check its name, and that it is yours or public"
    assert "is not a data set" in refusal(service.download_dataset, "none", tmp_path / "none.zip")


WITHOUT_AND_WITH = f"""
import importlib, logging, pkgutil, sys
import heartseg.kaggle
parts = dict.fromkeys(("kaggle", "kagglesdk", "six"))
sys.modules.update(parts)
names = [part.name for part in pkgutil.iter_modules(heartseg.kaggle.__path__)]
for name in set(names) - {{"kernel", "transport"}}:  # the one runs at Kaggle, the other is for the client alone
    importlib.import_module("heartseg.kaggle." + name)
from heartseg.kaggle.service import Service
try:
    Service.connect()
except ValueError as error:
    print(error)
for part in parts:
    del sys.modules[part]
service = Service.connect()
assert service.endpoint == {ENDPOINT!r}
print(service.username, service.status({KERNEL!r}).name, logging.getLogger().level == logging.DEBUG)
"""


def test_without_the_client_and_with_its_surprises(stub):
    """heartseg.kaggle can be imported without the client, and says so when it needs it.

    As it stands, importing it tries a token without a time limit, and VERBOSE makes it print its headers.
    """
    environment = {**os.environ, "KAGGLE_API_TOKEN": TOKEN, "VERBOSE": "1"}
    command = [sys.executable, "-c", WITHOUT_AND_WITH]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    missing = "needs the kaggle client (kaggle is missing): pip install 'heartseg[kaggle]'"
    assert answer.stdout.splitlines() == [missing, "alice COMPLETE False"], answer.stderr
    assert not [secret for secret in kaggle_stub.SECRETS if secret in answer.stdout + answer.stderr]
    assert [call.name for call in stub.calls] == ["IntrospectToken", "GetKernelSessionStatus"]
