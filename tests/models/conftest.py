"""What the tests of networks share."""

import pytest
import torch

from napari_harm3.models.harm3 import network


@pytest.fixture(autouse=True)
def one_thread():
    """Let small tensors not wait for each other's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def all_present(monkeypatch):
    """Let fake tensors, which hold no numbers, pass for complete cases."""
    monkeypatch.setattr(
        network, "present_rows", lambda available: torch.arange(available.numel())
    )
