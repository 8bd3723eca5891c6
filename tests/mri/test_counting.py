"""Every whole number is counted, whatever type holds it."""

import numpy as np
import pytest

from napari_harm3.mri import counting
from napari_harm3.mri.counting import counted

ENDS = {
    "u1": (0, 256),
    "i1": (-128, 128),
    "u2": (0, 65536),
    "i2": (-32768, 32768),
    "i4": (70_000, 100_000),
    "f4": (-20_000, 40_000),
}


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("kind", ENDS)
def test_counts_are_those_of_a_plain_reading(rng, monkeypatch, kind, order):
    monkeypatch.setattr(counting, "STEP", 1000)  # so that pieces are put together
    array = rng.integers(*ENDS[kind], (17, 19, 23)).astype(kind, order=order)

    values, counts = counted(array[::2])

    expected = np.unique(array[::2], return_counts=True)
    np.testing.assert_array_equal(values, expected[0])
    np.testing.assert_array_equal(counts, expected[1])


def test_more_voxels_of_one_level_than_a_float_counts_are_counted():
    values, counts = counted(np.full((1 << 24) + 3, 7, np.uint8))

    assert (values.tolist(), counts.tolist()) == ([7], [(1 << 24) + 3])


@pytest.mark.parametrize("fault", [0.5, 70_000.0])
def test_fractions_and_wide_ranges_are_not_counted(fault):
    array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    array[2, 1, 3] = fault

    assert counted(array) is None
