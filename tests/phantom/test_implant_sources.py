"""What implanted cohorts are made from: responses, flaws, shapes, files, slides."""

import csv
import shutil

import numpy as np
import pytest
import SimpleITK
from scipy.spatial.transform import Rotation

from drawn_slides import write_tiff
from implant_cases import FLIP, ball, lps_of, transform_text, write_anatomy
from napari_harm3.cohort.case import ROLES
from napari_harm3.cohort.table import write_cohort
from napari_harm3.errors import CohortError, SlideError, VolumeError
from napari_harm3.mri.volume import write_volume
from napari_harm3.phantom.biopsy import usable_slides, write_biopsy
from napari_harm3.phantom.histology import draw_slide, write_slide
from napari_harm3.phantom.kinetics import draw_response
from napari_harm3.phantom.lesions import find_shapes, stamp
from napari_harm3.phantom.nuisance import degraded, draw_nuisance
from napari_harm3.phantom.real_anatomy import find_anatomies, laid_together
from napari_harm3.phantom.transforms import chain_of, read_itk_transform
from napari_harm3.training.metrics import auc
from napari_harm3.wsi.config import PatchConfig, TissueConfig
from napari_harm3.wsi.patch_pixels import read_patches
from napari_harm3.wsi.patches import lay_patches
from napari_harm3.wsi.slide import open_slide
from napari_harm3.wsi.tissue import find_tissue

SQUARE = np.diag([1.0, 1.0, 1.0, 1.0])


def responses(count, seed=0, **options):
    drawn = [draw_response(seed, index, **options) for index in range(count)]
    pcr = np.array([one.pcr for one in drawn])
    ratio = np.array([one.ratio for one in drawn])
    return pcr, ratio, np.array([one.responders for one in drawn])


@pytest.mark.parametrize("seed", range(5))
def test_lesions_answer_as_those_of_real_patients(seed):
    pcr, ratio, responders = responses(200, seed)
    rests = ratio[ratio > 0]

    assert pcr.mean() == pytest.approx(0.3)
    assert (ratio == 0).mean() == pytest.approx(0.3)
    assert np.median(rests) == pytest.approx(0.52, abs=0.05)
    assert rests.min() >= 0.15
    assert rests.max() <= 0.84
    assert np.ptp(rests) > 0.6
    assert responders.min() >= 0
    assert responders.max() <= 0.6


def test_lesion_and_slide_tell_the_label_and_neither_is_the_label():
    pcr, ratio, responders = responses(2000)
    assert 0.8 < auc(pcr, -ratio) < 0.97
    assert 0.8 < auc(pcr, responders) < 0.92
    assert 0.1 < (ratio[pcr == 1] > 0).mean() < 0.25
    assert 0.03 < (ratio[pcr == 0] == 0).mean() < 0.12


@pytest.mark.parametrize("options", [{"null": True}, {"unchanged": True}])
def test_nothing_tells_the_label_of_a_null_cohort(options):
    pcr, ratio, responders = responses(3000, **options)
    straight = responses(3000)[0]

    np.testing.assert_array_equal(pcr, straight)
    assert abs(auc(pcr, -ratio) - 0.5) < 0.035
    assert abs(auc(pcr, responders) - 0.5) < 0.035
    if "null" in options:
        assert (ratio == 0).mean() == pytest.approx(0.3)
    else:
        assert set(ratio) == {1.0}


def test_flaws_say_nothing_of_the_label():
    pcr = responses(1500)[0]
    for part in range(1, 5):
        drawn = [
            draw_nuisance(np.random.default_rng([0, i, part])) for i in range(1500)
        ]
        for value in ("gain", "noise", "motion_mm", "still"):
            found = auc(pcr, np.array([getattr(one, value) for one in drawn]))
            assert abs(found - 0.5) < 0.06


def test_flaws_leave_everything_where_it_is():
    volume = np.zeros((40, 44, 12), np.float32)
    volume[12:28, 10:34, 3:9] = 200
    rng = np.random.default_rng(3)
    for _ in range(5):
        flaws = draw_nuisance(rng)
        seen = degraded(volume, flaws, rng, spacing_mm=1.0, median=200.0)
        share = seen / seen[volume > 0].mean()
        assert seen.dtype == np.int16
        assert seen.min() >= 0
        np.testing.assert_array_equal(share[2:-2, 2:-2, 1:-1].shape, (36, 40, 10))
        shown = share > 0.5
        middle = np.argwhere(shown).mean(axis=0)
        assert np.abs(middle - np.argwhere(volume > 0).mean(axis=0)).max() < 0.5
        assert seen[volume > 0].mean() == pytest.approx(1000 * flaws.gain, rel=0.15)


def lesion_file(folder, name, mask):
    write_volume(folder / f"{name}.nii.gz", mask.astype(np.uint8), SQUARE)


def test_what_is_left_is_what_real_treatment_left(tmp_path):
    whole = ball((40, 40, 40), np.ones(3), (20, 20, 20), 12.0)
    half = whole.copy()
    half[20:] = False
    lesion_file(tmp_path, "7_preRT_mask", whole)
    lesion_file(tmp_path, "7_midRT_mask", half)
    (shape,), _ = find_shapes(tmp_path)
    laid = stamp(shape, np.eye(3), np.zeros(3))

    rest = laid.left(half.sum() / whole.sum())

    assert laid.volume_ml() == pytest.approx(whole.sum() / 1000, rel=0.02)
    assert laid.volume_ml(0.3) == pytest.approx(0.3 * laid.volume_ml(), rel=0.002)
    points = np.argwhere(rest) @ laid.grid.affine[:3, :3] + laid.grid.affine[:3, 3]
    middle = np.argwhere(whole).mean(axis=0)[0]
    assert (points[:, 0] + middle < 20).mean() > 0.95
    assert not laid.left(0).any()
    assert laid.centroid(0) is None


def test_specks_are_no_lesions_and_labels_are_kept(tmp_path):
    labels = np.zeros((60, 40, 40), np.uint8)
    labels[ball(labels.shape, np.ones(3), (15, 20, 20), 9.0)] = 1
    labels[ball(labels.shape, np.ones(3), (45, 20, 20), 8.0)] = 2
    labels[1, 1, 1] = 1
    lesion_file(tmp_path, "mask", labels)

    shapes, _ = find_shapes(tmp_path)

    assert [shape.label for shape in shapes] == [1, 2]
    assert all(shape.post is None for shape in shapes)


def test_lesions_that_are_all_specks_are_counted(tmp_path):
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[5:8, 5:8, 5:8] = 1
    labels[20:23, 5:8, 5:8] = labels[30:33, 5:8, 5:8] = 2
    lesion_file(tmp_path, "mask", labels)

    with pytest.raises(VolumeError, match=r"0\.5 ml or more .* smaller ones: 3"):
        find_shapes(tmp_path)


def test_lesions_are_those_that_a_folder_holds_now(tmp_path):
    lesion_file(tmp_path, "mask", ball((40, 40, 40), np.ones(3), (20, 20, 20), 12.0))
    find_shapes(tmp_path)
    small = ball((40, 40, 40), np.ones(3), (20, 20, 20), 8.0)
    lesion_file(tmp_path, "mask", small)

    (shape,), _ = find_shapes(tmp_path)

    assert shape.pre.sum() == small.sum()


def test_an_annotation_after_treatment_that_stands_for_nothing_is_told(tmp_path):
    whole = ball((40, 40, 40), np.ones(3), (20, 20, 20), 12.0)
    for name in ("7_preRT", "7_midRT", "7_postRT", "8_postRT"):
        lesion_file(tmp_path, name, whole)

    shapes, notes = find_shapes(tmp_path)

    assert len(shapes) == 1
    assert [note.split()[0] for note in notes] == ["7_postRT.nii.gz", "8_postRT.nii.gz"]


def test_a_chain_of_transforms_ends_in_the_common_space(tmp_path):
    write_anatomy(tmp_path, transforms=False)
    (tmp_path / "study1_T1W_intrastudy_to_FLAIR.txt").write_text(
        transform_text("study1_T1W")
    )
    (tmp_path / "study1_FLAIR_to_common_space.txt").write_text(
        transform_text("study2_T2W")
    )

    chain = chain_of(tmp_path / "study1_T1W.nii.gz")

    # A common point goes to FLAIR's space first, and from there to T1's.
    expected = FLIP @ lps_of("study1_T1W") @ lps_of("study2_T2W") @ FLIP
    assert chain.space == "common_space"
    np.testing.assert_allclose(chain.matrix, expected, atol=1e-9)
    assert chain_of(tmp_path / "study1_T2W.nii.gz") is None


def test_transforms_are_read_as_simpleitk_reads_them(tmp_path):
    euler = SimpleITK.Euler3DTransform(
        (3.0, -2.0, 5.0), 0.2, -0.3, 0.4, (1.0, 2.0, -3.0)
    )
    other = SimpleITK.Euler3DTransform(euler)
    other.SetComputeZYX(True)
    versor = SimpleITK.VersorRigid3DTransform(
        (0.6, 0.0, 0.8), 0.5, (1, 2, 3), (4, 5, 6)
    )
    affine = SimpleITK.AffineTransform(3)
    turn = Rotation.from_euler("xyz", (5, 7, -4), degrees=True).as_matrix()
    affine.SetMatrix(turn.ravel().tolist())
    affine.SetCenter((4.0, 1.0, -2.0))
    affine.SetTranslation((1.0, 0.5, 3.0))
    points = np.random.default_rng(0).normal(0, 50, (20, 3))
    for transform in (euler, other, versor, affine):
        path = tmp_path / "one_to_other.txt"
        SimpleITK.WriteTransform(transform, str(path))

        lps = FLIP @ read_itk_transform(path) @ FLIP

        expected = [transform.TransformPoint(p.tolist()) for p in points]
        found = points @ lps[:3, :3].T + lps[:3, 3]
        np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0.1 0.2", "first line"),
        (transform_text("study1_T1W") * 2, "one transform"),
        (transform_text("study1_T1W").replace("MatrixOffset", "BSpline"), "BSpline"),
        (
            transform_text("study1_T1W").replace("Parameters: ", "Parameters: 1 ", 1),
            "12",
        ),
        (
            transform_text("study1_T1W").replace("Parameters: 0", "Parameters: 9", 1),
            "str",
        ),
        (
            transform_text("study1_T1W").replace("Parameters: 0", "Parameters: x", 1),
            "x",
        ),
    ],
)
def test_what_is_no_rigid_transform_is_refused(tmp_path, text, said):
    path = tmp_path / "a_to_b.txt"
    path.write_text(text)
    with pytest.raises(VolumeError, match=f"a_to_b.txt is no rigid.*{said}"):
        read_itk_transform(path)


def test_a_patient_is_laid_together_by_the_files_beside_the_volumes(tmp_path):
    write_anatomy(tmp_path)

    found = laid_together(find_anatomies(tmp_path)[0][0])

    names = {"t1_pre": "study1_T1W", "t2_post": "study2_T2W"}
    for role, name in names.items():
        np.testing.assert_allclose(
            found.transforms[role], FLIP @ lps_of(name) @ FLIP, atol=1e-9
        )


def test_without_transforms_a_patient_is_registered(tmp_path):
    write_anatomy(tmp_path, transforms=False)

    found = laid_together(find_anatomies(tmp_path)[0][0]).transforms

    first = np.linalg.inv(FLIP @ lps_of("study1_T1W") @ FLIP)
    expected = FLIP @ lps_of("study2_T1W") @ FLIP @ first
    corners = np.array(np.meshgrid(*[(-25, 25)] * 3, [1])).reshape(4, -1)
    apart, before = (
        np.linalg.norm(((matrix - expected) @ corners)[:3], axis=0)
        for matrix in (found["t1_post"], np.eye(4))
    )
    # An egg of few voxels is not found to the millimetre; a real head is, see below.
    assert apart.mean() < 0.4 * before.mean()


@pytest.mark.slow
def test_registration_finds_the_transforms_that_lie_beside_real_volumes(
    real_data, tmp_path
):
    for file in (real_data / "mri" / "longitudinal_ms12").glob("study?_T?W.nii.gz"):
        (tmp_path / file.name).symlink_to(file)
    (known,), (found,) = (
        [laid_together(one) for one in find_anatomies(folder)[0]]
        for folder in (real_data / "mri" / "longitudinal_ms12", tmp_path)
    )

    first = np.linalg.inv(known.transforms["t1_pre"])
    corners = np.array(np.meshgrid((-40, 40), (-40, 40), (0, 70), [1])).reshape(4, -1)
    for role in ROLES:
        expected = known.transforms[role] @ first
        apart = ((found.transforms[role] - expected) @ corners)[:3]
        assert np.linalg.norm(apart, axis=0).max() < 1.5


def test_two_people_are_not_laid_on_each_other(tmp_path):
    write_anatomy(tmp_path, transforms=False)
    noise = np.random.default_rng(0).integers(0, 900, (62, 62, 33)).astype(np.int16)
    write_volume(tmp_path / "study2_T1W.nii.gz", noise, np.diag([2.0, 2, 3.5, 1]))
    with pytest.raises(VolumeError, match="transforms beside"):
        laid_together(find_anatomies(tmp_path)[0][0])


def test_names_tell_sequence_and_time(tmp_path):
    cube = np.arange(64, dtype=np.int16).reshape(4, 4, 4)
    names = {
        "a/pre/T1c.nii.gz": "t1_pre",
        "a/pre/t2.nii.gz": "t2_pre",
        "a/post/T1c.nii.gz": "t1_post",
        "a/post/t2.nii.gz": "t2_post",
        "a/post/t2_flair.nii.gz": None,
        "a/pre/mask_t1.nii.gz": None,
        "b/b_T1_baseline.nii.gz": "t1_pre",
        "b/b_T2_baseline.nii.gz": "t2_pre",
        "c/c_T1_visit2.nii.gz": "t1_post",
    }
    for name in names:
        write_volume(tmp_path / name, cube, SQUARE)

    (one, both), notes = find_anatomies(tmp_path)

    for name, role in names.items():
        if name.startswith("a") and role:
            assert one.volumes[role] == tmp_path / name
    assert both.volumes["t1_post"] == both.volumes["t1_pre"]
    assert len(notes) == 1
    assert notes[0].startswith("c has no T2:")  # one time point serves for both

    write_volume(tmp_path / "a" / "pre" / "T1.nii.gz", cube, SQUARE)
    with pytest.raises(CohortError, match="both seem to be t1_pre"):
        find_anatomies(tmp_path)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("baseline", "follow-up"),
        ("baseline", "follow_up"),
        ("preRT", "midRT"),
        ("pre-treatment", "post-treatment"),
        ("pretreatment", "posttherapy"),
        ("preCRT", "postop"),
        ("ses-01a", "ses-02a"),
    ],
)
def test_folders_of_two_times_are_one_patients(tmp_path, before, after):
    cube = np.arange(64, dtype=np.int16).reshape(4, 4, 4)
    expected = {
        f"{sequence}_{role}": tmp_path / time / f"{sequence}.nii.gz"
        for sequence in ("t1", "t2")
        for role, time in (("pre", before), ("post", after))
    }
    for path in expected.values():
        write_volume(path, cube, SQUARE)

    (one,), notes = find_anatomies(tmp_path)

    assert one.volumes == expected
    assert not notes


@pytest.mark.parametrize(
    "name",
    ["post/t1_preproc", "post_T1_pregad", "post_T1_prefrontal", "study2_T1_midline"],
)
def test_a_longer_word_is_no_time(tmp_path, name):
    cube = np.arange(64, dtype=np.int16).reshape(4, 4, 4)
    for file in ("pre_t1", "pre_t2", "post_t2", name):
        write_volume(tmp_path / "a" / f"{file}.nii.gz", cube, SQUARE)

    (one,), _ = find_anatomies(tmp_path)

    assert one.volumes["t1_post"] == tmp_path / "a" / f"{name}.nii.gz"


def test_a_volume_resampled_to_another_space_is_no_volume(tmp_path):
    cube = np.arange(64, dtype=np.int16).reshape(4, 4, 4)
    for name in ("a/t1", "a/t1_to_common_space", "a/t2", "b/t1_to_t2", "b/t2"):
        write_volume(tmp_path / f"{name}.nii.gz", cube, SQUARE)

    (one,), notes = find_anatomies(tmp_path)

    assert one.volumes["t1_pre"] == tmp_path / "a" / "t1.nii.gz"
    assert notes == ["b has no T1: it is left out."]


def test_a_damaged_volume_is_told_with_its_patient(tmp_path):
    cube = np.arange(64, dtype=np.int16).reshape(4, 4, 4)
    for name in ("a/t1", "a/t2", "b/t1", "b/t2"):
        write_volume(tmp_path / f"{name}.nii.gz", cube, SQUARE)
    (tmp_path / "b" / "t2.nii.gz").write_bytes(b"\x1f\x8bcut")

    _, bad = find_anatomies(tmp_path)[0]

    with pytest.raises(VolumeError, match=r"^b: t2\.nii\.gz"):
        laid_together(bad)


def test_dicom_series_are_told_and_not_read(tmp_path):
    cube = np.arange(64, dtype=np.int16).reshape(4, 4, 4)
    for name in ("a/t1_pre", "a/t2_pre", "a/t1_post", "b/t1", "b/t2"):
        write_volume(tmp_path / f"{name}.nii.gz", cube, SQUARE)
    for name in ("a", "b", "c"):
        series = tmp_path / name / "series"
        series.mkdir(parents=True)
        (series / "im001").write_bytes(bytes(128) + b"DICM")

    (one,), notes = find_anatomies(tmp_path)

    assert one.name == "b"
    lacking = [note for note in notes if "has no" in note]
    assert [note.split(":")[0] for note in lacking] == [
        "a has no t2_post",
        "c has no T1 and no T2",
    ]
    told = [note for note in notes if "harm3 import" in note]
    assert [note.split()[3] for note in told] == ["a", "b", "c"]


def test_a_cohort_table_wins_over_names(tmp_path):
    cube = np.arange(64, dtype=np.int16).reshape(4, 4, 4)
    files = {role: f"{number}.nii.gz" for number, role in enumerate(ROLES)}
    for name in files.values():
        write_volume(tmp_path / name, cube, SQUARE)
    write_cohort(tmp_path / "cohort.csv", [{"case_id": "P1", **files}], name="mine")

    (one,), _ = find_anatomies(tmp_path)

    assert one.name == "P1"
    assert one.volumes == {role: tmp_path / name for role, name in files.items()}


def said_of(slide):
    with slide.with_suffix(".patches.csv").open() as stream:
        return [
            (int(r["x"]), int(r["y"]), int(r["responder"]))
            for r in csv.DictReader(stream)
        ]


def patches_of(path):
    with open_slide(path) as slide:
        laid = lay_patches(slide, find_tissue(slide, TissueConfig()), PatchConfig())
        return laid.coords, read_patches(slide, laid, slice(None))[0]


def test_a_biopsy_has_the_share_of_responders_that_it_says(tmp_path):
    plain, rich = tmp_path / "plain.tif", tmp_path / "rich.tif"
    none = write_biopsy(plain, None, 0.0, np.random.default_rng(5))
    some = write_biopsy(rich, None, 0.4, np.random.default_rng(5))

    coords, pixels = patches_of(rich)
    _, before = patches_of(plain)

    told = said_of(rich)
    assert none.fraction == 0
    assert some.fraction == pytest.approx(0.4, abs=0.05)
    assert [(x, y) for x, y, _ in told] == [tuple(c) for c in coords.tolist()]
    responds = np.array([r for *_, r in told], dtype=bool)
    assert responds.sum() == some.responders
    change = np.abs(pixels.astype(int) - before).mean(axis=(1, 2, 3))
    # JPEG's blocks reach over a patch's edge by a few pixels.
    assert change[responds].min() > 4
    assert change[~responds].max() < 1


def test_a_biopsy_is_taken_from_a_users_slide(tmp_path):
    (tmp_path / "slides").mkdir()
    source = tmp_path / "slides" / "mine.tif"
    write_slide(source, draw_slide(np.random.default_rng(1), 0.0))
    made = tmp_path / "biopsy.tif"

    slides, notes = usable_slides(tmp_path / "slides")
    biopsy = write_biopsy(made, slides[0], 0.0, np.random.default_rng(2))

    assert biopsy.source == "mine.tif"
    assert not notes
    with open_slide(source) as one, open_slide(made) as other:
        before, after = one.read(2, 0, 0, 504, 504), other.read(2, 0, 0, 504, 504)
    turned = [np.rot90(way, k) for way in (before, before[:, ::-1]) for k in range(4)]
    apart = [np.abs(after.astype(int) - image).mean() for image in turned]
    assert min(apart) < 1.5
    assert sorted(apart)[1] > 3


def test_slides_that_cannot_serve_are_told(tmp_path):
    good = tmp_path / "good.tif"
    write_slide(good, draw_slide(np.random.default_rng(1), 0.0))
    (tmp_path / "bad.svs").write_bytes(b"nothing")

    slides, notes = usable_slides(tmp_path)

    assert slides == [good]
    assert len(notes) == 1
    assert "bad.svs" in notes[0]
    good.unlink()
    with pytest.raises(SlideError, match="holds no slide"):
        usable_slides(tmp_path)
    shutil.rmtree(tmp_path)


def test_a_slide_without_resolution_is_told_without_options_that_are_not_here(tmp_path):
    write_tiff(tmp_path / "a.tif", np.zeros((64, 64, 3), np.uint8), mpp=None)

    with pytest.raises(SlideError, match=r"a\.tif does not state .* left out") as error:
        usable_slides(tmp_path)

    assert "mpp" not in str(error.value)
