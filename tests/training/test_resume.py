"""A run that was stopped and resumed is the run that was not."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from napari_harm3.config import read_toml, write_toml
from napari_harm3.errors import ConfigError, Stopped, TrainingError
from napari_harm3.jobs.progress import result_of
from napari_harm3.jobs.training import train
from napari_harm3.models.checkpoint import WEIGHTS
from napari_harm3.training.config import RunConfig


@pytest.fixture
def config(run_config):
    return replace(run_config, training=replace(run_config.training, epochs=4))


def started(cohort, run, config, **options):
    return train(cohort, run=run, config=config, device="cpu", **options)


def stopped_after_an_epoch(job, run):
    for message in job:
        if message.data and message.data.get("kind") == "epoch":
            (run / "stop").touch()


def test_a_stopped_run_goes_on_to_the_same_weights(prepared_cohort, config, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    result_of(started(prepared_cohort, whole, config))
    with pytest.raises(Stopped):
        stopped_after_an_epoch(started(prepared_cohort, cut, config), cut)
    assert not (cut / "metrics.json").exists()

    result_of(started(prepared_cohort, cut, config, resume=True))

    for fold in ("fold-0", "fold-1"):
        one, other = (folder / fold / WEIGHTS for folder in (whole, cut))
        assert one.read_bytes() == other.read_bytes()
    assert (whole / "predictions.csv").read_text() == (
        cut / "predictions.csv"
    ).read_text()


def test_a_closed_job_stops_and_resumes_side_by_side(prepared_cohort, config, tmp_path):
    run = tmp_path / "run"
    job = started(prepared_cohort, run, config, jobs=2)
    for message in job:
        if message.data and message.data.get("kind") == "epoch":
            break
    job.close()

    result = result_of(started(prepared_cohort, run, config, jobs=2, resume=True))

    assert result["metrics"]["n"] == 10


def test_folds_side_by_side_make_the_same_run(
    prepared_cohort, run_config, run, tmp_path
):
    result_of(started(prepared_cohort, tmp_path / "two", run_config, jobs=2))

    def scores(folder):
        with (folder / "predictions.csv").open() as stream:
            return [float(row["probability"]) for row in csv.DictReader(stream)]

    np.testing.assert_allclose(scores(tmp_path / "two"), scores(run), atol=1e-5)


def test_another_configuration_is_refused_by_name(prepared_cohort, run, run_config):
    other = replace(run_config, seed=5)
    with pytest.raises(TrainingError, match="another seed"):
        result_of(started(prepared_cohort, run, other, resume=True))


def test_too_few_cases_are_refused_in_a_sentence(prepared_cohort, run_config, tmp_path):
    from napari_harm3.errors import CohortError

    with pytest.raises(CohortError, match="too few for 9 folds"):
        result_of(
            started(prepared_cohort, tmp_path / "r", replace(run_config, folds=9))
        )


def test_a_configuration_survives_its_file_and_refuses_strangers(tmp_path):
    config = RunConfig.of("harm3-paper", "full", seed=3)
    write_toml(tmp_path / "run.toml", config)

    assert read_toml(tmp_path / "run.toml", RunConfig) == config

    text = (tmp_path / "run.toml").read_text()
    (tmp_path / "run.toml").write_text(text.replace("folds = 5", "folds = 1\nfold = 2"))
    with pytest.raises(ConfigError, match=r"folds.*fold"):
        read_toml(tmp_path / "run.toml", RunConfig)


def test_the_papers_recipe_is_the_papers():
    training = RunConfig.of("harm3-paper", "full").training
    assert (training.learning_rate, training.weight_decay) == (1e-4, 1e-6)
    assert (training.epochs, training.batch) == (200, 8)
    assert training.l1 > 0
    assert not training.class_weights
    assert training.inner_fraction == 0
