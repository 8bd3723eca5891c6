"""Volumes: from file to model-ready tensor, and back to their own space."""
