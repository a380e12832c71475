"""Configurations: bundles found, composed from YAML and run, and what is wrong with them."""

from heartseg.config.values import check_values

__all__ = ["check_values"]
