"""The made-up cohort: real formats, known truth, the same bytes every time."""

import csv

import nibabel as nib
import numpy as np
import openslide
import pytest
from scipy.spatial.transform import Rotation

from napari_harm3.cohort.table import read_cohort
from napari_harm3.jobs.cohort import make_phantom
from napari_harm3.jobs.progress import result_of
from napari_harm3.phantom.cohort import lacking
from napari_harm3.phantom.config import PhantomConfig
from napari_harm3.phantom.truth import draw_truth, log_odds
from napari_harm3.training.metrics import auc
from napari_harm3.wsi.config import PatchConfig, TissueConfig
from napari_harm3.wsi.patches import lay_patches
from napari_harm3.wsi.slide import open_slide
from napari_harm3.wsi.tissue import find_tissue


def made(out, **options):
    result_of(make_phantom(out, config=PhantomConfig(**options)))
    return out


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("seed", range(5))
def test_each_source_tells_the_label_as_promised(seed):
    truth = draw_truth(2000, seed=seed)
    odds = log_odds(truth)

    for source in odds:
        assert 0.84 <= auc(truth.outcome, source) <= 0.88
    assert auc(truth.outcome, odds.sum(axis=0)) >= 0.96


@pytest.mark.parametrize("seed", range(3))
def test_a_strong_signal_tells_it_almost_always(seed):
    truth = draw_truth(2000, seed=seed, signal="strong")
    assert auc(truth.outcome, log_odds(truth, signal="strong").sum(axis=0)) >= 0.99


@pytest.mark.parametrize("signal", ["default", "strong"])
@pytest.mark.parametrize("cases", [100, 121, 2000])
def test_an_empty_post_mask_is_not_the_label(signal, cases):
    truth = draw_truth(cases, seed=1, signal=signal)

    assert truth.outcome.mean() == pytest.approx(0.3, abs=0.5 / cases + 1e-9)
    assert 0.10 <= truth.remnant[truth.outcome == 1].mean() <= 0.20
    assert 0.10 <= 1 - truth.remnant[truth.outcome == 0].mean() <= 0.20


def test_the_three_sources_are_independent_given_the_label():
    truth = draw_truth(4000, seed=2)
    for label in (0, 1):
        own = truth.outcome == label
        values = np.stack([truth.residual, truth.t2_signal, truth.density])[:, own]
        correlation = np.corrcoef(values) - np.eye(3)
        assert np.abs(correlation).max() < 4 / np.sqrt(own.sum())


def test_permuted_labels_keep_the_latents_and_lose_the_signal():
    straight = draw_truth(2000, seed=0)
    permuted = draw_truth(2000, seed=0, permute_labels=True)

    np.testing.assert_array_equal(straight.t2_signal, permuted.t2_signal)
    assert permuted.label.sum() == straight.label.sum()
    assert abs(auc(permuted.label, log_odds(permuted).sum(axis=0)) - 0.5) < 0.05


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    one = contents(made(tmp_path / "one", cases=2, seed=4))
    again = contents(made(tmp_path / "again", cases=2, seed=4))
    other = contents(made(tmp_path / "other", cases=2, seed=5))

    assert one == again
    assert one.keys() == other.keys()
    assert all(one[k] != other[k] for k in one if k.suffix in (".gz", ".tif"))


def test_volumes_lie_on_their_own_oblique_grids_inside_their_annotations(cohort):
    case = read_cohort(cohort).cases[0]
    images = {role: nib.load(path) for role, path in case.volumes.items()}
    affines = [image.affine for image in images.values()]

    for role, image in images.items():
        spacing = np.linalg.norm(image.affine[:3, :3], axis=0)
        assert spacing.max() / spacing.min() > 2
        rotation = image.affine[:3, :3] / spacing @ np.diag([-1, -1, 1])
        assert Rotation.from_matrix(rotation).magnitude() > np.radians(4)
        mask = nib.load(case.masks[role])
        np.testing.assert_allclose(mask.affine, image.affine, atol=1e-4)
        assert set(np.unique(mask.dataobj)) <= {0, 1, 2}
    assert not any(
        np.allclose(one, other, atol=0.1)
        for n, one in enumerate(affines)
        for other in affines[n + 1 :]
    )


def test_lesions_enhance_on_t1(cohort):
    for case in read_cohort(cohort).cases[:3]:
        image = np.asarray(nib.load(case.volumes["t1_pre"]).dataobj, float)
        lesion = np.asarray(nib.load(case.masks["t1_pre"]).dataobj) == 1
        body = image > np.percentile(image, 99) * 0.2
        assert image[lesion].mean() > 1.2 * np.median(image[body])


def test_slides_open_with_levels_resolution_and_enough_patches(cohort):
    for case in read_cohort(cohort).cases[:4]:
        with openslide.OpenSlide(case.slides[0]) as handle:
            assert handle.level_count >= 3
            assert float(handle.properties["openslide.mpp-x"]) == pytest.approx(0.5)
        with open_slide(case.slides[0]) as slide:
            tissue = find_tissue(slide, TissueConfig())
            assert 30 <= len(lay_patches(slide, tissue, PatchConfig()).coords) <= 55


def test_incomplete_cases_lack_a_sequence_a_time_or_the_slide(tmp_path):
    out = made(tmp_path, cases=6, missing=0.5)
    absent = sorted(
        c.missing for c in read_cohort(out / "cohort.csv").cases if c.missing
    )
    assert absent == [("t1_post", "t2_post"), ("t2_pre", "t2_post"), ("wsi",)]


@pytest.mark.parametrize(
    ("missing", "cases", "count"),
    [(0.07, 100, 7), (0.14, 50, 7), (0.28, 100, 28), (0.071, 100, 8), (0.001, 9, 1)],
)
def test_a_share_of_the_cases_is_incomplete_and_no_more(missing, cases, count):
    assert len(lacking(PhantomConfig(cases=cases, missing=missing))) == count


def test_finished_cases_are_kept_and_a_stopped_cohort_goes_on(tmp_path):
    config = PhantomConfig(cases=3, seed=1)
    job = make_phantom(tmp_path, config=config)
    next(job)
    job.close()
    assert not (tmp_path / "cohort.csv").exists()
    stamp = (tmp_path / "HN-0001" / "t1_pre.nii.gz").stat().st_mtime_ns

    result_of(make_phantom(tmp_path, config=config))

    assert (tmp_path / "HN-0001" / "t1_pre.nii.gz").stat().st_mtime_ns == stamp
    assert len(read_cohort(tmp_path / "cohort.csv").cases) == 3


def test_the_truth_stands_beside_the_cohort(cohort):
    with (cohort.parent / "truth.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["label"] for row in rows] == [
        str(case.pcr) for case in read_cohort(cohort).cases
    ]
