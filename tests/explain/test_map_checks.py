"""The trials as they are told: a broken map fails, whatever the network."""

import copy
import json

import numpy as np
import pytest
import torch

from model_cases import TINY_VOLUME, case_batch, tiny_config
from napari_harm3.cohort.case import ROLES
from napari_harm3.explain.cells import equal_shares
from napari_harm3.explain.checks import maps_of, randomisation, trial
from napari_harm3.explain.config import ExplainConfig
from napari_harm3.explain.ensemble import Ensemble
from napari_harm3.explain.other_maps import CoarseMap
from napari_harm3.models.harm3.network import Harm3
from napari_harm3.models.interface import Prediction


@pytest.fixture(scope="module")
def networks():
    """Return two networks that have learned that bright volumes reach pCR."""
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = Harm3(
            tiny_config(base_channels=4, output_stride=(1, 4, 4)),
            volume_size=TINY_VOLUME,
            patch_width=6,
        )
        batch = case_batch(8)
        bright = torch.arange(8) % 2
        batch.mri.add_(3 * bright[:, None, None, None, None, None, None])
        steps = torch.optim.Adam(network.parameters(), lr=3e-3)
        for _ in range(15):
            steps.zero_grad()
            logit = network(batch).logit
            torch.nn.functional.binary_cross_entropy_with_logits(
                logit, bright.float()
            ).backward()
            steps.step()
        found.append(network.eval())
    return found


def brightness(_, batch):
    """A broken map: the picture itself, that no weight has a say in."""
    volumes = batch.mri[:, :, :, 0].flatten(1, 2).double().numpy()
    return {role: volumes[:, number] for number, role in enumerate(ROLES)}


def found_by(steps):
    *before, last = steps
    assert all(step.found is None for step in before)
    assert [step.step for step in before] == list(range(1, len(before) + 1))
    assert all(step.of == before[0].of for step in before)
    return last.found


def test_a_map_of_the_picture_fails(networks):
    found = found_by(randomisation(networks, case_batch(1), brightness))

    assert found["passed"] is False
    assert "do not read it as evidence" in found["verdict"]
    assert found["stages"][-1]["rank_correlation"] == pytest.approx(1)


def test_grad_cam_of_a_trained_network_is_another_map_without_its_weights(networks):
    maker = maps_of(ExplainConfig())

    found = found_by(randomisation(networks, case_batch(1), maker))

    last = found["stages"][-1]["rank_correlation"]
    assert found["passed"] is (last < found["limit"]) is True
    assert found["control"]["passed"] is False
    assert found["control"]["map"] == "edges of the input"
    assert len(found["control"]["stages"]) == 1
    assert found["repeatability"] == 0
    assert found["between_folds"]["rank_correlation"] < 0.99
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_every_map_that_is_made_is_a_step(networks):
    """So that whoever waits sees the bar move, and can stop it, to the end."""
    made, silent, told = [], [], []

    def counted(network, batch):
        made.append(network)
        return brightness(network, batch)

    for step in randomisation(networks, case_batch(1), counted):
        told.append((step.step, step.of))
        silent.append(len(made))
        made.clear()

    assert told == [(n, len(told)) for n in range(1, len(told) + 1)]
    assert max(silent) <= len(networks) + 1


@pytest.mark.parametrize(("folds", "passed", "rank"), [(1, None, None), (2, False, 1)])
def test_a_fold_whose_map_vanishes_has_no_say(networks, folds, passed, rank):
    """A picture in both folds, but the first one's is gone without its weights."""
    one, other = map(copy.deepcopy, networks)
    one.fades, other.fades = True, False

    def fading(network, batch):
        gone = network.fades and network is not one
        return {r: m * (not gone) for r, m in brightness(network, batch).items()}

    found = found_by(randomisation([one, other][:folds], case_batch(1), fading))

    assert found["passed"] is passed
    assert found["stages"][-1]["rank_correlation"] == rank
    assert found["stages"][-1]["vanished"] == 1 / folds
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_there_is_nothing_to_try_in_flat_maps(networks):
    def flat(_, batch):
        return {"t1_pre": np.ones((len(batch.mri), 2, 2, 2))}

    cascade = found_by(randomisation(networks[:1], case_batch(1), flat))
    needed = found_by(trial(networks[0], case_batch(1), of_t1(np.ones((2, 2, 2)))))

    assert (cascade["passed"], cascade["stages"]) == (None, [])
    assert cascade["between_folds"] is None
    assert "flat" in cascade["verdict"]
    assert "flat" in needed["not_applicable"]


def of_t1(cam):
    """Return a map of equal shares of the volume."""
    centres = equal_shares(cam.shape, TINY_VOLUME)
    return {"t1_pre": CoarseMap(array=cam, centres=centres)}


class OneCube(torch.nn.Module):
    """Its logit is the brightness of one cube."""

    def forward(self, batch):
        return Prediction(logit=batch.mri[:, 0, 0, 0, :1, :4, :4].mean(dim=(1, 2, 3)))


def test_what_the_network_needs_is_told_from_what_it_does_not():
    batch = case_batch(1)
    batch.mri.fill_(-1.0)
    batch.mri[0, 0, 0, 0, :1, :4, :4] = 5
    away = np.indices((4, 4, 4)).sum(axis=0)
    right = np.exp(-away.astype(float))
    network = Ensemble([OneCube()])

    good = found_by(trial(network, batch, of_t1(right)))
    bad = found_by(trial(network, batch, of_t1(np.flip(right).copy())))

    assert good["passed"] is True
    assert "needs what the map points to" in good["verdict"]
    assert bad["passed"] is False
    assert good["deletion"]["area"] > bad["deletion"]["area"]


def test_an_ensemble_answers_with_the_mean_of_its_logits(networks):
    batch = case_batch(2)
    with torch.no_grad():
        one, other = (network(batch).logit for network in networks)
        mean = Ensemble(networks)(batch).logit
        against = Ensemble(networks, target="non-pcr")(batch).logit

    torch.testing.assert_close(mean, (one + other) / 2)
    torch.testing.assert_close(against, -mean)
