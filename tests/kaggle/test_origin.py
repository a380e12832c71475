"""A remote repository seen from a checkout: with a history cut off, and with a token."""

import base64
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from repositories import BRANCH, KERNEL, bringing, made, one_on_top, outputs

from heartseg.errors import InputError

repository = pytest.fixture(made)
bring = pytest.fixture(bringing)


def test_in_a_shallow_clone(stub, bring, repository, service, tmp_path):
    from heartseg.kaggle.sync import sync

    repository.write_main({"second.txt": "2"})
    stub.serve(outputs(tmp_path / "run"))
    bring()
    repository.write_main({"third.txt": "3"})
    shallow = tmp_path / "shallow"
    repository.git("clone", "--quiet", "--depth=1", f"file://{repository.origin}", shallow)
    stub.serve(outputs(tmp_path / "new", 0.9052, "2026-11-21T08:00:00+00:00"))
    assert sync(service, KERNEL, checkout=shallow).changed and one_on_top(repository)
    assert repository.log("%s").endswith("(+0.0040)") and "third.txt" in repository.names()


class Recorder(BaseHTTPRequestHandler):
    """Refuses everyone, and keeps what they showed."""

    def do_GET(self):
        self.server.seen.append(self.headers.get_all("Authorization"))
        self.send_response(403)
        self.end_headers()

    def log_message(self, *args):
        pass


class TestToken:
    TOKEN = "ghs_t0ken"
    BASIC = base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()

    @pytest.fixture
    def server(self):
        server = HTTPServer(("127.0.0.1", 0), Recorder)
        server.seen = []
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()
        server.server_close()

    @pytest.fixture
    def looked(self, server, repository, monkeypatch):
        """What a server on this machine is shown by a look at the remote there, and the line that it ends in."""
        from heartseg.kaggle.origin import Origin

        def look(github):
            here = f"127.0.0.1:{server.server_address[1]}"
            monkeypatch.setenv("GH_TOKEN", self.TOKEN)
            monkeypatch.setenv("no_proxy", "127.0.0.1")
            monkeypatch.setenv("GITHUB_SERVER_URL", github.format(here))
            repository.git("remote", "set-url", "origin", f"http://{here}/alice/heart.git")
            with pytest.raises(InputError) as refused:
                Origin(repository.checkout).look(BRANCH)
            return server.seen, str(refused.value)

        return look

    def test_it_goes_to_the_server_of_the_action(self, looked):
        seen, line = looked("http://{}")
        assert seen == [[f"basic {self.BASIC}"]]
        assert "403" in line and self.TOKEN not in line and self.BASIC not in line

    def test_alone_where_the_checkout_holds_one_too(self, looked, repository, server):
        """actions/checkout may leave a header in the configuration, and GitHub refuses two."""
        key = f"http.http://127.0.0.1:{server.server_address[1]}/.extraheader"
        repository.git("config", key, "AUTHORIZATION: basic b2xk")
        seen, _ = looked("http://{}")
        assert seen == [[f"basic {self.BASIC}"]]

    def test_to_no_other(self, looked):
        seen, _ = looked("https://github.com")
        assert seen == [None]

    def test_no_token_of_the_remotes_own_is_told(self, repository):
        from heartseg.kaggle.origin import Origin

        repository.git("remote", "set-url", "origin", "git://alice:own-t0ken@127.0.0.1:1/heart.git")
        with pytest.raises(InputError, match=r"^git ls-remote: .*127\.0\.0\.1") as refused:
            Origin(repository.checkout).look(BRANCH)
        assert "own-t0ken" not in str(refused.value)
