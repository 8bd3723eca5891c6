"""Attention rollout against plain readings of Abnar and Zuidema's definition."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from map_readings import slide_maps
from model_cases import case_batch, tiny_config
from napari_harm3.explain.rollout import (
    class_token_rollout,
    nystrom_inputs,
    token_weights,
)
from napari_harm3.models.baselines.bag_config import SMALL_TRANSMIL
from napari_harm3.models.baselines.transmil import TransMil
from napari_harm3.models.harm3.network import Harm3
from napari_harm3.models.layers.attention import Tap
from napari_harm3.models.layers.nystrom import NystromAttention


def softmax(scores):
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def test_tokens_count_by_what_the_logit_owes_them() -> None:
    tokens = torch.tensor([[[1.0, 2.0], [3.0, 0.0], [0.0, 0.0]]])
    gradient = torch.tensor([[[1.0, 1.0], [-3.0, 5.0], [7.0, 7.0]]])

    np.testing.assert_allclose(token_weights(tokens, gradient), [[0.25, 0.75, 0]])
    assert not token_weights(tokens, gradient * 0).any()


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("attention_2", [True, False])
def test_a_pooled_token_counts_by_what_its_loss_changes(attention_2, residual) -> None:
    torch.manual_seed(0)
    config = tiny_config(attention_2=attention_2, residual_query=residual)
    network = Harm3(config, volume_size=(4, 16, 16), patch_width=6).double().eval()
    batch = case_batch(1)
    batch = replace(batch, mri=batch.mri.double(), wsi=batch.wsi.double())
    head = next(m for m in network.modules() if isinstance(m, Tap) and m.kind == "head")
    step = 1e-5

    def logit(token, factor):
        def scaled(_, __, tokens):
            tokens = tokens.clone()
            tokens[:, tokens.shape[1] - 3 + token] *= factor
            return tokens

        handle = head.register_forward_hook(scaled)
        with torch.no_grad():
            found = float(network(batch).logit)
        handle.remove()
        return found

    slopes = [logit(k, 1 + step) - logit(k, 1 - step) for k in range(3)]
    weights = np.abs(slopes) / np.abs(slopes).sum()
    prediction, maps = slide_maps(network, batch)
    pooling = prediction.attn["pooling"][0].detach().numpy()
    np.testing.assert_allclose(maps["rollout"][0], weights @ pooling, rtol=1e-4)
    assert np.ptp(weights) > 0.05
    assert maps["rollout"].sum() == pytest.approx(1)


@pytest.mark.parametrize("exact_below", [0, 100])
def test_landmark_attention_is_rolled_out_as_it_is_computed(exact_below) -> None:
    torch.manual_seed(1)
    layers = [
        NystromAttention(
            width=8, heads=2, landmarks=4, iterations=30, exact_below=exact_below
        ).double()
        for _ in range(2)
    ]
    inputs = [torch.randn(1, 13, 8).double() for _ in layers]

    row = class_token_rollout(list(zip(layers, inputs, strict=True)))

    flow = np.eye(13)[0]
    for layer, tokens in reversed(list(zip(layers, inputs, strict=True))):
        q, k, _ = np.split(layer.to_qkv(tokens)[0].detach().numpy(), 3, axis=1)
        dense = np.zeros((13, 13))
        for head in range(2):
            query, key = q[:, 4 * head : 4 * head + 4], k[:, 4 * head : 4 * head + 4]
            if exact_below:
                dense += softmax(query @ key.T / 2) / 2
                continue
            runs = np.split(np.arange(13), [4, 7, 10])
            q_marks, k_marks = (
                np.stack([tokens[run].mean(axis=0) for run in runs])
                for tokens in (query, key)
            )
            middle = np.linalg.pinv(softmax(q_marks @ k_marks.T / 2))
            left, right = softmax(query @ k_marks.T / 2), softmax(q_marks @ key.T / 2)
            dense += left @ middle @ right / 2
        flow = np.clip(flow @ (dense + np.eye(13)), 0, None)
        flow /= flow.sum()
    np.testing.assert_allclose(row.numpy(), flow, atol=1e-6)
    assert row[0] < 0.5


def test_the_patches_of_transmil_share_one_whole() -> None:
    torch.manual_seed(0)
    network = TransMil(SMALL_TRANSMIL, volume_size=(4, 16, 16), patch_width=6).train()
    batch = case_batch(3, patches=7)
    batch.wsi_mask[1, 5:] = False

    _, together = slide_maps(network, batch)

    assert set(together) == {"attention", "rollout"}
    np.testing.assert_allclose(together["rollout"].sum(axis=1), 1, rtol=1e-5)
    assert not together["rollout"][1, 5:].any()
    assert (together["rollout"][0] > 0).all()
    assert network.training
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_repeats_that_fill_the_square_are_the_patches_own() -> None:
    torch.manual_seed(0)
    network = TransMil(SMALL_TRANSMIL, volume_size=(4, 16, 16), patch_width=6).eval()
    batch = case_batch(1, patches=5)

    _, maps = slide_maps(network, batch)

    with nystrom_inputs(network) as calls, torch.no_grad():
        network(batch)
    row = class_token_rollout(calls).numpy()
    assert len(row) == 10  # a class token, five patches, and four of them again
    shares = row[1:6] + np.append(row[6:], 0)
    np.testing.assert_allclose(maps["rollout"][0], shares / shares.sum(), rtol=1e-5)
