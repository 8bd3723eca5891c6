"""A run never mixes the labels or images of two states of a cohort."""

from dataclasses import replace

import pytest

from napari_harm3.errors import ModelError, TrainingError
from napari_harm3.training.cross_validation import cross_validate, refit
from napari_harm3.training.run import open_refit, open_run
from napari_harm3.training.run_cases import CASES, keep_cases, patients_of
from training_cases import cohort_of, prepared_on_disk, tiny_run


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    return [
        prepared_on_disk(folder, number, fold=number // 2 % 2) for number in range(8)
    ]


def relabelled(prepared, number):
    one = prepared[number]
    case = replace(one.case, pcr=1 - one.case.pcr)
    return [*prepared[:number], replace(one, case=case), *prepared[number + 1 :]]


def with_files(prepared, number, **fields):
    one = replace(prepared[number], **fields)
    return [*prepared[:number], one, *prepared[number + 1 :]]


def trained(prepared, run, *, resume=False):
    config = tiny_run(epochs=1)
    open_run(run, config, resume=resume)
    list(cross_validate(cohort_of(prepared), prepared, config, run, device="cpu"))


def test_another_label_is_refused_by_resume_and_by_refit(prepared, tmp_path):
    run = tmp_path / "run"
    trained(prepared, run)

    with pytest.raises(TrainingError, match="run was begun with another label of C02"):
        trained(relabelled(prepared, 2), run, resume=True)

    open_refit(run)
    cohort, config = cohort_of(prepared), tiny_run(epochs=1)
    list(refit(cohort, prepared, config, run, device="cpu"))
    with pytest.raises(TrainingError, match="another label of C02"):
        list(refit(cohort, relabelled(prepared, 2), config, run, device="cpu"))


def test_another_file_is_refused_and_a_file_packed_anew_is_not(prepared, tmp_path):
    inside = {"t1_pre": "the voxels"}
    begun = with_files(prepared, 3, contents=inside)
    keep_cases(tmp_path, begun)
    packed = dict(begun[3].sources) | {"t1_pre": "packed anew"}

    keep_cases(tmp_path, with_files(prepared, 3, sources=packed, contents=inside))

    with pytest.raises(TrainingError, match="other files of C03"):
        keep_cases(tmp_path, with_files(prepared, 3, sources=packed))
    fewer = {"wsi": begun[3].sources["wsi"]}
    with pytest.raises(TrainingError, match="other files of C03"):
        keep_cases(tmp_path, with_files(prepared, 3, sources=fewer))


def test_a_run_of_before_is_gone_on_with_and_a_damaged_note_is_said(prepared, tmp_path):
    run = tmp_path / "run"
    trained(prepared, run)
    (run / CASES).unlink()

    trained(prepared, run, resume=True)

    assert (run / CASES).exists()
    for text in ("", "[]", '{"C00": 5}', '{"C00": {"pcr": 0, "files": 5}}'):
        (run / CASES).write_text(text)
        with pytest.raises(ModelError, match=r"run/cases\.json cannot be read"):
            trained(prepared, run, resume=True)


def test_a_slide_without_tissue_is_not_trained_on_in_silence(prepared, tmp_path):
    case = replace(prepared[5].case, slides=(tmp_path / "white.tif",), slide_mpp=(0.5,))
    bare = with_files(prepared, 5, case=case.with_bare_slides(), bags=())

    with pytest.raises(
        TrainingError, match=r"harm3 cannot be trained on C05: no patch of white\.tif"
    ):
        trained(bare, tmp_path / "run")


def test_an_image_that_the_method_does_not_look_at_may_change(prepared, tmp_path):
    keep_cases(tmp_path, prepared)
    volumes = {k: v for k, v in prepared[3].sources.items() if k != "wsi"}
    blind = with_files(prepared, 3, sources=volumes, bags=())

    keep_cases(tmp_path, blind, ("mri",))

    with pytest.raises(TrainingError, match="other files of C03"):
        keep_cases(tmp_path, blind)


def test_a_run_knows_its_patients_by_their_first_cases(prepared, tmp_path):
    assert patients_of(tmp_path) == {}
    twin = replace(prepared[5].case, extra={"patient_id": "P7"})
    first = replace(prepared[2].case, extra={"patient_id": "P7"})
    kept = with_files(with_files(prepared, 2, case=first), 5, case=twin)

    keep_cases(tmp_path, kept)

    found = patients_of(tmp_path)
    assert found["C05"] == "C02"
    assert all(found[name] == name for name in found if name != "C05")
    assert "P7" not in (tmp_path / CASES).read_text()
    (tmp_path / CASES).write_text('{"C00": {"pcr": 0, "files": {}}}')
    assert patients_of(tmp_path) == {"C00": "C00"}
