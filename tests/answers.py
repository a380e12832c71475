"""What the command line answers and leaves behind, for its tests."""


def refused(answer):
    """Status 2, no result, and one line; the line."""
    status, out, err = answer
    (line,) = [line for line in err.splitlines() if line.startswith("heartseg: ")]
    assert status == 2 and "Traceback" not in err
    assert [other for other in out.splitlines() if not other.startswith("device ")] == []
    return line.removeprefix("heartseg: ")


def tree(folder):
    """Every file in a folder with its content and time; of a link, where it leads."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_symlink():
            found[path.relative_to(folder)] = path.readlink()
        elif path.is_file():
            found[path.relative_to(folder)] = (path.read_bytes(), path.stat().st_mtime_ns)
    return found
