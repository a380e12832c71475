"""Seeded synthetic scans for demonstrations and tests, one file per kind."""

from heartseg.phantoms.writing import write_phantoms

__all__ = ["write_phantoms"]
