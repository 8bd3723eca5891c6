"""The command line, ``harm3``."""

from napari_harm3.threads import share_cores

share_cores()  # before a command loads numpy
