"""What is marked stays where it is, on every way that a volume takes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mri_grids import ORIENTATIONS, oriented, volume_on
from napari_harm3.mri.config import MriConfig
from napari_harm3.mri.display import ZYX_OF_RAS, display_grid
from napari_harm3.mri.preprocess import common_grid, prepare_volumes
from napari_harm3.mri.reading import read_volume
from napari_harm3.mri.resampling import placed, resample, to_native
from napari_harm3.mri.volume import Geometry, write_volume

A_BATCH = 20


def drawn_grid(rng):
    """A grid of any orientation, tilt, spacing and place, and another spacing."""
    axes, signs = ORIENTATIONS[rng.integers(48)]
    spacing = rng.uniform(0.5, 4, 3)
    spacing = np.clip(spacing, spacing.max() / 2, None)  # small volumes, many of them
    coarse = float(spacing.max() * rng.uniform(0.75, 2))
    shape = tuple(int(n) for n in np.ceil(7 * max(coarse, *spacing) / spacing) + 2)
    tilt = rng.uniform(-44, 44, 3)
    grid = oriented(axes, signs, shape=shape, spacing=spacing, tilt=tilt)
    grid.affine[:3, 3] = rng.uniform(-200, 200, 3)
    return grid, coarse


def mark_on(grid, index, width_mm):
    """A spot about one voxel: all that a coarse grid can carry of it."""
    axes = [np.arange(n) - i for n, i in zip(grid.shape, index, strict=True)]
    away = [
        (axis * spacing / width_mm) ** 2
        for axis, spacing in zip(axes, grid.spacing_mm, strict=True)
    ]
    square = away[0][:, None, None] + away[1][:, None] + away[2]
    return np.exp(-square / 2).astype(np.float32)


def place_of(array, affine):
    """Return the world position of what stands out of an array."""
    weights = np.maximum(array - 0.2 * array.max(), 0)
    total = weights.sum()
    index = [
        weights.sum(axis=tuple({0, 1, 2} - {axis})) @ np.arange(size) / total
        for axis, size in enumerate(array.shape)
    ]
    return (affine @ [*index, 1])[:3]


def kept(path, volume):
    """Return a volume as a file gives it back, if there is to be one."""
    if path is None:
        return volume
    write_volume(path, volume.array, volume.affine)
    return read_volume(path)


def rigid(rng):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(rng.normal(0, 0.1, 3)).as_matrix()
    matrix[:3, 3] = rng.uniform(-20, 20, 3)
    return matrix


@pytest.mark.slow
@settings(max_examples=500, deadline=None, database=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_a_mark_keeps_its_place_through_all_steps(tmp_path_factory, seed):
    """Over 10,000 affines: 500 batches, each named by its seed when it fails."""
    rng = np.random.default_rng(seed)
    path = tmp_path_factory.getbasetemp() / "mark.nii.gz"
    for number in range(A_BATCH):
        # Files are the slow part: every fourth mark is written and read. Half of
        # them all go through a registration too.
        follow_a_mark(
            *drawn_grid(rng),
            step=rng.integers(-1, 2, 3),
            path=path if number % 4 == 0 else None,
            transform=rigid(rng) if number % 8 < 4 else np.eye(4),
        )


def follow_a_mark(grid, coarse_mm, *, step, path, transform):
    middle = np.array(grid.shape) // 2 + step
    widest = max(coarse_mm, grid.spacing_mm.max())
    world = (grid.affine @ [*middle, 1])[:3]
    volume = kept(path, volume_on(grid, mark_on(grid, middle, widest)))
    peak = np.unravel_index(volume.array.argmax(), volume.shape)
    assert np.abs((volume.affine @ [*peak, 1])[:3] - world).max() < 1e-3

    shown = display_grid(volume)
    drawn = np.diag([*shown.scale, 1.0])
    drawn[:3, 3] = shown.translate
    on_screen = np.linalg.inv(ZYX_OF_RAS)[:3, :3] @ place_of(
        shown.show(volume.array), drawn
    )
    assert np.abs(on_screen - world).max() <= widest / 2

    there = placed(volume, transform)
    config = MriConfig(size=(10, 10, 10), spacing_mm=(coarse_mm,) * 3, crop="none")
    target = Geometry(
        shape=config.size,
        affine=common_grid(volume_on(there, volume.array), config),
    )
    sampled = resample(volume.array, there, target)
    common = (np.linalg.inv(transform) @ [*world, 1])[:3]
    assert np.abs(place_of(sampled, target.affine) - common).max() <= widest / 2

    heat = to_native(sampled, target.affine, there)
    exported = kept(path, volume_on(volume, heat))
    assert exported.same_as(volume)
    assert np.abs(place_of(exported.array, exported.affine) - world).max() <= widest / 2


def asymmetric(grid):
    """A body whose eight corners differ, given by the patient's own directions."""
    indices = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"))
    middle = (np.array(grid.shape) - 1) / 2
    away = np.einsum(
        "ij,jxyz->ixyz", grid.affine[:3, :3], indices - middle[:, None, None, None]
    )
    right, front, up = away > 0
    return 100 + 40 * right + 20 * front + 10 * up


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
def test_left_and_right_never_swap(tmp_path, axes, signs):
    grid = oriented(axes, signs, shape=(24, 20, 16), spacing=(1.0, 1.2, 1.5))
    write_volume(tmp_path / "v.nii.gz", asymmetric(grid).astype(np.int16), grid.affine)

    volume = read_volume(tmp_path / "v.nii.gz")
    config = MriConfig(size=(8, 8, 8), spacing_mm=(1.5, 1.5, 1.5), crop="none")
    prepared = prepare_volumes({"t1_pre": volume}, config)
    shown = display_grid(volume).show(volume.array)
    back = to_native(prepared.array[0, 0], prepared.affine, volume)

    # z, y, x of the tensor run to superior, anterior, right, as RAS has it.
    low, high = slice(0, 3), slice(5, 8)
    corners = [
        prepared.array[0, 0][s, a, r].mean()
        for r in (low, high)
        for a in (low, high)
        for s in (low, high)
    ]
    assert (np.diff(corners) > 0).all()
    # Z, Y, X of the screen run to superior, posterior, left.
    assert shown[-1, 0, 0] == shown.max() == 170
    assert shown[0, -1, -1] == shown.min() == 100
    right = asymmetric(grid) >= 140
    seen = back != 0
    assert back[right & seen].mean() > back[~right & seen].mean()
