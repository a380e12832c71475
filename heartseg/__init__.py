"""heartseg: segment the heart in MRI."""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Only who segments pays for the import of torch and MONAI.
    if name == "segment":
        from heartseg.apply import segment

        return segment
    raise AttributeError(f"module 'heartseg' has no attribute {name!r}")
