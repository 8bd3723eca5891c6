"""Who: cases, the cohort table, the folds."""
