"""Figures: drawing and saving, nothing else."""
