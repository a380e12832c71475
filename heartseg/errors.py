"""One kind of error for people: a single line that names the file or key, the fault and the remedy."""

from __future__ import annotations

import re
import sys
from types import TracebackType


class InputError(ValueError):
    """Input that cannot be used as it is. The message is one line: what, where, and how to mend it."""


_TOLD = re.compile(rf"^{re.escape(InputError.__module__)}\.InputError: (.+)$", re.MULTILINE)


def input_error(error: BaseException | None) -> InputError | None:
    """The InputError at the bottom of a chain: MONAI wraps what a transform raises in errors of its own."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        # A worker process of a data loader sends its traceback as text, and no chain.
        if told := _TOLD.search(str(error)):
            return InputError(told[1])
        if isinstance(error, InputError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def readable_errors() -> None:
    """Let an InputError that ends the program print its one line and give status 2, instead of a traceback.

    Bundles call this in ``initialize``, so that ``python -m monai.bundle run`` speaks as the CLI does.
    """
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        found = input_error(error)
        if found is None:
            previous(kind, error, trace)
            return
        print(f"heartseg: {found}", file=sys.stderr)
        raise SystemExit(2)

    sys.excepthook = hook
