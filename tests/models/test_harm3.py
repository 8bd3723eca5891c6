"""HARM3: its switches, its missing inputs, what it tells of itself."""

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torch.nn.functional import binary_cross_entropy_with_logits

from model_cases import TINY_PATCH_WIDTH, TINY_VOLUME, case_batch, tiny_config
from napari_harm3.models.harm3.config import SMALL_HARM3, Harm3Config
from napari_harm3.models.harm3.network import Harm3

ALTERNATIVES = [
    {"encoder_depth": 18},
    {"encoder_depth": 50, "base_channels": 2},
    {"output_stride": (1, 4, 4)},
    {"norm": "group"},
    {"share_sequences": True},
    {"share_times": False},
    {"share_sequences": True, "share_times": False},
    {"ld_vae": False},
    {"vae_kernel": "pointwise"},
    {"vae_kernel": "full"},
    {"latent": "global"},
    {"split": "chunk"},
    {"temporal": "sum"},
    {"reconstruction_target": "trainable"},
    {"kl_count": "literal"},
    {"free_bits": 0.05},
    {"cosine": "raw"},
    {"cosine": "squared"},
    {"cosine": "label"},
    {"contrast_level": "token"},
    {"contrast_level": "global"},
    {"attention_1": False},
    {"attention_2": False},
    {"attention_1": False, "attention_2": False},
    {"sequence_layers": 2},
    {"relative_position": False},
    {"stream_embedding": False},
    {"slide_dropout": 0.0},
    {"cross_heads": 2},
    {"residual_query": True},
    {"dropout": 0.5},
]


def build(**fields):
    torch.manual_seed(0)
    return Harm3(
        tiny_config(**fields), volume_size=TINY_VOLUME, patch_width=TINY_PATCH_WIDTH
    )


def without(batch, *roles: tuple[int, int], slide: bool = True, row: int = 0):
    """Take volumes, or the slide, from a case."""
    available, slides = batch.mri_avail.clone(), batch.wsi_avail.clone()
    for sequence, time in roles:
        available[row, sequence, time] = False
    slides[row] &= slide
    return replace(batch, mri_avail=available, wsi_avail=slides)


ALL_ROLES = [(0, 0), (0, 1), (1, 0), (1, 1)]


def step(network, batch):
    """One step of Adam on everything that the network minimises."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    prediction = network(batch)
    loss = binary_cross_entropy_with_logits(prediction.logit, batch.label)
    for term in prediction.losses.values():
        loss = loss + term
    (loss + 1e-6 * network.l1()).backward()
    optimizer.step()


@pytest.mark.parametrize("fields", ALTERNATIVES, ids=str)
def test_every_alternative_learns_everywhere(fields) -> None:
    network, batch = build(**fields), case_batch(8)

    step(network, batch)

    for name, weight in network.named_parameters():
        assert weight.isfinite().all(), name
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.ndim < 2 or weight.grad.any(), name
    assert network(batch).logit.isfinite().all()


@pytest.mark.parametrize("fields", ALTERNATIVES, ids=str)
def test_every_alternative_bears_any_missing_input(fields) -> None:
    network, batch = build(**fields), case_batch(6)
    batch = without(batch, (0, 0), row=0)
    batch = without(batch, (1, 0), (1, 1), row=1)
    batch = without(batch, (0, 1), (1, 1), row=2)
    batch = without(batch, slide=False, row=3)
    batch = without(batch, *ALL_ROLES, row=4)

    step(network, batch)

    assert all(weight.isfinite().all() for weight in network.parameters())
    assert network.eval()(batch).logit.isfinite().all()


@pytest.mark.parametrize("training", [True, False])
def test_a_batch_without_any_volume_is_no_accident(training: bool) -> None:
    network = build().train(training)
    batch = case_batch(2)

    prediction = network(replace(batch, mri_avail=torch.zeros_like(batch.mri_avail)))

    assert prediction.logit.isfinite().all()
    parts = {**prediction.losses, **prediction.logged}
    losses = [part.item() for part in parts.values()]
    assert losses == [0.0] * 5 * training  # nothing is learned in evaluation


@pytest.mark.parametrize("fields", [{}, {"temporal": "sum"}, {"attention_2": False}])
def test_what_fills_an_absent_volume_has_no_say(fields) -> None:
    network = build(**fields)
    batch = without(case_batch(), (0, 1), (1, 0))
    absent = ~batch.mri_avail[:, :, :, None, None, None, None]
    rubbish = replace(batch, mri=torch.where(absent, 1e3, batch.mri))

    torch.manual_seed(1)
    one = network(batch)
    torch.manual_seed(1)
    other = network(rubbish)  # in training mode: batch norm must not see it either

    assert torch.equal(one.logit, other.logit)
    assert one.losses == other.losses
    assert one.logged == other.logged


def test_in_training_some_mri_has_to_do_without_its_slide() -> None:
    network = build(slide_dropout=0.5, dropout=0.0)
    batch = case_batch(64)
    attention = network(batch).attn["pooling"]
    looked = attention.flatten(1).any(dim=1)

    assert 16 < looked.sum() < 48
    assert network.eval()(batch).attn["pooling"].flatten(1).any(dim=1).all()


def test_a_case_is_never_left_with_nothing() -> None:
    network = build(slide_dropout=0.9, missing="tokens")
    batch = case_batch(16)
    alone = replace(batch, mri_avail=torch.zeros_like(batch.mri_avail))

    assert network(alone).attn["pooling"].flatten(1).any(dim=1).all()


def test_what_fills_an_absent_slide_has_no_say() -> None:
    network, batch = build().eval(), without(case_batch(), slide=False)
    rubbish = replace(batch, wsi=batch.wsi.clone())
    rubbish.wsi[0] = 1e3

    assert torch.equal(network(batch).logit, network(rubbish).logit)


def test_a_missing_input_changes_only_its_own_case() -> None:
    network, batch = build().eval(), case_batch()

    whole, less = network(batch), network(without(batch, (0, 0)))

    assert whole.logit[0] != less.logit[0]
    torch.testing.assert_close(whole.logit[1:], less.logit[1:])


def test_a_missing_time_leaves_no_crossed_term() -> None:
    network, batch = build(), case_batch(1)

    prediction = network(without(batch, (0, 0), (1, 0)))
    losses, logged = prediction.losses, prediction.logged

    assert logged["cross"] == losses["contrast"] == 0
    assert losses["reconstruction"] == logged["own"] > 0


@pytest.mark.parametrize(
    ("fields", "numbers"),
    [
        ({}, [0, 0, 1, 1]),
        ({"share_sequences": True}, [0, 0, 0, 0]),
        ({"share_times": False}, [0, 1, 2, 3]),
        ({"share_times": False, "share_sequences": True}, [0, 1, 0, 1]),
    ],
)
def test_a_volume_has_the_encoder_that_the_sharing_leaves_it(fields, numbers) -> None:
    network = build(**fields)
    seen = [network.encoder_of(sequence, time) for sequence, time in ALL_ROLES]

    assert len(network.encoders) == max(numbers) + 1
    assert seen == [network.encoders[number] for number in numbers]


def test_absent_volumes_are_asked_nothing() -> None:
    network, batch = build().eval(), without(case_batch(), (1, 0), row=2)

    attention = network(batch).attn
    layout = network.token_layout()

    t2_pre = (layout[:, 0] == 1) & (layout[:, 1] == 0)
    assert torch.equal(attention["mri_mask"][2], ~t2_pre)
    assert not attention["cross"][2][:, t2_pre].any()
    torch.testing.assert_close(attention["cross"].sum(dim=-1), torch.ones(4, 3))


def test_the_layout_says_where_a_token_comes_from() -> None:
    network = build(attention_1=False, ld_vae=False).eval()
    layout = network.token_layout()
    batch = case_batch(1)
    prediction = network(batch)
    role, cell = ("t2", "post"), (1, 0, 1)
    place = torch.tensor([1, 1, *cell])
    token = int((layout == place).all(dim=1).nonzero())
    seen = {}
    network.modality_fusion.register_forward_pre_hook(
        lambda _, inputs: seen.update(mri=inputs[1])
    )

    network(batch)

    feature = prediction.feature_maps["_".join(role)][0][(slice(None), *cell)]
    expected = torch.nn.functional.layer_norm(feature, feature.shape)
    torch.testing.assert_close(seen["mri"][0, token], expected)


def test_times_that_are_added_up_have_no_time() -> None:
    layout = build(temporal="sum").token_layout()

    assert layout.shape == (16, 5)
    assert (layout[:, 1] == -1).all()


def test_a_volume_reaches_its_own_heat_map_only() -> None:
    network, batch = build().eval(), case_batch(1)
    other = replace(batch, mri=batch.mri.clone())
    other.mri[:, 0, 1] += torch.randn(TINY_VOLUME)

    before, after = network(batch).feature_maps, network(other).feature_maps

    changed = {role for role in before if not torch.equal(before[role], after[role])}
    assert changed == {"t1_post"}


def test_the_encoder_runs_once_a_sequence() -> None:
    network, calls = build(), []
    for encoder in network.encoders:
        encoder.register_forward_hook(lambda _m, given, _o: calls.append(len(given[0])))

    network(case_batch(3))

    assert calls == [6, 6]


def test_the_health_log_has_its_numbers() -> None:
    batch = without(case_batch(3), (0, 1), row=1)

    latents = build()(batch).latents

    assert latents["mean"].shape == (3, 2, 2, 8, 8)
    assert latents["features"].shape == (3, 2, 2, 8, 8)
    assert torch.equal(latents["available"], batch.mri_avail)
    assert latents["variant_cosine"].isfinite().all()
    assert latents["variant_cosine_mask"].tolist() == [
        [True, True],
        [False, True],
        [True, True],
    ]


def test_the_l1_norm_covers_fusion_and_head() -> None:
    network = build()
    rooms = ("sequence_fusion", "pooling", "modality_fusion", "head")
    expected = sum(
        weight.abs().sum()
        for name, weight in network.named_parameters()
        if name.startswith(rooms) and weight.ndim > 1
    )

    torch.testing.assert_close(network.l1(), expected)


@pytest.mark.parametrize(
    ("fields", "fewer"),
    [
        ({"ld_vae": False}, "vaes"),
        ({"attention_1": False}, "sequence_fusion"),
        ({"attention_2": False}, "modality_fusion"),
    ],
)
def test_a_row_of_table_2_leaves_one_part_out(fields, fewer: str) -> None:
    def parts(network):
        return {name.split(".")[0] for name, _ in network.named_parameters()}

    assert parts(build()) - parts(build(**fields)) == {fewer}


def test_the_defaults_are_the_papers() -> None:
    config = Harm3Config()

    assert config.width == 512  # d_k of Eq. (6)
    assert config.cross_heads == 1
    assert not config.residual_query
    assert config.ld_vae
    assert config.attention_1
    assert config.attention_2
    assert SMALL_HARM3.width == 64


@pytest.mark.parametrize(
    "fields",
    [
        {"output_stride": (3, 16, 16)},
        {"output_stride": (8, 2, 16)},
        {"sequence_heads": 7},
        {"cross_heads": 0},
        {"contrast_balance": 1.5},
        {"norm": "instance"},
        {"depth": 18},
    ],
    ids=str,
)
def test_an_impossible_choice_is_refused(fields) -> None:
    with pytest.raises(ValidationError):
        Harm3Config(**fields)
