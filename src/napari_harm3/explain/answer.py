"""All that one network says of a case: maps of both modalities, and their link.

They are made of one forward pass. At the paper's size it takes longer than all else.
"""

from dataclasses import dataclass

import torch
from torch import nn

from napari_harm3.explain.capture import capture, evaluating
from napari_harm3.explain.case_link import LinkTokens, tokens_of
from napari_harm3.explain.config import ExplainConfig
from napari_harm3.explain.gradcam import HeatMaps, maps_captured
from napari_harm3.explain.slide_maps import PatchMaps, listening, maps_heard
from napari_harm3.models.interface import CaseBatch


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of one forward pass of one case."""

    heat: HeatMaps
    slide: PatchMaps
    """By kind; none of a network that looks at no patches."""

    link: LinkTokens | None
    """None where nothing is linked."""


def answer(network: nn.Module, batch: CaseBatch, config: ExplainConfig) -> Answer:
    """Return the maps of volumes and patches, and the link, of one forward pass.

    Parameters
    ----------
    network
        In any mode; asked in evaluation mode.
    batch
        One case.
    config
        How the maps of its volumes are made; its target is that of the slide, too.

    Raises
    ------
    ModelError
        If the network has no such layer, or the method does not suit it.
    """
    with torch.enable_grad(), evaluating(network), listening(network) as heard:
        captured = capture(network, batch, config.layer)
        return Answer(
            slide=maps_heard(captured.prediction, heard, batch.wsi_mask, config.target),
            link=tokens_of(captured.prediction),
            heat=maps_captured(captured, config),
        )
