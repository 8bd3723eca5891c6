"""Section 2.2, self-attention with relative positions, against naive loops."""

import itertools

import numpy as np
import pytest
import torch
from scipy.special import erf

from napari_harm3.models.harm3.sequence_fusion import (
    RelativePosition,
    SelfAttentionLayer,
    SequenceFusion,
)

GRID, STREAMS, HEADS, WIDTH = (2, 3, 2), 4, 2, 4
TOKENS = STREAMS * 12


@pytest.fixture
def position():
    torch.manual_seed(0)
    position = RelativePosition(grid=GRID, streams=STREAMS, heads=HEADS).double()
    torch.nn.init.normal_(position.by_offset)
    torch.nn.init.normal_(position.by_stream)
    return position


def numbers(tensor):
    return tensor.detach().numpy()


def looped_bias(position):
    """The bias of every pair of tokens, written out pair by pair."""
    spans = [2 * size - 1 for size in GRID]
    table = numbers(position.by_offset).reshape(*spans, HEADS)
    between = numbers(position.by_stream)
    places = list(itertools.product(range(STREAMS), *[range(size) for size in GRID]))
    bias = np.empty((HEADS, TOKENS, TOKENS))
    for a, (stream_a, *cell_a) in enumerate(places):
        for b, (stream_b, *cell_b) in enumerate(places):
            offset = tuple(
                i - j + size - 1
                for i, j, size in zip(cell_a, cell_b, GRID, strict=True)
            )
            bias[:, a, b] = table[offset] + between[stream_a, stream_b]
    return bias


def test_the_bias_goes_by_offset_and_by_pair_of_streams(position) -> None:
    np.testing.assert_allclose(numbers(position()), looped_bias(position))


def test_matches_multi_head_self_attention(position) -> None:
    layer = SelfAttentionLayer(width=WIDTH, heads=HEADS).double()
    tokens = torch.randn(1, TOKENS, WIDTH).double()
    mask = torch.ones(1, TOKENS, dtype=torch.bool)

    answer = layer(tokens, position(), mask)

    rows = tokens[0].numpy()
    weights = {name: numbers(value) for name, value in layer.named_parameters()}

    def normed(values):
        spread = np.sqrt(values.var(1, keepdims=True) + layer.norm_1.eps)
        return (values - values.mean(1, keepdims=True)) / spread

    def linear(values, name):
        return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    q, k, v = np.split(normed(rows) @ weights["to_qkv.weight"].T, 3, axis=1)
    bias, mixed = looped_bias(position), np.empty_like(rows)
    for head in range(HEADS):
        part = slice(2 * head, 2 * head + 2)
        scores = np.exp(q[:, part] @ k[:, part].T / np.sqrt(2) + bias[head])
        mixed[:, part] = scores / scores.sum(1, keepdims=True) @ v[:, part]
    rows = rows + linear(mixed, "out")
    hidden = linear(normed(rows), "feed_forward.0")
    hidden = hidden * (1 + erf(hidden / np.sqrt(2))) / 2
    np.testing.assert_allclose(
        numbers(answer[0]), rows + linear(hidden, "feed_forward.2")
    )


def test_an_absent_stream_has_no_say_in_the_others(position) -> None:
    fusion = SequenceFusion(width=WIDTH, heads=HEADS, layers=2, position=position)
    fusion.double()
    tokens = torch.randn(1, TOKENS, WIDTH).double()
    mask = torch.ones(1, TOKENS, dtype=torch.bool)
    mask[:, 12:24] = False
    other = torch.where(mask[..., None], tokens, torch.randn_like(tokens))

    one, two = fusion(tokens, mask), fusion(other, mask)

    torch.testing.assert_close(one[mask], two[mask])


@pytest.mark.parametrize("streams_differ", [True, False])
def test_only_the_streams_bias_tells_sequences_apart(position, streams_differ) -> None:
    if not streams_differ:
        torch.nn.init.zeros_(position.by_stream)
    fusion = SequenceFusion(width=WIDTH, heads=HEADS, layers=1, position=position)
    fusion.double()
    tokens = torch.randn(1, TOKENS, WIDTH).double()
    mask = torch.ones(1, TOKENS, dtype=torch.bool)
    half = TOKENS // 2

    answer = fusion(tokens, mask)
    of_swapped = fusion(tokens.roll(half, dims=1), mask)  # T2 first, then T1

    assert torch.allclose(of_swapped.roll(half, dims=1), answer) != streams_differ


def test_before_and_after_do_not_add_up_to_the_same(position) -> None:
    """Whatever is averaged over the tokens, a lesion that grew is none that shrank."""
    torch.nn.init.zeros_(position.by_stream)
    tokens = torch.randn(1, TOKENS, WIDTH).double()
    mask = torch.ones(1, TOKENS, dtype=torch.bool)
    swapped = tokens.roll(TOKENS // 2, dims=1)

    def means(streams):
        fusion = SequenceFusion(
            width=WIDTH, heads=HEADS, layers=1, position=position, streams=streams
        ).double()
        return [fusion(one, mask).mean(dim=1) for one in (tokens, swapped)]

    torch.testing.assert_close(*means(streams=0))
    one, other = means(streams=STREAMS)
    assert not torch.allclose(one, other, atol=0.01)
