"""Two stains of one tissue brought together: Macenko and Reinhard."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_harm3.errors import SlideError
from napari_harm3.wsi.stain import (
    REFERENCE_DENSITY,
    REFERENCE_MEAN,
    REFERENCE_STAINS,
    fit_stain,
    normalised,
)

METHODS = ["macenko", "reinhard"]
ONE = 1.4 * np.array([[0.64, 0.07], [0.70, 0.98], [0.31, 0.17]])
OTHER = 0.8 * np.array([[0.55, 0.15], [0.75, 0.90], [0.37, 0.40]])
"""Optical density per haematoxylin and eosin, of two laboratories."""


def amounts(seed=0):
    """Return how much of each stain tissue holds, and none where glass is."""
    rng = np.random.default_rng(seed)
    clouds = np.stack(
        [gaussian_filter(rng.normal(size=(150, 150)), 3) for _ in range(2)], axis=-1
    )
    held = (clouds / clouds.std() * 0.5 + 0.6).clip(0)
    held[:, :40] = 0
    return held


def seen(held, stains):
    """Return what light of 240 leaves of it, as Beer and Lambert say."""
    light = 240 * np.exp(-held @ stains.T)
    return np.rint(light - 1).clip(0, 255).astype(np.uint8)


def distance(one, other):
    return abs(one.astype(float) - other)[:, 40:].mean()


def brought(picture, method):
    return normalised(picture, fit_stain(picture.reshape(-1, 3), method))


@pytest.mark.parametrize(("method", "least"), [("macenko", 6), ("reinhard", 3)])
@pytest.mark.parametrize("seed", range(3))
def test_two_stains_of_one_tissue_come_close(method, least, seed):
    held = amounts(seed)
    one, other = seen(held, ONE), seen(held, OTHER)

    after = distance(brought(one, method), brought(other, method))

    assert distance(one, other) > least * after


def test_macenko_leaves_its_reference_as_it_is():
    held = amounts()
    tissue = held[:, 40:].reshape(-1, 2)
    held *= REFERENCE_DENSITY / np.percentile(tissue, 99, axis=0)
    reference = seen(held, REFERENCE_STAINS)

    off = abs(brought(reference, "macenko").astype(int) - reference)

    assert off.max() <= 2


@pytest.mark.parametrize("strength", [0.5, 2.0])
def test_macenko_does_not_depend_on_how_strong_a_stain_is(strength):
    held = amounts()

    usual, other = seen(held, ONE), seen(held, ONE * strength)

    assert distance(brought(usual, "macenko"), brought(other, "macenko")) < 6


def test_reinhard_gives_tissue_the_mean_of_its_reference():
    picture = seen(amounts(), ONE).reshape(-1, 3)
    stained = (-np.log((picture + 1.0) / 240) > 0.15).any(axis=1)
    tissue = brought(picture, "reinhard")[stained] + 1.0

    # Ruderman's l, from Reinhard's equations 4 to 6.
    cones = np.array(
        [[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]]
    )
    lightness = np.log(tissue @ cones.T).sum(axis=1) / np.sqrt(3)
    assert lightness.mean() == pytest.approx(REFERENCE_MEAN[0], abs=0.05)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stains", [ONE, OTHER, 3 * ONE, 0.5 * OTHER])
def test_glass_stays_as_it_is(method, stains):
    picture = seen(amounts(), stains)
    fit = fit_stain(picture.reshape(-1, 3), method)
    bare = np.array([[[239, 240, 241], [255, 255, 255], [243, 247, 240]]], np.uint8)

    assert abs(normalised(bare, fit).astype(int) - bare).max() <= 1
    assert abs(normalised(picture, fit)[:, :40].astype(int) - 239).max() <= 1


@pytest.mark.parametrize("method", METHODS)
def test_black_and_white_and_every_shape_are_mapped(method):
    fit = fit_stain(seen(amounts(), ONE).reshape(-1, 3), method)
    patches = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    patches[0, 0, :2] = [[0, 0, 0], [255, 255, 255]]

    together = normalised(patches, fit)

    assert together.shape == patches.shape
    assert together.dtype == np.uint8
    for patch, mapped in zip(patches, together, strict=True):
        np.testing.assert_array_equal(normalised(patch, fit), mapped)
    assert normalised(patches[:0], fit).shape == (0, 5, 7, 3)


@pytest.mark.parametrize("method", METHODS)
def test_too_little_stain_is_refused(method):
    bare = np.full((5000, 3), 240, np.uint8)
    bare[:100] = (120, 60, 150)
    with pytest.raises(SlideError, match="Too little stain is seen"):
        fit_stain(bare, method)


@pytest.mark.parametrize("stains", [ONE, OTHER])
@pytest.mark.parametrize("absent", [0, 1])
def test_one_stain_alone_is_not_taken_for_two(stains, absent):
    held = amounts()
    held[..., absent] = 0
    pixels = seen(held, stains).reshape(-1, 3)
    with pytest.raises(SlideError, match="Only one stain is seen"):
        fit_stain(pixels, "macenko")
    fit_stain(pixels, "reinhard")
