"""Figures: drawn and saved, nothing else."""
