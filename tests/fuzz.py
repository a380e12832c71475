"""Settings and strategies for fuzzing: reproducible examples, many more if ``HEARTSEG_PROOF`` is set."""

import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

MORE = 20 if os.environ.get("HEARTSEG_PROOF") else 1


def few(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Mark a test as fuzzing, with this number of examples, no deadline and no database."""
    bounds = settings(
        max_examples=examples * MORE,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    return lambda test: pytest.mark.fuzz(bounds(test))


TEXT = st.text(max_size=12) | st.sampled_from(["", "..", "/", "a.nii.gz", "\0", "\n", "ED", "1e400", "-1"])
NUMBERS = st.integers() | st.floats() | st.sampled_from([0, -1, 2**63, 10**400, float("nan"), float("inf")])
VALUES = st.none() | st.booleans() | NUMBERS | TEXT
JSON = st.recursive(VALUES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))


def objects(**known: st.SearchStrategy) -> st.SearchStrategy:
    """Generate JSON objects with some of the known keys, with proper or arbitrary values, and other keys."""
    named = st.fixed_dictionaries({}, optional={key: value | JSON for key, value in known.items()})
    return st.builds(lambda one, other: {**other, **one}, named, st.dictionaries(TEXT, JSON, max_size=2))
