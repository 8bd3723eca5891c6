"""Training prepares the cases that it fits, and of these what the method looks at."""

from dataclasses import replace

import pytest

from napari_harm3.cohort.table import read_cohort
from napari_harm3.errors import TrainingError
from napari_harm3.jobs.training import prepare_trainable
from napari_harm3.mri.config import MriConfig
from napari_harm3.training.config import RunConfig


@pytest.fixture
def case(cohort, tmp_path):
    """Return a case whose slide and annotations cannot be read."""
    broken = tmp_path / "broken.tif"
    broken.write_text("no slide")
    whole = read_cohort(cohort).cases[0]
    masks = dict.fromkeys(whole.masks, broken)
    return replace(whole, slides=(broken,), slide_mpp=(None,), masks=masks)


def prepared(case, folder, *methods, **mri):
    tiny = MriConfig(size=(4, 8, 8), **mri)
    configs = [RunConfig.of(method, "small") for method in methods]
    configs = [replace(one, inputs=replace(one.inputs, mri=tiny)) for one in configs]
    job = prepare_trainable(
        [case], configs, run=folder, work=folder, device="cpu", workers=1
    )
    while True:
        try:
            next(job)
        except StopIteration as end:
            return end.value[case.case_id]


def test_what_a_method_does_not_look_at_is_neither_read_nor_made(case, tmp_path):
    one = prepared(case, tmp_path, "c3d")

    assert one.mri is not None
    assert set(one.sources) == set(case.volumes)
    assert not (tmp_path / "slides").exists()


@pytest.mark.parametrize(
    ("methods", "faults"), [(["c3d", "harm3"], "wsi"), (["rpnet3d"], "mask_t1_pre")]
)
def test_what_any_method_looks_at_must_be_right(case, tmp_path, methods, faults):
    with pytest.raises(TrainingError, match=faults):
        prepared(case, tmp_path, *methods)


def test_a_crop_around_the_annotation_reads_it(case, tmp_path):
    with pytest.raises(TrainingError, match="files cannot be used"):
        prepared(case, tmp_path, "c3d", crop="annotation")


def test_who_looks_at_no_image_knows_a_case_by_all_of_them(case, tmp_path):
    with pytest.raises(TrainingError, match="wsi"):
        prepared(case, tmp_path, "clinical")
