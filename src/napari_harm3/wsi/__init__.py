"""Slides: tissue, patches, features."""
