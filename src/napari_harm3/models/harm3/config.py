"""Every choice of HARM3-Fusion; where the paper is silent, the docstring says so."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from napari_harm3.cohort.case import ROLES
from napari_harm3.config import STRICT
from napari_harm3.models.config import (
    INPUTS,
    Count,
    Dropout,
    ModelConfig,
    OutputStride,
    Share,
    require_whole_heads,
)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Harm3Config(ModelConfig):
    """The network of sections 2.1 to 2.3.

    The defaults are ``harm3``; ``harm3-paper`` leaves out what only helps it to learn.
    """

    network: Literal["harm3"] = "harm3"

    # 2.1, the feature extraction network
    encoder_depth: Literal[10, 18, 34, 50] = 18
    """Layers of the 3-D ResNet; the paper does not name the network."""

    base_channels: Count = 64
    """Channels of its first stage; the last has eight times as many (four times
    that in a ResNet-50). 512 matches the paper's d_k."""

    output_stride: OutputStride = (8, 16, 16)
    """Grid voxels per cell of the feature map along z, y, x; the paper is silent.
    Stem and max-pool halve y and x alone; later stages are dilated instead of strided
    once it is reached."""

    norm: Literal["batch", "group"] = "batch"
    """Normalisation layers; the paper does not name them."""

    share_sequences: bool = False
    """One encoder and LD-VAE for T1 and T2; the paper says nothing on it."""

    share_times: bool = True
    """One encoder for pre and post; Eq. (5) compares their features, which
    presupposes one space."""

    # 2.1, LD-VAE
    ld_vae: bool = True
    """Row 1 of Table 2 when False: the encoder's features are directly connected."""

    vae_kernel: Literal["pointwise", "depthwise", "full"] = "depthwise"
    """Convolutions of the dual-stream VAE; the paper only says convolutional."""

    latent: Literal["tokens", "global"] = "tokens"
    """One latent per token, or one per volume; the paper is silent."""

    split: Literal["linear", "chunk"] = "linear"
    """Eq. (2): two fully connected layers, or the two halves of z."""

    temporal: Literal["concat", "sum"] = "concat"
    """Eq. (3) writes a sum, its text concatenates."""

    # 2.1, losses
    reconstruction_target: Literal["detached", "trainable"] = "detached"
    """Whether Eq. (4) also moves its target; features collapse when it does."""

    kl_count: Literal["once", "literal"] = "once"
    """Eq. (4) has the KL term inside the sum over j, which doubles it."""

    free_bits: Annotated[float, Field(ge=0)] = 0.0
    """KL per latent below which nothing is gained; 0 for none."""

    cosine: Literal["hinge", "raw", "squared", "label"] = "hinge"
    """Eq. (5) does not say how similarity of the variant parts is punished. ``label``
    parts pre from post in pCR and draws them together otherwise, as section 2.1
    argues; the others see no label, as the equation is printed."""

    contrast_balance: Share = 0.5
    """Lambda of Eq. (5); the paper gives no value."""

    contrast_level: Literal["auto", "token", "global"] = "auto"
    """Whether Eq. (5), and the crossed terms of Eq. (4), meet pre and post token by
    token, which needs registration, or pooled; the paper is silent. ``auto`` goes by
    token only where a case is aligned."""

    # 2.2
    attention_1: bool = True
    """Row 2 of Table 2 when False: T1 and T2 tokens are only concatenated."""

    sequence_heads: Count = 8
    """Heads of the self-attention; the paper is silent."""

    sequence_layers: Count = 1
    """Layers of it; the paper is silent."""

    relative_position: bool = True
    """The bias by 3-D offset and by pair of streams; its form is not given."""

    stream_embedding: bool = True
    """Tell its layers by a learned vector which sequence and time a token is of; the
    paper is silent. Relative positions say whom to attend to, not what was found."""

    # 2.3
    attention_2: bool = True
    """Row 3 of Table 2 when False: MRI and slide tokens are concatenated."""

    wsi_tokens: Count = 64
    """The fixed length to which the bag is pooled; the paper gives none."""

    pooling_heads: Count = 8
    """Heads of that pooling; the paper only says multi-head."""

    cross_heads: Count = 1
    """Heads of Eq. (6); its square root of d_k speaks for one."""

    residual_query: bool = False
    """Add the query to Eq. (7); the equation has no such term."""

    head_width: Count = 128
    """Hidden width of the MLP; the paper is silent."""

    dropout: Dropout = 0.1
    """Of the MLP; the paper is silent."""

    # Beyond the paper
    slide_dropout: Dropout = 0.25
    """Share of the cases of a training step whose MRI has to do without the slide.
    Eq. (7) lets the slide speak through the weights of its attention, which is learned
    in an epoch; the volumes, which take many, are then never learned."""

    slide: bool = True
    """False leaves the slide out: learned queries ask the MRI in its place."""

    missing: Literal["refused", "tokens"] = "refused"
    """``tokens`` puts learned tokens, which are no keys, where an input is missing;
    the paper knows complete cases only."""

    clinical: bool = False
    """Add the log-odds that a small network reads from columns of the cohort table."""

    @property
    def required(self) -> tuple[str, ...]:
        """The inputs without which the network says nothing."""
        if self.missing == "tokens":
            return ()
        return INPUTS if self.slide else ROLES

    @property
    def width(self) -> int:
        """Length of a token: d_k, 512 in the paper."""
        return self.base_channels * 8

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        require_whole_heads(
            self.width,
            called="8 x base_channels",
            sequence_heads=self.sequence_heads,
            pooling_heads=self.pooling_heads,
            cross_heads=self.cross_heads,
        )
        return self


SMALL_HARM3 = Harm3Config(
    base_channels=8, output_stride=(4, 8, 8), wsi_tokens=16, head_width=32
)
"""64 numbers a token; trains on two cores."""
