"""The commands' contract: exit codes, JSON and files, on real files."""

import csv
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_harm3.cli.main import main
from napari_harm3.cohort.case import ROLES


@pytest.fixture
def broken(cohort, tmp_path):
    """Return a copy of the cohort that a test may break."""
    copy = tmp_path / "study"
    shutil.copytree(cohort.parent, copy, ignore=shutil.ignore_patterns(".harm3"))
    return copy


def edit(table, name, /, **cells):
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        if row["case_id"] == name:
            row.update(cells)
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_a_sound_cohort_has_no_faults(harm3, cohort):
    code, said, _ = harm3("check", cohort)
    assert (code, said["cases"], said["faults"]) == (0, 10, [])


def test_every_bad_input_is_one_line_by_row_and_column(harm3, broken):
    flipped = broken / "HN-0001" / "t1_pre.nii.gz"
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 4
    flipped.write_bytes(content)
    (broken / "HN-0002" / "t2_pre.nii.gz").unlink()
    mask = nib.load(broken / "HN-0003" / "mask_t1_pre.nii.gz")
    moved = mask.affine.copy()
    moved[0, 3] += 300
    nib.save(nib.Nifti1Image(np.asarray(mask.dataobj), moved), mask.get_filename())
    far = nib.load(broken / "HN-0004" / "t2_post.nii.gz")
    moved = far.affine.copy()
    moved[2, 3] += 900
    nib.save(nib.Nifti1Image(np.asarray(far.dataobj), moved), far.get_filename())
    slide = broken / "HN-0005" / "biopsy.tif"
    slide.write_bytes(slide.read_bytes()[:3000])
    (broken / "HN-0006" / "biopsy.tif").write_bytes(_without_resolution())
    before = sorted(broken.rglob("*"))

    code, said, err = harm3("check", broken / "cohort.csv")

    assert code == 1
    found = {(fault["row"], fault["column"]) for fault in said["faults"]}
    assert found == {
        (2, "t1_pre"),
        (3, "t2_pre"),
        (4, "mask_t1_pre"),
        (5, None),
        (5, "mask_t2_post"),
        (6, "wsi"),
        (7, "wsi"),
    }
    lines = [line for line in err.splitlines() if line.startswith("row ")]
    assert len(lines) == len(said["faults"])
    assert sorted(broken.rglob("*")) == before


def _without_resolution():
    import io

    import tifffile

    stream = io.BytesIO()
    pixels = np.full((512, 512, 3), 200, np.uint8)
    with tifffile.TiffWriter(stream) as writer:
        writer.write(pixels, tile=(256, 256), photometric="rgb", metadata=None)
    return stream.getvalue()


def test_what_cannot_be_read_fails_alone_and_the_rest_is_prepared(harm3, broken):
    (broken / "HN-0002" / "t2_pre.nii.gz").unlink()

    code, said, err = harm3("prepare", broken / "cohort.csv", "--size", "small")

    assert code == 1
    assert said["slides"] == 10
    assert said["volumes"] == 9 * 4
    assert [(f["case_id"], f["column"]) for f in said["failed"]] == [
        ("HN-0002", "t2_pre")
    ]
    assert "HN-0002" in err


def test_a_table_that_is_not_there_is_one_line_and_an_error_object(harm3, tmp_path):
    code, said, err = harm3("prepare", tmp_path / "none.csv")
    assert code == 1
    assert said["error"]["type"] == "CohortError"
    assert len(err.strip().splitlines()) == 1


def test_wrong_words_are_usage(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "--no-such-option"])
    assert ended.value.code == 2


def test_tissue_and_features_make_their_files(harm3, cohort, tmp_path):
    slides = [cohort.parent / name / "biopsy.tif" for name in ("HN-0001", "HN-0002")]
    good = shutil.copy(slides[0], tmp_path / "one.tif")
    clash = shutil.copy(slides[1], tmp_path / "one.tiff")
    bad = tmp_path / "bad.svs"
    bad.write_bytes(b"no slide")

    code, said, _ = harm3("tissue", good, clash, bad, "--out", tmp_path / "t")

    assert code == 1
    assert [row["status"] for row in said["slides"]] == ["done", "failed", "failed"]
    assert "same name" in said["slides"][1]["message"]
    made = {path.name for path in (tmp_path / "t").iterdir()}
    assert made - {".locks"} == {
        "one.tissue.geojson",
        "one.mask.png",
        "one.harm3.h5",
        "summary.json",
    }
    summary = json.loads((tmp_path / "t" / "summary.json").read_text())
    assert summary["slides"] == said["slides"]

    code, said, _ = harm3(
        "features", good, "--out", tmp_path / "f", "--encoder", "vit_tiny_patch16_224"
    )
    assert code == 0
    row = said["slides"][0]
    assert (row["status"], row["damaged"], row["dim"]) == ("done", 0, 192)


def test_a_run_folder_holds_what_is_promised(run, cohort):
    for name in (
        "run.toml",
        "folds.csv",
        "predictions.csv",
        "metrics.json",
        "events.jsonl",
        "environment.json",
        "MODEL_CARD.md",
        "fold-0/best.safetensors",
        "fold-0/best.json",
        "fold-1/log.csv",
    ):
        assert (run / name).exists(), name
    with (run / "predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["case_id", "fold", "pcr", "probability", "threshold"]
    assert len(rows) == 10
    text = "".join(
        path.read_text() for path in run.glob("*.*") if path.suffix != ".csv"
    )
    assert str(cohort.parent) not in text


def test_metrics_have_their_keys(harm3, run):
    code, said, _ = harm3("evaluate", run)
    assert code == 0
    for name in [
        "auc",
        "acc",
        "f1",
        "sen",
        "spe",
        "f1_macro",
        "balanced_acc",
        "ap",
        "brier",
    ]:
        assert set(said["metrics"][name]) == {"mean", "sd", "pooled", "ci95"}
    assert said["metrics"]["n"] == 10


def test_a_case_of_the_run_is_asked_of_the_fold_that_held_it_out(harm3, run, cohort):
    code, said, err = harm3("predict", run, cohort)

    assert code == 0
    assert "made-up cohort" in err
    with (run / "predictions.csv").open() as stream:
        expected = {row["case_id"]: row for row in csv.DictReader(stream)}
    for row in said["predictions"]:
        held_out = expected[row["case_id"]]
        assert row["seen"] == "held-out"
        assert row["folds"] == [int(held_out["fold"])]
        assert row["probability"] == pytest.approx(
            float(held_out["probability"]), abs=1e-5
        )
        assert row["trained_on"] == "phantom"


def test_a_known_case_is_known_under_another_name_and_a_new_one_is_new(
    harm3, run, broken, tmp_path
):
    edit(broken / "cohort.csv", "HN-0001", case_id="RENAMED")
    _, said, _ = harm3("predict", run, broken / "cohort.csv", "--case", "RENAMED")
    assert said["predictions"][0]["seen"] == "held-out"

    harm3("phantom", tmp_path / "other", "--cases", "1", "--seed", "99")
    _, said, _ = harm3("predict", run, tmp_path / "other" / "cohort.csv")
    assert said["predictions"][0]["seen"] == "new"
    assert len(said["predictions"][0]["folds"]) == 2


def test_an_incomplete_case_gets_a_row_and_no_probability(harm3, run, broken, tmp_path):
    edit(broken / "cohort.csv", "HN-0003", t2_post="", mask_t2_post="", wsi="")

    code, said, err = harm3("predict", run, broken / "cohort.csv", "--case", "HN-0003")

    row = said["predictions"][0]
    assert code == 1
    assert row["probability"] is None
    assert row["missing"] == ["t2_post", "wsi"]
    assert "HN-0003 lacks t2_post, wsi" in row["message"]
    assert row["message"] in err

    code, said, _ = harm3(
        "explain", run, broken / "cohort.csv", "--case", "HN-0003", "--out", tmp_path
    )
    assert (code, said["probability"], said["maps"]) == (1, None, {})


def test_a_wrong_case_and_a_broken_model_are_one_line(harm3, run, cohort, tmp_path):
    code, said, _ = harm3("predict", run, cohort, "--case", "HN-9")
    assert (code, said["error"]["type"]) == (1, "CohortError")

    copy = tmp_path / "model"
    shutil.copytree(run, copy)
    weights = copy / "fold-0" / "best.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    code, said, err = harm3("predict", copy, cohort)
    assert code == 1
    assert any("best.safetensors" in row["message"] for row in said["predictions"])
    assert "Traceback" not in err


def test_maps_lie_in_each_volumes_own_space(harm3, run, cohort, tmp_path):
    code, said, _ = harm3(
        "explain", run, cohort, "--case", "HN-0002", "--out", tmp_path / "e"
    )

    assert code == 0
    for role in ROLES:
        source = nib.load(cohort.parent / "HN-0002" / f"{role}.nii.gz")
        heat = nib.load(said["maps"][role])
        assert Path(said["maps"][role]).name == f"{role}_cam.nii.gz"
        assert heat.shape == source.shape
        np.testing.assert_allclose(heat.affine, source.affine, atol=1e-4)
        measures = said["agreement"][role]
        assert "not_applicable" in measures or set(measures["energy"]) == {
            "value",
            "chance",
            "ceiling",
        }
    agreement = json.loads((tmp_path / "e" / "agreement.json").read_text())
    assert agreement == said["agreement"]
    attention = json.loads(Path(said["attention"]).read_text())
    shares = [
        f["properties"]["measurements"]["attention"] for f in attention["features"]
    ]
    assert sum(shares) == pytest.approx(1, abs=1e-4)
    assert Path(said["figure"]).stat().st_size > 20_000


def test_an_exported_model_names_nobody_and_predicts_the_same(
    harm3, run, cohort, tmp_path
):
    code, said, _ = harm3("export", run, "--out", tmp_path / "model")
    assert code == 0
    for path in Path(said["model"]).rglob("*"):
        if path.suffix in (".json", ".toml", ".md"):
            assert "HN-0" not in path.read_text()
    _, there, _ = harm3("predict", tmp_path / "model", cohort)
    _, here, _ = harm3("predict", run, cohort)
    assert there == here

    code, said, _ = harm3("evaluate", tmp_path / "model", cohort)
    assert (code, said["error"]["type"]) == (1, "ModelError")
    assert "is one of the model's own" in said["error"]["message"]


def test_a_refitted_model_is_one_network_of_every_case(harm3, run, cohort, tmp_path):
    code, said, _ = harm3("export", run, "--out", tmp_path / "one", "--refit")
    assert code == 0
    model = Path(said["model"])
    assert [path.name for path in model.glob("fold-*")] == ["fold-0"]
    assert "fitted once more, on every case" in (model / "MODEL_CARD.md").read_text()
    _, said, _ = harm3("predict", model, cohort)
    assert {row["seen"] for row in said["predictions"] if row["seen"]} == {
        "in-training"
    }

    code, said, _ = harm3("export", model, "--out", tmp_path / "two", "--refit")
    assert (code, said["error"]["type"]) == (1, "ModelError")
    assert "only a run folder" in said["error"]["message"]


def test_the_report_stands_alone(harm3, run, tmp_path):
    code, said, _ = harm3("report", run, "--out", tmp_path / "r.html")
    page = Path(said["report"]).read_text()
    assert code == 0
    assert "made-up cohort" in page
    assert "Research use only" in page
    assert 'src="http' not in page
    assert page.count("data:image/png;base64") >= 3


def test_a_folder_where_a_file_should_be_is_named_and_left(harm3, run, tmp_path):
    folder = tmp_path / "page"
    folder.mkdir()

    code, _, err = harm3("report", run, "--out", folder)

    told = "harm3: page: Is a directory: give a file, not a folder.\n"
    assert (code, err) == (1, told)
    assert list(tmp_path.rglob("*")) == [folder]


def test_a_run_is_not_overwritten(harm3, run, prepared_cohort):
    asked = ("--out", run, "--size", "small", "--folds", 2)
    code, said, _ = harm3("train", prepared_cohort, *asked)
    assert code == 1
    assert "--resume" in said["error"]["message"]


def test_the_registry_is_listed(harm3):
    code, said, _ = harm3("models")
    assert code == 0
    size = {row["name"]: row["parameters"] for row in said["models"]}
    rivals = {"c3d", "resnet3d", "rpnet3d", "clam-sb", "transmil", "hmcat", "m2fusion"}
    assert set(size) >= rivals | {"harm3", "harm3-paper", "harm3-label", "harm3-x"}
    assert size["harm3"] > size["clam-sb"] > 6e5
    assert size["majority"] == 0


def test_a_whole_cohort_is_explained_with_any_map(
    harm3, run, prepared_cohort, tmp_path
):
    lines = prepared_cohort.read_text().splitlines()
    few = prepared_cohort.with_name("few.csv")
    few.write_text("\n".join(lines[:3]) + "\n")
    work = prepared_cohort.parent / ".harm3"

    code, said, _ = harm3(
        *("explain", run, few, "--out", tmp_path, "--work", work),
        *("--method", "layercam", "--layer", "stage3", "--target", "non-pcr"),
    )

    assert code == 0
    assert [row["case_id"] for row in said["cases"]] == ["HN-0001", "HN-0002"]
    assert said["cases"][0]["explain"]["layer"] == "stage3"
    with (tmp_path / "agreement.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["case_id"] for row in rows} == {"HN-0001", "HN-0002"}
    assert {row["label"] for row in rows} >= {"union"}
    first = tmp_path / "HN-0001"
    for name in ("links.csv", "link.npz", "slide_maps.geojson", "figure.png"):
        assert (first / name).stat().st_size > 0
    for path in (tmp_path / "agreement.csv", first / "links.csv"):
        assert whose(path) == {"phantom"}
    best = rows_of(first / "top_patches.csv")
    assert {row["map"] for row in best} == {
        "attention",
        "gradient_attention",
        "rollout",
    }
    assert [row["rank"] for row in best][:2] == ["1", "2"]
    assert whose(first / "top_patches.csv") == {"phantom"}


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def whose(path):
    """Return what the rows of a table say that the model was trained on."""
    return {row["trained_on"] for row in rows_of(path)}


def test_an_explanation_of_other_settings_leaves_no_file_of_the_one_before(
    harm3, run, prepared_cohort, tmp_path
):
    words = ("explain", run, prepared_cohort, "--case", "HN-0001", "--out", tmp_path)
    harm3(*words)
    left, mine = tmp_path / "block.attention.tif", tmp_path / "notes.txt"
    for path in (left, mine):
        path.write_text("written before")
    about = json.loads((tmp_path / "explanation.json").read_text())
    about["files"]["slide_heat"].append(left.name)  # a slide that the case had then
    (tmp_path / "explanation.json").write_text(json.dumps(about))

    code, _, _ = harm3(*words, "--layer", "stage3")

    assert code == 0
    assert mine.exists()
    assert not left.exists()


def test_a_layer_that_a_model_lacks_is_named_with_those_it_has(
    harm3, run, prepared_cohort, tmp_path
):
    code, said, err = harm3(
        *("explain", run, prepared_cohort, "--case", "HN-0001"),
        *("--out", tmp_path / "out", "--layer", "stage9"),
    )

    assert code == 1
    assert "stage4" in said["error"]["message"]
    assert err.count("\n") >= 1
