"""A repository's ``origin``, read and written through a checkout whose branch, index and files stay as they are."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from heartseg.errors import InputError, one_line

TRAILER = "Kaggle-Kernel"  # marks the commits that a sync made, and may replace
BOT = ("github-actions[bot]", "41898282+github-actions[bot]@users.noreply.github.com")
GITHUB = "https://github.com"
TIMEOUT = 600  # seconds of one call


class Heads(NamedTuple):
    """What a remote repository holds: its default branch and the tip of it, and the tip of another branch."""

    main: str
    base: str
    tip: str | None


class Origin:
    """The remote repository ``origin`` of a checkout.

    It is read by what is fetched and written by git's plumbing, so that the checkout does not notice. A token in
    ``GH_TOKEN`` goes to git by the environment, for the server in ``GITHUB_SERVER_URL`` only; it stands in no
    argument, no configuration and no message. No hook of the checkout runs.

    Args:
        checkout: a folder in the checkout.

    Every method raises InputError where git fails, with git's reason.
    """

    def __init__(self, checkout: str | os.PathLike[str]) -> None:
        self.checkout = Path(checkout)
        self.secrets: list[str] = []
        self.environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        for side in ("AUTHOR", "COMMITTER"):
            self.environment |= {f"GIT_{side}_NAME": BOT[0], f"GIT_{side}_EMAIL": BOT[1]}
        user, at, _ = urlsplit(self._git("remote", "get-url", "origin")).netloc.rpartition("@")
        self.secrets += [user + at] if user else []  # some addresses hold a token
        self._sign_in()

    def _sign_in(self) -> None:
        server, token = os.environ.get("GITHUB_SERVER_URL") or GITHUB, os.environ.get("GH_TOKEN")
        if not token:
            return
        basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        self.secrets += [token, basic]
        count = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
        # An empty value first: it drops a header that the checkout's own configuration has, and GitHub refuses two.
        for place, value in enumerate(("", f"AUTHORIZATION: basic {basic}"), count):
            key = f"http.{server.rstrip('/')}/.extraheader"
            self.environment |= {f"GIT_CONFIG_KEY_{place}": key, f"GIT_CONFIG_VALUE_{place}": value}
        self.environment["GIT_CONFIG_COUNT"] = str(count + 2)

    def look(self, branch: str) -> Heads:
        """Fetch the default branch, and ``branch`` where it exists. InputError where that is the default one."""
        fault = f"branch {branch!r}: is no name for a branch; name another"
        if branch.startswith("-") or one_line(branch) != branch:
            raise InputError(fault)
        self._git("check-ref-format", f"refs/heads/{branch}", fault=fault)
        listed = self._git("ls-remote", "--symref", "origin", "HEAD", f"refs/heads/{branch}")
        main = re.search(r"^ref: refs/heads/(\S+)\tHEAD$", listed, re.MULTILINE)
        if main is None or "\tHEAD" not in listed.replace(main[0], ""):
            raise InputError("origin: has no default branch with a commit; push one first")
        if branch == main[1]:
            raise InputError(f"branch {branch}: is the default branch, which only people change; name another")
        names = {"base": main[1], **({"tip": branch} if f"\trefs/heads/{branch}\n" in f"{listed}\n" else {})}
        refs = {key: f"refs/heartseg/sync/{os.getpid()}/{key}" for key in names}
        try:
            words = ["--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--refmap="]
            self._git("fetch", *words, "origin", *(f"+refs/heads/{names[key]}:{refs[key]}" for key in names))
            found = {key: self._git("rev-parse", refs[key]) for key in names}
        finally:
            for ref in refs.values():
                self._git("update-ref", "-d", ref)
        return Heads(main[1], found["base"], found.get("tip"))

    def made_for(self, tip: str) -> str | None:
        """The kernel whose sync made a branch's last commit (merges from the default branch left aside), if one did."""
        words = ["-1", "--first-parent", "--no-merges", f"--format=%(trailers:key={TRAILER},valueonly)"]
        return self._git("log", *words, tip) or None

    def files(self, commit: str, folder: str) -> dict[str, str]:
        """The id of each file that a commit holds right in a folder, by name."""
        listed = self._git("ls-tree", "-z", commit, "--", f"{folder}/")
        entries = (entry.partition("\t") for entry in listed.split("\0") if entry)
        return {path.rsplit("/", 1)[-1]: about.split()[2] for about, _, path in entries if about.startswith("100")}

    def read(self, identity: str) -> bytes:
        """The content of a file, by its id."""
        return self._run("cat-file", "blob", identity)

    def commit(self, base: str, folder: str, files: Mapping[str, Path], drop: Iterable[str], message: str) -> str:
        """A commit on top of ``base`` in which a folder holds these files and lacks those to drop; its id."""
        parts = folder.split("/")
        for end in range(1, len(parts) + 1):
            place = "/".join(parts[:end])
            entry = self._git("ls-tree", base, "--", place)
            if entry and entry.split()[1] != "tree":
                raise InputError(f"{place}: is no folder on the default branch; name another folder for the results")
        lines = [f"0 {'0' * len(base)}\t{folder}/{name}" for name in drop]
        for name, path in files.items():
            identity = self._git("hash-object", "-w", "--stdin", given=path.read_bytes())
            lines.append(f"100644 {identity}\t{folder}/{name}")
        with tempfile.TemporaryDirectory(prefix="heartseg-index-") as temporary:
            index = {"GIT_INDEX_FILE": f"{temporary}/index"}
            self._run("read-tree", base, more=index)
            self._run("update-index", "-z", "--index-info", given="\0".join([*lines, ""]).encode(), more=index)
            tree = self._git("write-tree", more=index)
        return self._git("commit-tree", "--no-gpg-sign", "-p", base, "-F", "-", tree, given=message.encode())

    def push(self, commit: str, branch: str, tip: str | None) -> None:
        """Let ``branch`` be this commit. InputError where its tip is not ``tip`` any more (None: it did not exist)."""
        ref = f"refs/heads/{branch}"
        self._git("push", "--quiet", f"--force-with-lease={ref}:{tip or ''}", "origin", f"{commit}:{ref}")

    def _git(self, *words: str, given: bytes = b"", more: Mapping[str, str] | None = None, fault: str = "") -> str:
        return self._run(*words, given=given, more=more, fault=fault).decode(errors="replace").strip("\n")

    def _run(self, *words: str, given: bytes = b"", more: Mapping[str, str] | None = None, fault: str = "") -> bytes:
        command = ["git", "-c", f"core.hooksPath={os.devnull}", *words]
        environment = {**self.environment, **(more or {})}
        try:
            done = subprocess.run(
                command, cwd=self.checkout, env=environment, input=given, capture_output=True, timeout=TIMEOUT
            )
        except FileNotFoundError:
            raise InputError(f"git or {self.checkout}: is not there; install git, or run this in a checkout") from None
        except subprocess.TimeoutExpired:
            raise InputError(f"git {words[0]}: has not ended after {TIMEOUT} s; run this again") from None
        if done.returncode:
            raise InputError(fault or f"git {words[0]}: {self._reason(done.stderr)}; mend that and run this again")
        return done.stdout

    def _reason(self, told: bytes) -> str:
        """The line of git's answer that tells most, without any secret."""
        text = told.decode(errors="replace")
        for secret in self.secrets:
            text = text.replace(secret, "***")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        telling = [line for line in lines if line.startswith(("fatal:", "error:", "remote: error", "!"))]
        return (telling or lines or ["it failed without a word"])[0]
