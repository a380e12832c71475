"""Results of evaluations and runs: read, tabulate and compare them."""
