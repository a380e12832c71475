"""Results of evaluations: read, tabulated and compared."""
