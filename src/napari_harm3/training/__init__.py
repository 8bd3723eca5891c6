"""Fit a model, and measure it on cases it has not seen."""
