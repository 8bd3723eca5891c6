"""The paper's Fig. 2 of one case, as it is drawn."""

from dataclasses import replace

import numpy as np

from bare_explanations import explained
from mri_grids import volume_on
from napari_harm3.explain.case import ExplainedVolume
from napari_harm3.explain.cells import cell_grid
from napari_harm3.mri.volume import Geometry
from napari_harm3.report.map_figures import explanation_figure

NATIVE = Geometry(shape=(64, 64, 24), affine=np.eye(4))
LESION = np.s_[20:28, 20:28, 6:12]


def test_a_bright_lesion_keeps_its_texture_under_the_maps():
    head = np.zeros(NATIVE.shape)
    head[12:52, 12:52] = 300
    head[LESION] = np.random.default_rng(1).normal(900, 60, head[LESION].shape)
    annotation = (head > 500).astype(np.uint8)
    one = ExplainedVolume(
        volume=volume_on(NATIVE, head),
        heat=annotation.astype(np.float32),
        annotation=annotation,
        agreement={},
        message="",
        place=NATIVE,
        cells=cell_grid((4, 4, 4), (24, 64, 64), np.eye(4)[[2, 1, 0, 3]]),
        yardstick=None,
    )

    figure = explanation_figure(replace(explained(), volumes={"t1_pre": one}))

    anatomy = figure.axes[0].get_images()[0]
    shown = np.asarray(anatomy.get_array())
    assert (shown > 500).sum() == 64
    assert np.mean(shown[shown > 500] >= anatomy.get_clim()[1]) < 0.2
