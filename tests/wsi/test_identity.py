"""A model is only asked of features made as those that it learned from."""

import csv
import json
from dataclasses import replace

import h5py
import pytest

from napari_harm3.cohort.rows import FILE_COLUMNS
from napari_harm3.errors import FeatureError
from napari_harm3.jobs.prediction import predict
from napari_harm3.jobs.progress import result_of
from napari_harm3.jobs.slides import extract_features
from napari_harm3.jobs.training import train
from napari_harm3.wsi.bags import read_attributes
from napari_harm3.wsi.features import IDENTITY

CASE = "HN-0001"


def table_of(cohort, path, cells):
    """Write the cohort's table with other cells, its paths leading back to it."""
    with cohort.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        files = [name for name in FILE_COLUMNS if row[name]]
        row.update({name: str(cohort.parent / row[name]) for name in files})
        row.update(cells.get(row["case_id"], {}))
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def bag_of(cohort, out, inputs, **changed):
    """Extract the case's slide as a model has it, but for what is changed."""
    result = result_of(
        extract_features(
            [cohort.parent / CASE / "biopsy.tif"],
            out=out,
            tissue=inputs.tissue,
            patches=replace(inputs.patches, **changed.get("patches", {})),
            encoder=replace(inputs.encoder, **changed.get("encoder", {})),
            device="cpu",
            workers=1,
        )
    )
    assert [row["status"] for row in result["slides"]] == ["done"]
    return out / "biopsy.harm3.h5"


def answer(run, cohort, bag, folder):
    """Return the row of a prediction from a bag in the place of its slide."""
    table = table_of(cohort, folder / "cohort.csv", {CASE: {"wsi": str(bag)}})
    job = predict(run, cohort=table, case=CASE, device="cpu", allow_external=True)
    return result_of(job)["predictions"][0]


@pytest.fixture(scope="module")
def alike(cohort, run, run_config, tmp_path_factory):
    """Return a bag made as those of the model."""
    return bag_of(cohort, tmp_path_factory.mktemp("alike"), run_config.inputs)


def altered(bag, out, attribute, value):
    out.write_bytes(bag.read_bytes())
    with h5py.File(out, "a") as file:
        assert attribute in file.attrs
        file.attrs[attribute] = value
    return out


OTHERS = {
    "encoder": "vit_base_patch16_224",
    "weights_sha256": "0" * 64,
    "transform": '{"size": 256}',
    "patch_mpp": 1.0,
    "patch_px": 256,
    "rule": "center",
    "stain": "macenko",
}


def test_every_attribute_is_tested_here():
    assert tuple(OTHERS) == IDENTITY


def test_features_made_alike_are_taken(cohort, run, alike, tmp_path):
    row = answer(run, cohort, alike, tmp_path)

    assert row["message"] == ""
    assert 0 < row["probability"] < 1


@pytest.mark.parametrize("attribute", IDENTITY)
def test_a_model_refuses_other_features_naming_both_values(
    cohort, run, alike, tmp_path, attribute
):
    theirs = OTHERS[attribute]
    bag = altered(alike, tmp_path / "b.harm3.h5", attribute, theirs)

    row = answer(run, cohort, bag, tmp_path)

    learned = read_attributes(alike)[attribute]
    assert row["probability"] is None
    assert "b.harm3.h5 was made with" in row["message"]
    assert attribute in row["message"]
    assert str(theirs) in row["message"]
    assert str(learned) in row["message"]


@pytest.mark.parametrize("attribute", IDENTITY)
def test_training_refuses_features_made_in_two_ways_naming_both_values(
    prepared_cohort, run_config, alike, tmp_path, attribute
):
    theirs = OTHERS[attribute]
    bag = altered(alike, tmp_path / "b.harm3.h5", attribute, theirs)
    table = table_of(
        prepared_cohort, tmp_path / "cohort.csv", {CASE: {"wsi": str(bag)}}
    )
    job = train(
        table,
        run=tmp_path / "run",
        config=run_config,
        work=prepared_cohort.parent / ".harm3",
        device="cpu",
        allow_external=True,
    )

    with pytest.raises(FeatureError) as refused:
        result_of(job)

    learned = read_attributes(alike)[attribute]
    assert attribute in str(refused.value)
    assert str(theirs) in str(refused.value)
    assert str(learned) in str(refused.value)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Return a folder of weights whose pixels are normalised in another way."""
    import timm
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("weights")
    network = timm.create_model("vit_tiny_patch16_224", depth=3, num_classes=0)
    save_file(network.state_dict(), folder / "model.safetensors")
    about = {
        "architecture": "vit_tiny_patch16_224",
        "model_args": {"depth": 3},
        "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1]},
    }
    (folder / "config.json").write_text(json.dumps(about))
    return folder


@pytest.fixture(
    params=["mpp", "patch", "rule", "stain", "depth", "weights"],
)
def changed(request, weights):
    """Return one change of how a slide is extracted."""
    return {
        "mpp": {"patches": {"mpp": 1.0}},
        "patch": {"patches": {"patch": 160}},
        "rule": {"patches": {"rule": "corners_all"}},
        "stain": {"patches": {"stain": "reinhard"}},
        "depth": {"encoder": {"depth": 2}},
        "weights": {"encoder": {"weights": weights}},
    }[request.param]


def test_a_slide_extracted_in_another_way_is_refused(
    run, prepared_cohort, run_config, alike, changed, tmp_path
):
    bag = bag_of(prepared_cohort, tmp_path, run_config.inputs, **changed)
    ours, theirs = read_attributes(alike), read_attributes(bag)
    differing = [name for name in IDENTITY if ours[name] != theirs[name]]

    row = answer(run, prepared_cohort, bag, tmp_path)

    assert differing
    assert row["probability"] is None
    assert f"made with {differing[0]} {theirs[differing[0]]}" in row["message"]
    assert str(ours[differing[0]]) in row["message"]


def test_features_of_another_program_are_refused(cohort, run, alike, tmp_path):
    """Nobody noted how they were made."""
    from napari_harm3.wsi.interchange import write_also

    write_also("trident", alike, tmp_path, "b")

    row = answer(run, cohort, tmp_path / "b.h5", tmp_path)

    assert row["probability"] is None
    assert "b.h5 was made with" in row["message"]
