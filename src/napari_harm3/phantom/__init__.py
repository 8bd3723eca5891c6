"""A made-up cohort in real file formats."""
