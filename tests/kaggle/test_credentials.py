"""Every form of credentials, and the errors for missing, incomplete and refused ones."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from kaggle_stub import KEY, TOKEN, Fault, refusal

from heartseg.kaggle.client import import_client
from heartseg.kaggle.credentials import find_credentials, redact
from heartseg.kaggle.service import Service

PAIR = ("KAGGLE_USERNAME", "KAGGLE_KEY")
OTHER = "KGAT_an_0ther"
SETTINGS = "https://www.kaggle.com/settings"


@pytest.fixture
def home(no_account, request, monkeypatch):
    """A home with the client's folder; without credentials also where the stub is used."""
    if "stub" in request.fixturenames:
        request.getfixturevalue("stub")
        for name in PAIR:
            monkeypatch.delenv(name)
    (no_account / ".kaggle").mkdir(exist_ok=True)  # importing the client may have made it
    return no_account / ".kaggle"


def put(file, content, mode=0o600):
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    file.chmod(mode)


def not_found():
    """The error where there are no credentials."""
    return refusal(find_credentials, import_client()())


def signed_in(stub):
    """Sign in and call; return the user and the kind of authorization."""
    service = Service.connect()
    service.status("alice/heartseg-toy")
    return service.username, stub.calls[-1].headers["Authorization"].split()[0]


def test_variables(stub, home, monkeypatch):
    for name, value in zip(PAIR, ("alice", f"{KEY}\n"), strict=True):
        monkeypatch.setenv(name, value)
    assert signed_in(stub) == ("alice", "Basic")


def test_kaggle_json(stub, home):
    put(home / "kaggle.json", {"username": "alice", "key": KEY})
    assert signed_in(stub) == ("alice", "Basic")


def test_kaggle_json_and_a_variable(stub, home, monkeypatch):
    put(home / "kaggle.json", {"username": "bob", "key": KEY})
    monkeypatch.setenv("KAGGLE_USERNAME", "alice")
    assert signed_in(stub) == ("alice", "Basic")


def test_a_token(stub, home, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", f" {TOKEN}\n")
    assert signed_in(stub) == ("alice", "Bearer")


def test_a_token_in_a_file_that_the_variable_names(stub, home, monkeypatch, tmp_path):
    put(tmp_path / "token", f"{TOKEN}\n")
    monkeypatch.setenv("KAGGLE_API_TOKEN", str(tmp_path / "token"))
    assert signed_in(stub) == ("alice", "Bearer")


@pytest.mark.parametrize("name", ["access_token", "access_token.txt"])
def test_a_token_in_the_home(stub, home, name):
    put(home / name, f"{TOKEN}\n")
    assert signed_in(stub) == ("alice", "Bearer")


def test_a_login_of_the_client(stub, home):
    later = (datetime.now(UTC) + timedelta(hours=5)).isoformat()
    login = {"refresh_token": OTHER, "access_token": TOKEN, "access_token_expiration": later, "username": "alice"}
    put(home / "credentials.json", login)
    assert signed_in(stub) == ("alice", "Bearer")


def test_an_invalid_login(stub, home):
    put(home / "credentials.json", {"username": "alice"})
    assert refusal(Service.connect).endswith("credentials.json: has no valid login; run kaggle auth login")


def test_variables_of_missing_secrets_count_as_not_set(stub, home, monkeypatch):
    """A workflow sets them all, and leaves those empty whose secret is missing."""
    for name, value in zip(PAIR, ("alice", KEY), strict=True):
        monkeypatch.setenv(name, value)
    put(home / "access_token", "")  # an empty file counts as no token
    for empty in (" ", ""):
        monkeypatch.setenv("KAGGLE_API_TOKEN", empty)
        assert signed_in(stub) == ("alice", "Basic")


def test_the_token_goes_first(stub, home, monkeypatch):
    for name, value in zip(PAIR, ("bob", "wr0ng"), strict=True):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    put(home / "access_token", OTHER)
    assert signed_in(stub) == ("alice", "Bearer")


def test_a_bad_token_beside_a_good_pair(stub, home, monkeypatch):
    for name, value in zip(PAIR, ("alice", KEY), strict=True):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KAGGLE_API_TOKEN", OTHER)
    line = refusal(Service.connect)
    before = "it goes before KAGGLE_USERNAME and KAGGLE_KEY: fix it, or remove it to use those"
    assert line == f"KAGGLE_API_TOKEN: Kaggle refuses the token; {before}"
    assert OTHER not in line and stub.asked("IntrospectToken") == len(stub.calls) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_bad_token(stub, home, status):
    put(home / "access_token", OTHER)
    stub.fail("IntrospectToken", Fault(status=status, body=OTHER.encode()))
    line = refusal(Service.connect)
    assert line.startswith(f"signing in by ~/.kaggle/access_token: the server answers {status} (")
    assert line.endswith(f"Kaggle refuses the token; make a new one at {SETTINGS}") and OTHER not in line


def test_a_wrong_key(stub, home, monkeypatch):
    put(home / "kaggle.json", {"username": "alice", "key": "wr0ng"})
    service = Service.connect()
    line = refusal(service.status, "alice/heartseg-toy")
    refused = f"the credentials of {home / 'kaggle.json'} are refused; make new ones at {SETTINGS}"
    assert line == f"alice/heartseg-toy: the server answers 401 (Unauthenticated); {refused}"


def test_no_credentials(stub, home, monkeypatch):
    line = refusal(Service.connect)
    json_file = home / "kaggle.json"
    assert line.startswith(f"no credentials for Kaggle: KAGGLE_API_TOKEN is not set, and there is no {json_file}; make")
    for name in ("KAGGLE_API_TOKEN", *PAIR):
        monkeypatch.setenv(name, "")
    assert "KAGGLE_API_TOKEN and KAGGLE_USERNAME and KAGGLE_KEY are empty" in refusal(Service.connect)
    assert stub.calls == []


@pytest.mark.parametrize(("given", "lacks"), [PAIR, PAIR[::-1]])
@pytest.mark.parametrize("state", ["not set", "empty"])
def test_half_of_a_pair(home, monkeypatch, given, lacks, state):
    monkeypatch.setenv(given, "alice")
    if state == "empty":
        monkeypatch.setenv(lacks, "")
    line = not_found()
    assert f"{given} is set, but {lacks} is missing ({state}, and there is no {home / 'kaggle.json'}); set both" in line


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"username": "alice"}, "kaggle.json: has 'username', but no 'key', and KAGGLE_KEY is not set; download"),
        ({"key": KEY}, "kaggle.json: has 'key', but no 'username', and KAGGLE_USERNAME is not set; download"),
        ({"username": "", "key": None}, "kaggle.json: has no 'username' and 'key' in JSON; download it again"),
        ("", "kaggle.json: has no 'username' and 'key' in JSON; download it again"),
        ("{", "kaggle.json: has no 'username' and 'key' in JSON; download it again"),
        ("[1]", "kaggle.json: has no 'username' and 'key' in JSON; download it again"),
        ({"username": "alice", "key": "k 1"}, "kaggle.json: holds blanks, line breaks or letters that no credential"),
    ],
)
def test_a_kaggle_json_that_is_not_whole(home, content, said):
    put(home / "kaggle.json", content)
    assert said in not_found()


def test_invalid_tokens(home, monkeypatch, tmp_path):
    for value, said in (("tök", "KAGGLE_API_TOKEN: holds blanks,"), ("a\nb", "KAGGLE_API_TOKEN: holds blanks, line")):
        monkeypatch.setenv("KAGGLE_API_TOKEN", value)
        assert said in not_found()
    monkeypatch.setenv("KAGGLE_API_TOKEN", str(tmp_path / "none"))
    assert "the file that KAGGLE_API_TOKEN names: is not there; make a token" in refusal(
        find_credentials, import_client()
    )
    (tmp_path / "none").write_bytes(b"\xff\xfe")
    assert "the file that KAGGLE_API_TOKEN names: cannot be read (not text)" in refusal(
        find_credentials, import_client()
    )
    put(tmp_path / "none", "\n")
    assert "the file that KAGGLE_API_TOKEN names: is empty" in not_found()


@pytest.mark.parametrize("name", ["STAGING", "TEST", "localhost"])
def test_an_environment_of_the_client_that_means_something_else(stub, monkeypatch, name):
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", name)
    assert f"KAGGLE_API_ENVIRONMENT={name}: is not a service that heartseg works with; unset it" in refusal(
        Service.connect
    )
    assert stub.calls == []


def test_without_the_variable_it_is_kaggle_itself(stub, monkeypatch):
    monkeypatch.delenv("KAGGLE_API_ENVIRONMENT")
    assert Service.connect().endpoint == "https://www.kaggle.com"
    assert stub.calls == []


def test_redaction():
    text = "k3y at https://x.org/a?b=c&d=e' and /files/f?sig=1, Authorization: Basic YWxp, bearer KGAT_1. Why? Well."
    shown = "*** at https://x.org/a?***' and /files/f?*** Authorization: Basic ***, bearer *** Why? Well."
    assert redact(text, ["k3y", ""]) == shown


@pytest.mark.parametrize("value", ["eyJ" + "A" * 400, "~nobody123/token"])
def test_a_token_is_never_shown(stub, home, monkeypatch, value):
    monkeypatch.setenv("KAGGLE_API_TOKEN", value)
    stub.fail("IntrospectToken", Fault(status=403))
    line = refusal(Service.connect)
    assert value not in line and "\n" not in line
