"""Every choice of the networks that see a bag of patches alone; no torch here."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from napari_harm3.config import STRICT
from napari_harm3.models.config import (
    SLIDE,
    Count,
    Dropout,
    ModelConfig,
    Share,
    require_whole_heads,
)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BagConfig(ModelConfig):
    """What these networks have in common: they need the slide alone."""

    @property
    def required(self) -> tuple[str, ...]:
        """The slide."""
        return (SLIDE,)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AbmilConfig(BagConfig):
    """Attention over patches, and nothing else."""

    network: Literal["abmil"] = "abmil"

    width: Count = 512
    """Length to which a patch's features are brought."""

    attention_width: Count = 128
    """Hidden width of the attention."""

    gated: bool = True
    """Gated attention, or the plain one; the paper has both."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClamConfig(BagConfig):
    """CLAM with one attention branch, or one a class."""

    network: Literal["clam"] = "clam"

    branches: Literal["single", "multi"] = "single"
    """CLAM-SB or CLAM-MB."""

    width: Count = 512
    """Length to which a patch's features are brought."""

    attention_width: Count = 256
    """Hidden width of the gated attention."""

    dropout: Dropout = 0.25
    """Of the features that are brought to that length."""

    instances: Count = 8
    """Patches with most attention, and as many with least, that are clustered; half
    of the bag at most."""

    instance_loss: Literal["ce", "svm"] = "svm"
    """Of the clustering: cross entropy, or the smooth top-1 SVM of the paper."""

    exclusive: bool = True
    """Also teach the other class that what the case's class attends to is not its
    own. The paper does so where classes exclude each other, as pCR and none do."""

    bag_weight: Share = 0.7
    """Weight of the bag's loss; the clustering has the rest."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DsmilConfig(BagConfig):
    """The two streams of DSMIL."""

    network: Literal["dsmil"] = "dsmil"

    width: Count = 512
    """Length to which a patch's features are brought; the paper has no such layer."""

    query_width: Count = 128
    """Length of the queries whose products are the distances."""

    bag_weight: Share = 0.5
    """Weight of the bag's loss; the critical patch's has the rest."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TransMilConfig(BagConfig):
    """A transformer over the bag."""

    network: Literal["transmil"] = "transmil"

    width: Count = 512
    """Length of a token."""

    heads: Count = 8
    """Attention heads."""

    landmarks: Count = 256
    """Landmarks of the Nystrom attention."""

    inverse_iterations: Annotated[int, Field(ge=1, le=64)] = 6
    """Steps towards the pseudo-inverse between the landmarks."""

    exact_below: Annotated[int, Field(ge=0)] = 2000
    """Tokens below which attention is exact instead; 0 for never, as in the paper."""

    dropout: Dropout = 0.1
    """Of what an attention layer adds; the paper is silent."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        require_whole_heads(self.width, heads=self.heads)
        return self


SMALL_ABMIL = AbmilConfig(width=128, attention_width=64)
SMALL_CLAM = ClamConfig(width=128, attention_width=64)
SMALL_DSMIL = DsmilConfig(width=128, query_width=32)
SMALL_TRANSMIL = TransMilConfig(width=64, heads=4, landmarks=64)

RECIPES: dict[str, dict[str, Any]] = {
    "abmil": {
        "epochs": 100,
        "batch": 2,
        "learning_rate": 1e-4,
        "weight_decay": 5e-4,
        "optimizer": "adam",
    },
    "clam": {
        "epochs": 200,
        "batch": 2,
        "learning_rate": 1e-4,
        "weight_decay": 1e-5,
        "optimizer": "adam",
        "patience": 20,
    },
    "dsmil": {
        "epochs": 50,
        "batch": 2,
        "learning_rate": 1e-4,
        "weight_decay": 1e-3,
        "optimizer": "adam",
        "patience": 10,
    },
    "transmil": {
        "epochs": 200,
        "batch": 2,
        "learning_rate": 2e-4,
        "weight_decay": 1e-5,
        "optimizer": "radam",
        "patience": 10,
    },
}
"""What the methods' own training defaults are. They take one bag a step, ours takes
two at least; TransMIL wraps its RAdam in Lookahead, DSMIL sets Adam's betas to 0.5
and 0.9, and CLAM begins to be patient after 50 epochs: a recipe has no field for it."""
