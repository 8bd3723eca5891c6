"""Options: what they change of a file's recipe, and what they may not say."""

import pytest

from napari_harm3.config import changed, write_toml
from napari_harm3.jobs.progress import finished
from napari_harm3.training.config import RunConfig

TRAIN = ("train", "cohort.csv", "--out", "made")
TABLE = ("reproduce", "table1", "cohort.csv", "--out", "made")
PHANTOM = ("phantom", "made")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ((*TRAIN, "--folds", 1), "folds"),
        ((*TRAIN, "--folds", 99), "folds"),
        ((*TRAIN, "--epochs", 0), "epochs"),
        ((*TRAIN, "--seed", -1), "seed"),
        ((*TRAIN, "--repeats", 0), "repeats"),
        ((*TRAIN, "--jobs", 0), "--jobs"),
        ((*TABLE, "--folds", 1), "folds"),
        ((*TABLE, "--epochs", 0), "epochs"),
        ((*TABLE, "--seed", -1), "seed"),
        ((*TABLE, "--jobs", 0), "--jobs"),
        ((*TABLE, "--permutations", 0, "--sanity"), "--permutations"),
        ((*PHANTOM, "--cases", 0), "cases"),
        ((*PHANTOM, "--cases", -3), "cases"),
        ((*PHANTOM, "--cases", 1, "--missing", 2), "missing"),
        ((*PHANTOM, "--anatomy", "a", "--lesions", "b", "--seed", -1), "seed"),
        (("demo", "made", "--cases", 0), "cases"),
        (("demo", "made", "--seed", -1), "seed"),
        (("features", "a.tif", "--out", "made", "--batch", 0), "batch"),
        (("tissue", "a.tif", "--out", "made", "--patch", 3), "patch"),
    ],
)
def test_a_value_out_of_bounds_is_one_line_before_anything_is_made(
    harm3, tmp_path, monkeypatch, words, named
):
    monkeypatch.chdir(tmp_path)

    code, said, err = harm3(*words)

    assert (code, said["error"]["type"]) == (1, "ConfigError")
    assert err == f"harm3: {said['error']['message']}\n"
    assert named in err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def recipe(tmp_path):
    """Return a file that says something else than any registered recipe."""
    config = RunConfig.of("harm3", "full", seed=7, folds=3)
    training = changed(config.training, learning_rate=0.5, epochs=3)
    model = changed(config.model, dropout=0.4)
    patches = changed(config.inputs.patches, mpp=1.0)
    inputs = changed(config.inputs, patches=patches)
    config = changed(config, repeats=2, training=training, model=model, inputs=inputs)
    write_toml(tmp_path / "given.toml", config)
    return tmp_path / "given.toml", config


@pytest.fixture
def trained(harm3, monkeypatch):
    """Return the recipe that the words of a training ask for."""

    def asked(*words):
        configs = []

        def job(*_, config, **__):
            configs.append(config)
            yield finished("training", {"run": "made"})

        monkeypatch.setattr("napari_harm3.cli.train.train", job)
        assert harm3(*TRAIN, *words)[0] == 0
        return configs[0]

    return asked


@pytest.fixture
def compared(harm3, monkeypatch):
    """Return the recipes that the words of a table ask for, by method."""

    def asked(*words):
        configs = {}

        def job(_, request, **__):
            configs.update(request.configs)
            yield finished("reproduce", {"failed": {}})

        monkeypatch.setattr("napari_harm3.cli.reproduce.reproduce", job)
        assert harm3(*TABLE, *words)[0] == 0
        return configs

    return asked


def test_a_training_takes_everything_from_the_file(trained, recipe):
    path, config = recipe

    assert trained("--config", path) == config


def test_options_win_over_the_file(trained, recipe):
    path, config = recipe

    asked = trained("--config", path, "--folds", 4, "--epochs", 9, "--seed", 0)

    training = changed(config.training, epochs=9)
    assert asked == changed(config, folds=4, seed=0, training=training)


def test_another_method_brings_its_own_network_and_keeps_the_rest(trained, recipe):
    path, config = recipe

    asked = trained("--config", path, "--method", "c3d")

    model = RunConfig.of("c3d", "full").model
    assert asked == changed(config, method="c3d", model=model)


def test_a_method_of_the_same_network_keeps_what_the_file_says_of_it(trained, recipe):
    path, config = recipe

    asked = trained("--config", path, "--method", "harm3-no-ld-vae")

    model = changed(config.model, ld_vae=False)
    assert asked == changed(config, method="harm3-no-ld-vae", model=model)


def test_another_size_is_the_registered_one_with_what_the_file_says(trained, recipe):
    asked = trained("--config", recipe[0], "--size", "small")

    small = RunConfig.of("harm3", "small", seed=7, folds=3)
    patches = changed(small.inputs.patches, mpp=1.0)
    assert asked == changed(
        small,
        repeats=2,
        inputs=changed(small.inputs, patches=patches),
        model=changed(small.model, dropout=0.4),
        training=changed(small.training, learning_rate=0.5, epochs=3),
    )


def test_a_table_takes_everything_from_the_file(compared, recipe):
    path, config = recipe

    configs = compared("--config", path)

    assert len(configs) > 10
    assert configs["harm3"] == config
    for name, one in configs.items():
        assert (one.method, one.size) == (name, "full")
        assert (one.folds, one.repeats, one.seed) == (3, 2, 7)
        assert one.inputs == config.inputs
        assert (one.training.learning_rate, one.training.epochs) == (0.5, 3)


def test_a_tables_options_win_over_the_file(compared, recipe):
    configs = compared("--config", recipe[0], "--repeats", 1, "--epochs", 2, "--beyond")

    told = {(c.folds, c.repeats, c.seed, c.training.epochs) for c in configs.values()}
    assert told == {(3, 1, 7, 2)}
    assert not configs["harm3-paper"].training.class_weights  # its own recipe's


@pytest.mark.parametrize("budget", ["matched", "native"])
def test_a_table_without_a_file_is_of_registered_recipes(compared, budget):
    configs = compared("--size", "small", "--beyond", "--budget", budget)

    assert configs == {
        name: RunConfig.of(name, "small", budget=budget) for name in configs
    }
