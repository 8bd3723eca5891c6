"""HARM3 at the paper's size fits a 24 GB card; no card is needed to know it."""

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks

from model_cases import registered, registered_batch

GIB = 2**30
ADAM_BYTES = 16
"""Of a parameter: itself, its gradient and Adam's two moments, four bytes each."""


@pytest.mark.usefixtures("all_present")
def test_a_step_at_full_size_fits() -> None:
    saved: dict[int, torch.UntypedStorage] = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        saved[storage._cdata] = storage
        return tensor

    with FakeTensorMode():
        network = registered("harm3", "full")
        batch = registered_batch("full", cases=8, patches=4000)
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            prediction = network(batch)
    weights = list(network.parameters())
    own = {weight.untyped_storage()._cdata for weight in weights}
    activations = sum(s.nbytes() for key, s in saved.items() if key not in own)
    state = ADAM_BYTES * sum(weight.numel() for weight in weights)

    assert prediction.logit.shape == (8,)
    assert 1 * GIB < activations <= 8 * GIB
    assert state <= 2 * GIB
