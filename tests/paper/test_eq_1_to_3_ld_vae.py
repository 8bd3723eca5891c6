"""Eq. (1) to (3), the LD-VAE, against a plain NumPy reading of the paper."""

import numpy as np
import pytest
import torch
from scipy.special import erf

from model_cases import tiny_config
from napari_harm3.models.harm3.ld_vae import Latent, LdVae, VaeBranch

GRID = (2, 3, 2)
ALIGNED = torch.tensor([True, True])


def learned(module):
    """Return a module whose weights are no longer those it begins with."""
    for weight in module.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return module.double()


def numbers(tensor):
    return tensor.detach().numpy()


def gelu(values):
    return values * (1 + erf(values / np.sqrt(2))) / 2


def tokens(maps):
    """Cells one after the other, x fastest: [B, C, z, y, x] -> [B, N, C]."""
    cells = [
        maps[:, :, z, y, x]
        for z in range(GRID[0])
        for y in range(GRID[1])
        for x in range(GRID[2])
    ]
    return np.stack(cells, axis=1)


def maps(token_rows):
    out = np.empty((len(token_rows), token_rows.shape[-1], *GRID))
    for number, cell in enumerate(np.ndindex(GRID)):
        out[(slice(None), slice(None), *cell)] = token_rows[:, number]
    return out


def depthwise(volume, layer):
    """Every channel with its own 3x3x3 kernel, zeros around."""
    kernel, bias = numbers(layer.weight)[:, 0], numbers(layer.bias)
    padded = np.pad(volume, [(0, 0), (0, 0), (1, 1), (1, 1), (1, 1)])
    out = np.zeros_like(volume)
    for z, y, x in np.ndindex(3, 3, 3):
        window = padded[:, :, z : z + GRID[0], y : y + GRID[1], x : x + GRID[2]]
        out += window * kernel[None, :, z, y, x, None, None, None]
    return out + bias[None, :, None, None, None]


def pointwise(rows, layer):
    return rows @ numbers(layer.weight).reshape(len(layer.weight), -1).T + numbers(
        layer.bias
    )


def normalised(rows):
    centred = rows - rows.mean(axis=-1, keepdims=True)
    return centred / np.sqrt(rows.var(axis=-1, keepdims=True) + 1e-5)


def encoded(branch, volume):
    """Mean and log-variance of q(Z|X)."""
    hidden = tokens(gelu(depthwise(maps(normalised(tokens(volume))), branch.encode[0])))
    return pointwise(hidden, branch.to_mean), pointwise(hidden, branch.to_log_variance)


def decoded(branch, inherent, variant):
    joined = gelu(pointwise(np.concatenate([inherent, variant], -1), branch.join))
    return pointwise(tokens(depthwise(maps(joined), branch.decode[1])), branch.out)


@pytest.fixture
def volumes():
    torch.manual_seed(0)
    return [torch.randn(2, 8, *GRID).double() for _ in range(2)]


def test_the_latent_is_the_mean_plus_scaled_standard_noise(volumes) -> None:
    branch = learned(VaeBranch(tiny_config()))
    mean, log_variance = encoded(branch, numbers(volumes[0]))
    torch.manual_seed(1)
    noise = numbers(torch.randn(mean.shape, dtype=torch.float64))
    torch.manual_seed(1)

    latent = branch(volumes[0], sample=True)

    z = mean + np.exp(log_variance / 2) * noise  # Eq. (1)
    np.testing.assert_allclose(numbers(latent.mean), mean)
    np.testing.assert_allclose(numbers(latent.log_variance), log_variance)
    np.testing.assert_allclose(  # Eq. (2)
        numbers(latent.inherent), pointwise(z, branch.to_inherent)
    )
    np.testing.assert_allclose(numbers(latent.variant), pointwise(z, branch.to_variant))
    assert latent.inherent.shape[-1] == latent.variant.shape[-1] == 4


def test_no_noise_is_added_outside_training(volumes) -> None:
    branch = learned(VaeBranch(tiny_config()))

    latent = branch(volumes[0], sample=False)

    np.testing.assert_allclose(
        numbers(latent.inherent),
        pointwise(encoded(branch, numbers(volumes[0]))[0], branch.to_inherent),
    )


def test_each_decoder_joins_its_variant_part_with_either_inherent_part(volumes) -> None:
    vae = learned(LdVae(tiny_config())).eval()
    branches = [vae.pre, vae.post]

    decoupled = vae((volumes[0], volumes[1]))
    crossed = vae.crossed(decoupled.latents, ALIGNED, GRID)

    means = [encoded(b, numbers(v))[0] for b, v in zip(branches, volumes, strict=True)]
    inherent = [
        pointwise(m, b.to_inherent) for b, m in zip(branches, means, strict=True)
    ]
    variant = [pointwise(m, b.to_variant) for b, m in zip(branches, means, strict=True)]
    for i, branch in enumerate(branches):  # Eq. (3), and the j of Eq. (4)
        np.testing.assert_allclose(
            numbers(decoupled.own[i]), decoded(branch, inherent[i], variant[i])
        )
        np.testing.assert_allclose(
            numbers(crossed[i]), decoded(branch, inherent[1 - i], variant[i])
        )


def test_an_unaligned_case_lends_its_inherent_part_pooled(volumes) -> None:
    vae = learned(LdVae(tiny_config())).eval()

    latents = vae((volumes[0], volumes[1])).latents
    crossed = vae.crossed(latents, torch.tensor([True, False]), GRID)

    pre, post = latents
    pooled = numbers(post.inherent).mean(axis=1, keepdims=True)
    lent = np.broadcast_to(pooled, post.inherent.shape)
    expected = decoded(vae.pre, lent, numbers(pre.variant))
    np.testing.assert_allclose(numbers(crossed[0][1]), expected[1])


def test_one_latent_for_a_whole_volume_reaches_every_cell(volumes) -> None:
    branch = learned(VaeBranch(tiny_config(latent="global")))

    latent: Latent = branch(volumes[0], sample=False)
    rebuilt = branch.reconstruct(latent.inherent, latent.variant, GRID)

    assert latent.mean.shape == (2, 1, 8)
    assert rebuilt.shape == (2, 12, 8)


def test_the_split_can_be_the_halves_of_the_latent(volumes) -> None:
    branch = learned(VaeBranch(tiny_config(split="chunk")))

    latent = branch(volumes[0], sample=False)

    halves = torch.cat([latent.inherent, latent.variant], dim=-1)
    torch.testing.assert_close(halves, latent.mean)


def test_it_begins_as_a_passage_with_little_noise(volumes) -> None:
    vae = LdVae(tiny_config()).double()  # in training: with noise

    decoupled = vae((volumes[0], volumes[1]))

    for own, latent in zip(decoupled.own, decoupled.latents, strict=True):
        pairs = np.stack([numbers(own).ravel(), numbers(latent.features).ravel()])
        assert np.corrcoef(pairs)[0, 1] > 0.8
