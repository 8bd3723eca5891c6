"""``harm3 explain``: maps beside the model's own, trials, and a cohort's tables."""

import csv
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_harm3.artifacts import write_csv
from napari_harm3.cohort.case import ROLES
from napari_harm3.config import from_plain
from napari_harm3.explain.agreement import MEASURES
from napari_harm3.explain.agreement_cohort import COLUMNS
from napari_harm3.explain.config import ExplainRequest
from napari_harm3.jobs.explanation import explain

KINDS = ("occlusion", "inherent", "variant", "cross")


def table(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def stamps(*paths):
    return [path.stat().st_mtime_ns for path in paths]


def tells_how_it_was_made(out, run):
    """All that it takes to make it again, with the cubes that were chosen for it."""
    about = json.loads((out / "explanation.json").read_text())
    assert about["model"] == run.name
    request = from_plain(ExplainRequest, about["request"], source="the explanation")
    assert (request.also, request.checks) == (
        ("occlusion", "decoupled"),
        ("randomisation", "faithfulness"),
    )
    with np.load(out / "occlusion.npz") as file:
        cells = -(-np.array([12, 32, 32]) // request.occlusion.stride)
        assert file["t1_pre"].shape == tuple(cells)


def is_withdrawn_without_its_slide(harm3, run, prepared_cohort, out):
    """A case that cannot be explained any more does not show what it once was."""
    poorer = prepared_cohort.with_name("slideless.csv")
    rows = table(prepared_cohort)
    write_csv(poorer, [row | {"wsi": ""} for row in rows], list(rows[0]))
    code, said, _ = harm3(
        *("explain", run, poorer, "--case", "HN-0002", "--out", out),
        *("--work", prepared_cohort.parent / ".harm3"),
    )
    assert (code, said["probability"]) == (1, None)
    assert {path.name for path in out.iterdir()} == {"occlusion.npz", "checks.json"}


@pytest.fixture(scope="module")
def asked(run, prepared_cohort):
    """Return the words that ask for a case, beside which maps and trials stand."""
    return ("explain", run, prepared_cohort, "--case", "HN-0002", "--device", "cpu")


@pytest.mark.slow
def test_other_maps_and_trials_stand_beside_the_models_own(
    harm3, run, asked, prepared_cohort, tmp_path
):
    out = tmp_path / "e"
    words = (
        *asked,
        *("--out", out, "--also", "occlusion", "decoupled"),
        *("--checks", "randomisation", "faithfulness"),
    )
    code, said, _ = harm3(*words)

    assert code == 0
    assert set(said["maps"]) == set(ROLES)
    assert set(said["also"]) == set(KINDS)
    for kind, files in said["also"].items():
        for role in ROLES:
            source = nib.load(prepared_cohort.parent / "HN-0002" / f"{role}.nii.gz")
            heat = nib.load(files[role])
            assert Path(files[role]).name == f"{role}_{kind}.nii.gz"
            assert heat.shape == source.shape
            np.testing.assert_allclose(heat.affine, source.affine, atol=1e-4)
    assert np.any(
        [nib.load(p).get_fdata().any() for p in said["also"]["cross"].values()]
    )
    tells_how_it_was_made(out, run)
    assert set(said["also_agreement"]) == {"occlusion"}
    assert set(said["also_agreement"]["occlusion"]) == set(ROLES)
    checks = json.loads((out / "checks.json").read_text())
    verdict = checks["randomisation"]["verdict"]
    assert said["verdicts"]["randomisation"]["verdict"] == verdict
    assert checks["randomisation"]["control"]["passed"] is False
    assert set(said["verdicts"]) == {"randomisation", "faithfulness"}
    for name in ("also_figure", "checks_figure"):
        assert Path(said[name]).stat().st_size > 20_000

    harm3("report", run, "--out", tmp_path / "r.html", "--explanation", out)
    page = (tmp_path / "r.html").read_text()
    for words_of in ("Does it point there?", "ROC-AUC", "normalised", verdict):
        assert words_of in page
    assert page.count("data:image/png;base64") >= 6

    # What took long is kept, and what is not asked any more does not lie about.
    long = (out / "occlusion.npz", out / "checks.json")
    before = stamps(*long)
    _, again, _ = harm3(*words)
    assert stamps(*long) == before
    assert again == said
    _, said, _ = harm3(*asked, "--out", out)
    assert (said["also"], said["checks"], said["verdicts"]) == ({}, None, {})
    assert stamps(*long) == before
    assert not list(out.glob("*occlusion.nii.gz"))
    assert not (out / "checks.png").exists()
    assert not (out / "also_agreement.json").exists()

    is_withdrawn_without_its_slide(harm3, run, prepared_cohort, out)


@pytest.mark.slow
def test_another_cube_is_covered_anew(harm3, asked, tmp_path):
    words = (*asked, "--out", tmp_path, "--also", "occlusion")
    harm3(*words, "--cube", 6, 16, 16)
    with np.load(tmp_path / "occlusion.npz") as file:
        coarse = file["t1_pre"]
    harm3(*words, "--cube", 12, 16, 16)
    with np.load(tmp_path / "occlusion.npz") as file:
        assert (coarse.shape, file["t1_pre"].shape) == ((2, 2, 2), (1, 2, 2))


def test_a_cube_that_covers_nothing_is_refused(harm3, asked, tmp_path):
    code, _, told = harm3(*asked, "--out", tmp_path / "e", "--cube", 4, 8, 8)

    assert code == 1
    assert told == (
        "harm3: the options: a cube is occlusion's: ask for occlusion also. "
        "Correct that.\n"
    )
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize(
    ("words", "named"),
    [(("--also", "decoupled"), "LD-VAE"), (("--also", "occlusion"), None)],
)
def test_a_model_without_the_part_is_refused_before_any_work(
    harm3, run, prepared_cohort, tmp_path, words, named
):
    model = tmp_path / "model"
    shutil.copytree(run, model)
    recipe = model / "run.toml"
    if named is None:
        recipe.write_text(
            'method = "clam-sb"\nsize = "small"\n[model]\nnetwork = "clam"\n'
        )
    else:
        text = recipe.read_text()
        assert "ld_vae = true" in text
        recipe.write_text(text.replace("ld_vae = true", "ld_vae = false"))

    code, said, _ = harm3(
        *("explain", model, prepared_cohort, "--case", "HN-0001"),
        *("--out", tmp_path / "out", *words),
    )

    assert (code, said["error"]["type"]) == (1, "ModelError")
    assert (named or "looks at no volume") in said["error"]["message"]
    assert not (tmp_path / "out").exists()


def test_a_stopped_occlusion_leaves_no_half_explanation(run, prepared_cohort, tmp_path):
    job = explain(
        run,
        cohort=prepared_cohort,
        case="HN-0001",
        out=tmp_path / "e",
        request=ExplainRequest(also=("occlusion",)),
        device="cpu",
    )
    steps = []
    for message in job:
        if message.stage == "occlusion":
            steps.append((message.step, message.of))
            if len(steps) == 2:
                break

    job.close()

    assert 0 < steps[0][0] < steps[1][0] < steps[1][1]
    assert not (tmp_path / "e").exists()


@pytest.fixture(scope="module")
def few(prepared_cohort):
    """Return the table of the first four cases, of both folds."""
    lines = prepared_cohort.read_text().splitlines()
    path = prepared_cohort.with_name("four.csv")
    path.write_text("\n".join(lines[:5]) + "\n")
    return path


@pytest.mark.slow
def test_a_cohort_has_rows_of_every_map_cut_where_training_cases_say(
    harm3, run, few, tmp_path
):
    words = ("explain", run, few, "--out", tmp_path, "--work", few.parent / ".harm3")
    code, said, _ = harm3(*words, "--also", "occlusion")

    assert code == 0
    rows = table(tmp_path / "agreement.csv")
    assert tuple(rows[0]) == (*COLUMNS, "trained_on")
    names = {"model", "occlusion", "uniform", "centre", "intensity", "difference"}
    assert {row["map"] for row in rows} == names
    measured = [row for row in rows if not row["not_applicable"]]
    assert measured
    for row in measured:
        if row["map"] == "occlusion":
            assert row["dice_chosen_value"] == ""
            assert "not made" in row["chosen_not_applicable"]
        else:
            assert row["chosen_not_applicable"] == ""
            value = float(row["dice_chosen_value"])
            assert value <= float(row["best_dice_value"]) + 1e-3
    for name in MEASURES:
        assert any(row[f"{name}_value"] for row in measured), name
    gone = [r for r in rows if "free of visible" in r["not_applicable"]]
    assert all("not registered" in r["false_energy_not_applicable"] for r in gone)
    means = table(tmp_path / "agreement-summary.csv")
    assert {row["map"] for row in means} == names
    assert {row["stratum"] for row in means} >= {
        "all",
        "size",
        "pcr",
        "correct",
        "time",
    }
    beaten = table(tmp_path / "agreement-against.csv")
    assert {row["baseline"] for row in beaten} == names - {"model"}
    page = Path(said["page"]).read_text()
    for words_of in ("Average precision".lower(), "middle of the picture", "made-up"):
        assert words_of in page

    kept = [tmp_path / f"HN-000{n}" / "measured.json" for n in range(1, 5)]
    before = stamps(*kept)
    kept[2].write_text("half")
    _, again, _ = harm3(*words, "--also", "occlusion")
    after = stamps(*kept)
    assert [a == b for a, b in zip(after, before, strict=True)] == [1, 1, 0, 1]
    assert table(tmp_path / "agreement.csv") == rows
    assert again["cases"] == said["cases"]

    harm3("report", run, "--out", tmp_path / "r.html", "--explanation", tmp_path)
    page = (tmp_path / "r.html").read_text()
    assert "bright tissue" in page
    assert page.count("data:image/png;base64") >= 4


@pytest.mark.slow
def test_a_cohorts_folder_holds_what_belongs_to_it(harm3, run, few, tmp_path):
    header, first, second, *_ = few.read_text().splitlines()
    two, poorer = few.with_name("two.csv"), few.with_name("poorer.csv")
    two.write_text(f"{header}\n{first}\n{second}\n")
    there = dict(zip(header.split(","), first.split(","), strict=True))
    there |= {"t1_post": "", "mask_t1_post": ""}
    poorer.write_text(f"{header}\n{','.join(there.values())}\n")
    where = ("--out", tmp_path, "--work", few.parent / ".harm3")
    harm3("explain", run, two, *where)
    rows = table(tmp_path / "agreement.csv")

    lost = tmp_path / "HN-0001" / "figure.png"
    lost.unlink()
    harm3("explain", run, two, *where)
    assert lost.exists()

    code, refused, _ = harm3("explain", run, two, *where, "--layer", "stage9")
    assert code == 1
    assert "stage9" in refused["error"]["message"]
    assert table(tmp_path / "agreement.csv") == rows

    # What is refused case by case takes nothing away either.
    kept = [tmp_path / f"HN-000{n}" for n in (1, 2)]
    before = [{path.name for path in folder.iterdir()} for folder in kept]
    code, refused, _ = harm3("explain", run, two, *where, "--method", "hirescam")
    assert (code, refused["failed"]) == (1, ["HN-0001", "HN-0002"])
    assert "hirescam" in refused["cases"][0]["message"]
    assert [{path.name for path in folder.iterdir()} for folder in kept] == before

    # A case that cannot be explained any more does not show what it once was.
    code, left, _ = harm3("explain", run, poorer, *where)
    assert (code, left["failed"]) == (1, ["HN-0001"])
    assert not [*kept[0].iterdir()]
    assert table(tmp_path / "agreement.csv") == rows
