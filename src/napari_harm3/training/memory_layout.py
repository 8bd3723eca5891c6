"""How a network's weights lie in memory while it is fitted, and as they are kept."""

import torch
from torch import nn

from napari_harm3.training.state import Weights


def put_channels_last(network: nn.Module) -> None:
    """Lay out the weights of 3-D convolutions so that these take up to a third less.

    `nn.Module.to` would refuse a network that has 2-D convolutions too.
    """
    for weight in network.parameters():
        if weight.ndim == 5:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last_3d)


def copied_weights(network: nn.Module) -> Weights:
    """Return a copy of all weights in the plain order, as safetensors wants them."""
    return {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }
