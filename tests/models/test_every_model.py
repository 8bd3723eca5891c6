"""What every registered network promises, whatever it is."""

import math
from dataclasses import replace

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.nn.functional import binary_cross_entropy_with_logits

from model_cases import case_batch, registered, registered_batch
from napari_harm3.cohort.case import ROLES
from napari_harm3.errors import ModelError
from napari_harm3.models.registry import (
    MODELS,
    build_model,
    model_entry,
    parameter_count,
)

QUICK_VOLUME, PATCH_WIDTH, CLINICAL_WIDTH = (8, 16, 16), 12, 3
NETWORKS = [name for name, entry in MODELS.items() if entry.group != "reference"]
EXPLAINED = [name for name in NETWORKS if "mri" in MODELS[name].modalities]
UNORDERED = [name for name in MODELS if name != "transmil"]
CONTENT = [name for name in EXPLAINED if not MODELS[name].sizes["small"].required]
"""Those that can do without an input."""

IDLE = ("absent",)
"""Weights that complete cases have no use for: they stand in for a missing input."""

every_model = pytest.mark.parametrize("name", MODELS)
every_network = pytest.mark.parametrize("name", NETWORKS)


def small(name: str):
    torch.manual_seed(0)
    return build_model(
        name,
        MODELS[name].sizes["small"],
        volume_size=QUICK_VOLUME,
        patch_width=PATCH_WIDTH,
        clinical_width=CLINICAL_WIDTH,
    )


def cases(count: int = 4):
    batch = case_batch(count, volume_size=QUICK_VOLUME, patch_width=PATCH_WIDTH)
    rng = torch.Generator().manual_seed(1)
    # Lesions shrink where pCR is reached, by a random part of their voxels.
    marked = torch.rand(batch.mri.shape, generator=rng) < 0.2
    marked[batch.label == 1, :, 1] &= torch.rand(QUICK_VOLUME, generator=rng) < 0.5
    return replace(
        batch,
        tumour_mask=marked.float(),
        tumour_mask_avail=batch.mri_avail,
        clinical=torch.randn(count, CLINICAL_WIDTH, generator=rng),
    )


def total(prediction, batch):
    loss = binary_cross_entropy_with_logits(prediction.logit, batch.label)
    return loss + torch.stack([loss * 0, *prediction.losses.values()]).sum()


def learn(network, batch, *, steps: int) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for step in range(steps):
        if step == 2 * steps // 3:  # so that running statistics catch up
            optimizer.param_groups[0]["lr"] = 3e-4
        optimizer.zero_grad()
        total(network(batch), batch).backward()
        optimizer.step()


@every_model
def test_a_batch_gives_a_logit_a_case_and_scalar_losses(name: str) -> None:
    prediction = small(name)(cases(3))

    assert prediction.logit.shape == (3,)
    assert all(loss.shape == () for loss in prediction.losses.values())
    assert all(math.isfinite(loss) for loss in prediction.losses.values())


@every_network
def test_every_parameter_learns_from_one_step(name: str) -> None:
    network, batch = small(name), cases()

    total(network(batch), batch).backward()

    for weight_name, weight in network.named_parameters():
        assert weight.grad is not None, weight_name
        assert weight.grad.isfinite().all(), weight_name
        learns = weight.ndim < 2 or bool(weight.grad.any())
        assert learns != (weight_name in IDLE), weight_name


@every_model
def test_padding_of_a_bag_has_no_say(name: str) -> None:
    network, batch = small(name).eval(), cases()
    rubbish = torch.full((4, 3, PATCH_WIDTH), 7.0)
    padded = replace(
        batch,
        wsi=torch.cat([batch.wsi, rubbish], dim=1),
        wsi_mask=torch.cat([batch.wsi_mask, torch.zeros(4, 3).bool()], dim=1),
        wsi_coords=torch.cat([batch.wsi_coords, torch.ones(4, 3, 2)], dim=1),
    )

    torch.testing.assert_close(network(padded).logit, network(batch).logit)


@pytest.mark.parametrize("name", UNORDERED)
def test_the_order_of_a_bag_has_no_say(name: str) -> None:
    network, batch = small(name).eval(), cases()
    order = torch.tensor([3, 0, 4, 1, 2])
    shuffled = replace(
        batch, wsi=batch.wsi[:, order], wsi_coords=batch.wsi_coords[:, order]
    )

    torch.testing.assert_close(network(shuffled).logit, network(batch).logit)


@every_model
def test_a_case_has_no_say_in_another(name: str) -> None:
    network, batch = small(name).eval(), cases()
    # Each case alone, so that what it shares a batch with cannot matter.
    alone = [
        network(
            replace(
                batch,
                **{
                    field: getattr(batch, field)[row : row + 1]
                    for field in vars(batch)
                    if isinstance(getattr(batch, field), torch.Tensor)
                },
            )
        ).logit
        for row in range(4)
    ]

    torch.testing.assert_close(torch.cat(alone), network(batch).logit)


@every_model
def test_evaluation_is_deterministic_and_training_repeats_by_seed(name: str) -> None:
    network, batch = small(name), cases()
    torch.manual_seed(1)
    trained = network(batch).logit
    torch.manual_seed(1)
    again = network(batch).logit
    network.eval()

    assert torch.equal(trained, again)
    assert torch.equal(network(batch).logit, network(batch).logit)


@every_model
def test_the_weights_carry_the_whole_network(name: str) -> None:
    batch, trained, fresh = cases(), small(name), small(name)
    trained(batch)  # moves the running statistics
    for weight in fresh.parameters():
        torch.nn.init.normal_(weight)

    fresh.load_state_dict(trained.state_dict())

    assert torch.equal(fresh.eval()(batch).logit, trained.eval()(batch).logit)


@every_network
def test_eight_cases_can_be_learned_by_heart(name: str) -> None:
    network, batch = small(name), cases(8)
    learn(network, batch, steps=60)

    chances = network.eval()(batch).logit.sigmoid()

    assert ((chances - batch.label).abs() < 0.2).all()


@pytest.mark.usefixtures("all_present")
@pytest.mark.parametrize("size", ["small", "full"])
@pytest.mark.parametrize("name", EXPLAINED)
def test_no_map_is_coarser_than_three_by_four_by_four(name: str, size: str) -> None:
    network = registered(name, size)
    with FakeTensorMode(allow_non_fake_inputs=True):
        prediction = network(registered_batch(size, patches=8))

    for maps in prediction.feature_maps.values():
        cells = maps.shape[2:]
        assert all(n >= least for n, least in zip(cells, (3, 4, 4), strict=True))


@pytest.mark.parametrize("name", EXPLAINED)
def test_heat_maps_can_be_taken_of_every_volume(name: str) -> None:
    network, batch = small(name).eval(), cases(2)
    required = MODELS[name].sizes["small"].required or ROLES

    prediction = network(batch)
    maps = [prediction.feature_maps[role] for role in ROLES if role in required]
    slopes = torch.autograd.grad(prediction.logit.sum(), maps)

    assert all(
        one.shape == slope.shape for one, slope in zip(maps, slopes, strict=True)
    )
    assert all(slope.any() for slope in slopes)


@every_model
def test_the_registry_says_what_it_is(name: str) -> None:
    entry = model_entry(name)

    assert entry.name == name
    assert set(entry.modalities) <= {"mri", "wsi", "clinical"}
    assert entry.reference
    assert entry.group == "reference" or (
        0 < parameter_count(name, "small") < parameter_count(name, "full")
    )


@pytest.mark.parametrize("name", CONTENT)
def test_a_missing_input_does_not_break_whoever_can_do_without(name: str) -> None:
    network, batch = small(name), cases(4)
    learn(network, batch, steps=20)
    whole = network.eval()(batch).logit

    for gone in ("mri", "wsi", "t2"):
        there = batch.mri_avail.clone()
        if gone != "wsi":
            there[:, slice(None) if gone == "mri" else 1] = False
        partial = replace(
            batch,
            mri=batch.mri * there[..., None, None, None, None],
            mri_avail=there,
            wsi_mask=batch.wsi_mask & (gone != "wsi"),
            wsi_avail=batch.wsi_avail & (gone != "wsi"),
        )
        logit = network(partial).logit
        assert logit.isfinite().all()
        assert (logit - whole).abs().min() > 1e-4, gone
        assert logit.std() > 1e-5, gone  # what is left still tells the cases apart


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    with pytest.raises(ModelError, match="transmil"):
        model_entry("harm3-of-another-house")
