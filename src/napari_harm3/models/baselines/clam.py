"""CLAM: attention over patches that is taught by clustering what it picks.

Reference: Lu et al., Data-efficient and weakly supervised computational pathology on
whole-slide images, Nature Biomedical Engineering 2021.
Row of Table 1: CLAM, from the slide alone.

*Differs from the paper*

* One logit, the difference of the two classes' logits: its cross entropy is the
  two-class one.
* A bag of fewer than 16 patches clusters half of them on either side, one of a single
  patch none.
* The loss is a mean over the batch; the paper takes one bag a step.
* The last attention layer has no bias, which would cancel in the softmax.
* Patch features are standardised first; the paper's encoder is another one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from napari_harm3.models.baselines.bag_config import ClamConfig
from napari_harm3.models.interface import CaseBatch, Prediction
from napari_harm3.models.layers.attention import Tap
from napari_harm3.models.layers.bags import padded_weights, real_patches
from napari_harm3.models.layers.gated_attention import GatedAttention
from napari_harm3.models.layers.patch_scale import PatchScale

CLASSES = 2
"""No pCR and pCR, in the order of their labels."""


@dataclass(frozen=True, kw_only=True)
class BagOutcome:
    """What is known of one bag."""

    hidden: Float[Tensor, "n C"]
    weights: Float[Tensor, "branches n"]
    logits: Float[Tensor, "2"]


class Clam(nn.Module):
    """One attention branch for both classes, or one for each."""

    def __init__(
        self,
        config: ClamConfig,
        *,
        volume_size: Sequence[int],  # noqa: ARG002 - it takes no volumes
        patch_width: int,
    ) -> None:
        super().__init__()
        self.config = config
        self.scale = PatchScale(patch_width)
        self.project = nn.Sequential(
            nn.Linear(patch_width, config.width), nn.ReLU(), nn.Dropout(config.dropout)
        )
        self.attention = GatedAttention(
            width=config.width,
            hidden=config.attention_width,
            rows=1 if config.branches == "single" else CLASSES,
        )
        self.tap = Tap("pooling")
        self.classify_bag = nn.Linear(config.width, CLASSES)
        self.classify_instance = nn.ModuleList(
            [nn.Linear(config.width, 2) for _ in range(CLASSES)]
        )

    @property
    def loss_weights(self) -> dict[str, float]:
        """What the bag's and the patches' loss weigh."""
        weight = self.config.bag_weight
        return {"bce": weight, "instance": 1 - weight}

    def forward(self, batch: CaseBatch) -> Prediction:
        """Return the log-odds, the attention, and in training the clustering's loss."""
        bags = real_patches(batch.wsi, batch.wsi_mask)
        outcomes = [self.look(patches) for patches in bags]
        none, pcr = torch.stack([one.logits for one in outcomes]).unbind(dim=1)
        losses = {}
        if self.training:
            losses["instance"] = self.instance_loss(outcomes, batch.label)
        weights = [one.weights for one in outcomes]
        return Prediction(
            logit=pcr - none,
            losses=losses,
            attn={"pooling": padded_weights(weights, batch.wsi_mask)},
        )

    def look(self, patches: Float[Tensor, "n D"]) -> BagOutcome:
        """Return what is known of a bag."""
        hidden = self.project(self.scale(patches))
        weights = self.tap(self.attention(hidden).softmax(dim=-1))
        # Each class reads the vector of its branch; a single one serves both.
        logits = (self.classify_bag.weight * (weights @ hidden)).sum(dim=-1)
        return BagOutcome(
            hidden=hidden, weights=weights, logits=logits + self.classify_bag.bias
        )

    def instance_loss(
        self, outcomes: Sequence[BagOutcome], labels: Float[Tensor, "B"]
    ) -> Float[Tensor, ""]:
        """Return the clustering's loss, a mean over cases; zero where none has one."""
        losses = [
            self.clustering(one, int(label))
            for one, label in zip(outcomes, labels.tolist(), strict=True)
            if len(one.hidden) > 1 and label in (0, 1)
        ]
        return torch.stack(losses).mean() if losses else labels.new_zeros(())

    def clustering(self, bag: BagOutcome, label: int) -> Float[Tensor, ""]:
        """Return how badly the patches at both ends of the attention are told apart.

        To its class those with most attention are evidence and those with least are
        not; to the other class even the former are none.
        """
        count = min(self.config.instances, len(bag.hidden) // 2)
        losses = []
        for number, classify in enumerate(self.classify_instance):
            attention = bag.weights.expand(CLASSES, -1)[number]
            most = bag.hidden[attention.topk(count).indices]
            if number == label:
                least = bag.hidden[attention.topk(count, largest=False).indices]
                patches, evidence = torch.cat([most, least]), [1] * count + [0] * count
            elif self.config.exclusive:
                patches, evidence = most, [0] * count
            else:
                continue
            losses.append(self.told_apart(classify(patches), evidence))
        return torch.stack(losses).mean()

    def told_apart(
        self, scores: Float[Tensor, "i 2"], evidence: Sequence[int]
    ) -> Float[Tensor, ""]:
        """Return the cross entropy; the smooth top-1 SVM is that with a margin of 1."""
        target = torch.tensor(evidence, device=scores.device)
        if self.config.instance_loss == "svm":
            scores = scores - one_hot(target, 2)
        return cross_entropy(scores, target)
