"""The page of a run says what the run did, and nothing of where it was done."""

import shutil
from dataclasses import replace

import pytest

from napari_harm3.config import read_toml, write_toml
from napari_harm3.report.run_report import write_run_report
from napari_harm3.training.config import RunConfig


@pytest.fixture
def page(run, tmp_path):
    """Return the page of a run by secret weights, asked for more folds than it has."""
    copy = shutil.copytree(run, tmp_path / "run")
    config = read_toml(copy / "run.toml", RunConfig)
    encoder = replace(config.inputs.encoder, weights=tmp_path / "uni.safetensors")
    config = replace(config, folds=9, inputs=replace(config.inputs, encoder=encoder))
    write_toml(copy / "run.toml", config)
    write_run_report(copy, tmp_path / "report.html")
    return (tmp_path / "report.html").read_text()


def test_it_names_the_weights_and_not_their_folder(page, tmp_path):
    assert "uni.safetensors" in page
    assert str(tmp_path) not in page


def test_it_counts_the_folds_that_there_were(page, run):
    count = len([*run.glob("fold-*")])

    assert f"{count} folds by patient" in page
