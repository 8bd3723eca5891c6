"""The command line, ``harm3``."""
