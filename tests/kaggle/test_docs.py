"""The commands, links, secrets and variables in docs/kaggle.md exist."""

import re
import shlex
from pathlib import Path

import pytest
import typer

DOCS = Path(__file__).resolve().parents[2] / "docs"
TEXT = (DOCS / "kaggle.md").read_text("utf-8")
COMMANDS = re.findall(
    r"heartseg ((?:kaggle|data|segment) [^`#;]+?)(?=`|#|;|\n)", re.sub(r"(?<=kaggle sync)\s+", " ", TEXT)
)


def anchors(text):
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_command_of_the_room_is_there():
    named = {tuple(command.split()[:2]) for command in COMMANDS}
    assert {("kaggle", "push"), ("kaggle", "pull"), ("kaggle", "sync"), ("data", "fetch")} <= named


@pytest.mark.parametrize("line", sorted(set(COMMANDS)))
def test_commands_are_valid(line):
    from heartseg.cli.app import app

    command, words = typer.main.get_command(app), shlex.split(line)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    context = command.make_context(command.name, words)  # reads the words and runs nothing
    assert not context.args


@pytest.mark.parametrize("page", ["kaggle.md", "troubleshooting.md"])
def test_links_have_targets(page):
    for file, _, anchor in (
        link.partition("#") for link in re.findall(r"\]\((?!http)([^)]+)\)", (DOCS / page).read_text())
    ):
        target = DOCS / (file or page)
        assert target.exists() and (not anchor or anchor in anchors(target.read_text("utf-8"))), f"{file}#{anchor}"


def test_secrets_and_variables_are_those_of_the_workflow():
    workflow = (DOCS.parent / ".github" / "workflows" / "sync-kaggle.yml").read_text("utf-8")
    named = set(re.findall(r"(?:secrets|vars)\.(\w+)", workflow))
    assert named and not [name for name in named if f"`{name}`" not in TEXT]
