"""Configurations: bundles found, composed from YAML and run, and what is wrong with them."""

from heartseg.config.knobs import check_knobs, knobs, settings

__all__ = ["check_knobs", "knobs", "settings"]
