"""A HARM3 network whose every link is set by hand, and volumes that spell their cells.

The encoder reads a number from each cell and hands out that unit vector; pooled token k
is a unit vector too, so that every question and every answer is known.
"""

import torch
from torch import nn
from torch.nn.functional import avg_pool3d, one_hot

from model_cases import case_batch, tiny_config
from napari_harm3.models.harm3.network import Harm3

SIZE, STRIDE, GRID = (4, 16, 24), (2, 8, 8), (2, 2, 3)
CELLS = 12
WIDTH = 48
SHARP = 40.0
"""So steep that a softmax is one to float32's last digits."""


class SpelledCells(nn.Module):
    """Each cell's mean voxel, a whole number, as a unit vector."""

    out_channels = WIDTH

    def forward(self, volumes):
        numbers = avg_pool3d(volumes, STRIDE)[:, 0].round().long()
        return one_hot(numbers, WIDTH).movedim(-1, 1).float()


def linked_network(feeds, asks, **fields):
    """Return a network in which patch p feeds token feeds[p], token k asks asks[k]."""
    config = tiny_config(
        base_channels=6,
        output_stride=STRIDE,
        ld_vae=False,
        attention_1=False,
        pooling_heads=1,
        wsi_tokens=len(asks),
        **fields,
    )
    network = Harm3(config, volume_size=SIZE, patch_width=len(feeds)).eval()
    network.encoders = nn.ModuleList([SpelledCells() for _ in network.encoders])
    unit = torch.eye(WIDTH)
    pooling, cross = network.pooling, network.modality_fusion
    with torch.no_grad():
        pooling.queries.copy_(unit[: len(asks)])
        pooling.project[0].weight.copy_(unit[:, feeds])
        pooling.project[0].bias.zero_()
        pooling.to_query.weight.copy_(SHARP * unit)
        pooling.to_key.weight.copy_(SHARP * unit)
        pooling.out.weight.zero_()
        pooling.out.bias.zero_()
        cross.to_query.weight.zero_()
        cross.to_query.weight[asks, range(len(asks))] = SHARP
        cross.to_key.weight.copy_(SHARP * unit)
    return network


def spelled_batch(patches, *, streams=4):
    """Return one case: each patch its own unit vector, each voxel its cell's number.

    With two streams pre and post spell the same numbers, as they are added up.
    """
    batch = case_batch(1, volume_size=SIZE, patches=patches, patch_width=patches)
    batch.wsi[:] = torch.eye(patches)
    cells = torch.arange(CELLS).reshape(GRID).float()
    for axis, step in enumerate(STRIDE):
        cells = cells.repeat_interleave(step, dim=axis)
    for sequence in range(2):
        for time in range(2):
            stream = 2 * sequence + time if streams == 4 else sequence
            batch.mri[:, sequence, time, 0] = cells + CELLS * stream
    return batch
