"""A map of the weights passes, a map of the input fails."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from model_cases import TINY_VOLUME, case_batch, tiny_config
from napari_harm3.explain.gradcam import heat_maps
from napari_harm3.explain.sanity import (
    edge_maps,
    judged,
    last_to_first,
    likeness,
    randomise,
    rank_correlation,
    repeatability,
    seed_likeness,
    shared,
    stages,
)
from napari_harm3.models.harm3.network import Harm3


def cascade(*asked, **choices):
    """Return the verdict on all stages."""
    return judged(tuple(stages(*asked, **choices)))


def grad_cam(network, batch):
    return heat_maps(network, batch)[1]


def network(seed=0, **fields):
    torch.manual_seed(seed)
    made = Harm3(
        tiny_config(base_channels=4, output_stride=(1, 4, 4), **fields),
        volume_size=TINY_VOLUME,
        patch_width=6,
    )
    return made.eval()


def first_layer_maps(model, batch):
    """A map that the first layer alone decides: it needs no other weight."""
    stem = model.encoders[0].stem if hasattr(model.encoders[0], "stem") else None
    stem = stem or model.encoders[0][0].stem
    with torch.no_grad():
        out = stem(batch.mri[:, 0, 0]).mean(dim=1)
    return {"t1_pre": out.numpy()}


def test_grad_cam_depends_on_the_weights():
    found = cascade(network(), case_batch(4), grad_cam, most_stages=8)

    assert found.passed
    assert "depends" in found.verdict
    assert found.stages[-1].likeness.rank_correlation < 0.5
    assert found.stages[-1].likeness.shared < 0.9


def test_a_map_of_the_inputs_edges_fails():
    found = cascade(network(), case_batch(2), edge_maps)

    assert not found.passed
    assert "does not depend" in found.verdict
    assert all(
        stage.likeness.rank_correlation == pytest.approx(1) for stage in found.stages
    )


def test_a_map_of_the_first_layer_holds_out_until_it_is_reached():
    found = cascade(network(), case_batch(2), first_layer_maps)

    ranks = [stage.likeness.rank_correlation for stage in found.stages]
    reached = [n for n, s in enumerate(found.stages) if ".stem." in s.layer]
    assert ranks[: min(reached)] == pytest.approx([1] * min(reached))
    assert ranks[-1] < 0.9


def test_layers_go_from_the_last_to_run_to_the_first():
    class Crossed(nn.Module):
        """Registered in another order than it runs in."""

        def __init__(self):
            super().__init__()
            self.head = nn.Linear(2, 1)
            self.own = nn.Parameter(torch.zeros(2))
            self.idle = nn.Sequential(nn.Linear(2, 2))
            self.stem = nn.Linear(2, 2)

        def forward(self, batch):
            hidden = nn.functional.linear(self.stem(batch), self.idle[0].weight)
            return self.head(hidden + self.own)

    model = Crossed()

    names = [name for name, _ in last_to_first(model, torch.zeros(1, 2))]

    assert names[:2] == ["head", "stem"]
    assert set(names[2:]) == {"idle.0", "(the network's own)"}
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_every_weight_is_randomised_at_the_end():
    model = network()
    before = copy.deepcopy(model.state_dict())

    for number, (_, module) in enumerate(last_to_first(model, case_batch(2))):
        torch.manual_seed(number)
        randomise(module)

    for name, weight in model.named_parameters():
        # A norm is set back to one and zero, as it began.
        if weight.ndim > 1:
            assert not torch.equal(weight, before[name]), name


def test_the_network_and_torchs_randomness_are_left_as_they_were():
    model, batch = network().train(), case_batch(2)
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()

    cascade(model, batch, grad_cam, most_stages=3)

    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_neighbouring_layers_can_be_randomised_together():
    model, batch = network(), case_batch(1)

    few, all_of_them = (
        cascade(model, batch, grad_cam, most_stages=most) for most in (4, None)
    )

    assert len(few.stages) == 4
    assert len(all_of_them.stages) == len(last_to_first(model, batch))
    assert few.stages[-1].layer == all_of_them.stages[-1].layer


def test_flat_maps_cannot_be_tested():
    def flat(_, batch):
        return {"t1_pre": np.ones((len(batch.mri), 2, 2, 2))}

    found = cascade(network(), case_batch(1), flat)

    assert found.passed is None
    assert "flat" in found.verdict


@pytest.mark.parametrize(("gone", "passed"), [(1, False), (2, False), (3, None)])
def test_a_picture_that_vanishes_here_and_there_does_not_pass(gone, passed):
    """The random network says no, and rectified evidence goes, but it was a picture."""
    trained, batch = network(), case_batch(4)

    def picture(model, batch):
        maps = edge_maps(model, batch)
        if model is not trained:
            maps |= {role: np.zeros_like(maps[role]) for role in list(maps)[:gone]}
        return maps

    found = cascade(trained, batch, picture, most_stages=3)

    assert found.passed is passed
    assert found.stages[-1].likeness.rank_correlation == pytest.approx(1)
    assert found.stages[-1].likeness.vanished == gone / 4


def test_where_every_map_vanishes_none_is_judged():
    trained = network()

    def fickle(model, batch):
        return {r: m * (model is trained) for r, m in edge_maps(model, batch).items()}

    found = cascade(trained, case_batch(1), fickle, most_stages=3)

    assert found.passed is None
    assert "not shown" in found.verdict
    assert found.stages[-1].likeness.rank_correlation is None


def test_one_network_gives_one_map_and_two_seeds_differ():
    batch = case_batch(2)
    one, other = network(0), network(1)

    assert repeatability(one, batch, grad_cam) == 0
    (alike,) = seed_likeness([one, other], batch, grad_cam)
    (same,) = seed_likeness([one, copy.deepcopy(one)], batch, grad_cam)
    assert same.rank_correlation == pytest.approx(1)
    assert same.shared == pytest.approx(1)
    assert alike.rank_correlation < 0.9


def test_a_map_with_noise_of_its_own_does_not_repeat():
    rng = np.random.default_rng(0)

    def noisy(_, batch):
        return {"t1_pre": rng.random((len(batch.mri), 2, 2, 2))}

    assert repeatability(network(), case_batch(1), noisy) > 0


def test_likeness_by_hand():
    one = np.array([0.0, 1.0, 3.0])
    assert rank_correlation(one, np.array([0.0, 10.0, 11.0])) == pytest.approx(1)
    assert rank_correlation(one, -one) == pytest.approx(-1)
    assert rank_correlation(one, np.ones(3)) is None
    assert shared(one, np.array([0.0, 3.0, 1.0])) == pytest.approx(0.5)
    signed = np.array([-9.0, 1.0, 3.0])  # what speaks against the target is left out
    assert shared(signed, signed) == pytest.approx(1)
    gone = likeness({"t1_pre": one[None]}, {"t1_pre": np.zeros((1, 3))})
    assert (gone.rank_correlation, gone.shared, gone.vanished) == (None, 0, 1)
    half = likeness(
        {"t1_pre": np.stack([one, one])}, {"t1_pre": np.stack([one, np.zeros(3)])}
    )
    assert (half.rank_correlation, half.vanished) == (pytest.approx(1), 0.5)
