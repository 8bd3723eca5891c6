"""Augmentation moves a case's volumes alike, and each keeps its own intensity."""

from dataclasses import replace

import numpy as np
from scipy import ndimage

from napari_harm3.mri.augment import augmented, movement
from napari_harm3.mri.config import AugmentConfig

STILL = AugmentConfig(
    flip=False, degrees=0.0, shift=0.0, scale=0.0, intensity=0.0, bias=0.0, noise=0.0
)


def blob(shape=(8, 24, 24)) -> np.ndarray:
    """The same bright block in all four volumes, away from the middle."""
    array = np.zeros((2, 2, *shape), dtype=np.float32)
    array[..., 2:5, 4:9, 5:9] = 1
    return array


def centre_of(volume: np.ndarray) -> np.ndarray:
    weight = np.clip(volume, 0, None)
    grid = np.indices(volume.shape).reshape(3, -1)
    return (grid * weight.ravel()).sum(axis=1) / weight.sum()


def test_nothing_asked_changes_nothing():
    array = blob()

    np.testing.assert_allclose(
        augmented(array, STILL, np.random.default_rng(0))[0], array, atol=1e-6
    )


def test_the_four_volumes_are_moved_alike():
    config = AugmentConfig(intensity=0.0, bias=0.0, noise=0.0, degrees=20.0, shift=3.0)

    moved, _ = augmented(blob(), config, np.random.default_rng(1))
    moved = moved.reshape(4, 8, 24, 24)

    for volume in moved[1:]:
        np.testing.assert_allclose(volume, moved[0], atol=1e-6)
    assert np.linalg.norm(centre_of(moved[0]) - centre_of(blob()[0, 0])) > 0.5


def test_volumes_are_moved_as_scipy_moves_them():
    rng = np.random.default_rng(3)
    array = rng.normal(size=(2, 2, 7, 20, 26)).astype(np.float32)
    config = replace(STILL, flip=True, degrees=30.0, shift=4.0, scale=0.3)

    for seed in range(20):
        moved, _ = augmented(array, config, np.random.default_rng(seed))

        matrix, offset = movement(array.shape[2:], config, np.random.default_rng(seed))
        for place in np.ndindex(2, 2):
            expected = ndimage.affine_transform(
                array[place], matrix, offset, order=1, mode="nearest"
            )
            np.testing.assert_allclose(moved[place], expected, atol=1e-5)


def test_a_flip_mirrors_left_and_right_in_half_of_the_draws():
    array, config = blob(), replace(STILL, flip=True)

    flipped = [
        np.allclose(
            augmented(array, config, np.random.default_rng(seed))[0], array[..., ::-1]
        )
        for seed in range(60)
    ]

    assert 18 <= sum(flipped) <= 42


def test_each_volume_has_an_intensity_of_its_own():
    config = replace(STILL, intensity=0.2, bias=0.2, noise=0.1)

    moved = augmented(blob(), config, np.random.default_rng(0))[0].reshape(4, -1)

    assert len({round(float(volume.mean()), 5) for volume in moved}) == 4


def test_a_bias_field_is_a_ramp_over_the_volume():
    array = np.ones((1, 1, 8, 24, 24), dtype=np.float32)
    config = replace(STILL, bias=0.3)

    ramp = augmented(array, config, np.random.default_rng(0))[0][0, 0]

    assert np.ptp(ramp) > 0.05
    for axis in range(3):
        np.testing.assert_allclose(np.diff(ramp, n=2, axis=axis), 0, atol=1e-5)
    np.testing.assert_allclose(ramp.mean(), 1, atol=1e-5)


def test_an_absent_volume_stays_empty():
    array = blob()
    array[1, 0] = 0

    moved, _ = augmented(array, AugmentConfig(), np.random.default_rng(0))

    assert not moved[1, 0].any()
    assert moved[1, 1].any()


def test_masks_move_with_their_volumes_and_keep_their_labels():
    config = AugmentConfig(
        intensity=0.0, bias=0.0, noise=0.0, degrees=20.0, shift=3.0, scale=0.1
    )
    masks = np.zeros((2, 2, 8, 24, 24), dtype=np.uint8)
    masks[..., 2:5, 4:9, 5:9] = 2
    masks[1, 0] = 0

    for seed in range(20):
        moved, labels = augmented(blob(), config, np.random.default_rng(seed), masks)

        assert set(np.unique(labels)) == {0, 2}
        assert not labels[1, 0].any()
        half = moved[0, 0] > 0.5
        both = (half & (labels[0, 0] == 2)).sum()
        assert 2 * both / (half.sum() + (labels[0, 0] == 2).sum()) > 0.9
        np.testing.assert_array_equal(labels[0, 0], labels[1, 1])


def test_a_mask_changes_nothing_that_is_drawn():
    masks = np.ones((2, 2, 8, 24, 24), dtype=np.uint8)

    bare, none = augmented(blob(), AugmentConfig(), np.random.default_rng(5))
    with_masks, _ = augmented(blob(), AugmentConfig(), np.random.default_rng(5), masks)

    assert none is None
    np.testing.assert_array_equal(bare, with_masks)
