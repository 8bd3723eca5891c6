"""Heat maps against the papers' formulae, and on networks whose cause is known."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from map_readings import upsampled
from model_cases import case_batch, tiny_config
from napari_harm3.cohort.case import ROLES
from napari_harm3.errors import ModelError
from napari_harm3.explain.cells import equal_shares
from napari_harm3.explain.config import ExplainConfig
from napari_harm3.explain.gradcam import (
    METHODS,
    evidence,
    heat_maps,
    located_heat_maps,
)
from napari_harm3.models.harm3.network import Harm3
from napari_harm3.models.interface import Prediction
from napari_harm3.models.registry import MODELS, build_model

GRID, CELL = (15, 20, 25), 5
POSITIONS = 200

SCENE, STRIDE, BLOB = (24, 48, 48), (4, 8, 8), 4
"""A grid for real encoders, their last cells, and the side of a bright cube in it."""

every_method = pytest.mark.parametrize("method", METHODS)


def by_the_paper(method, a, g):
    """Read one case's map from the method's paper, before it is rectified."""
    cam = np.zeros(a.shape[1:])
    for channel, slope in zip(a, g, strict=True):
        if method == "hirescam":
            cam += slope * channel
        elif method == "layercam":
            cam += np.maximum(slope, 0) * channel
        elif method == "gradcam":
            cam += slope.sum() / slope.size * channel
        elif method == "xgradcam":
            cam += (slope * channel).sum() / channel.sum() * channel
        else:  # gradcam++: Eq. (19), then Eq. (15)
            weight = 0.0
            for place in np.ndindex(slope.shape):
                s = slope[place]
                if s > 0:
                    weight += s * s**2 / (2 * s**2 + channel.sum() * s**3)
            cam += weight * channel
    return cam


def drawn(scale=1.0, seed=0):
    """Return rectified activations and gradients of a layer that is no cube."""
    rng = torch.Generator().manual_seed(seed)
    activation = torch.randn(2, 5, 3, 4, 6, generator=rng).relu()
    return activation, scale * torch.randn(2, 5, 3, 4, 6, generator=rng)


class OneCause(nn.Module):
    """The logit is the mean of one cube of one volume, seen through cells of five.

    A second channel shows the whole volume, and has no say.
    """

    def __init__(self, role, corner, gain=1.0):
        super().__init__()
        window = torch.zeros(4, 1, *GRID)
        z, y, x = (slice(start, start + CELL) for start in corner)
        window[ROLES.index(role), :, z, y, x] = 1
        self.register_buffer("window", window)
        self.weight = nn.Parameter(torch.tensor([gain, 1.0]))
        self.dropout = nn.Dropout(0.5)
        self.forwards = self.backwards = 0

    def forward(self, batch):
        self.forwards += 1
        volumes = batch.mri.flatten(1, 2)
        both = torch.cat([volumes * self.window, volumes], dim=2).flatten(0, 1)
        maps = nn.functional.avg_pool3d(both, CELL) * self.weight[:, None, None, None]
        maps = maps.unflatten(0, volumes.shape[:2])
        by_role = {role: maps[:, n] for n, role in enumerate(ROLES)}
        parts = [one[:, 0].sum(dim=(1, 2, 3)) for one in by_role.values()]
        logit = self.dropout(torch.stack(parts).sum(dim=0))
        if logit.requires_grad:
            logit.register_hook(self.count)
        return Prediction(logit=logit, feature_maps=by_role)

    def count(self, slope):
        self.backwards += 1


def noise(cases=1, seed=0):
    batch = case_batch(cases, volume_size=GRID, seed=seed)
    return replace(batch, mri=batch.mri.abs() + 0.1)


def positions():
    """Return every corner of the grid, and places drawn from all of it."""
    most = np.array(GRID) - CELL
    corners = [tuple(most * np.array(bits)) for bits in np.ndindex(2, 2, 2)]
    rng = np.random.default_rng(0)
    places = corners + [
        tuple(rng.integers(0, most + 1)) for _ in range(POSITIONS - len(corners))
    ]
    return [(ROLES[n % 4], place) for n, place in enumerate(places)]


def network(**fields):
    torch.manual_seed(0)
    return Harm3(tiny_config(**fields), volume_size=(4, 16, 16), patch_width=6)


@every_method
@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-6])
def test_agrees_with_the_papers_formula(method, scale):
    activation, gradient = drawn(scale)

    cam = evidence(activation, gradient, ExplainConfig(method=method))

    for case in range(2):
        a, g = activation[case].double().numpy(), gradient[case].double().numpy()
        expected = np.maximum(by_the_paper(method, a, g), 0)
        assert expected.max() > 0
        # Of the peak, so that small gradients are held to the same.
        assert np.abs(cam[case] - expected).max() <= 1e-5 * min(expected.max(), 1)


@every_method
def test_evidence_against_is_that_of_the_negative_logit(method):
    activation, gradient = drawn()

    cam = evidence(activation, gradient, ExplainConfig(method=method, target="non-pcr"))

    a, g = activation[0].double().numpy(), -gradient[0].double().numpy()
    expected = np.maximum(by_the_paper(method, a, g), 0)
    np.testing.assert_allclose(cam[0], expected, atol=1e-5)


@every_method
def test_the_contrast_is_evidence_for_minus_evidence_against(method):
    activation, gradient = drawn()

    contrast = ExplainConfig(method=method, target="contrast")
    cam = evidence(activation, gradient, contrast)

    a, g = activation[1].double().numpy(), gradient[1].double().numpy()
    if method in ("gradcam", "hirescam", "xgradcam"):
        expected = by_the_paper(method, a, g)
    else:
        expected = by_the_paper(method, a, g) - by_the_paper(method, a, -g)
    assert expected.min() < 0 < expected.max()
    np.testing.assert_allclose(cam[1], expected, atol=1e-5)


@pytest.mark.parametrize("method", ["gradcam++", "xgradcam"])
def test_a_layer_whose_channels_cancel_is_refused_by_who_divides_by_them(method):
    activation, gradient = drawn()
    activation[0, 2] -= activation[0, 2].mean()

    with pytest.raises(ModelError, match=rf"{re.escape(method)} divides.*hirescam"):
        evidence(activation, gradient, ExplainConfig(method=method))


@every_method
def test_the_peak_lies_on_the_cause_wherever_it_is(method):
    config, batch = ExplainConfig(method=method), noise()
    found = 0

    for role, corner in positions():
        z, y, x = (slice(start, start + CELL) for start in corner)
        n = ROLES.index(role)
        mri = batch.mri.clone()
        mri[0, n // 2, n % 2, 0, z, y, x] += 3
        case = replace(batch, mri=mri)
        located = located_heat_maps(OneCause(role, corner), case, config)
        maps = located.maps
        heat = upsampled(maps[role][0], GRID, located.centres[role])
        # More than one voxel where the map is flat, from the last centre outwards.
        peak = np.argwhere(heat == heat.max())
        assert (np.ptp(peak, axis=0) <= CELL / 2).all()
        centre = np.array(corner) + (CELL - 1) / 2
        found += (np.abs(peak - centre).min(axis=0) <= CELL / 2).all()
        assert not any(maps[name].any() for name in ROLES if name != role)

    assert found == POSITIONS


def test_the_logit_of_the_constructed_network_depends_on_nothing_else():
    mri = noise().mri.requires_grad_()
    cause = OneCause("t2_pre", (3, 15, 6)).eval()

    (slope,) = torch.autograd.grad(cause(replace(noise(), mri=mri)).logit.sum(), mri)

    expected = np.zeros((2, 2, *GRID), bool)
    expected[1, 0, 3:8, 15:20, 6:11] = True
    np.testing.assert_array_equal(slope[0, :, :, 0].numpy() != 0, expected)


def brightness(name):
    """Return a real network of which every layer shows how bright a place is.

    Its kernels are bells, none of which leans to a side as trained ones may.
    """
    torch.manual_seed(0)
    config = MODELS[name].sizes["small"]
    module = build_model(name, config, volume_size=SCENE, patch_width=6).eval()
    with torch.no_grad():
        for weight in module.parameters():
            if weight.ndim > 1:
                weight.abs_()
            if weight.ndim == 5:
                z, y, x = (bell(side) for side in weight.shape[2:])
                channels = weight.mean(dim=(2, 3, 4), keepdim=True)
                weight.copy_(channels / channels.sum(dim=1, keepdim=True))
                weight.mul_(z[:, None, None] * y[:, None] * x)
    return module


def bell(side):
    """Return Pascal's triangle in its row of so many numbers, as shares of one."""
    row = torch.ones(1)
    for _ in range(side - 1):
        row = nn.functional.pad(row, (1, 0)) + nn.functional.pad(row, (0, 1))
    return row / row.sum()


def offsets(name, layer, *, by_equal_shares=False):
    """Return how far the peak lies from a bright cube, in cells, place by place.

    The cube takes every place that it can have within a cell equally often, far from
    the ends of the grid, where padding has a say.
    """
    module, batch = brightness(name), case_batch(1, volume_size=SCENE)
    rng, count, found = np.random.default_rng(0), 2 * max(STRIDE), []
    corners = np.stack(
        [
            rng.permutation(edge // 2 - step + np.arange(count) % (2 * step))
            for edge, step in zip(SCENE, STRIDE, strict=True)
        ],
        axis=1,
    )
    for number, corner in enumerate(corners):
        role, place = ROLES[number % 2], divmod(number % 2, 2)
        mri = torch.zeros_like(batch.mri)
        mri[0, *place, 0, *(slice(start, start + BLOB) for start in corner)] = 1
        located = located_heat_maps(
            module, replace(batch, mri=mri), ExplainConfig(layer=layer)
        )
        cam, centres = located.maps[role][0], located.centres[role]
        shares = equal_shares(cam.shape, SCENE)
        heat = upsampled(cam, SCENE, shares if by_equal_shares else centres)
        # Half a voxel where a centre lies between two, which are equally high.
        peak = np.argwhere(heat >= heat.max() * (1 - 1e-9)).mean(axis=0)
        found.append((peak - (corner + (BLOB - 1) / 2)) / centres.step)
    return np.stack(found)


@pytest.mark.parametrize("name", ["resnet3d", "resnet-late", "m2fusion", "c3d"])
def test_a_real_encoders_peak_lies_on_the_cause_and_to_no_side_of_it(name):
    found = offsets(name, "last")

    assert np.abs(found).max() <= 0.5
    assert np.abs(found.mean(axis=0)).max() <= 0.1


@pytest.mark.parametrize(
    ("name", "layer"),
    [("resnet-late", "stage2"), ("resnet-late", "stage3"), ("c3d", "stage3")],
)
def test_an_inner_layers_peak_lies_to_no_side_of_the_cause(name, layer):
    assert np.abs(offsets(name, layer).mean(axis=0)).max() <= 0.1


def test_equal_shares_would_show_a_strided_encoders_cause_beside_its_place():
    found = offsets("resnet-late", "last", by_equal_shares=True)

    assert found.mean(axis=0).min() > 0.3
    assert np.abs(found).max() > 0.5


def test_four_maps_take_one_pass_there_and_back():
    cause = OneCause("t1_pre", (0, 0, 0))

    _, maps = heat_maps(cause, noise(), ExplainConfig(target="contrast"))

    assert set(maps) == set(ROLES)
    assert (cause.forwards, cause.backwards) == (1, 1)


def test_several_cases_are_explained_as_each_alone():
    cause, batch = OneCause("t1_pre", (4, 4, 4)), noise(3)

    _, together = heat_maps(cause, batch)

    for case in range(3):
        one = noise(3).mri[case : case + 1]
        _, alone = heat_maps(cause, replace(noise(), mri=one))
        np.testing.assert_allclose(together["t1_pre"][case], alone["t1_pre"][0])


def test_the_network_and_the_batch_are_left_as_they_were():
    harm3, batch = network().train(), case_batch(2)
    harm3.encoders[1].eval()  # frozen, while the rest trains
    modes = [module.training for module in harm3.modules()]
    state = {name: value.clone() for name, value in harm3.state_dict().items()}
    for layer in ("last", "stage2"):
        heat_maps(harm3, batch, ExplainConfig(layer=layer))

    assert [module.training for module in harm3.modules()] == modes
    assert all(weight.grad is None for weight in harm3.parameters())
    assert all(weight.requires_grad for weight in harm3.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in harm3.modules())
    assert not batch.mri.requires_grad
    for name, value in harm3.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_the_vaes_mean_is_explained_never_a_sample():
    harm3, batch = network().train(), case_batch(1)

    (first, maps), (second, again) = heat_maps(harm3, batch), heat_maps(harm3, batch)

    assert torch.equal(first.logit, second.logit)
    assert torch.equal(first.logit, harm3.eval()(batch).logit)
    for role in ROLES:
        np.testing.assert_array_equal(maps[role], again[role])


def test_a_volume_that_no_case_has_gets_no_map_and_one_case_none_of_its_own():
    batch, cause = noise(2), OneCause("t1_post", (4, 4, 4))
    batch.mri_avail[:, 1, 1] = False
    batch.mri_avail[1, 0, 1] = False

    _, maps = heat_maps(cause, batch)

    assert set(maps) == {"t1_pre", "t1_post", "t2_pre"}
    assert maps["t1_post"][0].any()
    assert not maps["t1_post"][1].any()


@pytest.mark.parametrize("layer", ["last", "stem"])
@pytest.mark.parametrize("gone", [slice(1, 2), slice(None)])
def test_a_case_without_a_sequence_or_any_volume_is_explained_still(layer, gone):
    batch, harm3 = case_batch(1), network(missing="tokens")
    batch.mri_avail[:, gone] = False

    prediction, maps = heat_maps(harm3, batch, ExplainConfig(layer=layer))

    assert prediction.logit.isfinite().all()
    there = batch.mri_avail.flatten().tolist()
    assert set(maps) == {role for role, one in zip(ROLES, there, strict=True) if one}
