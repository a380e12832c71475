"""heartseg: segment the heart in MRI."""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Imported when asked for: `import heartseg` is quick, and is all that an expression in a bundle's YAML needs.
    if name == "segment":
        from heartseg.inference.segmenter import segment

        return segment
    if name in {module.name for module in iter_modules(__path__)}:
        return import_module(f"heartseg.{name}")
    raise AttributeError(f"module 'heartseg' has no attribute {name!r}")
