"""Made-up batches for the tests of networks."""

import torch
from torch import nn

from napari_harm3.data.config import InputConfig
from napari_harm3.models.harm3.config import Harm3Config
from napari_harm3.models.interface import CaseBatch
from napari_harm3.models.registry import MODELS, build_model

TINY_VOLUME = (4, 16, 16)
TINY_PATCH_WIDTH = 6
PATCH_WIDTHS = {"small": 192, "full": 768}


def tiny_config(**fields: object) -> Harm3Config:
    """Eight numbers a token, two by two by two cells."""
    defaults = {
        "encoder_depth": 10,
        "base_channels": 1,
        "output_stride": (2, 8, 8),
        "sequence_heads": 2,
        "pooling_heads": 2,
        "wsi_tokens": 3,
        "head_width": 4,
        "dropout": 0.0,
    }
    return Harm3Config(**{**defaults, **fields})


def case_batch(
    cases: int = 4,
    *,
    volume_size: tuple[int, int, int] = TINY_VOLUME,
    patches: int = 5,
    patch_width: int = TINY_PATCH_WIDTH,
    seed: int = 0,
) -> CaseBatch:
    """Complete, aligned cases of noise with alternating labels."""
    rng = torch.Generator().manual_seed(seed)
    present = torch.ones(cases, dtype=torch.bool)
    return CaseBatch(
        mri=torch.randn(cases, 2, 2, 1, *volume_size, generator=rng),
        mri_avail=present[:, None, None].repeat(1, 2, 2),
        wsi=torch.randn(cases, patches, patch_width, generator=rng),
        wsi_mask=present[:, None].repeat(1, patches),
        wsi_coords=torch.rand(cases, patches, 2, generator=rng),
        wsi_avail=present,
        label=torch.arange(cases).remainder(2).float(),
        aligned=present,
    )


def registered(name: str, size: str) -> nn.Module:
    """A network at the sizes of its registration."""
    inputs = InputConfig.of_size(size)
    return build_model(
        name,
        MODELS[name].sizes[size],
        volume_size=inputs.mri.size,
        patch_width=PATCH_WIDTHS[size],
    )


def registered_batch(size: str, *, cases: int = 2, patches: int) -> CaseBatch:
    """A batch as that network sees it; for fake tensors, which hold no numbers."""
    return CaseBatch(
        mri=torch.empty(cases, 2, 2, 1, *InputConfig.of_size(size).mri.size),
        mri_avail=torch.ones(cases, 2, 2, dtype=torch.bool),
        wsi=torch.empty(cases, patches, PATCH_WIDTHS[size]),
        wsi_mask=torch.ones(cases, patches, dtype=torch.bool),
        wsi_coords=torch.empty(cases, patches, 2),
        wsi_avail=torch.ones(cases, dtype=torch.bool),
        label=torch.empty(cases),
        aligned=torch.ones(cases, dtype=torch.bool),
    )
