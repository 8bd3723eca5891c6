"""The engine: the same network whether it was stopped or not, and its safeguards."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model_cases import TINY_PATCH_WIDTH
from napari_harm3.errors import TrainingError
from napari_harm3.models.registry import build_model
from napari_harm3.training import loop
from napari_harm3.training.config import RunConfig
from napari_harm3.training.cost import Stopwatch
from napari_harm3.training.events import EpochEvent, StepEvent
from napari_harm3.training.exchange import exchanged
from napari_harm3.training.loop import Engine
from napari_harm3.training.state import load_state, state_folders
from training_cases import made_up_item, tiny_run

CASES = [made_up_item(number) for number in range(9)]
INNER = [made_up_item(number) for number in range(20, 26)]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def engine_of(config, folder) -> Engine:
    torch.manual_seed(5)
    network = build_model(
        config.method,
        config.model,
        volume_size=config.inputs.mri.size,
        patch_width=TINY_PATCH_WIDTH,
    )
    return Engine(
        network,
        config,
        fold=1,
        patch_width=TINY_PATCH_WIDTH,
        device="cpu",
        folder=folder,
    )


def fitted(config, folder, inner=()) -> Engine:
    engine = engine_of(config, folder)
    for _ in engine.fit(CASES, inner):
        pass
    return engine


@pytest.mark.parametrize("method", ["c3d", "transmil", "m2fusion", "abmil"])
def test_networks_of_any_convolutions_are_fitted_and_saved(method, tmp_path):
    recipe = RunConfig.of(method, "small", epochs=1)
    config = replace(recipe, inputs=tiny_run().inputs)
    before = engine_of(config, tmp_path)._weights()

    after = fitted(config, tmp_path)._weights()

    assert not same(before, after)
    assert same(load_state(tmp_path, "cpu").network, after)


def same(one, other) -> bool:
    return set(one) == set(other) and all(torch.equal(one[n], other[n]) for n in one)


def test_four_epochs_equal_two_and_two_resumed_bit_for_bit(tmp_path):
    config = tiny_run(epochs=4)
    whole = fitted(config, tmp_path / "whole", INNER)
    begun = engine_of(config, tmp_path / "parts")
    for event in begun.fit(CASES, INNER):
        if isinstance(event, StepEvent) and (event.epoch, event.step) == (2, 2):
            break  # in the middle of the third epoch

    torch.manual_seed(99)  # what came before must not matter
    resumed = fitted(config, tmp_path / "parts", INNER)

    assert same(resumed._weights(), whole._weights())
    assert same(resumed.average, whole.average)
    assert same(resumed.final_weights(), whole.final_weights())
    assert resumed.progress == whole.progress


def test_a_resumed_fit_counts_the_seconds_of_all_its_sessions(tmp_path, monkeypatch):
    class TenSeconds(Stopwatch):
        seconds, cpu_seconds = 10.0, 3.0

    monkeypatch.setattr(loop, "Stopwatch", TenSeconds)
    config = tiny_run(epochs=4)
    for event in engine_of(config, tmp_path).fit(CASES, []):
        if isinstance(event, StepEvent) and event.epoch == 2:
            break  # what was begun of this epoch is made again

    progress = fitted(config, tmp_path).progress

    assert (progress.seconds, progress.cpu_seconds) == (40.0, 12.0)


def test_a_resumed_fit_asks_for_no_file_of_weights(tmp_path):
    asked = []
    for _ in range(2):
        engine = engine_of(tiny_run(), tmp_path)
        engine.network.load_pretrained = lambda: asked.append(1)
        list(engine.fit(CASES, []))

    assert asked == [1]


def test_an_evaluation_holds_no_more_cases_than_a_part_of_a_step(tmp_path):
    engine = engine_of(tiny_run(batch=8, accumulate=4), tmp_path)
    sizes = []
    engine.network.register_forward_pre_hook(
        lambda _, given: sizes.append(len(given[0].label))
    )

    logits = engine.logits(CASES)

    assert sizes == [2, 2, 2, 2, 1]
    assert len(logits) == len(CASES)


def test_whoever_listens_may_draw_numbers_without_changing_the_network(tmp_path):
    config = tiny_run()
    quiet = fitted(config, tmp_path / "quiet")
    engine = engine_of(config, tmp_path / "drawing")

    for _ in engine.fit(CASES, []):
        torch.rand(3)
        np.random.default_rng().random()

    assert same(engine._weights(), quiet._weights())


def test_every_step_and_epoch_is_told(tmp_path):
    engine = engine_of(tiny_run(), tmp_path)

    events = list(engine.fit(CASES, INNER))

    # Nine cases in batches of at most four: three steps an epoch.
    kinds = [type(event) for event in events]
    assert kinds == [StepEvent, StepEvent, StepEvent, EpochEvent] * 2
    assert all(np.isfinite(event.loss) for event in events[:3])
    assert events[-1].losses["loss"] > 0
    assert 0 <= events[-1].auc <= 1
    assert len(engine.progress.history) == 2
    row = engine.progress.history[-1]
    assert {"learning_rate", "bce", "active_units", "inner_auc_without_mri"} <= set(row)


def test_the_scale_of_the_features_is_that_of_the_training_patches(tmp_path):
    engine = fitted(tiny_run(epochs=1), tmp_path)

    patches = np.concatenate([item.features for item in CASES])
    weights = engine.final_weights()
    np.testing.assert_allclose(
        weights["pooling.scale.centre"], patches.mean(axis=0), rtol=1e-5
    )
    np.testing.assert_allclose(
        weights["pooling.scale.spread"], patches.std(axis=0), rtol=1e-5
    )


def test_features_far_from_zero_are_learned_from_as_well(tmp_path):
    config = tiny_run(epochs=1)
    near = fitted(config, tmp_path / "near").logits(INNER)
    moved = [replace(c, features=50 + 0.1 * c.features) for c in (*CASES, *INNER)]
    engine = engine_of(config, tmp_path / "far")
    for _ in engine.fit(moved[: len(CASES)], []):
        pass

    far = engine.logits(moved[len(CASES) :])

    np.testing.assert_allclose(far, near, atol=1e-2)


def test_it_learns_what_is_plain_to_see(tmp_path):
    config = tiny_run(epochs=8, learning_rate=1e-2)

    engine = fitted(config, tmp_path)

    logits = engine.logits(INNER)
    labels = np.array([item.case.pcr for item in INNER])
    assert logits[labels == 1].min() > logits[labels == 0].max()


def test_the_best_inner_epoch_is_kept_and_patience_ends_the_fit(tmp_path):
    config = tiny_run(epochs=40, learning_rate=1e-2, patience=2)

    engine = fitted(config, tmp_path, INNER)

    progress = engine.progress
    assert progress.epoch == progress.best_epoch + 3 < 40
    assert progress.best_auc == max(row["inner_auc"] for row in progress.history)
    assert same(engine.final_weights(), engine.best)


def test_without_an_average_the_last_weights_are_kept(tmp_path):
    engine = fitted(tiny_run(ema=0.0), tmp_path)

    assert same(engine.final_weights(), engine._weights())


def test_a_loss_that_is_no_number_stops_the_fold(tmp_path):
    spoiled = replace(CASES[3], mri=np.full_like(CASES[3].mri, np.nan))
    engine = engine_of(tiny_run(), tmp_path)

    with pytest.raises(TrainingError, match="fold 1 is no longer a number in epoch 1"):
        list(engine.fit([*CASES[:3], spoiled], []))


def test_a_step_in_parts_weighs_every_case_alike(tmp_path):
    config = tiny_run(epochs=1, batch=8, l1=1e-3)
    weights = []
    for count in (1, 2):
        training = replace(config.training, accumulate=count)
        engine = engine_of(replace(config, training=training), tmp_path / str(count))
        # Frozen: batch norm would take its statistics over a part, and the VAE
        # would draw other noise.
        engine.network.eval()
        engine.network.train = lambda *_, network=engine.network: network
        for _ in engine.fit(CASES, []):
            pass
        weights.append(engine._weights())

    for name, tensor in weights[0].items():
        # The first steps of Adam go by the gradient's sign, so a weight without
        # one may end up to two steps of 0.001 apart.
        assert (tensor - weights[1][name]).abs().max() < 4.1e-3, name
        close = (tensor - weights[1][name]).abs() < 1e-4
        assert close.float().mean() > 0.9, name


def test_the_last_two_states_are_kept_and_none_is_half_written(tmp_path):
    fitted(tiny_run(epochs=4), tmp_path)

    assert [path.name for path in state_folders(tmp_path)] == ["state-9", "state-12"]
    assert {path.name for path in tmp_path.iterdir()} == {"state-9", "state-12"}


def test_a_spoiled_state_is_one_line(tmp_path):
    fitted(tiny_run(), tmp_path)
    last = state_folders(tmp_path)[-1]
    (last / "optimizer.pt").write_bytes(b"not torch")

    with pytest.raises(TrainingError, match=r"state-6 cannot be read"):
        load_state(tmp_path, "cpu")


def test_without_an_input_each_case_is_shown_others_in_its_place():
    rounds = exchanged(CASES, "mri", seed=0)

    assert len(rounds) == 4
    for shown in rounds:
        for one, item in zip(CASES, shown, strict=True):
            assert item.case == one.case
            assert item.features is one.features
            assert item.mri is not one.mri
    assert exchanged(CASES, "", seed=0) == [CASES]
    assert exchanged(CASES[:1], "wsi", seed=0) == [CASES[:1]]


def test_in_a_table_sorted_by_label_the_others_are_of_either_label():
    cases = sorted(CASES * 4, key=lambda item: item.case.pcr)
    alike = []
    for shown in exchanged(cases, "mri", seed=0):
        assert len({id(item.mri) for item in shown}) == len(CASES)
        for item in shown:
            donor = next(one for one in CASES if one.mri is item.mri)
            alike.append(donor.case.pcr == item.case.pcr)

    assert np.mean(alike) == pytest.approx(0.5, abs=0.1)
