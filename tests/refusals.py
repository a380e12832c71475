"""Calls that must be refused in one line."""

from collections.abc import Callable
from typing import Any

import pytest

from heartseg.errors import InputError


def refusal(function: Callable[..., Any], *args: Any, **keys: Any) -> str:
    """Return the line that a call is refused with."""
    with pytest.raises(InputError) as info:
        function(*args, **keys)
    assert "\n" not in str(info.value)
    return str(info.value)
