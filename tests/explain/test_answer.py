"""One forward pass says what each explanation says by itself."""

import numpy as np
import pytest
import torch

from model_cases import case_batch
from napari_harm3.explain.answer import answer
from napari_harm3.explain.capture import evaluating
from napari_harm3.explain.case_link import tokens_of
from napari_harm3.explain.config import ExplainConfig
from napari_harm3.explain.gradcam import located_heat_maps
from napari_harm3.explain.slide_maps import listening, maps_heard
from napari_harm3.models.registry import MODELS, build_model

VOLUME, WIDTH = (8, 16, 16), 12
LINKED = ("harm3", "harm3-no-attention-1")
MRI = (*LINKED, "harm3-no-attention-2", "harm3-mri", "hmcat", "m2fusion", "resnet3d")
SLIDES_ALONE = ("clam-sb", "transmil")


@pytest.mark.parametrize(
    ("name", "layer"),
    [(name, "last") for name in (*MRI, *SLIDES_ALONE)]
    + [(name, "stage2") for name in MRI],
)
def test_one_pass_says_what_each_map_says_alone(name: str, layer: str) -> None:
    torch.manual_seed(0)
    network = build_model(
        name, MODELS[name].sizes["small"], volume_size=VOLUME, patch_width=WIDTH
    ).train()
    batch = case_batch(1, volume_size=VOLUME, patch_width=WIDTH)
    config = ExplainConfig(layer=layer)
    passes = []
    counting = network.register_forward_hook(lambda *_: passes.append(1))

    found = answer(network, batch, config)

    counting.remove()
    assert len(passes) == 1
    assert network.training
    assert all(weight.grad is None for weight in network.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    heat = located_heat_maps(network, batch, config)
    with evaluating(network), listening(network) as heard:
        prediction = network(batch)
    link = tokens_of(prediction)
    assert found.heat.centres == heat.centres
    np.testing.assert_equal(found.heat.maps, heat.maps)
    np.testing.assert_equal(found.slide, maps_heard(prediction, heard, batch.wsi_mask))
    assert (link is not None) == (name in LINKED)
    assert (found.link is None) == (link is None)
    if link is not None:
        np.testing.assert_equal(vars(found.link), vars(link))
