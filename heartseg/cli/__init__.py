"""The command line: a thin door to bundles. Each command prints the ``python -m monai.bundle`` line it stands for."""

from heartseg.cli.app import app, main

__all__ = ["app", "main"]
