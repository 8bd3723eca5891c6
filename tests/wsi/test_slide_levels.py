"""Which of a file's pictures are levels, whoever reads the file."""

import cv2
import numpy as np
import pytest

from napari_harm3.wsi.levels import levels_among
from napari_harm3.wsi.slide import open_slide
from slide_files import TILE, biopsy, halves, write_slide


def other_picture(width, height):
    """Return a picture that is no smaller version of the biopsy."""
    return np.full((height, width, 3), 90, np.uint8)


@pytest.mark.parametrize("compression", ["deflate", "jpeg", "lzma"])
@pytest.mark.parametrize("size", [(300, 300), (300, 80), (384, 160), (80, 300)])
def test_a_picture_of_other_proportions_is_no_level(tmp_path, compression, size):
    fine, half, quarter = halves(biopsy(), 3)
    pictures = [fine, half, other_picture(*size), quarter]
    path = write_slide(tmp_path / "a.tif", pictures, compression=compression)

    with open_slide(path) as slide:
        sizes = slide.level_dimensions
        coarse = slide.read(2, 0, 0, 192, 160)

    assert sizes == ((768, 640), (384, 320), (192, 160))
    assert abs(coarse.astype(int) - quarter).mean() < 12


def test_openslide_is_asked_for_a_level_by_its_own_number(tmp_path):
    fine, _, quarter = halves(biopsy(), 3)
    pictures = [
        cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]]
        for rgb in (fine, other_picture(300, 300), quarter)
    ]
    path = write_slide(
        tmp_path / "a.tif",
        pictures,
        photometric="ycbcr",
        subsampling=(1, 1),
        compression="deflate",
    )

    with open_slide(path) as slide:
        assert slide.reader == "openslide"
        assert slide.level_dimensions == ((768, 640), (192, 160))
        coarse = slide.read(1, 0, 0, 192, 160)

    assert abs(coarse.astype(int) - quarter).max() < 4


def test_a_second_picture_of_a_level_s_size_is_not_a_level_of_its_own(tmp_path):
    fine, half = halves(biopsy(), 2)
    pictures = [fine, half, half[::-1]]

    with open_slide(write_slide(tmp_path / "a.tif", pictures)) as slide:
        assert slide.level_dimensions == ((768, 640), (384, 320))
        assert [level.tile_width for level in slide.tiff.levels] == [TILE, TILE]


@pytest.mark.parametrize("size", [(99_999, 77_777), (4443, 3567), (70_001, 301)])
@pytest.mark.parametrize("rounded", [lambda n: n // 2, lambda n: -(-n // 2), None])
def test_levels_that_were_rounded_anew_at_every_halving_are_kept(size, rounded):
    sizes = [size]
    while min(sizes[-1]) > 20:
        width, height = sizes[-1]
        mixed = (width // 2, -(-height // 2))
        sizes.append(mixed if rounded is None else (rounded(width), rounded(height)))

    assert levels_among(sizes) == list(range(len(sizes)))
