"""Feature files that say odd things of their patches: refused, never a traceback."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from napari_harm3.errors import FeatureError
from napari_harm3.wsi.bags import read_attributes, read_bag
from napari_harm3.wsi.features import FORMAT, bag_summary, own_attributes
from slide_files import assert_told

ROWS, DIM = 6, 4
FEATURES = np.ones((ROWS, DIM), np.float32)
COORDS = np.arange(2 * ROWS).reshape(ROWS, 2) * 224
STATUS = np.zeros(ROWS, np.uint8)


def foreign(path, **attributes):
    """Write a bag as CLAM or TRIDENT do."""
    with h5py.File(path, "w") as file:
        file["features"], file["coords"] = FEATURES, COORDS
        file["coords"].attrs.update(attributes)
    return path


def ours(path, features=FEATURES, coords=COORDS, status=STATUS):
    """Write a bag in our own format."""
    with h5py.File(path, "w") as file:
        file["features"], file["coords"], file["status"] = features, coords, status
        file.attrs["format"] = FORMAT
    return path


@pytest.mark.parametrize(
    "attributes",
    [
        {"patch_size": [256, 256]},
        {"patch_size": np.nan},
        {"patch_size": h5py.Empty("f4")},
        {"patch_size": 0},
        {"patch_size": -256},
        {"patch_size": np.inf},
        {"patch_size": "wide"},
        {"patch_size": 256, "patch_size_level0": [512, 512]},
        {"patch_size": 256, "patch_size_level0": np.nan},
        {"patch_size": 256, "patch_size_level0": h5py.Empty("i8")},
        {"patch_size": 256, "downsample": [1.0, 2.0, 3.0]},
        {"patch_size": 256, "downsample": np.nan},
        {"mpp": np.nan},
        {"mpp": [0.5, 0.5]},
        {"level0_magnification": 0},
    ],
)
def test_sizes_that_make_no_sense_are_refused(tmp_path, attributes):
    path = foreign(tmp_path / "a.h5", **attributes)

    for read in (read_bag, read_attributes):
        with pytest.raises(FeatureError) as told:
            read(path)
        assert_told(str(told.value), "a.h5 notes sizes", "", "extract it again")


@pytest.mark.parametrize(
    ("attributes", "side"),
    [
        ({"patch_size": 256}, [256, 256]),
        ({"patch_size": "256", "downsample": "4"}, [1024, 1024]),
        ({"patch_size": 256, "downsample": [4.0, 2.0]}, [1024, 512]),
        ({"patch_size": 256, "patch_size_level0": 448, "downsample": 4}, [448, 448]),
    ],
)
def test_the_side_of_a_patch_is_told_in_level_0_pixels(tmp_path, attributes, side):
    about = read_bag(foreign(tmp_path / "a.h5", **attributes)).attributes

    assert (about["patch_px"], about["patch_level0_px"]) == (256, side)


@pytest.mark.parametrize(
    ("attributes", "mpp"),
    [
        ({"mpp": 0.2527, "level0_magnification": 20}, 0.2527),
        ({"level0_magnification": 40}, 0.25),
        ({"level0_magnification": 20}, 0.5),
        ({"patch_size": 256}, None),
    ],
)
def test_the_resolution_is_the_one_that_the_file_notes(tmp_path, attributes, mpp):
    path = foreign(tmp_path / "a.h5", **attributes)

    for about in (read_bag(path).attributes, read_attributes(path)):
        assert (about.get("mpp_x"), about.get("mpp_y")) == (mpp, mpp)


@pytest.mark.parametrize(
    "parts",
    [
        {"features": np.full((ROWS, DIM), b"text")},
        {"features": FEATURES.astype(int)},
        {"features": FEATURES[:, :0]},
        {"features": FEATURES[0]},
        {"features": np.float32(1)},
        {"coords": np.zeros((ROWS, 3), int)},
        {"coords": np.arange(ROWS)},
        {"coords": np.full((ROWS, 2), b"text")},
        {"coords": np.full((ROWS, 2), np.nan)},
        {"coords": COORDS[1:]},
        {"status": STATUS[:, None]},
        {"status": np.uint8(0)},
        {"status": np.full(ROWS, b"done")},
    ],
)
def test_a_bag_of_ours_of_other_shapes_is_refused(tmp_path, parts):
    path = ours(tmp_path / "a.harm3.h5", **parts)

    for read in (read_bag, bag_summary):
        with pytest.raises(FeatureError) as told:
            read(path)
        assert_told(str(told.value), "a.harm3.h5", "", "again")


def test_a_bag_of_ours_without_a_resolution_is_no_summary(tmp_path):
    path = ours(tmp_path / "a.harm3.h5")

    assert len(read_bag(path).features) == ROWS
    with pytest.raises(FeatureError) as told:
        bag_summary(path)
    assert_told(str(told.value), "a.harm3.h5 is damaged", "", "make it again")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("name", ["a.h5", "a.pt", "a.harm3.h5"])
def test_a_pipe_is_no_bag_and_is_not_waited_for(tmp_path, name):
    path = Path(tmp_path, name)
    os.mkfifo(path)

    assert own_attributes(path) is None
    with pytest.raises(FeatureError) as told:
        read_bag(path)
    assert_told(str(told.value), name)
