"""Every layer of every registered MRI network is kept by the volume that it saw."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from model_cases import case_batch, tiny_config
from napari_harm3.cohort.case import ROLES
from napari_harm3.errors import ModelError
from napari_harm3.explain.capture import capture, layer_names
from napari_harm3.explain.config import ExplainConfig
from napari_harm3.explain.gradcam import METHODS, PLACEWISE, evidence, heat_maps
from napari_harm3.models.harm3.network import Harm3
from napari_harm3.models.interface import CaseBatch, Prediction
from napari_harm3.models.layers.resnet3d import ResNet3d
from napari_harm3.models.registry import MODELS, build_model

VOLUME, PATCH_WIDTH = (8, 16, 16), 12
EXPLAINED = [
    name
    for name, entry in MODELS.items()
    if "mri" in entry.modalities and entry.group != "reference"
]

every_model = pytest.mark.parametrize("name", EXPLAINED)


def small(name):
    torch.manual_seed(0)
    return build_model(
        name,
        MODELS[name].sizes["small"],
        volume_size=VOLUME,
        patch_width=PATCH_WIDTH,
        clinical_width=3,
    ).eval()


def cases(count=2, seed=0):
    batch = case_batch(count, volume_size=VOLUME, patch_width=PATCH_WIDTH, seed=seed)
    return replace(batch, clinical=torch.zeros(count, 3))


def without(batch, *absent):
    """Take volumes (case, sequence, time) out of a batch, as the loader would."""
    there = batch.mri_avail.clone()
    for place in absent:
        there[place] = False
    mri = batch.mri * there[..., None, None, None, None]
    return replace(batch, mri=mri, mri_avail=there)


def tiny(**fields):
    torch.manual_seed(0)
    config = tiny_config(base_channels=4, **fields)
    return Harm3(config, volume_size=VOLUME, patch_width=PATCH_WIDTH).eval()


def both(network, batch, layer):
    """Return a layer's maps and the logit's gradient by them, by role."""
    captured = capture(network, batch, layer)
    slopes = torch.autograd.grad(captured.prediction.logit.sum(), captured.outputs)
    return captured.by_role(captured.outputs), captured.by_role(slopes)


@every_model
def test_layers_are_named_from_the_finest_on(name):
    network, batch = small(name), cases(1)
    names = layer_names(network)

    cells = [
        capture(network, batch, layer).outputs[0].shape[2:].numel()
        for layer in names[1:]
    ]

    assert names[0] == "last"
    assert {"stage1", "stage2", "stage3", "stage4"} <= set(names)
    assert cells == sorted(cells, reverse=True)
    assert cells[0] > cells[-1]


@every_model
def test_the_coarsest_stage_is_what_the_network_hands_out(name):
    network, batch = small(name), cases(3)
    # One volume for all: only its place in the batch tells one role from another.
    batch = replace(batch, mri=batch.mri[:1, :1, :1].expand_as(batch.mri))
    if not MODELS[name].sizes["small"].required:
        batch = without(batch, (0, 0, 1), (1, 1), (2, 1, 0))

    maps, slopes = both(network, batch, layer_names(network)[-1])

    expected, expected_slopes = both(network, batch, "last")
    assert set(maps) == set(expected)
    for role in maps:
        torch.testing.assert_close(maps[role], expected[role])
        torch.testing.assert_close(slopes[role], expected_slopes[role])
    if name in ("harm3", "hmcat", "late-fusion", "resnet-late", "m2fusion"):
        assert not torch.equal(slopes["t1_pre"], slopes["t1_post"])


@every_model
@pytest.mark.parametrize("layer", ["stage1", "stage3"])
def test_a_volume_moves_the_maps_of_its_own_role_and_case_alone(name, layer):
    network, batch = small(name), cases(2)
    before = capture(network, batch, layer)
    shared = {
        "c3d": [set(ROLES)],
        "resnet3d": [set(ROLES)],
        "rpnet3d": [{"t1_pre", "t2_pre"}, {"t1_post", "t2_post"}],
    }.get(name, [{role} for role in ROLES])

    for number, role in enumerate(ROLES):
        if role not in before.places:
            assert name == "m2fusion"
            continue
        mri = batch.mri.clone()
        mri[1, number // 2, number % 2] += torch.randn(VOLUME)
        after = capture(network, replace(batch, mri=mri), layer)
        old, new = before.by_role(before.outputs), after.by_role(after.outputs)
        moved = {
            (name, case)
            for name in old
            for case in range(2)
            if not torch.allclose(old[name][case], new[name][case], atol=1e-6)
        }
        together = next(group for group in shared if role in group)
        assert moved == {(name, 1) for name in together}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"share_sequences": True},
        {"share_times": False},
        {"share_sequences": True, "share_times": False},
    ],
)
def test_every_call_of_a_shared_encoder_is_kept(fields):
    network = tiny(missing="tokens", **fields)
    batch = without(cases(3), (0, 0, 0), (0, 1, 1), (1, 0), (2, 1, 0))
    weights = [*network.parameters()]

    maps, slopes = both(network, batch, "stage4")

    expected, expected_slopes = both(network, batch, "last")
    assert set(maps) == set(ROLES)
    for role in ROLES:
        torch.testing.assert_close(maps[role], expected[role])
        torch.testing.assert_close(slopes[role], expected_slopes[role])
        there = batch.mri_avail.flatten(1)[:, ROLES.index(role)]
        assert torch.equal(maps[role].flatten(1).any(dim=1), there)
    assert all(weight.grad is None for weight in weights)


def normalised(network, layer):
    """Return whether what comes next divides each cell by its own size."""
    return isinstance(network, Harm3) and layer in {"last", "stage4"}


@pytest.mark.parametrize("method", PLACEWISE)
@pytest.mark.parametrize("layer", ["last", "stage4"])
@pytest.mark.parametrize("target", ["pcr", "contrast"])
def test_cells_that_the_network_normalises_are_not_weighed_each_by_itself(
    method, layer, target
):
    config = ExplainConfig(method=method, layer=layer, target=target)

    with pytest.raises(ModelError, match=rf"{method}.*'{layer}'.*choose gradcam"):
        heat_maps(small("harm3"), cases(1), config)


@every_model
def test_every_method_explains_every_layer(name):
    network, batch = small(name), cases(1)

    for layer in layer_names(network):
        maps, slopes = both(network, batch, layer)
        for method in METHODS:
            if method in PLACEWISE and normalised(network, layer):
                continue
            config = ExplainConfig(method=method, layer=layer, target="contrast")
            found = [evidence(maps[role], slopes[role], config) for role in maps]
            assert all(np.isfinite(one).all() for one in found)
            assert any(one.any() for one in found), (layer, method)


def test_a_layer_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(
        ModelError, match=r"'stage9'.*last, stem, stage1, stage2, stage"
    ):
        heat_maps(tiny(), cases(), ExplainConfig(layer="stage9"))
    with pytest.raises(ModelError, match="there are last"):
        capture(small_slide_network(), cases(), "stem")


def small_slide_network():
    return build_model(
        "abmil",
        MODELS["abmil"].sizes["small"],
        volume_size=VOLUME,
        patch_width=PATCH_WIDTH,
    )


def test_no_hook_stays_even_if_the_network_fails():
    network, batch = tiny(), cases()
    broken = replace(batch, wsi=batch.wsi[..., :3])

    with pytest.raises(RuntimeError):
        capture(network, broken, "stage2")

    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_frozen_weights_are_explained_too():
    network, batch = tiny(), cases()
    _, expected = heat_maps(network, batch, ExplainConfig(layer="stage2"))

    _, maps = heat_maps(
        network.requires_grad_(requires_grad=False),
        batch,
        ExplainConfig(layer="stage2"),
    )

    for role in ROLES:
        peak = expected[role].max()
        np.testing.assert_allclose(maps[role], expected[role], atol=1e-4 * peak)


class Rescaling(nn.Module):
    """Someone's network that changes its volumes first."""

    def __init__(self):
        super().__init__()
        self.encoder = ResNet3d(depth=10, base_channels=1)

    def forward(self, batch: CaseBatch) -> Prediction:
        maps = self.encoder(2 * batch.mri.flatten(0, 2))
        return Prediction(logit=maps.mean(dim=(1, 2, 3, 4)))


def test_a_network_that_makes_volumes_of_its_own_is_refused():
    with pytest.raises(ModelError, match="changes the volumes"):
        capture(Rescaling().eval(), cases(), "stage1")
