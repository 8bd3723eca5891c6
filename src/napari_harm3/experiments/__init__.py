"""Table 1 and Table 2 of the paper: what it prints, and what we run."""
