"""Sessions are laid on each other as the publisher's own transforms do."""

import json
from dataclasses import replace
from threading import Event

import numpy as np
import pytest

from moved_volumes import displaced, displacement, homogeneous
from mri_grids import oriented, volume_on
from napari_harm3.cohort.table import read_cohort
from napari_harm3.data.config import InputConfig
from napari_harm3.data.prepare import load_mri, prepare_mri
from napari_harm3.errors import Stopped, VolumeError
from napari_harm3.jobs.cohort import prepare_cohort
from napari_harm3.jobs.parallel import stoppable
from napari_harm3.jobs.progress import result_of
from napari_harm3.jobs.registration import register_case
from napari_harm3.mri.alignment import Alignment, alignment_plan
from napari_harm3.mri.bias import without_bias
from napari_harm3.mri.config import SMALL_MRI, RegisterConfig
from napari_harm3.mri.intensity import foreground
from napari_harm3.mri.reading import read_volume
from napari_harm3.mri.register import Registration, register
from napari_harm3.mri.resampling import placed, resample
from napari_harm3.mri.simpleitk import simpleitk
from napari_harm3.mri.volume import Geometry, write_volume

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
RIGID = replace(SMALL_MRI, register="rigid")


@pytest.fixture(scope="module")
def patient(real_data):
    """One patient at two times: T1 and T2, brain mask, the publisher's transforms."""
    return real_data / "mri" / "longitudinal_ms12"


@pytest.fixture(scope="module")
def head(patient):
    return read_volume(patient / "study1_T1W.nii.gz")


def itk_matrix(path):
    """Read an ITK affine transform by its published format, not by SimpleITK."""
    lines = dict(
        line.split(": ", 1) for line in path.read_text().splitlines() if ": " in line
    )
    numbers = np.array(lines["Parameters"].split(), dtype=float)
    centre = np.array(lines["FixedParameters"].split(), dtype=float)
    matrix = np.eye(4)
    matrix[:3, :3] = numbers[:9].reshape(3, 3)
    matrix[:3, 3] = numbers[9:] + centre - matrix[:3, :3] @ centre
    return matrix


def published(patient, study, sequence):
    """Return the way from the common space to a volume's own, in RAS mm."""
    to_flair = itk_matrix(patient / f"study{study}_FLAIR_to_common_space.txt")
    onward = itk_matrix(patient / f"study{study}_{sequence}_intrastudy_to_FLAIR.txt")
    return FLIP @ onward @ to_flair @ FLIP


def brain_points(patient):
    mask = read_volume(patient / "brainmask.nii.gz")
    return mask.affine @ homogeneous(np.argwhere(mask.array > 0)[::23])


def inside_correlation(one, other, points):
    """Correlate two volumes of one grid at world points."""
    index = np.rint((np.linalg.inv(one.affine) @ points)[:3]).astype(int)
    inside = ((index >= 0) & (index < np.array(one.shape)[:, None])).all(axis=0)
    where = tuple(index[:, inside])
    return np.corrcoef(one.array[where], other[where])[0, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moving", "fixed", "least"),
    [
        # The best rigid one reaches 0.938 and 0.919, the publisher's 0.943 and 0.933.
        ((2, "T1W"), (1, "T1W"), 0.93),
        ((2, "T2W"), (1, "T2W"), 0.9),
        ((1, "T2W"), (1, "T1W"), None),
        ((2, "T2W"), (2, "T1W"), None),
    ],
)
def test_a_real_pair_agrees_with_the_publishers_transforms(
    patient, moving, fixed, least
):
    one = read_volume(patient / f"study{fixed[0]}_{fixed[1]}.nii.gz")
    other = read_volume(patient / f"study{moving[0]}_{moving[1]}.nii.gz")
    common = brain_points(patient)

    found = register(other, one, same_sequence=moving[1] == fixed[1])

    here, there = (published(patient, *which) @ common for which in (fixed, moving))
    apart = np.linalg.norm((found.matrix @ here - there)[:3], axis=0)
    assert not found.poor
    assert found.metric > found.metric_before
    # The publisher's are not quite rigid: they stretch by up to one part in a hundred.
    assert apart.mean() <= 0.6
    if least is not None:
        moved = resample(other.array, placed(other, found.matrix), one)
        assert inside_correlation(one, moved, here) >= least
        assert found.correlation >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_known_displacement_is_found_to_half_a_millimetre(head, seed):
    rng = np.random.default_rng(seed)
    known = displacement(head, 5, 15, rng)

    found = register(displaced(head, known, rng), head, same_sequence=True)

    points = head.affine @ homogeneous(np.argwhere(foreground(head.array))[::211])
    apart = np.linalg.norm(((found.matrix - known) @ points)[:3], axis=0)
    assert apart.mean() <= 0.5
    assert not found.poor


@pytest.fixture(scope="module")
def small(head):
    """A coarse head, quick to register."""
    affine = head.affine.copy()
    affine[:3, :3] *= (3, 3, 1)
    affine[:3, 3] += head.affine[:3, :3] @ (1, 1, 0)
    grid = Geometry(shape=(85, 85, 48), affine=affine)
    array = resample(head.array, head, grid)
    return replace(head, shape=grid.shape, affine=affine, array=array)


def test_the_same_volumes_give_the_same_transform_bit_by_bit(small):
    rng = np.random.default_rng(0)
    moved = displaced(small, displacement(small, 3, 8, rng), rng)

    first, again = (register(moved, small, same_sequence=True) for _ in range(2))

    assert first.to_plain() == again.to_plain()
    assert first.matrix.tobytes() == again.matrix.tobytes()


def test_a_search_that_is_stopped_takes_one_more_step_at_most(head, monkeypatch):
    steps, late, asked = [], [], Event()
    kind = simpleitk().ImageRegistrationMethod
    execute = kind.Execute

    def counted(search, *images):
        event = simpleitk().sitkIterationEvent
        search.AddCommand(event, lambda: (late if asked.is_set() else steps).append(1))
        return execute(search, *images)

    def stopped() -> bool:
        if steps:
            asked.set()
        return asked.is_set()

    monkeypatch.setattr(kind, "Execute", counted)

    with pytest.raises(Stopped):
        register(
            replace(head, array=np.flip(head.array, axis=0)),
            head,
            RegisterConfig(pyramid=(1,), iterations=1000),
            stopped=stopped,
        )

    assert steps
    # One was under way, and one more may begin before it is heard.
    assert len(late) <= 2


def test_moments_help_where_the_header_is_far_off(small):
    affine = small.affine.copy()
    affine[:3, 3] += (150, -120, 90)

    found = register(replace(small, affine=affine), small, same_sequence=True)

    np.testing.assert_allclose(found.matrix[:3, 3], (150, -120, 90), atol=0.5)
    assert found.correlation > 0.95
    assert not found.poor


@pytest.mark.parametrize("noise", [0, 0.1])
@pytest.mark.parametrize("same_sequence", [True, False])
def test_what_lies_in_place_already_is_not_called_poor(small, noise, same_sequence):
    rng = np.random.default_rng(0)
    grain = rng.normal(0, noise * small.array.std(), small.shape)
    other = replace(small, array=(small.array + grain).astype(np.float32))

    found = register(other, small, same_sequence=same_sequence)

    assert found.moved_mm < 0.2
    assert (found.poor, found.message) == (False, "")


def test_a_hairs_breadth_does_not_lower_the_correlation(real_data):
    # Its slices are averaged in pairs, so that its outermost layer of pairs matters.
    volume = read_volume(real_data / "mri" / "vs001_T1c_2x.nii.gz")

    found = register(volume, volume)

    assert found.moved_mm < 0.1
    assert found.correlation > 0.99


def test_what_does_not_belong_together_is_called_poor(small):
    rng = np.random.default_rng(0)
    noise = replace(
        small, array=rng.random(small.shape, dtype=np.float32), name="x.mha"
    )

    found = register(noise, small)

    assert found.poor
    assert "x.mha could not be laid on study1_T1W.nii.gz reliably" in found.message


def test_a_registration_is_kept_as_json_and_as_itk_text(tmp_path, small):
    rng = np.random.default_rng(4)
    matrix = displacement(small, 4, 9, rng)
    known = Registration(matrix=matrix, metric=0.4, poor=True, message="look")

    known.save(tmp_path / "r.json")

    assert Registration.load(tmp_path / "r.json").to_plain() == known.to_plain()
    np.testing.assert_allclose(
        FLIP @ itk_matrix(tmp_path / "r.tfm") @ FLIP, matrix, atol=1e-9
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.json", "r.tfm"]


def test_a_damaged_registration_says_what_to_do(tmp_path):
    (tmp_path / "r.json").write_text('{"registration": {"matrix": [[1, 2]]}}')

    with pytest.raises(VolumeError, match=r"r\.json cannot be read: delete it"):
        Registration.load(tmp_path / "r.json")


@pytest.mark.parametrize(
    ("roles", "plan"),
    [
        (
            ("t1_pre", "t1_post", "t2_pre", "t2_post"),
            [("t2_pre", "t1_pre"), ("t1_post", "t1_pre"), ("t2_post", "t1_post")],
        ),
        (
            ("t1_post", "t2_pre", "t2_post"),
            [("t2_post", "t2_pre"), ("t1_post", "t2_post")],
        ),
        (
            ("t1_pre", "t2_pre", "t2_post"),
            [("t2_pre", "t1_pre"), ("t2_post", "t2_pre")],
        ),
        (("t1_pre", "t2_post"), [("t2_post", "t1_pre")]),
        (("t2_pre", "t1_post"), [("t1_post", "t2_pre")]),
        (("t2_post",), []),
    ],
)
def test_each_role_is_laid_on_one_that_is_already_in_place(roles, plan):
    assert alignment_plan(roles) == plan


def test_steps_are_chained_and_a_poor_one_is_not_applied():
    shift = np.eye(4)
    shift[0, 3] = 5
    good, poor = Registration(matrix=shift), Registration(matrix=shift, poor=True)

    chained = Alignment(
        steps={"t1_post": ("t1_pre", good), "t2_post": ("t1_post", good)}
    )
    broken = Alignment(
        steps={"t1_post": ("t1_pre", poor), "t2_post": ("t1_post", good)}
    )

    assert chained.transforms["t2_post"][0, 3] == 10
    assert broken.transforms["t1_post"][0, 3] == 0
    assert broken.transforms["t2_post"][0, 3] == 5
    assert list(broken.warnings) == ["t1_post"]


def test_a_slow_brightening_is_evened_out(small):
    slope = np.linspace(0.6, 1.4, small.shape[0], dtype=np.float32)[:, None, None]
    body = foreground(small.array)
    uneven = replace(small, array=small.array * slope)

    evened = without_bias(uneven)

    def spread(volume):
        return np.std([half[m].mean() for half, m in halves(volume.array)])

    def halves(array):
        cut = small.shape[0] // 2
        plain = np.where(body, array / np.maximum(small.array, 1), 0)
        return [(plain[:cut], body[:cut]), (plain[cut:], body[cut:])]

    assert spread(evened) < 0.5 * spread(uneven)


@pytest.fixture
def moved_cohort(tmp_path, small):
    """A case whose patient moved between the two times, and one that is two people."""
    rng = np.random.default_rng(1)
    known = displacement(small, 4, 12, rng)
    noise = rng.normal(100, 20, small.shape).astype(np.float32)
    volumes = {
        "pre.nii.gz": small.array,
        "post.nii.gz": displaced(small, known, rng).array[..., :-1],  # another grid
        "other.nii.gz": noise,
    }
    for name, array in volumes.items():
        write_volume(tmp_path / name, array, small.affine)
    mask = np.zeros(small.shape, np.uint8)
    mask[30:40, 40:50, 20:26] = 1
    write_volume(tmp_path / "mask.nii.gz", mask, small.affine)
    (tmp_path / "cohort.csv").write_text(
        "case_id,t1_pre,t1_post,mask_t1_pre\n"
        "A,pre.nii.gz,post.nii.gz,mask.nii.gz\n"
        "B,pre.nii.gz,other.nii.gz,\n"
    )
    return tmp_path / "cohort.csv", known


def test_prepared_volumes_lie_on_each_other_when_asked(tmp_path, moved_cohort):
    table, known = moved_cohort
    case = read_cohort(table).case("A")

    apart, aligned = (
        load_mri(prepare_mri(case, config, tmp_path / "w"))
        for config in (SMALL_MRI, RIGID)
    )

    def correlation(prepared):
        return np.corrcoef(*prepared.array[0].reshape(2, -1))[0, 1]

    assert correlation(aligned) > 0.95 > correlation(apart)
    assert (aligned.aligned, apart.aligned) == (True, False)
    np.testing.assert_allclose(aligned.transforms["t1_post"], known, atol=0.35)
    about = json.loads(next((tmp_path / "w/mri/A").glob("*[0-9a-f].json")).read_text())
    assert about["sources"] == dict(aligned.sources)
    assert (tmp_path / "w/mri/A/t1_post-on-t1_pre.tfm").exists()


def test_a_poor_registration_is_told_and_not_applied(tmp_path, moved_cohort):
    table, _ = moved_cohort
    inputs = replace(InputConfig.of_size("small"), mri=RIGID)

    result = result_of(prepare_cohort(table, inputs=inputs, work=tmp_path / "w"))

    assert result["failed"] == []
    (warning,) = result["warnings"]
    assert (warning["case_id"], warning["column"]) == ("B", "t1_post")
    assert "other.nii.gz could not be laid on pre.nii.gz" in warning["message"]
    prepared = load_mri(
        prepare_mri(read_cohort(table).case("B"), RIGID, tmp_path / "w")
    )
    assert not prepared.aligned
    np.testing.assert_array_equal(prepared.transforms["t1_post"], np.eye(4))


def test_a_case_whose_volumes_lie_in_place_counts_as_aligned(tmp_path, small):
    write_volume(tmp_path / "t1.nii.gz", small.array, small.affine)
    (tmp_path / "cohort.csv").write_text(
        "case_id,t1_pre,t1_post\nA,t1.nii.gz,t1.nii.gz\n"
    )
    case = read_cohort(tmp_path / "cohort.csv").case("A")

    assert load_mri(prepare_mri(case, RIGID, tmp_path / "w")).aligned


def test_the_viewer_gets_matrices_and_quality_by_role(tmp_path, moved_cohort):
    table, known = moved_cohort

    first = result_of(register_case(table, case="A", work=tmp_path / "w"))
    kept = tmp_path / "w/mri/A/t1_post-on-t1_pre.json"
    stamp = kept.stat().st_mtime_ns
    again = result_of(register_case(table, case="A", work=tmp_path / "w"))

    np.testing.assert_allclose(first["transforms"]["t1_post"], known, atol=0.35)
    assert first["registrations"]["t1_post"]["fixed"] == "t1_pre"
    assert first["registrations"]["t1_post"]["correlation"] > 0.9
    assert json.loads(json.dumps(again)) == first
    assert kept.stat().st_mtime_ns == stamp


@pytest.fixture
def three_volumes(tmp_path, small):
    """A cohort of one case with two steps to take."""
    rng = np.random.default_rng(2)
    for name in ("pre", "post", "other"):
        moved = displaced(small, displacement(small, 2, 5, rng), rng)
        write_volume(tmp_path / f"{name}.nii.gz", moved.array, small.affine)
    (tmp_path / "cohort.csv").write_text(
        "case_id,t1_pre,t1_post,t2_post\nA,pre.nii.gz,post.nii.gz,other.nii.gz\n"
    )
    return tmp_path / "cohort.csv"


@pytest.mark.parametrize("job", ["register", "prepare"])
def test_a_stopped_job_keeps_the_steps_that_were_finished(tmp_path, three_volumes, job):
    work = tmp_path / "w"
    first, second = (
        work / f"mri/A/{name}.json"
        for name in ("t1_post-on-t1_pre", "t2_post-on-t1_post")
    )
    inputs = replace(InputConfig.of_size("small"), mri=RIGID)
    running = {
        "register": register_case(three_volumes, case="A", work=work),
        "prepare": prepare_cohort(three_volumes, inputs=inputs, work=work),
    }[job]

    with stoppable(first.exists), pytest.raises(Stopped):
        result_of(running)

    assert first.exists()
    assert not second.exists()


def test_a_straight_grid_needs_no_library_to_be_placed():
    grid = oriented((0, 1, 2), (1, 1, 1))
    shift = np.eye(4)
    shift[:3, 3] = (3, 0, -2)

    there = placed(volume_on(grid, np.zeros(grid.shape)), shift)

    # The fixed point p shows what the moving volume has at p + shift.
    np.testing.assert_allclose(there.affine[:3, 3], grid.affine[:3, 3] - (3, 0, -2))
