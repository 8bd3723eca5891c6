"""Two slides of a case may have one file name; every output tells them apart."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from link_folders import known_link
from napari_harm3.explain import bag_places
from napari_harm3.explain.link import CaseLink
from napari_harm3.explain.link_table import link_rows
from napari_harm3.explain.slide_export import patch_geojson, write_heat_maps
from napari_harm3.explain.slide_maps import top_patches
from napari_harm3.wsi.bags import Bag
from napari_harm3.wsi.files import unique_names

NAMES = ("biopsy.tif", "biopsy-2.tif")


@pytest.fixture
def places(monkeypatch):
    """Three patches of one slide, and three at the same places of another."""
    about = {
        "slide_name": "biopsy.tif",
        "patch_px": 64,
        "width": 256,
        "height": 128,
    }
    coords = np.array([[0, 0], [64, 0], [128, 0]], np.int64)
    bag = Bag(
        features=np.zeros((3, 2), np.float32),
        coords=coords,
        status=np.zeros(3, np.uint8),
        attributes=about,
    )
    monkeypatch.setattr(bag_places, "read_bag", lambda _: bag)
    return bag_places.patch_places([Path("0.h5"), Path("1.h5")])


@pytest.mark.parametrize(
    ("names", "told_apart"),
    [
        (["a.svs", "b.svs"], ("a.svs", "b.svs")),
        (["a.svs", "a.svs", "a.svs"], ("a.svs", "a-2.svs", "a-3.svs")),
        (["a.ome.tif", "a.ome.tif"], ("a.ome.tif", "a-2.ome.tif")),
        (["a.svs", "a.svs", "a-2.svs"], ("a.svs", "a-3.svs", "a-2.svs")),
        (["a-2.svs", "a.svs", "a.svs"], ("a-2.svs", "a.svs", "a-3.svs")),
    ],
)
def test_a_later_slide_bears_its_number(names, told_apart):
    assert unique_names(names) == told_apart
    assert unique_names(told_apart) == told_apart


def test_files_and_tables_name_the_slide_of_each_patch(places, tmp_path):
    shares = np.arange(1, 7) / 21

    features = patch_geojson(places, {"attention": shares})["features"]
    named = [one["properties"]["slide"] for one in features]
    best = [row["slide"] for row in top_patches(shares, places, kind="attention")]

    assert named == [NAMES[0]] * 3 + [NAMES[1]] * 3
    assert best == named[::-1]
    written = write_heat_maps(tmp_path, places, shares, kind="attention")
    names = ["biopsy.attention.tif", "biopsy-2.attention.tif"]
    assert [path.name for path in written] == names


def test_the_link_is_asked_for_a_patch_of_the_slide_that_is_named(places):
    link = replace(known_link("A"), places=places, pooling=np.eye(3, 6)[:, ::-1])

    assert link.patch_at(NAMES[0], 65, 1) == 1
    assert link.patch_at(NAMES[1], 65, 1) == 4
    assert {row["slide"] for row in link_rows(link)} == {NAMES[1]}


def test_a_link_that_was_stored_with_one_name_tells_the_slides_apart(places, tmp_path):
    earlier = replace(places, names=(NAMES[0], NAMES[0]))
    link = replace(known_link("A"), places=earlier, pooling=np.eye(3, 6))
    link.to_npz(tmp_path / "link.npz")

    assert CaseLink.from_npz(tmp_path / "link.npz").places.names == NAMES
