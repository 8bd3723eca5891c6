"""Contours become voxels by their place, holes and planes kept."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_files import RTSTRUCT, classic_slices, new_file, save, structure_set
from mri_grids import ORIENTATIONS, oriented, volume_on
from napari_harm3.errors import VolumeError
from napari_harm3.mri.dicom import read_series
from napari_harm3.mri.reading import read_volume
from napari_harm3.mri.rtstruct import (
    Structure,
    polygons_filled,
    rasterised,
    read_rtstruct,
    read_structures,
)
from napari_harm3.mri.volume import Geometry

RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def circle(radius, height, centre=(0, 0), points=90):
    """Return a circle about the z axis, LPS mm."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack(
        [
            centre[0] + radius * np.cos(angle),
            centre[1] + radius * np.sin(angle),
            np.full(points, float(height)),
        ],
        axis=1,
    )


def grid(shape=(60, 60, 30), spacing=(1.0, 1.0, 2.0), shift=0.0):
    """Return a grid about the origin, axes along the patient's."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -(np.array(shape) - 1) / 2 * spacing + (0, 0, shift)
    return Geometry(shape=shape, affine=affine)


def structure(contours, name="GTVp"):
    return Structure(name=name, frame_of_reference="1.2", contours=tuple(contours))


def millilitres(inside, volume):
    return inside.sum() * np.prod(volume.spacing_mm) / 1000


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@settings(max_examples=200, deadline=None)
@given(
    corners=st.lists(
        st.tuples(st.integers(-20, 140), st.integers(-20, 140)), min_size=3, max_size=9
    )
)
def test_a_cell_is_filled_where_a_ray_crosses_an_odd_number_of_edges(corners):
    # Corners at tenths and centres at whole numbers: none on an edge by accident,
    # since every corner is shifted off them.
    polygon = np.array(corners) / 10 + 0.0313
    filled = polygons_filled([polygon], (12, 13))

    expected = np.zeros((12, 13), bool)
    for row, column in np.ndindex(12, 13):
        for (r0, c0), (r1, c1) in zip(polygon, np.roll(polygon, -1, 0), strict=True):
            if (r0 <= row) != (r1 <= row):
                crossing = c0 + (row - r0) / (r1 - r0) * (c1 - c0)
                expected[row, column] ^= crossing <= column
    np.testing.assert_array_equal(filled, expected)


def test_a_ball_of_contours_keeps_its_volume():
    heights = np.arange(-14, 15, 2.0)
    ball = [circle(np.sqrt(225 - z**2), z) for z in heights]

    inside = rasterised(structure(ball), grid(shift=0.88), "rt.dcm")

    slabs = sum(np.pi * (225 - z**2) * 2 for z in heights) / 1000
    assert millilitres(inside, grid()) == pytest.approx(slabs, rel=0.02)


@pytest.mark.parametrize("shift", [-1.0, -0.99, -0.88, 0.0, 0.5, 0.88, 1.0])
def test_planes_off_the_slices_fill_as_many_slices_as_there_are_planes(shift):
    contours = [circle(10, z) for z in (-3, -1, 1, 3)]

    inside = rasterised(structure(contours), grid(shift=shift), "rt.dcm")

    assert inside.any(axis=(0, 1)).sum() == 4


@pytest.mark.parametrize("spacing", [0.5, 1.0, 2.0, 3.0, 4.0])
def test_slices_finer_and_coarser_than_the_planes_keep_the_volume(spacing):
    contours = [circle(12, z) for z in np.arange(-23, 24, 2.0)]
    volume = grid(shape=(60, 60, 160), spacing=(1, 1, spacing))

    inside = rasterised(structure(contours), volume, "rt.dcm")

    assert millilitres(inside, volume) == pytest.approx(np.pi * 144 * 0.048, rel=0.05)


@pytest.mark.parametrize(
    ("heights", "first", "last"),
    [
        ((-9, -6, -3, 0, 6, 12, 18), -10.5, 19.5),  # every second slice, further up
        ((-9, -6, 0, 3), -10.5, 4.5),  # one slice was left out
        ((-9, -8.6, -6, -3), -10.5, -1.5),  # one was drawn twice, a little apart
    ],
)
def test_unevenly_spaced_planes_leave_no_stripes(heights, first, last):
    volume = grid(shape=(40, 40, 21), spacing=(1.0, 1.0, 3.0))

    inside = rasterised(structure([circle(6, z) for z in heights]), volume, "rt.dcm")

    slices = np.flatnonzero(inside.any(axis=(0, 1)))
    np.testing.assert_array_equal(np.diff(slices), 1)
    expected = np.pi * 36 * (last - first) / 1000
    assert millilitres(inside, volume) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(("apart", "aside"), [(6, 14), (30, 0)])
def test_two_lesions_of_one_structure_stay_apart(apart, aside):
    volume = grid(shape=(60, 60, 25), spacing=(1.0, 1.0, 3.0))
    low = [circle(6, z, (-aside, 0)) for z in (-30, -27, -24)]
    high = [circle(6, z, (aside, 0)) for z in (apart - 24, apart - 21, apart - 18)]

    inside = rasterised(structure(low + high), volume, "rt.dcm")

    assert inside.any(axis=(0, 1)).sum() == 6


def test_a_contour_within_another_is_a_hole():
    contours = [c for z in (-1, 1) for c in (circle(20, z), circle(8, z))]

    inside = rasterised(structure(contours), grid(), "rt.dcm")

    assert not inside[30, 30].any()
    area = inside[:, :, 15].sum()
    assert area == pytest.approx(np.pi * (400 - 64), rel=0.02)


def test_a_contour_there_twice_does_not_vanish():
    once = [circle(10, z) for z in (-1, 1)]

    inside = rasterised(structure(once * 2), grid(), "rt.dcm")

    np.testing.assert_array_equal(inside, rasterised(structure(once), grid(), "rt"))


def test_one_contour_between_coarse_slices_is_not_lost():
    volume = grid(shape=(60, 60, 9), spacing=(1, 1, 6.0), shift=3.0)

    inside = rasterised(structure([circle(5, -0.5), circle(5, 0.5)]), volume, "rt.dcm")

    assert inside.any()


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS[::5])
def test_every_orientation_of_the_grid_marks_the_same_places(axes, signs):
    tilt = (7, -11, 5)
    volume = oriented(axes, signs, shape=(44, 46, 48), spacing=(1, 1, 1), tilt=tilt)
    affine = volume.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ ((np.array(volume.shape) - 1) / 2)
    affine[:3, 3] -= volume.affine[:3, 3]
    volume = Geometry(shape=volume.shape, affine=affine)
    ball = [circle(np.sqrt(144 - z**2), z, centre=(2, 1)) for z in np.arange(-11.5, 12)]

    inside = rasterised(structure(ball), volume, "rt.dcm")

    world = RAS @ affine @ np.vstack([np.argwhere(inside).T, np.ones(inside.sum())])
    np.testing.assert_allclose(world[:3].mean(axis=1), (2, 1, 0), atol=0.1)
    distance = np.linalg.norm(world[:3] - np.array([[2], [1], [0]]), axis=0)
    assert distance.max() < 12.9
    assert inside.sum() == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.03)


def test_names_say_what_is_primary_and_what_nodes(tmp_path):
    contours = {
        "External": [circle(28, z) for z in (-1, 1)],
        "GTVp": [circle(6, z, (-12, 0)) for z in (-1, 1)],
        "GTVn_1": [circle(5, z, (12, 8)) for z in (-1, 1)],
        "GTVn_2": [circle(4, z, (12, -8)) for z in (-1, 1)],
        "CTVp": [circle(9, z, (-12, 0)) for z in (-1, 1)],
    }
    path = save(structure_set(list(contours.items())), tmp_path / "rt.dcm")
    volume = grid()

    labels = read_rtstruct(path, volume)

    assert (labels == 1).sum() == pytest.approx(2 * np.pi * 36, rel=0.06)
    assert (labels == 2).sum() == pytest.approx(2 * np.pi * (25 + 16), rel=0.06)
    world = RAS @ volume.affine @ [*np.argwhere(labels == 1).mean(axis=0), 1]
    np.testing.assert_allclose(world[:2], (-12, 0), atol=0.2)


def test_given_names_win_over_usual_ones(tmp_path):
    circles = [("GTVp", [circle(6, 1)]), ("Cochlea", [circle(4, 1, (15, 0))])]
    path = save(structure_set(circles), tmp_path / "rt.dcm")

    labels = read_rtstruct(path, grid(), {"Cochlea": 2})

    assert set(np.unique(labels)) == {0, 2}
    with pytest.raises(VolumeError, match=r"no structure named 'Tumor'.*'GTVp'"):
        read_rtstruct(path, grid(), {"Tumor": 1})


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["Skull", "Eye L"], "no structure whose name.*'Skull', 'Eye L'"),
        (["GTVp", "Tumour old"], "several structures.*'GTVp', 'Tumour old'"),
        ([], "it has: none"),
    ],
)
def test_names_without_or_with_two_meanings_are_refused(tmp_path, names, told):
    path = save(structure_set([(n, [circle(6, 1)]) for n in names]), tmp_path / "r.dcm")

    with pytest.raises(VolumeError, match=told):
        read_rtstruct(path, grid())


def test_contours_of_another_frame_of_reference_are_refused(tmp_path):
    circles = [("GTVp", [circle(2, 1)])]
    path = save(structure_set(circles, frame="1.2.3.77"), tmp_path / "rt.dcm")
    affine = np.diag([1.0, 1, 2, 1])
    affine[:3, 3] = (-6, -6, -6)
    array = np.random.default_rng(0).integers(0, 9, (12, 12, 6)).astype(np.uint16)
    for number, dataset in enumerate(classic_slices(array, affine=affine)):
        save(dataset, tmp_path / "s" / f"{number}.dcm")
    volume = read_series(tmp_path / "s")

    with pytest.raises(VolumeError, match=r"'GTVp' of rt\.dcm .* frame of reference"):
        read_rtstruct(path, volume)

    same = save(structure_set(circles, frame="1.2.3.9"), tmp_path / "same.dcm")
    assert read_rtstruct(same, volume).any()
    stateless = volume_on(volume, volume.array)
    assert read_rtstruct(path, stateless).any()


def test_contours_outside_the_volume_are_refused(tmp_path):
    path = save(structure_set([("GTVp", [circle(6, 1, (80, 0))])]), tmp_path / "r.dcm")

    with pytest.raises(VolumeError, match=r"Only 0% .*'GTVp' of r\.dcm"):
        read_rtstruct(path, grid())


def test_a_structure_without_contours_is_an_empty_annotation(tmp_path):
    path = save(structure_set([("GTVp", [])]), tmp_path / "rt.dcm")

    assert not read_rtstruct(path, grid()).any()


def test_points_alone_are_no_empty_annotation(tmp_path):
    dataset = structure_set([("GTVp", [circle(6, 1)])])
    for contour in dataset.ROIContourSequence[0].ContourSequence:
        contour.ContourGeometricType = "OPEN_PLANAR"
    path = save(dataset, tmp_path / "rt.dcm")

    with pytest.raises(VolumeError, match="points or open lines only"):
        read_rtstruct(path, grid())


def test_two_structures_of_one_name_are_both_kept(tmp_path):
    circles = [("GTVn", [circle(6, 1, (x, 0))]) for x in (-14, 14)]
    path = save(structure_set(circles), tmp_path / "rt.dcm")

    labels = read_rtstruct(path, grid())

    assert (labels == 2).sum() == pytest.approx(2 * np.pi * 36, rel=0.06)


def test_no_damage_gives_a_foreign_exception(tmp_path):
    path = save(structure_set([("GTVp", [circle(6, 1)])]), tmp_path / "rt.dcm")
    good, rng, refused = path.read_bytes(), random.Random(0), 0

    for _ in range(200):
        bad = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        path.write_bytes(bad)
        try:
            labels = read_rtstruct(path, grid())
        except VolumeError as error:
            refused += 1
            assert "Doe" not in str(error)
        else:
            assert set(np.unique(labels)) <= {0, 1, 2}

    assert refused > 20


def test_contours_in_no_common_planes_are_refused():
    flat, steep = circle(8, 0), circle(8, 0)[:, [2, 0, 1]]

    with pytest.raises(VolumeError, match="no common direction"):
        rasterised(structure([flat, steep]), grid(), "rt.dcm")


def test_other_files_are_no_structures(tmp_path):
    image = save(classic_slices()[0], tmp_path / "image.dcm")
    broken = new_file(RTSTRUCT)
    broken.StructureSetROISequence = []
    broken.ROIContourSequence = [new_file(RTSTRUCT)]
    path = save(broken, tmp_path / "broken.dcm")

    with pytest.raises(VolumeError, match=r"image\.dcm is no RTSTRUCT"):
        read_structures(image)
    with pytest.raises(VolumeError, match=r"broken\.dcm cannot be read as DICOM"):
        read_structures(path)


@pytest.mark.parametrize("keyword", ["StructureSetROISequence", "ROIContourSequence"])
def test_a_structure_set_without_one_of_its_halves_is_refused(tmp_path, keyword):
    dataset = structure_set([("Tumor", [circle(9, 0)])])
    del dataset[keyword]
    path = save(dataset, tmp_path / "rt.dcm")

    with pytest.raises(VolumeError, match=rf"rt\.dcm has no {keyword}: .*cut short"):
        read_structures(path)


def test_the_real_structures_agree_with_the_supplied_mask(real_data):
    path = real_data / "dicom" / "VS-SEG-001_RTSTRUCT.dcm"
    volume = read_volume(real_data / "mri" / "vs001_T1c_2x.nii.gz")
    mask = read_volume(real_data / "mri" / "vs001_T1c_2x_mask.nii.gz").array

    labels = read_rtstruct(path, volume, {"TV": 1, "Cochlea": 2})

    assert dice(labels == 1, mask == 1) >= 0.98
    assert dice(labels == 2, mask == 2) >= 0.95
    assert millilitres(labels == 1, volume) == pytest.approx(3.36, rel=0.01)
    np.testing.assert_array_equal(read_rtstruct(path, volume) == 1, labels == 1)


def test_the_real_structures_keep_their_volume_on_the_series_itself(real_data):
    path = real_data / "dicom" / "VS-SEG-001_RTSTRUCT.dcm"
    volume = read_series(real_data / "dicom" / "VS-SEG-001_T1c")

    labels = read_rtstruct(path, volume)

    assert millilitres(labels == 1, volume) == pytest.approx(3.36, rel=0.005)
