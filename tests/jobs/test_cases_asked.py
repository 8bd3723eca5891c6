"""What a model is asked of a case: its files as they are, whoever prepared them."""

import csv
import gzip
import shutil
from dataclasses import replace
from functools import partial

import h5py
import numpy as np
import pytest
from small_slides import write_slide

from napari_harm3.cohort.case import ROLES
from napari_harm3.cohort.table import read_cohort
from napari_harm3.errors import Stopped
from napari_harm3.jobs import prediction
from napari_harm3.jobs.cohort import prepare_cohort
from napari_harm3.jobs.prediction import predict
from napari_harm3.jobs.progress import result_of
from napari_harm3.jobs.training import train
from napari_harm3.training.config import RunConfig
from napari_harm3.wsi.features import is_sound

CASE = "HN-0003"


def trained(method, cohort, folder):
    config = RunConfig.of(method, "small")
    training = replace(config.training, epochs=1)
    config = replace(config, folds=2, training=training)
    result_of(train(cohort, run=folder / method, config=config, device="cpu"))
    return folder / method


@pytest.fixture(scope="module")
def volume_ratio(prepared_cohort, tmp_path_factory):
    return trained("volume-ratio", prepared_cohort, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def answers_without(prepared_cohort, tmp_path_factory):
    """Return a run of a method that requires no input."""
    return trained("harm3-x", prepared_cohort, tmp_path_factory.mktemp("runs"))


def one_case(cohort, folder, **cells):
    """Write a table of one case of a cohort, its files named by absolute paths."""
    case = read_cohort(cohort).case(CASE)
    row = {"case_id": CASE, **dict(case.files), "pcr": case.pcr} | cells
    table = folder / "cohort.csv"
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(row))
        writer.writeheader()
        writer.writerow(row)
    return table


def asked(model, table):
    result = result_of(predict(model, cohort=table, device="cpu", allow_external=True))
    return result["predictions"][0]


def held_out(run):
    with (run / "predictions.csv").open(newline="") as stream:
        rows = {row["case_id"]: row for row in csv.DictReader(stream)}
    return pytest.approx(float(rows[CASE]["probability"]), abs=1e-5)


def test_annotations_are_read_whoever_prepared_the_case(volume_ratio, cohort, tmp_path):
    row = asked(volume_ratio, one_case(cohort, tmp_path))

    assert row["probability"] == held_out(volume_ratio)
    assert row["message"] == ""


def test_an_answer_without_the_annotations_that_it_is_made_of_says_so(
    volume_ratio, cohort, tmp_path
):
    blank = {f"mask_{role}": "" for role in ROLES if role.endswith("post")}

    row = asked(volume_ratio, one_case(cohort, tmp_path, **blank))

    assert row["probability"] is not None
    assert row["message"].startswith("answered without annotations before and after")


def test_a_slide_of_bare_glass_is_none_for_a_model_that_requires_one(
    run, cohort, tmp_path
):
    glass = write_slide(tmp_path / "glass.tif", patches=0)

    row = asked(run, one_case(cohort, tmp_path, wsi=glass))

    assert (row["probability"], row["missing"]) == (None, ["wsi"])
    assert "HN-0003 lacks wsi" in row["message"]
    assert "no patch of glass.tif shows tissue" in row["message"]


def test_a_slide_of_bare_glass_is_none_for_a_model_that_does_without(
    answers_without, cohort, tmp_path
):
    glass = write_slide(tmp_path / "glass.tif", patches=0)

    bare = asked(answers_without, one_case(cohort, tmp_path, wsi=glass))
    blank = asked(answers_without, one_case(cohort, tmp_path, wsi=""))

    assert bare["probability"] == blank["probability"] is not None
    assert bare["missing"] == blank["missing"] == ["wsi"]
    assert bare["message"].startswith(blank["message"])
    assert "no patch of glass.tif shows tissue" in bare["message"]


@pytest.mark.parametrize(
    ("suffix", "pack"), [(".nii", bytes), (".nii.gz", lambda b: gzip.compress(b, 1))]
)
def test_volumes_packed_anew_are_known_again(run, cohort, tmp_path, suffix, pack):
    other = write_slide(tmp_path / "other.tif")
    cells = {"wsi": other}
    for role, path in read_cohort(cohort).case(CASE).volumes.items():
        cells[role] = tmp_path / f"{role}{suffix}"
        cells[role].write_bytes(pack(gzip.decompress(path.read_bytes())))

    row = asked(run, one_case(cohort, tmp_path, **cells))

    assert row["seen"] == "held-out"
    assert len(row["folds"]) == 1


@pytest.mark.parametrize("content", [None, b"no features"])
def test_a_feature_file_that_cannot_be_used_is_a_failure(
    harm3, run, cohort, tmp_path, content
):
    if content is not None:
        (tmp_path / "given.h5").write_bytes(content)
    table = one_case(cohort, tmp_path, wsi=tmp_path / "given.h5")

    code, said, _ = harm3("prepare", table, "--size", "small", "--allow-external")
    row = asked(run, table)

    assert code == 1
    assert said["slides"] == 0
    assert [fault["column"] for fault in said["failed"]] == ["wsi"]
    assert row["message"] == said["failed"][0]["message"]
    assert row["message"].startswith("given.h5 is")
    assert "harm3 prepare" not in row["message"]


def test_one_case_of_other_features_leaves_the_others_alone(run, cohort, tmp_path):
    bag = cohort.parent / ".harm3" / "slides" / f"{CASE}-0.harm3.h5"
    wide = shutil.copy(bag, tmp_path / "wide.harm3.h5")
    with h5py.File(wide, "r+") as file:
        features = np.ones((len(file["coords"]), 5), np.float32)
        del file["features"]
        file["features"] = features
    table = one_case(cohort, tmp_path, wsi=bag)
    header, row = table.read_text().splitlines()
    odd = row.replace(CASE, "odd", 1).replace(str(bag), f"{bag};{wide}")
    table.write_text(f"{header}\n{odd}\n{row}\n")

    result = result_of(predict(run, cohort=table, device="cpu", allow_external=True))
    refused, answered = result["predictions"]

    assert refused["probability"] is None
    assert "wide.harm3.h5 has 5" in refused["message"]
    assert answered["probability"] == held_out(run)


def test_a_damaged_bag_is_made_again(prepared_cohort, run_config, tmp_path):
    table = one_case(prepared_cohort, tmp_path)
    inputs, bag = run_config.inputs, tmp_path / ".harm3/slides" / f"{CASE}-0.harm3.h5"
    prepare = partial(
        prepare_cohort, table, inputs=inputs, device="cpu", allow_external=True
    )
    result_of(prepare())
    with h5py.File(bag) as file:
        place = file["features"].id.get_chunk_info(0).byte_offset + 3
    content = bytearray(bag.read_bytes())
    content[place] ^= 1
    bag.write_bytes(content)
    assert not is_sound(bag)

    assert result_of(prepare())["failed"] == []
    assert is_sound(bag)


def test_a_stop_is_no_fault_of_the_case(run, cohort, tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise Stopped("Stopped.")
        yield

    monkeypatch.setattr(prediction, "prepare_case", stopped)

    with pytest.raises(Stopped):
        asked(run, one_case(cohort, tmp_path))
