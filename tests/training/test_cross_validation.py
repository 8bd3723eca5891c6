"""What a cross-validation leaves behind, and what it refuses."""

import csv
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from napari_harm3.errors import FeatureError, ModelError, Stopped, TrainingError
from napari_harm3.training.config import RunConfig
from napari_harm3.training.cross_validation import (
    check_distinct,
    cross_validate,
    trainable,
)
from napari_harm3.training.fold import (
    _held_out,
    fitted_temperature,
    youden_threshold,
)
from napari_harm3.training.run import check_cases, evaluate_run, open_run
from training_cases import (
    cohort_of,
    made_up_case,
    made_up_item,
    prepared_on_disk,
    tiny_run,
    write_bag,
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    return [prepared_on_disk(folder, number) for number in range(12)]


def events_of(prepared, config, run, *extra, resume=False):
    open_run(run, config, resume=resume)
    return cross_validate(
        cohort_of(prepared, *extra), prepared, config, run, device="cpu"
    )


def about(run, fold):
    return json.loads((run / f"fold-{fold}" / "best.json").read_text())


@pytest.fixture(scope="module")
def trained(prepared, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "run"
    extra = [
        made_up_case(20, slides=(), slide_mpp=()),
        made_up_case(21, pcr=None),
        made_up_case(22, split="test"),
    ]
    return run, list(events_of(prepared, tiny_run(folds=3), run, *extra))


def test_incomplete_unlabelled_and_test_cases_are_left_out_by_name(trained):
    _, events = trained

    told = [event["text"] for event in events if event["kind"] == "left_out"]

    assert told == [
        "C20 lacks wsi",
        "C21 has no label",
        "C22 belongs to the test split",
    ]
    assert set(events[-1]["metrics"]["left_out"]) == {"C20", "C21", "C22"}


def test_every_case_is_predicted_once_by_the_fold_that_held_it_out(trained, prepared):
    run, _ = trained
    with (run / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    with (run / "folds.csv").open(newline="") as stream:
        folds = {row["case_id"]: row["fold"] for row in csv.DictReader(stream)}

    assert list(rows[0]) == ["case_id", "fold", "pcr", "probability", "threshold"]
    assert {row["case_id"]: row["fold"] for row in rows} == folds
    assert len(rows) == len(prepared) == len(folds)
    for row in rows:
        one = next(p for p in prepared if p.case.case_id == row["case_id"])
        said = about(run, int(row["fold"]))
        assert set(one.sources.values()) <= set(said["held_out"])
        assert not set(one.sources.values()) & set(said["fitted_on"])


def test_a_folds_json_says_what_it_was_made_of(trained):
    said = about(trained[0], 1)

    assert said["trained_on"] == "phantom"
    assert said["made_up"] is True
    assert said["label"]["positive"] == "pCR"
    assert said["config"]["training"]["epochs"] == 2
    assert said["features"]["encoder"] == "made up"
    assert said["versions"]["torch"]
    assert (said["threshold"], said["temperature"]) == (0.5, 1.0)
    assert "fewer than 10" in said["inner_note"]
    assert said["metrics"]["auc"] == said["auc"]


def test_the_log_has_a_row_an_epoch_and_the_events_a_line_each(trained):
    run, _ = trained
    with (run / "fold-0" / "log.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))

    lines = [json.loads(t) for t in (run / "events.jsonl").read_text().splitlines()]

    assert [row["epoch"] for row in rows] == ["0", "1"]
    kinds = [line["kind"] for line in lines]
    assert kinds.count("epoch") == 6
    assert kinds.count("fold") == 3
    assert kinds[-1] == "done"
    epoch = next(line for line in lines if line["kind"] == "epoch")
    assert {"time", "fold", "epoch", "epochs", "loss", "auc"} <= set(epoch)
    assert np.isfinite(epoch["loss"])


def test_no_file_names_this_machine(trained):
    run, _ = trained

    for name in ("environment.json", "MODEL_CARD.md", "metrics.json", "run.toml"):
        assert str(run.parent) not in (run / name).read_text()


def test_the_stored_predictions_give_the_stored_metrics_again(trained):
    run, events = trained

    again = evaluate_run(run)

    stored = events[-1]["metrics"]
    assert {**again, "left_out": stored["left_out"]} == stored


def test_a_large_inner_part_gives_threshold_and_temperature(prepared, tmp_path):
    config = tiny_run(inner_fraction=0.5, inner_least=1)

    list(events_of(prepared, config, tmp_path / "run"))

    said = about(tmp_path / "run", 0)
    assert said["inner_cases"] == 4  # half of the three of each class, rounded up
    assert said["inner_note"] == ""
    assert said["temperature"] != 1.0
    assert said["best_epoch"] >= 0


def test_a_stop_file_ends_it_between_two_steps_and_says_so(prepared, tmp_path):
    run = tmp_path / "run"
    events = events_of(prepared, tiny_run(), run)
    while next(events)["kind"] != "step":
        pass

    (run / "stop").touch()
    with pytest.raises(Stopped):
        next(events)

    lines = (run / "events.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["kind"] == "stopped"
    assert not (run / "predictions.csv").exists()
    with pytest.raises(ModelError, match="train it to its end"):
        evaluate_run(run)


def test_a_cohort_that_changed_is_not_resumed(prepared, tmp_path):
    run, config = tmp_path / "run", tiny_run(epochs=1)
    list(events_of(prepared, config, run))

    with pytest.raises(TrainingError, match="other cases or folds"):
        list(events_of(prepared[:-2], config, run, resume=True))


def test_a_run_is_not_begun_twice_nor_gone_on_with_as_another(prepared, tmp_path):
    run = tmp_path / "run"
    open_run(run, tiny_run(), resume=False)

    with pytest.raises(TrainingError, match="add --resume"):
        open_run(run, tiny_run(), resume=False)
    with pytest.raises(TrainingError, match=r"another training\.epochs"):
        open_run(run, tiny_run(epochs=9), resume=True)


def test_features_of_two_widths_are_refused_by_name(prepared, tmp_path):
    other = tmp_path / "wide.h5"
    write_bag(other, np.ones((4, 7)))
    mixed = [*prepared[:-1], replace(prepared[-1], bags=(other,))]

    with pytest.raises(FeatureError, match=r"C00\.h5 and wide\.h5 .* features a patch"):
        list(events_of(mixed, tiny_run(), tmp_path / "run"))


def test_the_cases_of_one_patient_may_share_a_biopsy(prepared, tmp_path):
    shared = dict(prepared[2].sources) | {"wsi": prepared[0].sources["wsi"]}
    strangers = [*prepared[:2], replace(prepared[2], sources=shared), *prepared[3:]]
    patient = {"patient_id": "P1"}
    siblings = [
        replace(one, case=replace(one.case, extra=patient)) if n in (0, 2) else one
        for n, one in enumerate(strangers)
    ]

    with pytest.raises(TrainingError, match=r"C00 \(wsi\) and C02 \(wsi\)"):
        check_distinct(strangers)
    check_distinct(siblings)
    repacked = replace(prepared[3], contents={"t1_pre": "the voxels"})
    other = replace(prepared[4], contents={"t1_pre": "the voxels"})
    with pytest.raises(TrainingError, match=r"C03 .* and C04 .* the same image"):
        check_distinct([repacked, other])


def test_the_majority_of_a_balanced_cohort_is_a_coin(prepared, tmp_path):
    config = replace(RunConfig.of("majority", "small"), folds=2)

    events = list(events_of(prepared, config, tmp_path / "run"))

    assert events[-1]["metrics"]["auc"]["mean"] == 0.5
    assert not (tmp_path / "run" / "fold-0" / "log.csv").exists()


def test_a_fold_whose_weights_were_cut_is_trained_anew(prepared, tmp_path):
    run, config = tmp_path / "run", tiny_run(epochs=1)
    list(events_of(prepared, config, run))
    weights = run / "fold-1" / "best.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])

    events = list(events_of(prepared, config, run, resume=True))

    told = {e["fold"]: e["text"] for e in events if e["kind"] == "fold"}
    assert told == {0: "already finished", 1: "fold 1 finished"}
    assert weights.read_bytes() == whole


def test_damaged_files_of_a_run_are_said_by_name(prepared, tmp_path):
    run, config = tmp_path / "run", tiny_run(epochs=1)
    list(events_of(prepared, config, run))
    said = about(run, 1)
    (run / "fold-1" / "best.json").write_text(json.dumps(said | {"predictions": 5}))

    with pytest.raises(ModelError, match=r"run/fold-1/best\.json has no good predict"):
        list(events_of(prepared, config, run, resume=True))
    (run / "folds.csv").write_bytes(b"\xff")
    with pytest.raises(TrainingError, match="other cases or folds"):
        list(events_of(prepared, config, run, resume=True))
    with pytest.raises(ModelError, match=r"run/folds\.csv cannot be read"):
        check_cases(run, ["C00"])


def test_features_made_in_two_ways_are_refused(prepared, tmp_path):
    other = tmp_path / "other.h5"
    write_bag(other, np.ones((4, 6)), encoder="another")
    mixed = [*prepared[:-1], replace(prepared[-1], bags=(other,))]

    with pytest.raises(FeatureError, match=r"other\.h5 were made with different enc"):
        list(events_of(mixed, tiny_run(), tmp_path / "run"))


def test_nothing_to_train_on_is_said(tmp_path):
    with pytest.raises(
        TrainingError, match="No case has a label and all that harm3 needs"
    ):
        list(events_of([], tiny_run(), tmp_path / "run"))


def test_repeats_draw_other_folds(prepared, tmp_path):
    config = replace(tiny_run(epochs=1), repeats=2)

    events = list(events_of(prepared, config, tmp_path / "run"))

    assert events[-1]["metrics"]["n"] == 12
    assert "12 **made-up" in (tmp_path / "run" / "MODEL_CARD.md").read_text()
    held_out = [set(about(tmp_path / "run", fold)["held_out"]) for fold in range(4)]
    assert held_out[0] not in held_out[2:]


def test_only_complete_labelled_cases_are_trainable(prepared):
    cohort = cohort_of(prepared, made_up_case(30, volumes={}))

    cases, left_out = trainable(cohort, tiny_run())

    assert len(cases) == 12
    assert left_out == {"C30": "lacks t1_pre, t1_post, t2_pre, t2_post"}


def test_the_threshold_parts_the_classes_best():
    label = np.array([0, 0, 0, 1, 1])
    score = np.array([0.1, 0.2, 0.3, 0.35, 0.9])

    assert youden_threshold(label, score) == pytest.approx(0.325)


def test_the_temperature_cools_what_is_too_sure():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 4000)
    label = (rng.random(4000) < 1 / (1 + np.exp(-logits))).astype(int)

    assert fitted_temperature(label, 3 * logits) == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize("cases", [8, 24, 60])
@pytest.mark.parametrize("size", [0.5, 2.0, 10.0])
def test_an_inner_part_without_a_fault_makes_no_fold_sure_of_all(cases, size):
    label = np.arange(cases) % 2
    logits = size * (2.0 * label - 1)

    found = fitted_temperature(label, logits)

    assert 0.1 < found < 1.001
    assert np.abs(logits / found).max() < size + 3


def test_cases_keep_their_order_where_probabilities_have_none():
    logits = np.array([40.0, 60.0, 50.0, 70.0])
    engine = SimpleNamespace(
        logits=lambda cases, **_: logits, config=RunConfig.of("c3d", "small")
    )

    said = _held_out(engine, [made_up_item(number) for number in range(4)], 1.0)

    assert {row["probability"] for row in said["predictions"]} == {1.0}
    assert (said["auc"], said["metrics"]["auc"], said["metrics"]["ap"]) == (1, 1, 1)
