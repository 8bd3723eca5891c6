"""The choices of the rivals that see MRI and slide; no torch here."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from napari_harm3.config import STRICT
from napari_harm3.models.config import (
    SLIDE,
    Count,
    Dropout,
    ModelConfig,
    OutputStride,
    require_whole_heads,
)

Weight = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FusionConfig(ModelConfig):
    """The MRI encoder, which is HARM3's in all of them, so that it decides nothing."""

    encoder_depth: Literal[10, 18, 34, 50] = 18
    """Layers of the 3-D ResNet; 18 as in HARM3."""

    base_channels: Count = 64
    """Channels of its first stage; 64 as in HARM3."""

    output_stride: OutputStride = (8, 16, 16)
    """Grid voxels per cell of its feature map along z, y, x; as in HARM3."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HmcatConfig(FusionConfig):
    """The HMCAT re-implementation; sizes as in MCAT, from which it descends."""

    network: Literal["hmcat"] = "hmcat"

    width: Count = 256
    """Length of a token; inferred from MCAT."""

    heads: Count = 8
    """Heads of the transformers; inferred from MCAT."""

    layers: Count = 2
    """Layers of each of the two transformers; inferred from MCAT."""

    feed_forward: Count = 512
    """Hidden width inside the transformers; inferred from MCAT."""

    prototypes: Count = 16
    """Tissue phenotypes, the third level of a slide; ours."""

    neighbourhood: Count = 4
    """Patches along each side of a neighbourhood, the second level; ours."""

    patch_um: Annotated[float, Field(gt=0)] = 112.0
    """Distance of neighbouring patches in micrometres: 224 pixels of 0.5."""

    dropout: Dropout = 0.25
    """Everywhere but in the encoder; inferred from MCAT."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        require_whole_heads(self.width, heads=self.heads)
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class M2FusionConfig(FusionConfig):
    """M2Fusion: two times of one sequence, and the slide."""

    network: Literal["m2fusion"] = "m2fusion"

    sequence: Literal["t1", "t2"] = "t1"
    """The one sequence that it takes."""

    width: Count = 256
    """Length of each modality's vector; we know of no published value."""

    attention_width: Count = 128
    """Hidden width of the gated attention; we know of no published value."""

    dropout: Dropout = 0.25
    """Of patches and of the MLP; we know of no published value."""

    contrast_times: Weight = 0.1
    """Weight of the contrast of pre and post; we know of no published value."""

    orthogonality: Weight = 0.1
    """Weight of the modalities' squared cosine; we know of no published value."""

    @property
    def required(self) -> tuple[str, ...]:
        """Both times of the sequence, and the slide."""
        return (f"{self.sequence}_pre", f"{self.sequence}_post", SLIDE)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LateFusionConfig(FusionConfig):
    """Two networks that meet in the prediction."""

    network: Literal["late-fusion"] = "late-fusion"

    width: Count = 512
    """Length of a projected patch; as in CLAM."""

    attention_width: Count = 256
    """Hidden width of the gated attention; as in CLAM."""

    dropout: Dropout = 0.25
    """Of patches and of the pooled MRI; as in CLAM."""

    alone: Weight = 0.5
    """Weight of each network's own loss, beside the loss of their mean."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ConcatMlpConfig(FusionConfig):
    """Averages of everything, side by side, and an MLP."""

    network: Literal["concat-mlp"] = "concat-mlp"

    hidden: Count = 256
    """Hidden width of the MLP."""

    dropout: Dropout = 0.25
    """Of the MLP."""


_SMALL: dict[str, Any] = {"base_channels": 8, "output_stride": (4, 8, 8)}

SMALL_HMCAT = HmcatConfig(width=64, heads=2, layers=1, feed_forward=128, **_SMALL)
SMALL_M2FUSION = M2FusionConfig(width=64, attention_width=32, **_SMALL)
SMALL_LATE_FUSION = LateFusionConfig(width=64, attention_width=32, **_SMALL)
SMALL_CONCAT_MLP = ConcatMlpConfig(hidden=64, **_SMALL)

RECIPES: dict[str, dict[str, Any]] = {
    # MCAT's, which steps every 32 cases; HMCAT's own is not known to us.
    "hmcat": {
        "epochs": 20,
        "batch": 32,
        "accumulate": 4,
        "learning_rate": 2e-4,
        "weight_decay": 1e-5,
        "optimizer": "adam",
        "patience": 20,
    },
    # No recipe is known to us: that of HARM3-Fusion, the defaults.
    "m2fusion": {},
    "late-fusion": {},
    "concat-mlp": {},
}
"""The budgets under which the methods were published, where we know them."""
