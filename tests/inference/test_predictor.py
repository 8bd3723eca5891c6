"""A trained model, asked."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_harm3 import artifacts
from napari_harm3.config import read_toml, write_toml
from napari_harm3.errors import FeatureError, ModelError
from napari_harm3.explain.answer import answer
from napari_harm3.explain.config import ExplainConfig
from napari_harm3.inference.export import export_model
from napari_harm3.inference.predictor import Predictor, check_features
from napari_harm3.training.config import RunConfig
from napari_harm3.training.cross_validation import cross_validate
from napari_harm3.training.run import open_run
from training_cases import cohort_of, prepared_on_disk, tiny_run, write_bag

CONFIG = tiny_run(epochs=1, folds=3)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    return [prepared_on_disk(folder, number) for number in range(9)]


@pytest.fixture(scope="module")
def run(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    open_run(folder, CONFIG, resume=False)
    list(cross_validate(cohort_of(prepared), prepared, CONFIG, folder, device="cpu"))
    return folder


def copied(run, tmp_path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "model"))


def rewritten(path, **changes):
    about = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in about.items() if v is not None}))


def held_out_rows(run) -> dict[str, tuple[int, float]]:
    return {
        row["case_id"]: (fold, row["probability"])
        for fold in range(3)
        for row in json.loads((run / f"fold-{fold}" / "best.json").read_text())[
            "predictions"
        ]
    }


def test_a_known_case_is_asked_of_the_fold_that_held_it_out(run, prepared):
    predictor, rows = Predictor.load(run, "cpu"), held_out_rows(run)

    for one in prepared:
        fold, probability = rows[one.case.case_id]
        sight = predictor.sight(one.sources.values())
        assert (sight.folds, sight.seen) == ((fold,), "held-out")
        asked = predictor.probability(predictor.batch(one), sight.folds)
        assert asked == pytest.approx(probability, abs=1e-6)


def test_one_known_file_gives_a_case_away(run, prepared):
    predictor = Predictor.load(run, "cpu")

    sight = predictor.sight(["never seen", prepared[0].sources["t2_post"]])

    assert sight.seen == "held-out"
    assert predictor.sight(["never seen"]).seen == "new"
    assert predictor.sight(["never seen"]).folds == (0, 1, 2)


def test_files_of_every_fold_are_in_training(run, prepared):
    predictor = Predictor.load(run, "cpu")

    sight = predictor.sight(
        source for one in prepared for source in one.sources.values()
    )

    assert sight.seen == "in-training"


def test_a_new_case_is_answered_by_the_mean_of_the_folds_logits(run, tmp_path):
    predictor, new = Predictor.load(run, "cpu"), prepared_on_disk(tmp_path, 40)
    batch = predictor.batch(new)
    logits = [
        np.log(p / (1 - p))
        for f in (0, 1, 2)
        if (p := predictor.probability(batch, [f]))
    ]

    asked = predictor.probability(batch, (0, 1, 2))

    assert asked == pytest.approx(1 / (1 + np.exp(-np.mean(logits))), abs=1e-6)


def test_logits_are_divided_by_the_folds_temperature(run, prepared, tmp_path):
    model = copied(run, tmp_path)
    rewritten(model / "fold-0" / "best.json", temperature=2.0)
    cool, warm = Predictor.load(model, "cpu"), Predictor.load(run, "cpu")
    batch = warm.batch(prepared[0])

    p, q = (one.probability(batch, [0]) for one in (warm, cool))

    assert np.log(q / (1 - q)) == pytest.approx(np.log(p / (1 - p)) / 2, abs=1e-6)


def test_a_fold_that_is_too_sure_has_no_louder_say_in_the_maps(run, prepared, tmp_path):
    """As in the answer: the folds' mean map is the map of their mean logit."""
    model = copied(run, tmp_path)
    rewritten(model / "fold-0" / "best.json", temperature=10.0)
    predictors = [Predictor.load(one, "cpu") for one in (run, model)]
    batch = predictors[0].batch(prepared[0])
    config = ExplainConfig(target="contrast")

    loud, quiet = (answer(one.network(0), batch, config) for one in predictors)

    assert quiet.heat.prediction.logit.item() == pytest.approx(
        loud.heat.prediction.logit.item() / 10
    )
    kind, attention = "gradient_attention", "attention"
    np.testing.assert_allclose(quiet.slide[kind], loud.slide[kind] / 10, rtol=1e-4)
    np.testing.assert_array_equal(quiet.slide[attention], loud.slide[attention])
    for role, one in loud.heat.maps.items():
        assert one.any()
        np.testing.assert_allclose(
            quiet.heat.maps[role], one / 10, atol=1e-4 * np.abs(one).max()
        )


def test_it_says_where_it_comes_from_and_what_it_needs(run):
    predictor = Predictor.load(run, "cpu")

    assert (predictor.trained_on, predictor.made_up) == ("phantom", True)
    assert predictor.requires == ("t1_pre", "t1_post", "t2_pre", "t2_post", "wsi")
    assert predictor.folds == [0, 1, 2]
    assert predictor.threshold(predictor.folds) == 0.5
    assert predictor.inputs == CONFIG.inputs


@pytest.mark.parametrize("key", ["encoder", "weights_sha256", "rule", "patch_mpp"])
def test_features_of_another_kind_are_refused_and_both_named(run, prepared, key):
    said = {"encoder": "a", "weights_sha256": "b", "rule": "c", "patch_mpp": 0.5}

    with pytest.raises(FeatureError, match=rf"slide\.h5.*{key} other.*{said[key]}"):
        check_features("slide.h5", said | {key: "other"}, said)


def test_a_bag_of_another_encoder_is_not_predicted(run, prepared, tmp_path):
    write_bag(tmp_path / "other.h5", np.ones((4, 6)), encoder="another")
    write_bag(tmp_path / "wide.h5", np.ones((4, 9)))
    predictor = Predictor.load(run, "cpu")

    with pytest.raises(FeatureError, match="encoder another"):
        predictor.batch(replace(prepared[0], bags=(tmp_path / "other.h5",)))
    with pytest.raises(FeatureError, match="has 9 features a patch"):
        predictor.batch(replace(prepared[0], bags=(tmp_path / "wide.h5",)))


def asked(model, one) -> float:
    predictor = Predictor.load(model, "cpu")
    return predictor.probability(predictor.batch(one), predictor.folds)


def spoil_weights(model):
    path = model / "fold-1" / "best.safetensors"
    content = path.read_bytes()
    path.write_bytes(
        content[:-1] + bytes([content[-1] ^ 1])
    )  # another, whatever it was


def truncate_json(model):
    path = model / "fold-1" / "best.json"
    path.write_text(path.read_text()[:40])


def drop_key(model):
    rewritten(model / "fold-1" / "best.json", temperature=None)


def spoil_key(model):
    rewritten(model / "fold-1" / "best.json", threshold="high")


def cool_to_zero(model):
    rewritten(model / "fold-1" / "best.json", temperature=0)


def cool_below_zero(model):
    rewritten(model / "fold-1" / "best.json", temperature=-1.5)


def narrow_patches(model):
    rewritten(model / "fold-1" / "best.json", patch_width=0)


def nest_sources(model):
    rewritten(model / "fold-1" / "best.json", fitted_on=[[1]])


def drop_recipe(model):
    (model / "run.toml").unlink()


def spoil_recipe(model):
    (model / "run.toml").write_text("folds = 'many'")


def drop_folds(model):
    for folder in model.glob("fold-*"):
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_weights, "best.safetensors is not the file that was saved"),
        (truncate_json, "best.json cannot be read"),
        (drop_key, "lacks 'temperature'"),
        (spoil_key, "has no good 'threshold'"),
        (cool_to_zero, "has no good 'temperature'"),
        (cool_below_zero, "has no good 'temperature'"),
        (narrow_patches, "has no good 'patch_width'"),
        (nest_sources, "has no good 'fitted_on'"),
        (drop_recipe, "model is no model"),
        (spoil_recipe, "folds"),
        (drop_folds, "no finished fold"),
    ],
)
def test_an_unreadable_model_is_one_line(run, prepared, tmp_path, spoil, said):
    model = copied(run, tmp_path)
    spoil(model)

    with pytest.raises(ModelError, match=said) as caught:
        asked(model, prepared[0])

    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_an_exported_model_predicts_the_same_and_names_nobody(run, prepared, tmp_path):
    out = tmp_path / "given"

    export_model(run, out)

    original, given = Predictor.load(run, "cpu"), Predictor.load(out, "cpu")
    for one in prepared[:2]:
        sight = given.sight(one.sources.values())
        assert sight == original.sight(one.sources.values())
        assert given.probability(given.batch(one), sight.folds) == pytest.approx(
            original.probability(original.batch(one), sight.folds)
        )
    for path in out.rglob("*"):
        if path.suffix in (".json", ".toml", ".md", ".csv"):
            assert not any(one.case.case_id in path.read_text() for one in prepared)
    assert json.loads((out / "model.json").read_text())["folds"] == [0, 1, 2]


def test_exported_weights_reach_the_disk_before_they_have_their_name(
    run, tmp_path, monkeypatch
):
    synced, sync = [], artifacts._sync
    monkeypatch.setattr(
        artifacts,
        "_sync",
        lambda path, way: synced.append(path.name) or sync(path, way),
    )

    export_model(run, tmp_path / "given")

    assert sum(name.endswith("-best.safetensors") for name in synced) == 3


def test_an_exported_model_carries_no_path_of_this_machine(run, tmp_path):
    model = copied(run, tmp_path)
    encoder = replace(CONFIG.inputs.encoder, weights=tmp_path / "encoder.safetensors")
    inputs = replace(CONFIG.inputs, encoder=encoder)
    write_toml(model / "run.toml", replace(CONFIG, inputs=inputs))

    export_model(model, tmp_path / "given")

    config = read_toml(tmp_path / "given" / "run.toml", RunConfig)
    assert config.inputs.encoder.weights == Path("encoder.safetensors")


def test_a_folder_that_holds_something_is_not_exported_into(run, tmp_path):
    (tmp_path / "mine.txt").write_text("kept")

    with pytest.raises(ModelError, match="not empty"):
        export_model(run, tmp_path)

    assert (tmp_path / "mine.txt").read_text() == "kept"


def test_weights_that_were_changed_are_not_given_away(run, tmp_path):
    model = copied(run, tmp_path)
    spoil_weights(model)

    with pytest.raises(ModelError, match=r"fold-1/best\.safetensors is not the file"):
        export_model(model, tmp_path / "given")

    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_model_is_exported_into_the_folder_that_one_stands_in(
    run, tmp_path, monkeypatch
):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    export_model(run.resolve(), Path())

    assert Predictor.load(here, "cpu").folds == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
    assert Path.cwd() == here


def test_a_case_whose_slides_show_nothing_is_not_answered_without(run, prepared):
    predictor = Predictor.load(run, "cpu")
    case = prepared[0].case.with_bare_slides()

    with pytest.raises(ModelError, match=r"C00 lacks wsi.*no patch of C00\.tif shows"):
        predictor.batch(replace(prepared[0], case=case, bags=()))


def test_a_model_that_is_told_where_the_lesion_is_cannot_be_asked(
    run, prepared, tmp_path
):
    model = copied(run, tmp_path)
    config = read_toml(model / "run.toml", RunConfig)
    mri = replace(config.inputs.mri, crop="annotation")
    write_toml(
        model / "run.toml",
        replace(config, inputs=replace(config.inputs, mri=mri)),
    )

    with pytest.raises(ModelError, match=r"cropped around the\s+annotation"):
        Predictor.load(model, "cpu").batch(prepared[0])
