"""What slide networks cost beside a plain reading: ``python benchmarks/bags.py``.

One bag of 10,000 patches of 1,024 features, forward and backward, in training mode on
one thread. The plain reading is the same arithmetic as the papers print it: one bag, no
mask, no class, no attention handed out. It takes the network's own weights, and must
give the same logit. Both take turns in one process; a ratio is the median of the turns'
own ratios, of CPU time. The bar is 1.2.
"""

import argparse
import math
import time
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    conv2d,
    cross_entropy,
    dropout,
    layer_norm,
    linear,
    scaled_dot_product_attention,
)

from napari_harm3.models.baselines.abmil import Abmil
from napari_harm3.models.baselines.bag_config import (
    AbmilConfig,
    ClamConfig,
    DsmilConfig,
    TransMilConfig,
)
from napari_harm3.models.baselines.clam import Clam
from napari_harm3.models.baselines.dsmil import Dsmil
from napari_harm3.models.baselines.transmil import TransMil
from napari_harm3.models.harm3.modality_fusion import BagPooling
from napari_harm3.models.interface import CaseBatch

BAR = 1.2
Weights = dict[str, Tensor]
LABEL = 1


class Contest(NamedTuple):
    """A network and its plain reading; each returns the sum of its losses."""

    network: nn.Module
    ours: Callable[[], Tensor]
    plain: Callable[[], Tensor]


def projected(w: Weights, bag: Tensor) -> Tensor:
    bag = (bag - w["scale.centre"]) / w["scale.spread"]
    return torch.relu(linear(bag, w["project.0.weight"], w["project.0.bias"]))


def attended(w: Weights, hidden: Tensor) -> Tensor:
    def layer(name: str) -> Tensor:
        return linear(
            hidden, w[f"attention.{name}.0.weight"], w[f"attention.{name}.0.bias"]
        )

    gated = torch.tanh(layer("feature")) * torch.sigmoid(layer("gate"))
    return linear(gated, w["attention.score.weight"]).T.softmax(dim=-1)


def bce(logit: Tensor) -> Tensor:
    return binary_cross_entropy_with_logits(logit, torch.full_like(logit, LABEL))


def plain_abmil(w: Weights, bag: Tensor, chance: float) -> Tensor:
    del chance
    hidden = projected(w, bag)
    pooled = attended(w, hidden) @ hidden
    return bce(linear(pooled, w["classify.weight"], w["classify.bias"]))


def plain_clam(w: Weights, bag: Tensor, chance: float) -> Tensor:
    hidden = dropout(projected(w, bag), chance)
    weights = attended(w, hidden)
    rows = w["classify_bag.weight"] * (weights @ hidden)
    none, pcr = rows.sum(dim=1) + w["classify_bag.bias"]
    losses = []
    for number in range(2):
        attention = weights[min(number, len(weights) - 1)]
        most = hidden[attention.topk(8).indices]
        target = torch.zeros(8, dtype=torch.long)
        if number == LABEL:
            most = torch.cat([most, hidden[(-attention).topk(8).indices]])
            target = torch.cat([target + 1, target])
        name = f"classify_instance.{number}"
        scores = linear(most, w[f"{name}.weight"], w[f"{name}.bias"])
        scores = scores - torch.eye(2)[target]  # the margin of the SVM
        losses.append(cross_entropy(scores, target))
    return bce(pcr - none) + sum(losses) / 2


def plain_dsmil(w: Weights, bag: Tensor, chance: float) -> Tensor:
    del chance
    hidden = projected(w, bag)
    scores = linear(
        hidden, w["classify_instance.weight"], w["classify_instance.bias"]
    ).squeeze(1)
    best, critical = scores.max(dim=0)
    query = linear(hidden, w["to_query.weight"], w["to_query.bias"])
    value = linear(hidden, w["to_value.weight"], w["to_value.bias"])
    weights = (query @ query[critical] / math.sqrt(query.shape[1])).softmax(dim=0)
    second = linear(weights @ value, w["classify_bag.weight"], w["classify_bag.bias"])
    return bce((best + second.squeeze()) / 2) + bce(best)


def plain_transmil(w: Weights, bag: Tensor, chance: float) -> Tensor:
    del chance
    hidden = projected(w, bag)
    side = math.ceil(math.sqrt(len(hidden)))
    hidden = torch.cat([hidden, hidden[: side * side - len(hidden)]])
    tokens = torch.cat([w["class_token"], hidden])
    tokens = tokens + plain_nystrom(w, tokens, "first")
    maps = tokens[1:].T.reshape(1, -1, side, side)
    around = maps
    for name, size in (("large", 7), ("middle", 5), ("small", 3)):
        kernel, bias = w[f"position.{name}.weight"], w.get(f"position.{name}.bias")
        around = around + conv2d(
            maps, kernel, bias, padding=size // 2, groups=len(kernel)
        )
    tokens = torch.cat([tokens[:1], around.flatten(2)[0].T])
    tokens = tokens + plain_nystrom(w, tokens, "second")
    answer = layer_norm(tokens[0], tokens.shape[1:], w["norm.weight"], w["norm.bias"])
    return bce(linear(answer, w["classify.weight"], w["classify.bias"]))


def plain_nystrom(w: Weights, tokens: Tensor, name: str, marks: int = 256) -> Tensor:
    width = tokens.shape[1]
    heads = len(w[f"{name}.attention.value_residual.weight"])
    tokens = layer_norm(
        tokens, (width,), w[f"{name}.norm.weight"], w[f"{name}.norm.bias"]
    )
    query, key, value = (
        part.reshape(len(tokens), heads, -1).transpose(0, 1)
        for part in linear(tokens, w[f"{name}.attention.to_qkv.weight"]).chunk(3, 1)
    )
    query = query / math.sqrt(query.shape[-1])
    size, longer = divmod(len(tokens), marks)
    runs = [size + 1] * longer + [size] * (marks - longer)
    query_marks, key_marks = (
        torch.stack([run.mean(dim=1) for run in part.split(runs, dim=1)], dim=1)
        for part in (query, key)
    )
    left = (query @ key_marks.transpose(1, 2)).softmax(dim=-1)
    middle = (query_marks @ key_marks.transpose(1, 2)).softmax(dim=-1)
    right = (query_marks @ key.transpose(1, 2)).softmax(dim=-1)
    norm = middle.sum(dim=1).amax(dim=1) * middle.sum(dim=2).amax(dim=1)
    inverse = middle.transpose(1, 2) / norm[:, None, None]
    one = torch.eye(marks)
    for _ in range(6):
        product = middle @ inverse
        step = 15 * one - product @ (7 * one - product)
        inverse = inverse @ (13 * one - product @ step) / 4
    mixed = left @ (inverse @ (right @ value))
    kernel = w[f"{name}.attention.value_residual.weight"]
    mixed = mixed + conv2d(
        value[None], kernel, padding=(kernel.shape[2] // 2, 0), groups=heads
    ).squeeze(0)
    return linear(
        mixed.transpose(0, 1).flatten(1),
        w[f"{name}.attention.out.weight"],
        w[f"{name}.attention.out.bias"],
    )


def plain_pooling(w: Weights, bag: Tensor, heads: int, *, by_hand: bool) -> Tensor:
    """Return the sum of the pooled tokens; the paper's multi-head attention."""
    bag = (bag - w["scale.centre"]) / w["scale.spread"]
    hidden = linear(bag, w["project.0.weight"], w["project.0.bias"])
    width = hidden.shape[1:]
    hidden = layer_norm(hidden, width, w["project.1.weight"], w["project.1.bias"])
    query, key, value = (
        linear(part, w[f"to_{name}.weight"])
        .reshape(len(part), heads, -1)
        .transpose(0, 1)
        for part, name in (
            (w["queries"], "query"),
            (hidden, "key"),
            (hidden, "value"),
        )
    )
    if by_hand:
        scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
        mixed = scores.softmax(dim=-1) @ value
    else:
        mixed = scaled_dot_product_attention(query[None], key[None], value[None])[0]
    mixed = mixed.transpose(0, 1).flatten(1)
    pooled = linear(mixed, w["out.weight"], w["out.bias"])
    return (pooled + w["queries"]).square().mean()


def batch_of(bag: Tensor) -> CaseBatch:
    one = torch.ones(1, dtype=torch.bool)
    return CaseBatch(
        mri=torch.zeros(1, 2, 2, 1, 1, 1, 1),
        mri_avail=torch.zeros(1, 2, 2, dtype=torch.bool),
        wsi=bag[None],
        wsi_mask=torch.ones(1, len(bag), dtype=torch.bool),
        wsi_coords=torch.zeros(1, len(bag), 2),
        wsi_avail=one,
        label=torch.full((1,), float(LABEL)),
        aligned=one,
    )


def contest(
    network: nn.Module, plain: Callable[..., Tensor], bag: Tensor, chance: float = 0.0
) -> Contest:
    network.train()
    batch, weights = batch_of(bag), {**network.state_dict(keep_vars=True)}

    def ours() -> Tensor:
        prediction = network(batch)
        return bce(prediction.logit) + sum(prediction.losses.values())

    return Contest(network, ours, lambda: plain(weights, bag, chance))


def pooling_contest(bag: Tensor, *, by_hand: bool) -> Contest:
    pooling = BagPooling(patch_width=bag.shape[1], width=512, tokens=64, heads=8)
    batch, weights = batch_of(bag), {**pooling.state_dict(keep_vars=True)}

    def ours() -> Tensor:
        tokens, _ = pooling(batch.wsi, batch.wsi_mask, batch.wsi_avail)
        return tokens.square().mean()

    return Contest(
        pooling, ours, lambda: plain_pooling(weights, bag, 8, by_hand=by_hand)
    )


def contests(bag: Tensor) -> dict[str, Contest]:
    sizes = {"volume_size": (1, 1, 1), "patch_width": bag.shape[1]}
    multi = ClamConfig(branches="multi")
    # Ours drops out the last class token alone: other draws than the plain reading's.
    transformer = TransMilConfig(dropout=0.0)
    return {
        "ABMIL, gated": contest(Abmil(AbmilConfig(), **sizes), plain_abmil, bag),
        "CLAM-SB": contest(Clam(ClamConfig(), **sizes), plain_clam, bag, 0.25),
        "CLAM-MB": contest(Clam(multi, **sizes), plain_clam, bag, 0.25),
        "DSMIL": contest(Dsmil(DsmilConfig(), **sizes), plain_dsmil, bag),
        "TransMIL": contest(TransMil(transformer, **sizes), plain_transmil, bag),
        "HARM3's pooling, softmax by hand": pooling_contest(bag, by_hand=True),
        "HARM3's pooling, fused attention": pooling_contest(bag, by_hand=False),
    }


def agree(name: str, one: Contest) -> None:
    """Stop where both do not give the same loss and slopes: it would be no contest."""
    found = []
    for work in (one.ours, one.plain):
        torch.manual_seed(0)
        one.network.zero_grad()
        loss = work()
        loss.backward()
        slopes = [weight.grad.norm() for weight in one.network.parameters()]
        found.append(torch.stack([loss.detach(), *slopes]))
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-5, msg=name)


def cpu_seconds(one: Contest, work: Callable[[], Tensor]) -> float:
    one.network.zero_grad()
    start = time.process_time()
    work().backward()
    return time.process_time() - start


def measured(one: Contest, turns: int) -> tuple[float, float, float]:
    """Return both medians in CPU seconds, and the median of the turns' ratios."""
    spent = [
        (cpu_seconds(one, one.ours), cpu_seconds(one, one.plain))
        for _ in range(turns + 1)
    ][1:]  # the first turn warms up
    ours, plain = zip(*spent, strict=True)
    ratio = median(a / b for a, b in spent)
    return median(ours), median(plain), ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patches", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--turns", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    bag = torch.randn(arguments.patches, arguments.width)
    print("| network | ours, CPU ms | plain, CPU ms | ratio | bar |")
    print("|---|---|---|---|---|")
    for name, one in contests(bag).items():
        agree(name, one)
        ours, plain, ratio = measured(one, arguments.turns)
        print(
            f"| {name} | {1000 * ours:.0f} | {1000 * plain:.0f} | {ratio:.2f} "
            f"| <= {BAR} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
