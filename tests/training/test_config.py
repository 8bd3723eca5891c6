"""The recipes: what the paper says to the letter, and ours."""

import subprocess
import sys
from dataclasses import replace

import pytest
from pydantic import ValidationError

from napari_harm3.config import read_toml, write_toml
from napari_harm3.errors import ConfigError
from napari_harm3.training.config import RunConfig, TrainingConfig


@pytest.mark.parametrize("size", ["small", "full"])
def test_the_papers_recipe_is_kept_to_the_letter_at_every_size(size):
    recipe = RunConfig.of("harm3-paper", size).training

    assert recipe.learning_rate == 1e-4
    assert recipe.weight_decay == recipe.l1 == 1e-6
    assert (recipe.batch, recipe.epochs) == (8, 200)
    assert not recipe.class_weights
    assert recipe.inner_fraction == recipe.ema == 0


def test_our_recipe_weighs_classes_and_keeps_an_inner_part():
    recipe = RunConfig.of("harm3", "full").training

    assert recipe.class_weights
    assert recipe.inner_fraction == 0.125
    assert recipe.inner_least == 10


def test_a_recipe_comes_back_from_toml_as_it_was(tmp_path):
    config = RunConfig.of("harm3", "small", seed=3, folds=4, epochs=7)

    write_toml(tmp_path / "run.toml", config)

    assert read_toml(tmp_path / "run.toml", RunConfig) == config
    assert (config.seed, config.folds, config.training.epochs) == (3, 4, 7)


@pytest.mark.parametrize(
    ("field", "value"),
    [("batch", 1), ("epochs", 0), ("inner_fraction", 0.9), ("ema", 1.0)],
)
def test_what_is_out_of_bounds_is_refused(field, value):
    with pytest.raises(ValidationError, match=field):
        TrainingConfig(**{field: value})


@pytest.mark.parametrize("shares", [(0.0, 0.0), (0.9, 0.1)])
def test_patches_that_are_kept_are_some_and_in_order(shares):
    with pytest.raises(ValidationError, match=r"patch_keep[\s\S]*leaves no patches"):
        TrainingConfig(patch_keep=shares)

    assert TrainingConfig(patch_keep=(0.0, 0.5)).patch_keep == (0.0, 0.5)
    assert TrainingConfig(patch_keep=(1.0, 1.0)).patch_keep == (1.0, 1.0)


def test_an_unknown_method_is_said():
    with pytest.raises(ConfigError, match="no method 'harm4'"):
        RunConfig.of("harm4", "small")


def test_two_recipes_may_differ_in_one_field_only():
    config = RunConfig.of("harm3", "small")

    other = replace(config, training=replace(config.training, epochs=1))

    assert other.training.learning_rate == config.training.learning_rate


def test_the_configuration_loads_no_torch():
    code = "import sys, napari_harm3.training.config; assert 'torch' not in sys.modules"

    done = subprocess.run([sys.executable, "-c", code], check=False)

    assert done.returncode == 0
