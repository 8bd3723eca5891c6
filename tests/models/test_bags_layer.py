"""Bags without their padding, and back."""

import torch

from napari_harm3.models.layers.bags import padded_weights, real_patches


def test_padding_is_left_out_wherever_it_lies() -> None:
    bags = torch.arange(12.0).reshape(2, 3, 2)
    mask = torch.tensor([[True, True, False], [False, True, True]])

    first, second = real_patches(bags, mask)

    assert torch.equal(first, bags[0, :2])
    assert torch.equal(second, bags[1, 1:])


def test_padding_at_the_end_costs_no_copy() -> None:
    bags = torch.zeros(1, 3, 2)

    (patches,) = real_patches(bags, torch.tensor([[True, True, False]]))

    assert patches.data_ptr() == bags.data_ptr()


def test_weights_return_to_their_patches() -> None:
    mask = torch.tensor([[True, True, False], [False, True, True]])
    first, second = torch.tensor([[0.1, 0.9], [0.2, 0.8]]), torch.tensor([[3.0, 4.0]])

    weights = padded_weights([first, second.expand(2, -1)], mask)

    assert torch.equal(weights[0], torch.tensor([[0.1, 0.9, 0.0], [0.2, 0.8, 0.0]]))
    assert torch.equal(weights[1], torch.tensor([[0.0, 3.0, 4.0], [0.0, 3.0, 4.0]]))
