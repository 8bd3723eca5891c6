"""What is saved lies on its volume's own grid, and only edits change it."""

import nibabel as nib
import numpy as np
import pytest

from mri_grids import ORIENTATIONS, oriented
from napari_harm3.cohort.case import Case
from napari_harm3.errors import VolumeError
from napari_harm3.mri.reading import read_volume
from napari_harm3.mri.volume import write_volume
from napari_harm3.plugin.layers import draw_case

OURS = "napari-harm3"
CENTRE = (5, 4, 3)


def blob(grid, centre=CENTRE, radius_mm=4.0, label=1):
    """Return labels in a ball, made from world distances."""
    indices = np.indices(grid.shape).reshape(3, -1)
    world = grid.affine[:3, :3] @ indices
    centre = grid.affine[:3, :3] @ np.array(centre)
    near = np.linalg.norm(world - centre[:, None], axis=0) <= radius_mm
    return (label * near).astype(np.uint8).reshape(grid.shape)


def opened(viewer, tmp_path, grid, array):
    path = tmp_path / "source.nii.gz"
    write_volume(path, array, grid.affine)
    return viewer.open(path, plugin=OURS)[0]


def stored(path):
    image = nib.load(path)
    return np.asarray(image.dataobj), image.affine


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
def test_an_unedited_annotation_comes_back_voxel_for_voxel(
    viewer, tmp_path, axes, signs
):
    grid = oriented(axes, signs)
    array = np.random.default_rng(1).integers(0, 4, grid.shape).astype(np.uint8)
    layer = opened(viewer, tmp_path, grid, array)

    (path,) = layer.save(str(tmp_path / "out.nii.gz"), plugin=OURS)

    back, affine = stored(path)
    np.testing.assert_array_equal(back, array)
    np.testing.assert_allclose(affine, grid.affine, atol=1e-5)


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS[::5])
def test_a_painted_voxel_lands_at_its_world_place(viewer, tmp_path, axes, signs):
    grid = oriented(axes, signs)
    layer = opened(viewer, tmp_path, grid, blob(grid))
    layer.data[:] = 0
    layer.data[1, 2, 3] = 2

    (path,) = layer.save(str(tmp_path / "out.nii.gz"), plugin=OURS)

    back, affine = stored(path)
    (index,) = np.argwhere(back == 2)
    x, y, z = (affine @ [*index, 1])[:3]
    np.testing.assert_allclose(layer.data_to_world((1, 2, 3)), (z, -y, -x), atol=1e-4)


@pytest.mark.parametrize("tilt", [(7, -11, 14), (0, 25, 0), (44, 0, 10)])
def test_an_oblique_annotation_keeps_every_voxel_that_was_not_edited(
    viewer, tmp_path, tilt
):
    grid = oriented((2, 0, 1), (-1, 1, -1), (30, 28, 26), (1.0, 1.2, 1.4), tilt)
    array = blob(grid, (9, 14, 13))
    layer = opened(viewer, tmp_path, grid, array)

    (path,) = layer.save(str(tmp_path / "same.nii.gz"), plugin=OURS)
    np.testing.assert_array_equal(stored(path)[0], array)

    other = blob(grid, (22, 14, 13), label=2)
    z, y, x = np.indices(layer.data.shape)
    world = np.stack([z, y, x], -1) * layer.scale + layer.translate
    aim = grid.affine @ [22, 14, 13, 1]
    ball = np.linalg.norm(world - [aim[2], -aim[1], -aim[0]], axis=-1) <= 4.0
    layer.data[ball] = 2
    (path,) = layer.save(str(tmp_path / "edited.nii.gz"), plugin=OURS)

    back, _ = stored(path)
    np.testing.assert_array_equal(back == 1, array == 1)
    common = ((back == 2) & (other == 2)).sum()
    assert 2 * common / ((back == 2).sum() + (other == 2).sum()) > 0.85


def test_a_single_voxel_painted_on_an_oblique_volume_is_not_lost(viewer, tmp_path):
    grid = oriented((0, 1, 2), (1, 1, 1), (20, 20, 8), (1, 1, 4), (0, 35, 20))
    rng = np.random.default_rng(2)
    for number in range(20):
        array = np.zeros(grid.shape, np.uint8)
        array[0, 0, 0] = 1
        layer = opened(viewer, tmp_path, grid, array)
        index = np.array([rng.integers(4, n - 4) for n in grid.shape[:2]] + [4])
        x, y, z = (grid.affine @ [*index, 1])[:3]
        drawn = np.rint(layer.world_to_data((z, -y, -x))).astype(int)
        layer.data[tuple(drawn)] = 7

        (path,) = layer.save(str(tmp_path / f"{number}.nii.gz"), plugin=OURS)

        assert (stored(path)[0] == 7).any()


def test_an_oblique_image_that_was_not_changed_comes_back_exactly(viewer, tmp_path):
    grid = oriented((2, 0, 1), (-1, 1, -1), tilt=(7, -11, 14))
    array = np.random.default_rng(3).random(grid.shape, np.float32)
    layer = opened(viewer, tmp_path, grid, array)

    (path,) = layer.save(str(tmp_path / "out.nii.gz"), plugin=OURS)

    np.testing.assert_array_equal(stored(path)[0], array)


def test_an_oblique_image_is_changed_where_it_was_edited(viewer, tmp_path):
    grid = oriented((0, 1, 2), (1, 1, 1), (24, 24, 12), (1, 1, 2), tilt=(0, 45, 20))
    array = np.random.default_rng(4).random(grid.shape, np.float32)
    layer = opened(viewer, tmp_path, grid, array)
    far = np.zeros(layer.data.shape, bool)
    far[:, :, : layer.data.shape[2] // 2] = True
    layer.data[far] = 5

    (path,) = layer.save(str(tmp_path / "out.nii.gz"), plugin=OURS)

    back, _ = stored(path)
    left_mm = np.moveaxis(np.indices(grid.shape), 0, -1) @ grid.affine[0, :3]
    edge = -(layer.translate[2] + (far.shape[2] // 2 - 0.5) * layer.scale[2])
    beyond = left_mm + grid.affine[0, 3] - edge
    # LPS grows to the left, RAS to the right: what was edited lies on the right.
    assert (back[beyond > 1.5] == 5).all()
    np.testing.assert_array_equal(back[beyond < -1.5], array[beyond < -1.5])


def test_labels_that_took_an_images_metadata_hold_none_of_its_voxels(viewer, tmp_path):
    grid = oriented((2, 0, 1), (-1, 1, -1), tilt=(7, -11, 14))
    array = np.random.default_rng(5).integers(0, 200, grid.shape).astype(np.uint8)
    image = opened(viewer, tmp_path, grid, array)
    assert image._type_string == "image"
    labels = viewer.add_labels(
        np.zeros(image.data.shape, np.uint8),
        scale=image.scale,
        translate=image.translate,
        metadata=image.metadata,
    )
    labels.data[image.data.shape[0] // 2, 5:8, 5:8] = 1

    (path,) = labels.save(str(tmp_path / "out.nii.gz"), plugin=OURS)

    back, affine = stored(path)
    assert set(np.unique(back)) == {0, 1}
    assert back.shape == grid.shape
    np.testing.assert_allclose(affine, grid.affine, atol=1e-5)


def test_a_drawn_cases_annotation_keeps_what_its_file_needs(viewer, tmp_path):
    grid = oriented((2, 0, 1), (-1, 1, -1), tilt=(7, -11, 14))
    image, mask = tmp_path / "t1.nii.gz", tmp_path / "mask.nii.gz"
    rng = np.random.default_rng(7)
    write_volume(image, rng.random(grid.shape, np.float32), grid.affine)
    write_volume(mask, blob(grid), grid.affine)
    case = Case(case_id="A", row=2, volumes={"t1_pre": image}, masks={"t1_pre": mask})
    drawn = draw_case(case)[0]
    layer = viewer.add_labels(
        drawn.annotation,
        scale=drawn.grid.scale,
        translate=drawn.grid.translate,
        metadata=drawn.origin("labels"),
    )

    (path,) = layer.save(str(tmp_path / "out.nii.gz"), plugin=OURS)

    np.testing.assert_array_equal(stored(path)[0], blob(grid))
    assert draw_case(case)[1].origin("image") == {}


@pytest.mark.gui
def test_labels_painted_in_the_window_are_saved_on_the_grid_of_their_volume(
    make_napari_viewer, tmp_path
):
    viewer = make_napari_viewer(show=True)
    grid = oriented((2, 0, 1), (-1, 1, -1), tilt=(7, -11, 14))
    array = np.random.default_rng(6).random(grid.shape, np.float32)
    image = opened(viewer, tmp_path, grid, array)
    viewer._new_labels()
    labels = viewer.layers[-1]
    assert labels.data.shape == image.data.shape
    index = tuple(n // 2 for n in labels.data.shape)
    labels.data[index] = 1

    (path,) = viewer.layers.save(
        str(tmp_path / "out.nii.gz"), selected=True, plugin=OURS
    )

    back, affine = stored(path)
    assert back.shape == grid.shape
    middle = (affine @ [*np.argwhere(back).mean(axis=0), 1])[:3]
    z, y, x = labels.data_to_world(index)
    away = np.abs(middle - [-x, -y, z])
    assert (away <= grid.spacing_mm.max()).all()


def test_a_layer_of_no_file_is_saved_where_it_lies(viewer, tmp_path):
    data = np.zeros((4, 5, 6), np.uint8)
    data[1, 2, 3] = 1
    layer = viewer.add_labels(data, scale=(3, 1, 1.5), translate=(10, -20, 30))

    (path,) = layer.save(str(tmp_path / "out.nii.gz"), plugin=OURS)

    back, affine = stored(path)
    (index,) = np.argwhere(back)
    np.testing.assert_allclose((affine @ [*index, 1])[:3], [-34.5, 18, 13])


def test_a_layer_that_was_moved_is_saved_where_it_was_moved_to(viewer, tmp_path):
    grid = oriented((0, 1, 2), (1, 1, 1))
    layer = opened(viewer, tmp_path, grid, blob(grid))
    layer.translate = np.add(layer.translate, (0, 0, 7))

    layer.save(str(tmp_path / "out.nii.gz"), plugin=OURS)

    moved, was = (
        read_volume(tmp_path / f"{name}.nii.gz") for name in ("out", "source")
    )
    middle = [
        (v.affine @ [*np.argwhere(v.array).mean(axis=0), 1])[:3] for v in (moved, was)
    ]
    np.testing.assert_allclose(middle[0] - middle[1], [-7, 0, 0], atol=1e-4)


def test_pictures_and_turned_labels_are_refused_in_a_sentence(viewer, tmp_path):
    flat = viewer.add_labels(np.zeros((4, 4), int))
    skew = viewer.add_labels(np.zeros((4, 4, 4), int), shear=[0.3, 0, 0])
    negative = viewer.add_labels(np.full((4, 4, 4), -1))
    for layer in (flat, skew, negative):
        with pytest.raises(VolumeError):
            layer.save(str(tmp_path / "out.nii.gz"), plugin=OURS)
    assert list(tmp_path.iterdir()) == []


def test_labels_on_a_dicom_series_become_a_segmentation_of_it(
    viewer, real_data, tmp_path
):
    series = real_data / "dicom" / "VS-SEG-001_T1c"
    (image,) = viewer.open(series, plugin=OURS)
    labels = viewer.add_labels(
        np.zeros(image.data.shape, np.uint8),
        scale=image.scale,
        translate=image.translate,
        metadata=image.metadata,
    )
    labels.data[20:24, 100:130, 200:220] = 1

    (path,) = labels.save(str(tmp_path / "seg.dcm"), plugin=OURS)
    (back,) = viewer.open(path, plugin=OURS)

    assert back.data.sum() == labels.data.sum()
    first = [np.argwhere(layer.data).min(axis=0) for layer in (labels, back)]
    np.testing.assert_allclose(
        labels.data_to_world(first[0]), back.data_to_world(first[1]), atol=0.01
    )


def test_a_dicom_segmentation_needs_a_dicom_series(viewer, tmp_path):
    grid = oriented((0, 1, 2), (1, 1, 1))
    layer = opened(viewer, tmp_path, grid, blob(grid))
    with pytest.raises(VolumeError, match=r"save this one as \.nii\.gz"):
        layer.save(str(tmp_path / "seg.dcm"), plugin=OURS)


def test_a_heat_map_on_a_dicom_series_becomes_a_parametric_map(
    viewer, real_data, tmp_path
):
    from highdicom.pm import ParametricMap
    from pydicom import dcmread

    (image,) = viewer.open(real_data / "dicom" / "VS-SEG-001_T1c", plugin=OURS)
    heat = viewer.add_image(
        np.linspace(0, 1, image.data.size, dtype=np.float32).reshape(image.data.shape),
        scale=image.scale,
        translate=image.translate,
        metadata=image.metadata,
    )

    (path,) = heat.save(str(tmp_path / "map.dcm"), plugin=OURS)

    made = ParametricMap.from_dataset(dcmread(path))
    volume = made.get_volume(apply_real_world_transform=False)
    assert volume.array.shape == (64, 512, 512)
    assert float(volume.array.max()) == pytest.approx(1.0)
