"""The paper's Fig. 2 of one case, as it is drawn, and the same of maps beside it."""

from dataclasses import replace

import numpy as np
import pytest

from bare_explanations import explained
from mri_grids import volume_on
from napari_harm3.explain.case import ExplainedVolume
from napari_harm3.explain.cells import VolumeMap, cell_grid
from napari_harm3.mri.volume import Geometry
from napari_harm3.report.map_figures import explanation_figure, other_maps_figure

NATIVE = Geometry(shape=(64, 64, 24), affine=np.eye(4))
SIZE, TO_XYZ = (24, 64, 64), np.eye(4)[[2, 1, 0, 3]]
LESION = np.s_[20:28, 20:28, 6:12]


def volume(strength=1.0):
    """Return a head with a bright lesion, which the map marks by so much."""
    head = np.zeros(NATIVE.shape)
    head[12:52, 12:52] = 300
    head[LESION] = np.random.default_rng(1).normal(900, 60, head[LESION].shape)
    annotation = (head > 500).astype(np.uint8)
    return ExplainedVolume(
        volume=volume_on(NATIVE, head),
        heat=strength * annotation.astype(np.float32),
        annotation=annotation,
        agreement={},
        message="",
        place=NATIVE,
        cells=cell_grid((4, 4, 4), SIZE, TO_XYZ),
        yardstick=None,
    )


def words_in(axis):
    return [text.get_text() for text in axis.texts]


def test_a_bright_lesion_keeps_its_texture_under_the_maps():
    figure = explanation_figure(replace(explained(), volumes={"t1_pre": volume()}))

    anatomy = figure.axes[0].get_images()[0]
    shown = np.asarray(anatomy.get_array())
    assert (shown > 500).sum() == 64
    assert np.mean(shown[shown > 500] >= anatomy.get_clim()[1]) < 0.2


@pytest.mark.parametrize(
    ("strength", "said"),
    [(0.1, True), (0.2, True), (0.4, False), (-0.1, True), (-0.2, False)],
)
def test_a_map_too_weak_to_be_seen_is_told(strength, said):
    volumes = {"t1_pre": volume(), "t1_post": volume(strength)}

    strong, weak, *_ = explanation_figure(replace(explained(), volumes=volumes)).axes

    assert "next to nothing in this volume" not in words_in(strong)
    assert ("next to nothing in this volume" in words_in(weak)) == said


def test_each_row_tells_the_size_of_its_own_cells():
    one = volume()
    cubes = VolumeMap(heat=one.heat, cells=cell_grid((2, 2, 4), SIZE, TO_XYZ))

    figure = other_maps_figure(
        replace(explained(), volumes={"t1_pre": one}), {"occlusion": {"t1_pre": cubes}}
    )

    labels = [axis.get_ylabel() for axis in figure.axes]
    assert "Grad-CAM\n6 x 16 x 16 mm" in labels
    assert "Occlusion\n12 x 32 x 16 mm" in labels
