"""Helpers for tests of the command line: its error line, and the files it leaves behind."""


def refused(answer):
    """Check for status 2 without results and return the one line of the error."""
    status, out, err = answer
    (line,) = [line for line in err.splitlines() if line.startswith("heartseg: ")]
    assert status == 2 and "Traceback" not in err
    assert [other for other in out.splitlines() if not other.startswith("device ")] == []
    return line.removeprefix("heartseg: ")


def tree(folder):
    """Return the content and time of every file in a folder, or the target of a link."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_symlink():
            found[path.relative_to(folder)] = path.readlink()
        elif path.is_file():
            found[path.relative_to(folder)] = (path.read_bytes(), path.stat().st_mtime_ns)
    return found
