"""Lesions in real volumes: known place, known volume, known contrast."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest

from implant_cases import FLIP, GRIDS, implanted, lps_of, write_anatomy, write_lesions
from napari_harm3.cohort.case import ROLES
from napari_harm3.cohort.table import read_cohort
from napari_harm3.errors import CohortError, VolumeError
from napari_harm3.jobs.cohort import check_cohort, make_phantom, prepare_cohort
from napari_harm3.jobs.progress import result_of
from napari_harm3.phantom.config import ImplantConfig

NAMES = dict(
    zip(ROLES, ("study1_T1W", "study2_T1W", "study1_T2W", "study2_T2W"), strict=True)
)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    for name in ("anatomy", "lesions"):
        (folder / name).mkdir()
    write_anatomy(folder / "anatomy")
    write_lesions(folder / "lesions")
    return folder


@pytest.fixture(scope="module")
def changed(sources, tmp_path_factory):
    return implanted(
        tmp_path_factory.mktemp("changed"), sources, cases=6, seed=1, fractions=True
    )


@pytest.fixture(scope="module")
def unchanged(sources, tmp_path_factory):
    return implanted(
        tmp_path_factory.mktemp("unchanged"), sources, cases=3, seed=1, unchanged=True
    )


def truth(out):
    with (out / "truth.csv").open() as stream:
        return list(csv.DictReader(stream))


def image(path):
    found = nib.load(path)
    return np.asarray(found.dataobj, float), found.affine


def primary_indices(out, case_id, role):
    array, affine = image(out / case_id / f"mask_{role}.nii.gz")
    return np.argwhere(array == 1), affine


def contents(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def test_the_lesion_is_at_one_physical_place_in_all_four_native_grids(unchanged):
    for row in truth(unchanged):
        place = np.array([float(row[f"{axis}_mm"]) for axis in "xyz"])
        for role, name in NAMES.items():
            indices, affine = primary_indices(unchanged, row["case_id"], role)
            own = FLIP @ lps_of(name) @ FLIP @ [*place, 1]
            expected = (np.linalg.inv(affine) @ own)[:3]
            assert np.abs(indices.mean(axis=0) - expected).max() <= 0.5


def test_every_volume_keeps_its_own_grid_and_so_does_its_mask(changed, sources):
    for role, name in NAMES.items():
        array, affine = image(changed / "IM-0001" / f"{role}.nii.gz")
        mask, mask_affine = image(changed / "IM-0001" / f"mask_{role}.nii.gz")
        source, source_affine = image(sources / "anatomy" / f"{name}.nii.gz")
        assert array.shape == mask.shape == source.shape == GRIDS[name][0]
        np.testing.assert_allclose(affine, source_affine, atol=1e-4)
        np.testing.assert_allclose(mask_affine, source_affine, atol=1e-4)


def test_masks_and_fractions_hold_the_volume_that_the_truth_says(changed):
    compared = 0
    for row in truth(changed):
        ratio = float(row["ratio"])
        before, after = float(row["volume_pre_ml"]), float(row["volume_post_ml"])
        assert after == pytest.approx(ratio * before, rel=0.01, abs=1e-6)
        for role in ROLES:
            said = before if role.endswith("pre") else after
            mask, affine = image(changed / row["case_id"] / f"mask_{role}.nii.gz")
            share, _ = image(changed / row["case_id"] / f"fraction_{role}.nii.gz")
            voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000
            assert share.sum() * voxel_ml == pytest.approx(said, rel=0.02, abs=1e-6)
            assert (mask > 0).sum() * voxel_ml == pytest.approx(said, rel=0.05)
            marked, bare = share[mask > 0], share[mask == 0]
            compared += len(marked) > 0
            # Taking the fullest comes to a bound near one half.
            assert bare.max() < 0.65
            assert marked.min(initial=1) > 0.35
    assert compared >= 18


def test_what_is_gone_has_an_empty_mask(changed):
    gone = [row["case_id"] for row in truth(changed) if float(row["ratio"]) == 0]
    assert gone
    for case_id in gone:
        assert len(primary_indices(changed, case_id, "t1_pre")[0])
        assert not len(primary_indices(changed, case_id, "t1_post")[0])


@pytest.mark.parametrize(("role", "ratio"), [("t1_pre", 1.6), ("t2_pre", 1.5)])
def test_a_lesion_outshines_the_median_of_the_body(changed, role, ratio):
    for row in truth(changed):
        array, _ = image(changed / row["case_id"] / f"{role}.nii.gz")
        share, _ = image(changed / row["case_id"] / f"fraction_{role}.nii.gz")
        body = (array > 0.4 * np.percentile(array, 95)) & (share == 0)

        shown = np.median(array[share > 0.99]) / np.median(array[body])

        # Coil and case vary it, by a few percent each.
        assert shown == pytest.approx(ratio, rel=0.25)


def test_outside_of_the_lesion_the_volume_is_the_source(changed, sources):
    array, _ = image(changed / "IM-0001" / "t1_pre.nii.gz")
    share, _ = image(changed / "IM-0001" / "fraction_t1_pre.nii.gz")
    source, _ = image(sources / "anatomy" / "study1_T1W.nii.gz")
    away = share == 0
    assert np.corrcoef(array[away], source[away])[0, 1] > 0.98
    assert np.corrcoef(array[away], source[away])[0, 1] < 0.9999


def test_an_unchanged_lesion_is_as_large_after_treatment(unchanged):
    for row in truth(unchanged):
        assert float(row["ratio"]) == 1
        assert row["volume_pre_ml"] == row["volume_post_ml"]
        about = json.loads((unchanged / row["case_id"] / "case.json").read_text())
        pre, post = (
            about["volumes"][f"t1_{time}"]["mask_ml"] for time in ("pre", "post")
        )
        assert post == pytest.approx(pre, rel=0.05)


def test_the_same_seed_gives_the_same_bytes_however_many_cases(
    changed, sources, tmp_path
):
    again = implanted(tmp_path / "again", sources, cases=2, seed=1, fractions=True)
    other = implanted(tmp_path / "other", sources, cases=1, seed=2, fractions=True)

    for case_id in ("IM-0001", "IM-0002"):
        assert contents(again / case_id) == contents(changed / case_id)
    ours, theirs = contents(changed / "IM-0001"), contents(other / "IM-0001")
    assert ours["t1_pre.nii.gz"] != theirs["t1_pre.nii.gz"]
    assert ours["biopsy.tif"] != theirs["biopsy.tif"]


def test_cases_differ_in_lesion_place_and_flaws(changed):
    rows = truth(changed)
    assert len({(row["x_mm"], row["y_mm"], row["z_mm"]) for row in rows}) == len(rows)
    assert len({row["volume_pre_ml"] for row in rows}) == len(rows)


def test_flaws_and_place_do_not_depend_on_how_lesions_answer(changed, unchanged):
    for row in truth(unchanged):
        one, other = (
            json.loads((out / row["case_id"] / "case.json").read_text())
            for out in (changed, unchanged)
        )
        assert one["place_mm"] == other["place_mm"]
        assert one["label"] == other["label"]
        for role in ROLES:
            flaws = [about["volumes"][role]["nuisance"] for about in (one, other)]
            assert flaws[0] == flaws[1]


def test_the_cohort_checks_out_and_can_be_prepared(unchanged, run_config):
    table = unchanged / "cohort.csv"
    assert result_of(check_cohort(table))["faults"] == []
    assert read_cohort(table).made_up

    made = result_of(prepare_cohort(table, inputs=run_config.inputs, device="cpu"))

    assert made["failed"] == []
    assert (made["volumes"], made["slides"]) == (12, 3)


def test_finished_cases_are_kept_until_a_source_changes(tmp_path):
    (tmp_path / "anatomy").mkdir()
    (tmp_path / "lesions").mkdir()
    write_anatomy(tmp_path / "anatomy")
    write_lesions(tmp_path / "lesions")
    made = implanted(tmp_path / "out", tmp_path, cases=1) / "IM-0001" / "t1_pre.nii.gz"
    first = made.stat().st_mtime_ns

    implanted(tmp_path / "out", tmp_path, cases=1)
    assert made.stat().st_mtime_ns == first

    (tmp_path / "lesions" / "1_midRT_mask.nii.gz").unlink()
    implanted(tmp_path / "out", tmp_path, cases=1)
    assert made.stat().st_mtime_ns != first


def test_lesions_too_large_for_the_body_are_refused(sources, tmp_path):
    from napari_harm3.mri.volume import write_volume

    (tmp_path / "lesions").mkdir()
    whole = np.ones((60, 60, 60), np.uint8)
    write_volume(tmp_path / "lesions" / "a.nii.gz", whole, np.diag([2.0, 2, 2, 1]))
    (tmp_path / "anatomy").symlink_to(sources / "anatomy")

    with pytest.raises(VolumeError, match="fits"):
        implanted(tmp_path / "out", tmp_path, cases=1)


def test_volumes_that_share_no_body_are_told(sources, tmp_path):
    from napari_harm3.mri.volume import write_volume

    (tmp_path / "lesions").symlink_to(sources / "lesions")
    empty, grid = np.zeros((20, 20, 20), np.int16), np.diag([2.0, 2, 2, 1])
    write_volume(tmp_path / "anatomy" / "t1.nii.gz", empty, grid)
    write_volume(tmp_path / "anatomy" / "t2.nii.gz", empty, grid)

    with pytest.raises(VolumeError, match=r"^anatomy: The volumes show no body"):
        implanted(tmp_path / "out", tmp_path, cases=1)


@pytest.mark.parametrize("absent", ["anatomy", "lesions"])
def test_a_folder_without_volumes_or_lesions_is_refused(sources, tmp_path, absent):
    for name in ("anatomy", "lesions"):
        if name == absent:
            (tmp_path / name).mkdir()
        else:
            (tmp_path / name).symlink_to(sources / name)
    with pytest.raises((CohortError, VolumeError), match="holds no"):
        implanted(tmp_path / "out", tmp_path, cases=1)


@pytest.mark.parametrize(
    "options",
    [
        ["--anatomy", "a"],
        ["--null"],
        ["--anatomy", "a", "--lesions", "b", "--missing", "0.1"],
    ],
)
def test_the_command_refuses_options_that_do_not_go_together(options, capsys, tmp_path):
    from napari_harm3.cli.main import main

    with pytest.raises(SystemExit) as ended:
        main(["phantom", str(tmp_path / "out"), *options])

    assert ended.value.code == 1
    assert "harm3: --" in capsys.readouterr().err


@pytest.mark.slow
def test_real_volumes_take_real_lesions(real_data, tmp_path):
    config = ImplantConfig(
        anatomy=real_data / "mri" / "longitudinal_ms12",
        lesions=real_data / "masks" / "hnts_mrg",
        slides=real_data / "wsi",
        cases=1,
        unchanged=True,
    )
    made = result_of(make_phantom(tmp_path, config=config))

    assert result_of(check_cohort(tmp_path / "cohort.csv"))["faults"] == []
    assert made["cases"] == 1
    row = truth(tmp_path)[0]
    about = json.loads((tmp_path / "IM-0001" / "case.json").read_text())
    for role in ROLES:
        indices, affine = primary_indices(tmp_path, "IM-0001", role)
        own = np.linalg.inv(affine) @ [*about["volumes"][role]["place_mm"], 1]
        assert np.abs(indices.mean(axis=0) - own[:3]).max() <= 0.5
        assert about["volumes"][role]["mask_ml"] == pytest.approx(
            float(row["volume_pre_ml"]), rel=0.05
        )
