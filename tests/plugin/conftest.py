"""A viewer's model with our manifest, no window."""

import pytest
from napari.components import ViewerModel
from npe2 import PluginManager


@pytest.fixture
def viewer():
    manager = PluginManager.instance()
    manager.discover()
    manager.enable("napari-harm3")
    return ViewerModel()
