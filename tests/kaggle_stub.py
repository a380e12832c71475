"""A Kaggle on the loopback interface for the real kaggle client. It accepts absolute-form request lines, as a proxy.

A test sets what the service holds and does (`Stub`'s fields and `Stub.faults`), then checks the calls that it received.
"""

import base64
import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

from heartseg.errors import InputError

USER, KEY, TOKEN = "alice", "k3y-of-alice", "KGAT_t0ken_of_alice"
SIGNATURE = "s1gned-and-secret"
BASIC = base64.b64encode(f"{USER}:{KEY}".encode()).decode()
SECRETS = (KEY, TOKEN, SIGNATURE, BASIC, "X-Goog-Signature=")
ENDPOINT = "http://localhost"  # of a client with KAGGLE_API_ENVIRONMENT=LOCALHOST
STORAGE = "http://127.0.0.1"  # another host, to which no credentials go


@dataclass
class Fault:
    """A fault of one answer: a status, a header, or one of the ``how`` below.

    drop: the connection closes without an answer. truncate: it closes in the middle of the body. hang: it is
    accepted and nothing comes. endless: the body goes on beyond what was agreed, without a length.
    redirect: to ``body``, an address.
    """

    how: str = "status"
    status: int = 500
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Call:
    """One request that came in: of a call of the service its name, of a signed address the file's."""

    name: str
    body: dict
    headers: dict[str, str]


class Stub:
    """The content and the behaviour of the service."""

    def __init__(self) -> None:
        self.port = 0
        self.tokens = {TOKEN: USER}
        self.keys = {USER: KEY}
        self.statuses = ["COMPLETE"]  # one for each question; the last one stays
        self.failure_message = ""
        self.files: list[tuple[str, bytes]] = []  # of the kernel's output, in the order of the listing
        self.urls: dict[str, str] = {}  # a file whose address is another than the signed one of this server
        self.log = ""
        self.page_size = 100
        self.answer: dict = {}  # laid over what SaveKernel answers
        self.datasets: dict[str, bytes] = {}  # OWNER/SLUG: the zip
        self.faults: dict[str, list[Fault]] = {}  # by the name of a call or file; each is used once, in order
        self.calls: list[Call] = []
        self.tunnels: list[str] = []  # https addresses that a client tried to reach through this machine
        self.released = threading.Event()

    @property
    def pushed(self) -> list[dict]:
        """The bodies of the kernels that were pushed: ``text`` is the script."""
        return [call.body for call in self.calls if call.name == "SaveKernel"]

    def asked(self, name: str) -> int:
        """Return how often a call or a file was requested."""
        return sum(call.name == name for call in self.calls)

    def serve(self, files: dict[str, bytes]) -> None:
        """Serve these files as the kernel's output."""
        self.files = list(files.items())

    def fail(self, name: str, *faults: Fault) -> None:
        """Make the next answers to a call, or for a file, fail."""
        self.faults.setdefault(name, []).extend(faults)

    def url(self, name: str) -> str:
        """Return the signed address of a file of the output."""
        return self.urls.get(name) or f"{STORAGE}/files/{quote(name, safe='')}?X-Goog-Signature={SIGNATURE}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment that leads an unmodified client here. HOME and KAGGLE_CONFIG_DIR are left to the test."""
        here = f"http://127.0.0.1:{self.port}"
        proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), here)
        return {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", **proxies, "no_proxy": "", "NO_PROXY": ""}

    def reply(self, name: str, body: dict) -> dict:
        """Return the answer of the service to a call."""
        if name == "SaveKernel":
            slug = body["slug"]
            url = f"https://www.kaggle.com/code/{slug}"
            return {"ref": f"/code/{slug}", "url": url, "versionNumber": len(self.pushed), **self.answer}
        if name == "GetKernelSessionStatus":
            status = self.statuses[0] if len(self.statuses) == 1 else self.statuses.pop(0)
            return {"status": status, **({"failureMessage": self.failure_message} if self.failure_message else {})}
        if name == "ListKernelSessionOutput":
            start = int(body.get("pageToken") or 0)
            stop = start + self.page_size
            files = [{"fileName": file, "url": self.url(file)} for file, _ in self.files[start:stop]]
            more = {"nextPageToken": str(stop)} if stop < len(self.files) else {}
            return {"files": files, **({"log": self.log} if self.log and not start else {}), **more}
        if name == "IntrospectToken":
            user = self.tokens.get(body["token"])
            return {"active": True, "username": user} if user else {"active": False}
        if name == "ListDatasets":
            return {"datasets": [{"ref": slug, "title": slug} for slug in self.datasets]}
        raise KeyError(name)


class Handler(BaseHTTPRequestHandler):
    """One request. The server is `Stub`'s."""

    server: "Server"

    def do_POST(self) -> None:
        name = urlsplit(self.path).path.rsplit("/", 1)[-1]
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        stub = self.server.stub
        stub.calls.append(Call(name, body, dict(self.headers)))
        if self._fault(name):
            return
        if name != "IntrospectToken" and not self._signed_in():
            self._json(401, {"code": 401, "message": "Unauthenticated"})
        elif name == "DownloadDataset":
            slug = f"{body['ownerSlug']}/{body['datasetSlug']}"
            if slug not in stub.datasets:
                self._json(404, {"code": 404, "message": "Not found"})
                return
            address = f"{STORAGE}/datasets/{quote(slug, safe='')}?X-Goog-Signature={SIGNATURE}"
            self._send(302, b"", {"Location": address})
        else:
            self._json(200, stub.reply(name, body))

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        room, _, name = parts.path.strip("/").partition("/")
        name, stub = unquote(name), self.server.stub
        stub.calls.append(Call(name, {}, dict(self.headers)))
        held = dict(stub.files) if room == "files" else stub.datasets
        content = held.get(name)
        if self._fault(name, content or b""):
            return
        if parse_qs(parts.query).get("X-Goog-Signature") != [SIGNATURE]:
            self._send(403, b"<Error><Code>AccessDenied</Code></Error>", {"Content-Type": "application/xml"})
        elif content is None:
            self._send(404, b"<Error><Code>NoSuchKey</Code></Error>", {"Content-Type": "application/xml"})
        else:
            self._send(200, content, {"Content-Type": "application/octet-stream"})

    def do_CONNECT(self) -> None:
        self.server.stub.tunnels.append(self.path)
        self._send(502, b"")

    def _signed_in(self) -> bool:
        kind, _, value = (self.headers.get("Authorization") or "").partition(" ")
        if kind == "Bearer":
            return value in self.server.stub.tokens
        pairs = {base64.b64encode(f"{user}:{key}".encode()).decode() for user, key in self.server.stub.keys.items()}
        return kind == "Basic" and value in pairs

    def _fault(self, name: str, content: bytes = b"") -> bool:
        queue = self.server.stub.faults.get(name)
        if not queue:
            return False
        fault = queue.pop(0)
        content = fault.body or content
        if fault.how == "hang":
            self.server.stub.released.wait(20)
        elif fault.how == "truncate":
            self._head(200, {"Content-Length": str(len(content)), **fault.headers})
            self.wfile.write(content[: len(content) // 2])
        elif fault.how == "endless":
            self._head(200, fault.headers)
            self.wfile.write(content + bytes(2**16))
        elif fault.how == "redirect":
            self._send(302, b"", {"Location": fault.body.decode(), **fault.headers})
        elif fault.how == "status":
            self._send(fault.status, fault.body, fault.headers)
        else:
            assert fault.how == "drop", fault.how
        return True

    def _json(self, status: int, content: dict) -> None:
        self._send(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self._head(status, {"Content-Length": str(len(content)), **(headers or {})})
        self.wfile.write(content)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """The server of a `Stub`; connections that the client closes are not errors."""

    daemon_threads = True
    stub: Stub

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@contextmanager
def running() -> Iterator[Stub]:
    """A stub that answers until the block ends."""
    stub = Stub()
    server = Server(("127.0.0.1", 0), Handler)
    server.stub, stub.port = stub, server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        stub.released.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


def refusal(call: Callable[..., object], *args: object, **keys: object) -> str:
    """Return the line of the InputError that a call raises, after checking that it shows no secret."""
    with pytest.raises(InputError) as caught:
        call(*args, **keys)
    line = str(caught.value)
    assert "\n" not in line and not [secret for secret in SECRETS if secret in line], "a secret was shown"
    return line


def zip_of(files: dict[str, bytes]) -> bytes:
    """A zip of {name: content}."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()
