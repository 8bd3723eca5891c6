"""Decoupled maps of an LD-VAE whose every weight is known."""

from math import erf

import numpy as np
import pytest
import torch
from torch import nn

from model_cases import case_batch, tiny_config
from napari_harm3.cohort.case import ROLES
from napari_harm3.errors import ModelError
from napari_harm3.explain.cells import Centres
from napari_harm3.explain.decoupled import decoupled_maps
from napari_harm3.models.harm3.network import Harm3
from napari_harm3.models.registry import MODELS, build_model

WIDTH, HALF, GRID = 8, 4, (2, 2, 3)
VOLUME = (4, 16, 24)
USUAL = np.array([1.0, -1, 1, -1, 1, -1, 1, -1])
CASES = 2


class Chosen(nn.Module):
    """Stands where the encoder does: gives the same maps whatever it sees."""

    def __init__(self, maps):
        super().__init__()
        self.register_buffer("maps", maps)

    def forward(self, rows):
        return self.maps


def plain_harm3(tokens, **fields):
    """Return a HARM3 whose LD-VAE passes everything on: halves of GELU(X).

    ``tokens`` [B, S, T, N, C] are what its encoders give.
    """
    torch.manual_seed(0)
    config = tiny_config(vae_kernel="pointwise", split="chunk", **fields)
    network = Harm3(config, volume_size=VOLUME, patch_width=6)
    assert network.token_grid == GRID
    eye = torch.eye(WIDTH)
    with torch.no_grad():
        for vae in network.vaes:
            for branch in (vae.pre, vae.post):
                for layer in (branch.encode[0], branch.to_mean, branch.decode[1]):
                    layer.weight.copy_(eye[..., None, None, None])
                    layer.bias.zero_()
                branch.out.weight.copy_(eye[..., None, None, None])
                branch.out.bias.zero_()
                branch.join.weight.copy_(eye)
                branch.join.bias.zero_()
    for number in range(2):
        rows = torch.from_numpy(tokens[:, number]).float().flatten(0, 1)
        maps = rows.transpose(1, 2).unflatten(2, GRID)
        network.encoders[number] = Chosen(maps)
    return network


def batch_of(*, aligned=True):
    batch = case_batch(CASES, volume_size=VOLUME)
    batch.aligned[:] = aligned
    return batch


def usual_tokens():
    """Return the same token everywhere."""
    return np.tile(USUAL, (CASES, 2, 2, int(np.prod(GRID)), 1))


def drawn_tokens():
    rng = np.random.default_rng(0)
    return rng.normal(size=(CASES, 2, 2, int(np.prod(GRID)), WIDTH))


def gelu(x):
    return x * (1 + np.vectorize(erf)(x / np.sqrt(2))) / 2


def halves(tokens):
    """Return inherent and variant of Eq. (2), as the weights above give them."""
    mean, variance = (f(tokens, axis=-1, keepdims=True) for f in (np.mean, np.var))
    latent = gelu((tokens - mean) / np.sqrt(variance + 1e-5))
    return latent[..., :HALF], latent[..., HALF:]


def spread(part):
    return np.linalg.norm(part - part.mean(axis=-2, keepdims=True), axis=-1)


def test_agrees_with_a_plain_reading_of_eq_2_and_4():
    tokens = drawn_tokens()

    found = decoupled_maps(plain_harm3(tokens).train(), batch_of())

    inherent, variant = halves(tokens)
    for number, role in enumerate(ROLES):
        s, t = divmod(number, 2)
        shape = (CASES, *GRID)
        for maps, part in ((found.inherent, inherent), (found.variant, variant)):
            expected = spread(part[:, s, t]).reshape(shape)
            np.testing.assert_allclose(maps[role], expected, atol=1e-5)
        moved = gelu(inherent[:, s, 1 - t]) - gelu(inherent[:, s, t])
        expected = np.linalg.norm(moved, axis=-1).reshape(shape)
        np.testing.assert_allclose(
            found.cross_reconstruction[role], expected, atol=1e-5
        )


def test_what_differs_in_one_component_shows_in_its_map_alone():
    tokens = usual_tokens()
    # The same mean and variance; only the half that is inherent is other here.
    tokens[0, 1, 0, 7, :HALF] = [-1, 1, -1, 1]
    tokens[0, 1, 1, 2, HALF:] = [-1, 1, -1, 1]

    found = decoupled_maps(plain_harm3(tokens), batch_of())

    assert found.inherent["t2_pre"][0].argmax() == 7
    assert found.inherent["t2_pre"][0].max() > 1
    assert found.variant["t2_post"][0].argmax() == 2
    for maps, own in ((found.inherent, "t2_pre"), (found.variant, "t2_post")):
        for role in ROLES:
            for case in range(CASES):
                if (role, case) != (own, 0):
                    np.testing.assert_allclose(maps[role][case], 0, atol=1e-5)
    # Eq. (4): the place where the inherent components are not exchangeable.
    for role in ("t2_pre", "t2_post"):
        moved = found.cross_reconstruction[role][0].ravel()
        assert moved[7] > 1
        np.testing.assert_allclose(np.delete(moved, 7), 0, atol=1e-5)
    np.testing.assert_allclose(found.cross_reconstruction["t1_pre"], 0, atol=1e-5)


def test_times_without_a_common_grid_are_crossed_by_their_mean():
    tokens = drawn_tokens()

    found = decoupled_maps(plain_harm3(tokens), batch_of(aligned=False))

    inherent, _ = halves(tokens)
    other = inherent[:, 0, 1].mean(axis=1, keepdims=True)
    moved = np.linalg.norm(gelu(other) - gelu(inherent[:, 0, 0]), axis=-1)
    np.testing.assert_allclose(
        found.cross_reconstruction["t1_pre"], moved.reshape(CASES, *GRID), atol=1e-5
    )


def test_one_vae_for_both_sequences_keeps_them_apart():
    tokens = drawn_tokens()
    network = plain_harm3(tokens)
    network.vaes = network.vaes[:1]

    found = decoupled_maps(network, batch_of())

    inherent, _ = halves(tokens)
    for role, s in (("t1_pre", 0), ("t2_pre", 1)):
        expected = spread(inherent[:, s, 0]).reshape(CASES, *GRID)
        np.testing.assert_allclose(found.inherent[role], expected, atol=1e-5)


def test_absent_volumes_have_no_map_and_a_lonely_time_is_not_crossed():
    torch.manual_seed(0)
    network = Harm3(tiny_config(missing="tokens"), volume_size=VOLUME, patch_width=6)
    batch = batch_of()
    batch.mri_avail[:, 0, 1] = False
    batch.mri_avail[0, 1, 0] = False

    found = decoupled_maps(network, batch)

    assert set(found.inherent) == set(found.variant) == {"t1_pre", "t2_pre", "t2_post"}
    assert set(found.cross_reconstruction) == {"t2_pre", "t2_post"}
    assert not found.inherent["t2_pre"][0].any()
    assert found.inherent["t2_pre"][1].any()
    assert not found.cross_reconstruction["t2_post"][0].any()
    assert found.cross_reconstruction["t2_post"][1].any()


def test_a_global_latent_has_nothing_to_map_but_its_reconstruction():
    torch.manual_seed(0)
    network = Harm3(tiny_config(latent="global"), volume_size=VOLUME, patch_width=6)

    found = decoupled_maps(network, batch_of())

    assert found.inherent == found.variant == {}
    assert set(found.cross_reconstruction) == set(ROLES)
    assert found.cross_reconstruction["t1_pre"].shape == (CASES, *GRID)


def test_the_mean_is_explained_and_the_network_left_as_it_was():
    torch.manual_seed(0)
    network = Harm3(tiny_config(), volume_size=VOLUME, patch_width=6).train()

    first, second = (decoupled_maps(network, batch_of()) for _ in range(2))

    np.testing.assert_array_equal(first.inherent["t1_pre"], second.inherent["t1_pre"])
    assert all(module.training for module in network.modules())
    assert all(weight.grad is None for weight in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())


def test_the_maps_say_where_their_cells_lie():
    torch.manual_seed(0)
    config = MODELS["harm3"].sizes["small"]
    network = build_model("harm3", config, volume_size=(8, 16, 24), patch_width=6)
    batch = case_batch(CASES, volume_size=(8, 16, 24))
    batch.mri_avail[:, 0, 1] = False

    found = decoupled_maps(network, batch)

    strided = Centres(start=(0, 0, 0), step=config.output_stride)
    assert found.centres == dict.fromkeys(["t1_pre", "t2_pre", "t2_post"], strided)
    assert set(found.inherent) == set(found.centres)


@pytest.mark.parametrize("name", ["harm3-no-ld-vae", "c3d"])
def test_a_network_without_an_ld_vae_is_told_so(name):
    network = build_model(
        name, MODELS[name].sizes["small"], volume_size=VOLUME, patch_width=6
    )
    with pytest.raises(ModelError, match="no LD-VAE"):
        decoupled_maps(network, batch_of())
