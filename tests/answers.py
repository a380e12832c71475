"""What the command line answers, for its tests."""


def refused(answer):
    """Status 2, no result, and one line; the line."""
    status, out, err = answer
    (line,) = [line for line in err.splitlines() if line.startswith("heartseg: ")]
    assert status == 2 and "Traceback" not in err
    assert [other for other in out.splitlines() if not other.startswith("device ")] == []
    return line.removeprefix("heartseg: ")
