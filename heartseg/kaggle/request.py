"""The pull request of a branch, by GitHub's command ``gh``."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

from heartseg.errors import one_line
from heartseg.kaggle.origin import GITHUB, TIMEOUT, Heads

MARK = "<!-- heartseg run "


def open_request(
    checkout: str | os.PathLike[str],
    heads: Heads,
    branch: str,
    commit: str | None,
    subject: str,
    text: str,
    renew: bool = True,
) -> None:
    """Open the pull request of a branch, or renew its words; one that people closed for this run stays closed.

    Where there is no gh, or it fails, the address that opens the request is printed with the reason: what was pushed
    stays.

    Args:
        checkout: a folder in a checkout of the repository.
        heads: what it would be merged into.
        branch, commit: the branch and its tip.
        subject, text: its title, and its body in Markdown, which says of which run it is (`of_run`).
        renew: whether one that is open gets these words.
    """
    try:
        fields = "number,state,body,headRefOid,isCrossRepository"
        words = ["--state", "all", "--json", fields, "--head", branch, "--base", heads.main]
        # A fork may have a branch of the same name.
        there = [one for one in json.loads(_gh(checkout, "pr", "list", *words)) if not one["isCrossRepository"]]
        opened = [one for one in there if one["state"] == "OPEN"]
        if opened and renew:
            place = f"repos/{{owner}}/{{repo}}/pulls/{int(opened[0]['number'])}"  # gh knows owner and repo
            content = json.dumps({"title": subject, "body": text})
            _gh(checkout, "api", "--method", "PATCH", place, "--input", "-", given=content)
        # The branch may have been removed since, and made anew with another commit.
        mark = next((line for line in text.splitlines() if line.startswith(MARK)), None)
        seen = [one for one in there if one["headRefOid"] == commit or (mark and mark in (one.get("body") or ""))]
        if not opened and not seen:
            words = ["--head", branch, "--base", heads.main, "--title", subject, "--body-file", "-"]
            print(f"pull request: {one_line(_gh(checkout, 'pr', 'create', *words, given=text).strip())}")
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        missing = isinstance(error, FileNotFoundError)
        reason = "gh is not installed" if missing else one_line((getattr(error, "stderr", None) or str(error)).strip())
        if token := os.environ.get("GH_TOKEN"):
            reason = reason.replace(token, "***")
        link = address(f"compare/{heads.main}...{branch}?expand=1") or f"from {branch} to {heads.main}, by hand"
        print(f"no pull request ({reason}); open it: {link}")


def of_run(manifest: Mapping[str, Any]) -> str:
    """A line for the body of a request that tells one run from any other, and that GitHub does not show."""
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    return f"{MARK}{digest} -->"


def address(place: str) -> str | None:
    """A page of the repository on GitHub, in an Action; None elsewhere, where it is not known."""
    repository = os.environ.get("GITHUB_REPOSITORY")
    return f"{os.environ.get('GITHUB_SERVER_URL') or GITHUB}/{repository}/{place}" if repository else None


def _gh(checkout: str | os.PathLike[str], *words: str, given: str = "") -> str:
    """What gh answers. Raises subprocess's errors, and OSError where there is no gh."""
    environment = {**os.environ, "GH_PROMPT_DISABLED": "1"}
    call = ["gh", *words]
    done = subprocess.run(
        call, cwd=checkout, env=environment, input=given, capture_output=True, text=True, check=True, timeout=TIMEOUT
    )
    return done.stdout
