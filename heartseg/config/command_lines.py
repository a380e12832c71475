"""The ``python -m monai.bundle`` line that does the same as a command of heartseg."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fire.parser import DefaultParseValue


def command_line(run_id: str, files: Sequence[str], values: Mapping[str, Any]) -> str:
    """Return the line that does the same in the bundle's folder."""
    listed = files[0] if len(files) == 1 else "[" + ",".join(f"'{file}'" for file in files) + "]"
    words = ["python", "-m", "monai.bundle", "run", run_id, "--config_file", listed]
    for name, value in values.items():
        words += [f"--{name}", _argument(value)]
    return " ".join(map(_quoted, words))


def say_command(bundle: Path, run_id: str, files: Sequence[str], values: Mapping[str, Any]) -> None:
    """Print the line for a shell that does the same without heartseg's command."""
    say(f"cd {_quoted(str(bundle))} && {command_line(run_id, files, values)}")


def say(text: str) -> None:
    """Print a line for the person on standard error, so that results can be piped."""
    print(text, file=sys.stderr, flush=True)


def _argument(value: Any) -> str:
    """Return a value as text that MONAI's command line, which is Fire's, reads back as the same value."""
    if value is None:
        return "$None"  # a bare None would be dropped
    if isinstance(value, float) and not math.isfinite(value):
        return f"$float('{value}')"
    text = str(value)
    # A string that Fire would take for a flag, a number, a list or a quoted string is quoted once more.
    ambiguous = isinstance(value, str) and (text.startswith("-") or DefaultParseValue(text) != text)
    return repr(text) if ambiguous else text


def _quoted(word: str) -> str:
    """Return a word quoted for a shell; lists of names in double quotes, as people write them."""
    return f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word)
