"""What a map says of a lesion that treatment took away."""

import numpy as np
import pytest

from mri_grids import volume_on
from napari_harm3.explain.agreement import Yardstick, agreement
from napari_harm3.explain.case import ExplainedVolume
from napari_harm3.explain.cells import cell_grid
from napari_harm3.explain.measured import CaseYardstick
from napari_harm3.mri.volume import Geometry

NATIVE = Geometry(shape=(16, 16, 8), affine=np.eye(4))
TO_XYZ = np.eye(4)[[2, 1, 0, 3]]
CELLS = cell_grid((4, 4, 4), (8, 16, 16), TO_XYZ)


def explained(heat, annotation):
    """A volume with its map, as `explain_case` returns it."""
    yardstick = Yardstick.of(annotation, NATIVE, CELLS)
    return ExplainedVolume(
        volume=volume_on(NATIVE, heat),
        heat=heat,
        annotation=annotation,
        agreement=agreement(heat, annotation, NATIVE, CELLS, yardstick=yardstick),
        message="",
        place=NATIVE,
        cells=CELLS,
        yardstick=yardstick,
    )


@pytest.fixture
def lesions():
    """Return a primary and a node, on the grid of both volumes."""
    labels = np.zeros(NATIVE.shape, np.uint8)
    labels[:4, :4, :2] = 1
    labels[8:12, 8:12, 4:6] = 2
    return labels


def told(before, after, *, aligned=True):
    rng = np.random.default_rng(0)
    heat = rng.random(NATIVE.shape).astype(np.float32)
    volumes = {"t1_pre": explained(2 * heat, before), "t1_post": explained(heat, after)}
    return heat, CaseYardstick(volumes=volumes, aligned=aligned).own()


def test_of_an_empty_annotation_the_share_in_the_old_place_is_told(lesions):
    heat, found = told(lesions, np.zeros_like(lesions))

    post = found["t1_post"]
    assert "free of visible lesion" in post["not_applicable"]
    share = heat[lesions > 0].sum() / heat.sum()
    assert post["false_energy"]["value"] == pytest.approx(share, rel=1e-5)
    assert post["false_energy"]["chance"] == pytest.approx((lesions > 0).mean())
    entry = post["false_energy"]
    span = entry["ceiling"] - entry["chance"]
    normalised = post["normalised"]["false_energy"]
    assert normalised == pytest.approx((entry["value"] - entry["chance"]) / span)
    assert post["magnitude"]["relative_to_pre"] == pytest.approx(0.5)
    primary = heat[lesions == 1].sum() / heat.sum()
    by_label = post["labels"]["primary"]["false_energy"]
    assert by_label["value"] == pytest.approx(primary, rel=1e-5)
    assert post["labels"]["primary"]["not_applicable"] == post["not_applicable"]
    assert "false_energy" not in found["t1_pre"]


def test_a_label_may_be_gone_while_another_is_left(lesions):
    left = np.where(lesions == 2, lesions, 0).astype(np.uint8)

    heat, found = told(lesions, left)

    post = found["t1_post"]
    assert "energy" in post
    assert "false_energy" not in post
    gone = post["labels"]["primary"]
    assert "no voxel" in gone["not_applicable"]
    share = heat[lesions == 1].sum() / heat.sum()
    assert gone["false_energy"]["value"] == pytest.approx(share, rel=1e-5)
    assert "false_energy" not in post["labels"]["nodes"]


def test_of_sessions_that_share_no_space_the_old_place_is_not_known(lesions):
    _, found = told(lesions, np.zeros_like(lesions), aligned=False)

    entry = found["t1_post"]["false_energy"]
    assert "not registered" in entry["not_applicable"]


def test_without_an_annotation_nothing_is_said(lesions):
    _, found = told(lesions, None)

    assert found["t1_post"] == {"not_applicable": "not annotated"}
