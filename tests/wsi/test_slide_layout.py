"""Patches and overviews that nobody can want are refused before they cost anything."""

from typing import get_args

import numpy as np
import pytest

from napari_harm3.errors import SlideError
from napari_harm3.wsi import layout
from napari_harm3.wsi.config import PatchConfig, Rule, TissueConfig
from napari_harm3.wsi.pyramid import overview
from napari_harm3.wsi.slide import open_slide
from slide_files import assert_told, write_slide


@pytest.fixture
def no_tissue_sought(monkeypatch):
    def seek(*_):
        raise AssertionError("tissue was sought")

    monkeypatch.setattr(layout, "find_tissue", seek)


@pytest.mark.parametrize("rule", get_args(Rule))
@pytest.mark.parametrize("mpp", [0.0001, 0.002])
def test_patches_below_a_pixel_are_refused(tmp_path, no_tissue_sought, rule, mpp):
    patches = PatchConfig(mpp=mpp, rule=rule, allow_upsampling=True)

    with (
        open_slide(write_slide(tmp_path / "a.tif")) as slide,
        pytest.raises(SlideError) as told,
    ):
        layout.lay_out(slide, TissueConfig(), patches)

    assert_told(str(told.value), "a.tif would fall into", "pixels", "ask for larger")


def test_more_patches_than_can_be_held_are_refused(tmp_path, no_tissue_sought):
    patches = PatchConfig(mpp=0.0025, allow_upsampling=True)  # of 1.12 pixels
    path = write_slide(
        tmp_path / "a.tif",
        [np.broadcast_to(np.uint8(243), (8192, 8192, 3))],
        tile=(1024, 1024),
    )

    with open_slide(path) as slide, pytest.raises(SlideError) as told:
        layout.lay_out(slide, TissueConfig(), patches)

    assert_told(str(told.value), "a.tif would fall into 53", "patches of 1.12 pixels")


def test_a_slide_too_coarse_is_refused_before_tissue_is_sought(
    tmp_path, no_tissue_sought
):
    path = write_slide(tmp_path / "a.tif")

    with open_slide(path, source_mpp=20.0) as slide, pytest.raises(SlideError) as told:
        layout.lay_out(slide, TissueConfig(), PatchConfig())

    assert_told(str(told.value), "a.tif has 20 microns per pixel, coarser", "", "allow")


def test_an_overview_too_large_to_be_held_is_refused(tmp_path):
    with open_slide(write_slide(tmp_path / "a.tif")) as slide:
        assert overview(slide, 8.0).picture.shape == (40, 48, 3)
        with pytest.raises(SlideError) as told:
            overview(slide, 0.01)

    assert_told(str(told.value), "a.tif would be 38400 x 32000", "", "--source-mpp")
