"""Every method has its page, and a damaged file is said by name."""

import json
import shutil
from dataclasses import replace

import pytest

from napari_harm3.errors import ModelError
from napari_harm3.report import run_report
from napari_harm3.report.case_report import write_case_report
from napari_harm3.report.cohort_agreement import write_cohort_agreement
from napari_harm3.report.explanation_folder import read_result
from napari_harm3.report.run_report import write_run_report
from napari_harm3.training.config import RunConfig
from napari_harm3.training.cross_validation import cross_validate
from napari_harm3.training.run import open_run
from training_cases import cohort_of, prepared_on_disk, tiny_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a function that trains a method on eight made-up cases, once."""
    folder = tmp_path_factory.mktemp("any")
    prepared = [prepared_on_disk(folder, number) for number in range(8)]

    def train(method):
        run = folder / method
        if not run.exists():
            recipe = RunConfig.of(method, "small", epochs=1)
            config = replace(recipe, folds=2, inputs=tiny_run().inputs)
            open_run(run, config, resume=False)
            cohort = cohort_of(prepared)
            list(cross_validate(cohort, prepared, config, run, device="cpu"))
        return run

    return train


@pytest.fixture
def copied(trained, tmp_path):
    return shutil.copytree(trained("majority"), tmp_path / "run")


def page_of(run, tmp_path, **options):
    write_run_report(run, tmp_path / "report.html", **options)
    return (tmp_path / "report.html").read_text()


def test_a_method_of_one_modality_has_a_dash_for_the_other(trained, tmp_path):
    page = page_of(trained("c3d"), tmp_path)

    about = json.loads((trained("c3d") / "fold-0" / "best.json").read_text())
    row = f"<tr><td>0</td><td>{about['auc']:.3f}</td><td>-</td><td>-</td><td>0.50</td>"
    assert row in page
    assert 'alt="Training loss"' in page


def test_what_is_not_fitted_in_epochs_has_no_loss(trained, tmp_path):
    page = page_of(trained("majority"), tmp_path)

    assert 'alt="ROC curve of each fold"' in page
    assert 'alt="Training loss"' not in page


def test_a_case_counts_once_however_many_repeats_there_were(copied, tmp_path):
    metrics = json.loads((copied / "metrics.json").read_text())
    (copied / "metrics.json").write_text(json.dumps(metrics | {"n": 16}))

    assert "8 cases of phantom" in page_of(copied, tmp_path)


@pytest.mark.parametrize("text", ["{}", "[]", "null", '{"n": 1}'])
def test_damaged_metrics_are_said(copied, tmp_path, text):
    (copied / "metrics.json").write_text(text)

    with pytest.raises(ModelError, match=r"^run/metrics\.json is damaged"):
        page_of(copied, tmp_path)


@pytest.mark.parametrize("value", [None, 5])
@pytest.mark.parametrize("name", ["trained_on", "made_up", "untrained_encoder"])
def test_a_run_that_does_not_say_its_origin_has_no_page(copied, tmp_path, name, value):
    path = copied / "fold-0" / "best.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))

    with pytest.raises(
        ModelError, match=rf"run/fold-0/best\.json has no good '{name}'"
    ):
        page_of(copied, tmp_path)
    with pytest.raises(ModelError, match=f"no good '{name}'"):
        write_case_report(copied, tmp_path / "report.html", "C00")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("fold-1/best.json", '{"sha256": "", "fold": 1, "threshold": "x"}'),
        ("fold-0/log.csv", "epoch,loss\nx,1\n"),
        ("predictions.csv", "case_id,fold,pcr,probability,threshold\nC1,0,1,7,0.5\n"),
    ],
)
def test_other_damaged_files_are_said(copied, tmp_path, name, text):
    (copied / name).write_text(text)

    with pytest.raises(ModelError, match=r"run/|fold-1/"):
        page_of(copied, tmp_path)


@pytest.mark.parametrize(
    ("method", "ours"),
    [
        ("majority", "html_table"),
        ("majority", "summary_html"),
        ("c3d", "training_figure"),
    ],
)
def test_a_fault_of_ours_is_not_told_as_the_file_s(
    trained, tmp_path, monkeypatch, method, ours
):
    def faulty(*_):
        raise TypeError("ours")

    write_cohort_agreement(tmp_path, (), trained_on="phantom", made_up=True)
    monkeypatch.setattr(run_report, ours, faulty)

    with pytest.raises(TypeError, match="ours"):
        page_of(trained(method), tmp_path, explanation=tmp_path)


@pytest.mark.parametrize("text", ["map,label\nmodel,union\n", "map,label\nmodel\n"])
def test_a_damaged_summary_is_said(copied, tmp_path, text):
    folder = explanation(tmp_path / "maps", "{}")
    (folder / "agreement-summary.csv").write_text(text)

    with pytest.raises(ModelError, match=r"^maps/agreement-summary\.csv is damaged"):
        page_of(copied, tmp_path, explanation=folder)


def explanation(folder, about, agreement="{}"):
    folder.mkdir()
    (folder / "explanation.json").write_text(about)
    (folder / "agreement.json").write_text(agreement)
    return folder


@pytest.mark.parametrize(
    ("about", "agreement"),
    [("{}", "{}"), ("[]", "{}"), ('{"case_id": "C00"}', "[]"), ('{"files": 5}', "{}")],
)
def test_a_damaged_explanation_is_said(copied, tmp_path, about, agreement):
    folder = explanation(tmp_path / "maps", about, agreement)

    with pytest.raises(ModelError, match=r"^maps/explanation\.json.* is damaged"):
        page_of(copied, tmp_path, explanation=folder)


def test_the_explanation_of_another_case_is_refused(copied, tmp_path):
    folder = explanation(tmp_path / "maps", '{"case_id": "C01"}')

    with pytest.raises(ModelError, match=r"^maps explains C01, not C00"):
        write_case_report(copied, tmp_path / "x.html", "C00", explanation=folder)


def test_an_explanation_that_names_no_files_is_not_whole(tmp_path):
    assert read_result(explanation(tmp_path / "maps", '{"files": 5}')) is None


def test_trials_are_told_as_the_explanation_has_them(copied, tmp_path):
    """Those that are kept may be of a later one, which was stopped."""
    about = {
        "case_id": "C00",
        "probability": 0.5,
        "seen": "new",
        "cell_mm": [],
        "verdicts": {"randomisation": {"passed": True, "verdict": "It depends."}},
    }
    folder = explanation(tmp_path / "maps", json.dumps(about))
    (folder / "figure.png").write_bytes(b"")
    later = {"randomisation": {"passed": False, "verdict": "It does not."}}
    (folder / "checks.json").write_text(json.dumps(later))

    write_case_report(copied, tmp_path / "x.html", "C00", explanation=folder)

    page = (tmp_path / "x.html").read_text()
    assert "It depends." in page  # though its picture is missing
    assert "It does not." not in page
