"""Where cells lie, against what a cell of the network itself responds to."""

import gc
import weakref
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool3d, conv_transpose3d, interpolate, pad

from model_cases import case_batch
from napari_harm3.cohort.case import ROLES
from napari_harm3.explain.capture import capture, layer_centres, layer_names
from napari_harm3.explain.cells import Centres
from napari_harm3.explain.receptive import centres_of
from napari_harm3.models.interface import Prediction
from napari_harm3.models.registry import MODELS, build_model

PATCH_WIDTH = 6
LONG, SHORT = 512, 8
"""Voxels along the axis that is measured, more than any cell looks at, and others."""

EXPLAINED = [
    name
    for name, entry in MODELS.items()
    if "mri" in entry.modalities and entry.group != "reference"
]
ENCODERS = ["c3d", "resnet3d", "resnet-late", "rpnet3d", "harm3", "hmcat", "m2fusion"]
"""One of each kind; the others have one of these encoders."""


class MeanPool(nn.MaxPool3d):
    """Responds to every voxel that the pool looks at, where the pool picks one."""

    def forward(self, maps):
        return avg_pool3d(
            maps, self.kernel_size, self.stride, self.padding, self.ceil_mode
        )


def network(name, size, volume, **fields):
    torch.manual_seed(0)
    return build_model(
        name,
        replace(MODELS[name].sizes[size], **fields),
        volume_size=volume,
        patch_width=PATCH_WIDTH,
        clinical_width=3,
    ).eval()


def cases(volume):
    batch = case_batch(1, volume_size=volume, patch_width=PATCH_WIDTH)
    return replace(batch, clinical=torch.zeros(1, 3))


def responding(module):
    """Let a network respond to all that it looks at, and to each voxel alike."""
    for name, child in module.named_children():
        if isinstance(child, nn.MaxPool3d):
            child.__class__ = MeanPool
        elif isinstance(child, nn.InstanceNorm3d):
            setattr(module, name, nn.Identity())
        else:
            responding(child)
    with torch.no_grad():
        for convolution in module.modules():
            if isinstance(convolution, nn.Conv3d):
                weight = convolution.weight
                weight.fill_(1 / weight[0].numel())
    return module


def measured(module, batch, layer, axis):
    """Return a cell's number, and the middles of what it and the next respond to."""
    seen = []
    hook = module.register_forward_pre_hook(lambda _, given: seen.append(given[0].mri))
    with torch.enable_grad():
        output = capture(module, batch, layer).outputs[0]
    hook.remove()
    middle = output.shape[axis - 3] // 2
    found = []
    for cell in (middle, middle + 1):
        one = output.select(axis - 3, cell).sum()
        (slope,) = torch.autograd.grad(one, seen[0], retain_graph=True)
        weight = slope.double().movedim(axis - 3, 0).flatten(1).sum(dim=1)
        found.append(float(weight @ torch.arange(len(weight)).double() / weight.sum()))
    return middle, *found


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("name", ENCODERS)
def test_a_cell_lies_at_the_middle_of_what_it_responds_to(name, axis):
    volume = [LONG if axis == other else SHORT for other in range(3)]
    module, batch = network(name, "small", volume), cases(volume)
    said = {layer: layer_centres(module, batch, layer) for layer in layer_names(module)}

    responding(module)
    batch = replace(batch, mri=torch.ones_like(batch.mri))  # no rectifier has a say

    for layer, centres in said.items():
        cell, first, second = measured(module, batch, layer, axis)
        one = next(iter(centres.values()))
        expected = one.start[axis] + one.step[axis] * cell
        assert first == pytest.approx(expected, abs=1e-3), layer
        assert second - first == pytest.approx(one.step[axis], abs=1e-3), layer
        assert not one.assumed


@pytest.mark.parametrize(
    ("name", "size"),
    [*((name, "small") for name in EXPLAINED), *((name, "full") for name in ENCODERS)],
)
def test_every_registered_network_says_where_its_cells_lie(name, size):
    volume = (32, 64, 64)
    module = network(name, size, volume, base_channels=2)
    step = MODELS[name].sizes[size].output_stride

    centres = layer_centres(module, cases(volume))

    # Strided convolutions begin with the first voxel, pools with the first share.
    start = [(one - 1) / 2 if name == "c3d" else 0 for one in step]
    assert set(centres) == {r for r in ROLES if name != "m2fusion" or r[:2] == "t1"}
    for one in centres.values():
        assert one == Centres(start=tuple(start), step=tuple(step))


def test_a_grid_that_the_stride_does_not_divide_begins_like_any_other():
    volume = (13, 36, 37)
    module = network("resnet-late", "small", volume)

    centres = layer_centres(module, cases(volume))

    assert centres["t1_pre"] == Centres(start=(0, 0, 0), step=(4, 8, 8))


def test_a_shortcut_without_weights_is_followed():
    volume = (8, 32, 32)
    module = network("resnet3d", "small", volume, shortcut="padding", stem="isotropic")

    centres = layer_centres(module, cases(volume), "stage2")

    assert centres["t1_pre"].start == (0, 0, 0)
    assert not centres["t1_pre"].assumed


def test_an_absent_volume_has_no_cells():
    volume = (4, 16, 16)
    batch = cases(volume)
    batch.mri_avail[:, 1, 0] = False

    centres = layer_centres(network("resnet-late", "small", volume), batch)

    assert set(centres) == {"t1_pre", "t1_post", "t2_post"}


def test_what_one_pass_showed_of_the_cells_holds_for_the_next(monkeypatch):
    volume = (4, 16, 16)
    module, lacking = network("resnet-late", "small", volume), cases(volume)
    lacking.mri_avail[:, 1, 0] = False
    looked = []

    def counted(*arguments):
        looked.append(arguments)
        return centres_of(*arguments)

    monkeypatch.setattr("napari_harm3.explain.capture.centres_of", counted)

    few = layer_centres(module, lacking)
    every = layer_centres(module, cases(volume))
    again = layer_centres(module, lacking)
    inner = layer_centres(module, lacking, "stage1")

    assert len(looked) == 3  # the first lacked a volume; another layer is another map
    assert set(every) == set(ROLES)
    assert few == again == {role: every[role] for role in few}
    assert inner["t1_pre"].step == (1, 4, 4)


def test_a_network_that_is_let_go_is_let_go_of():
    volume = (4, 16, 16)
    module = network("resnet-late", "small", volume)
    layer_centres(module, cases(volume))

    gone = weakref.ref(module)
    del module
    gc.collect()

    assert gone() is None


def test_nothing_is_left_on_the_network_that_was_asked():
    module = network("harm3", "small", (4, 16, 16)).train()

    layer_centres(module, cases((4, 16, 16)), "stage2")

    assert all(part.training for part in module.modules())
    assert all(weight.grad is None for weight in module.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def after(step, size=(16, 24, 32)):
    """Return where the cells of someone's layer lie."""
    volumes = torch.rand(2, 1, *size, requires_grad=True)
    return centres_of([step(volumes)], volumes)[0]


def test_a_convolution_without_padding_begins_within_the_grid():
    steps = nn.Sequential(nn.Conv3d(1, 2, 3), nn.Conv3d(2, 2, 5, dilation=(1, 1, 2)))

    assert after(steps) == Centres(start=(3, 3, 5), step=(1, 1, 1))


def test_padding_of_one_side_shifts_the_cells():
    def step(volumes):
        return avg_pool3d(pad(volumes, (1, 0, 0, 0, 2, 0)), 2)

    assert after(step) == Centres(start=(-1.5, 0.5, -0.5), step=(2, 2, 2))


def test_every_second_cell_from_the_second_on_is_followed():
    assert after(lambda volumes: volumes[..., 1::2, :, 1::2]) == Centres(
        start=(1, 0, 1), step=(2, 1, 2)
    )


def test_slices_of_a_volume_one_by_one_keep_their_place():
    slices = nn.Conv2d(1, 2, 3, stride=2, padding=1)

    def step(volumes):
        planes = volumes.transpose(1, 2).flatten(0, 1)
        return slices(planes).unflatten(0, (2, -1)).transpose(1, 2)

    assert after(step) == Centres(start=(0, 0, 0), step=(1, 2, 2))


def test_a_gate_over_the_whole_map_moves_nothing():
    down = nn.Conv3d(1, 4, 3, stride=2, padding=1)

    def step(volumes):
        maps = down(volumes)
        return maps * maps.mean(dim=(2, 3, 4), keepdim=True).sigmoid()

    assert after(step) == Centres(start=(0, 0, 0), step=(2, 2, 2))


def patches(volumes):
    """Cut a volume into patches of eight without a convolution."""
    z, y, x = (side // 8 for side in volumes.shape[2:])
    return volumes.reshape(2, z, 8, y, 8, x, 8).mean(dim=(2, 4, 6))[:, None]


def enlarged(volumes):
    return interpolate(avg_pool3d(volumes, 2), scale_factor=4.0)


def transposed(volumes):
    return conv_transpose3d(volumes, torch.ones(1, 1, 2, 2, 2), stride=2)


def disagreeing(volumes):
    strided = nn.Conv3d(1, 1, 3, stride=2, padding=1)
    return strided(volumes) + avg_pool3d(volumes, 2)


def unconnected(volumes):
    return torch.ones(2, 3, 4, 4, 4, requires_grad=True) + volumes.shape[0]


@pytest.mark.parametrize(
    ("step", "share"),
    [
        (patches, (8, 8, 8)),
        (enlarged, (0.5, 0.5, 0.5)),
        (transposed, (0.5, 0.5, 0.5)),
        (disagreeing, (2, 2, 2)),
        (unconnected, (4, 6, 8)),
    ],
)
def test_equal_shares_are_assumed_and_that_is_said_where_the_way_is_unknown(
    step, share
):
    z, y, x = share

    assert after(step) == Centres(
        start=((z - 1) / 2, (y - 1) / 2, (x - 1) / 2), step=share, assumed=True
    )


def test_a_network_from_outside_is_followed_too():
    class Outside(nn.Module):
        def __init__(self):
            super().__init__()
            self.down = nn.Conv3d(1, 2, 5, stride=(1, 4, 4), padding=2)

        def forward(self, batch):
            maps = self.down(batch.mri.flatten(0, 2)).unflatten(0, (-1, 4))
            return Prediction(
                logit=maps.mean(dim=(1, 2, 3, 4, 5)),
                feature_maps=dict(zip(ROLES, maps.unbind(1), strict=True)),
            )

    centres = layer_centres(Outside(), cases((4, 16, 16)))

    assert centres["t2_post"] == Centres(start=(0, 0, 0), step=(1, 4, 4))
