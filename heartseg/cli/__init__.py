"""The command line, a thin layer over bundles: each command prints the equivalent ``python -m monai.bundle`` line."""

from heartseg.cli.app import app, main

__all__ = ["app", "main"]
