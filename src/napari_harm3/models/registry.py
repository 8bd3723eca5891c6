"""Every method that can be trained. The tables of this module are the paper's.

An own network enters through the entry-point group `OWN_MODELS`, each point of which
names a `ModelEntry`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Literal

from napari_harm3.errors import ModelError
from napari_harm3.models.baselines import (
    bag_config,
    fusion_config,
    reference_config,
    volume_config,
)
from napari_harm3.models.config import ModelConfig
from napari_harm3.models.entry import Group, ModelEntry
from napari_harm3.models.harm3.config import SMALL_HARM3, Harm3Config

if TYPE_CHECKING:
    from torch import nn

OWN_MODELS = "napari_harm3.models"
"""Entry-point group of networks that other packages bring."""

PAPER_SIZE: Mapping[str, Any] = {"volume_size": (32, 128, 128), "patch_width": 768}
CLINICAL_EXAMPLE = 8
"""Columns of a clinical branch when its parameters are only counted."""

MRI, WSI, BOTH = ("mri",), ("wsi",), ("mri", "wsi")
Sizes = tuple[ModelConfig, ModelConfig]
"""Small and full."""

C3D: Sizes = (volume_config.SMALL_C3D, volume_config.C3dConfig())
RESNET3D = (volume_config.SMALL_RESNET3D, volume_config.ResNet3dConfig())
RPNET3D: Sizes = (volume_config.SMALL_RPNET3D, volume_config.RpNet3dConfig())
ABMIL: Sizes = (bag_config.SMALL_ABMIL, bag_config.AbmilConfig())
CLAM = (bag_config.SMALL_CLAM, bag_config.ClamConfig())
DSMIL: Sizes = (bag_config.SMALL_DSMIL, bag_config.DsmilConfig())
TRANSMIL: Sizes = (bag_config.SMALL_TRANSMIL, bag_config.TransMilConfig())
HMCAT: Sizes = (fusion_config.SMALL_HMCAT, fusion_config.HmcatConfig())
M2FUSION: Sizes = (fusion_config.SMALL_M2FUSION, fusion_config.M2FusionConfig())
LATE: Sizes = (fusion_config.SMALL_LATE_FUSION, fusion_config.LateFusionConfig())
CONCAT: Sizes = (fusion_config.SMALL_CONCAT_MLP, fusion_config.ConcatMlpConfig())
NATIVE = bag_config.RECIPES | fusion_config.RECIPES | volume_config.RECIPES
"""What is other when a network is trained as its own authors did."""


def _harm3(name: str, title: str, row: str, **choices: Any) -> ModelEntry:
    """Return HARM3-Fusion with some choices of its configuration."""
    return ModelEntry(
        name=name,
        title=title,
        reference=f"Wang et al., HARM3-Fusion ({row})",
        modalities=BOTH if choices.get("slide", True) else MRI,
        network="napari_harm3.models.harm3.network:Harm3",
        sizes={
            "small": replace(SMALL_HARM3, **choices),
            "full": Harm3Config(**choices),
        },
    )


def _rival(
    name: str,
    title: str,
    reference: str,
    modalities: tuple[str, ...],
    network: str,
    sizes: Sizes,
) -> ModelEntry:
    small, full = sizes
    return ModelEntry(
        name=name,
        title=title,
        reference=reference,
        modalities=modalities,
        network=f"napari_harm3.models.baselines.{network}",
        sizes={"small": small, "full": full},
        native=NATIVE.get(full.network, {}),
    )


def _in(group: Group, *entries: ModelEntry) -> tuple[ModelEntry, ...]:
    return tuple(replace(entry, group=group) for entry in entries)


def _branches(count: Literal["single", "multi"]) -> Sizes:
    return replace(CLAM[0], branches=count), replace(CLAM[1], branches=count)


# fmt: off
TABLE_1 = _in(
    "table1",
    _rival("c3d", "3D-CNN", "Tran et al., ICCV 2015 (Table 1, row '3D-CNN')",
           MRI, "c3d:C3d", C3D),
    _rival("resnet3d", "ResNet", "He et al., CVPR 2016 (Table 1, row 'ResNet')",
           MRI, "resnet3d:ResNet3dClassifier", RESNET3D),
    replace(
        _rival("rpnet3d", "3D-RPNet",
               "Jin et al., Nature Communications 2021 (Table 1, row '3D-RPNET')",
               MRI, "rpnet3d:RpNet3d", RPNET3D),
        annotations=True,
    ),
    _rival("clam-sb", "CLAM-SB", "Lu et al., Nature BME 2021 (Table 1, row 'CLAM')",
           WSI, "clam:Clam", _branches("single")),
    _rival("clam-mb", "CLAM-MB", "Lu et al., Nature BME 2021 (Table 1, row 'CLAM')",
           WSI, "clam:Clam", _branches("multi")),
    _rival("transmil", "TransMIL",
           "Shao et al., NeurIPS 2021 (Table 1, row 'TransMIL')",
           WSI, "transmil:TransMil", TRANSMIL),
    _rival("hmcat", "HMCAT", "Li et al., IEEE TMI 2023 (Table 1, row 'HMCAT')",
           BOTH, "hmcat:Hmcat", HMCAT),
    _rival("m2fusion", "M2Fusion",
           "Zhang et al., MICCAI 2024 (Table 1, row 'M2Fusion')",
           BOTH, "m2fusion:M2Fusion", M2FUSION),
    _harm3("harm3", "HARM3-Fusion", "Table 1, row 'Ours'"),
)

TABLE_2 = _in(
    "table2",
    _harm3("harm3-no-ld-vae", "without LD-VAE", "Table 2, row 1", ld_vae=False),
    _harm3("harm3-no-attention-1", "without Attention-1", "Table 2, row 2",
           attention_1=False),
    _harm3("harm3-no-attention-2", "without Attention-2", "Table 2, row 3",
           attention_2=False),
    _harm3("harm3-ld-vae-only", "LD-VAE only", "Table 2, row 4",
           attention_1=False, attention_2=False),
)
"""The ablations; the last row of Table 2 is ``harm3`` itself."""

BEYOND = _in(
    "beyond",
    replace(
        _harm3("harm3-paper", "HARM3-Fusion, the paper's recipe", "Table 1, 'Ours'",
               stream_embedding=False, slide_dropout=0.0),
        recipe={"class_weights": False, "inner_fraction": 0.0, "ema": 0.0},
    ),
    _harm3("harm3-label", "HARM3-Fusion, label-aware Eq. 5",
           "section 2.1 in place of Eq. 5 as printed", cosine="label"),
    replace(
        _harm3("harm3-x", "HARM3-Fusion for missing inputs",
               "with learned tokens and modality dropout", missing="tokens"),
        recipe={"modality_dropout": 0.5},
    ),
    _harm3("harm3-mri", "HARM3-Fusion, MRI only", "without its slide", slide=False),
    replace(
        _harm3("harm3-clinical", "HARM3-Fusion with clinical columns",
               "and a branch of our own", clinical=True),
        modalities=(*BOTH, "clinical"),
    ),
    _rival("resnet-late", "ResNet, four volumes late", "He et al., CVPR 2016",
           MRI, "resnet3d:ResNet3dClassifier",
           (replace(RESNET3D[0], fusion="late"), replace(RESNET3D[1], fusion="late"))),
    _rival("abmil", "ABMIL", "Ilse et al., ICML 2018", WSI, "abmil:Abmil", ABMIL),
    _rival("dsmil", "DSMIL", "Li et al., CVPR 2021", WSI, "dsmil:Dsmil", DSMIL),
    _rival("late-fusion", "Late fusion",
           "the mean log-odds of an MRI network and a slide network",
           BOTH, "late_fusion:LateFusion", LATE),
    _rival("concat-mlp", "Concatenation and MLP",
           "pooled MRI and slide features side by side",
           BOTH, "concat_mlp:ConcatMlp", CONCAT),
)

REFERENCE = _in(
    "reference",
    _rival("majority", "Majority", "the share of pCR in the training part",
           (), "reference:Majority", (reference_config.MajorityConfig(),) * 2),
    replace(
        _rival("volume-ratio", "Tumour volume ratio",
               "logistic regression on the annotated volume after and before therapy",
               MRI, "reference:VolumeRatio",
               (reference_config.VolumeRatioConfig(),) * 2),
        annotations=True,
    ),
    _rival("clinical", "Clinical logistic regression", "columns of the cohort table",
           ("clinical",), "reference:ClinicalLogistic",
           (reference_config.ClinicalConfig(),) * 2),
)
# fmt: on

MODELS = {entry.name: entry for entry in (*TABLE_1, *TABLE_2, *BEYOND, *REFERENCE)}
"""The methods of this package; `method_names` has those of others too."""


def method_names() -> list[str]:
    """Return every method by name; those of other packages come last, unloaded."""
    return [*MODELS, *(name for name in _own() if name not in MODELS)]


def model_entry(name: str) -> ModelEntry:
    """Return a row of the registry.

    Raises
    ------
    ModelError
        If there is no such method, or the package that brings it does not load.
    """
    if name in MODELS:
        return MODELS[name]
    own = _own()
    if name not in own:
        names = ", ".join(method_names())
        raise ModelError(f"There is no method '{name}'; there are {names}.")
    try:
        entry = own[name].load()
    except Exception as error:
        raise ModelError(
            f"The method '{name}' does not load ({error}): correct the package that "
            "brings it, or remove it."
        ) from error
    if not isinstance(entry, ModelEntry) or entry.name != name:
        raise ModelError(
            f"The entry point '{name}' of {OWN_MODELS} names no ModelEntry of that "
            "name: correct the package that brings it."
        )
    return entry


def config_class(network: str) -> type[ModelConfig]:
    """Return the class of configurations that say they are of a network.

    Raises
    ------
    ModelError
        If no method has such a network.
    """
    for name in method_names():
        for config in model_entry(name).sizes.values():
            if config.network == network:
                return type(config)
    raise ModelError(
        f"No method has a network '{network}': `harm3 models` lists the methods."
    )


def build_model(
    name: str,
    config: ModelConfig,
    *,
    volume_size: Sequence[int],
    patch_width: int,
    clinical_width: int = 0,
) -> "nn.Module":
    """Return a freshly drawn network.

    Parameters
    ----------
    name
        A name of the registry.
    config
        Its configuration.
    volume_size
        Voxels of the common grid along z, y, x.
    patch_width
        Features of a patch.
    clinical_width
        Numbers that stand for the clinical columns; for methods that look at them.

    Raises
    ------
    ModelError
        If there is no such method, or its network cannot be imported.
    """
    from napari_harm3.models.memory_layout import put_channels_last

    entry = model_entry(name)
    shape: dict[str, Any] = {"volume_size": volume_size, "patch_width": patch_width}
    if "clinical" in entry.modalities:
        shape["clinical_width"] = clinical_width
    module, _, kind = entry.network.partition(":")
    try:
        build = getattr(import_module(module), kind)
    except (ImportError, AttributeError) as error:
        raise ModelError(
            f"The network of '{name}' cannot be built ({error}): correct the package "
            "that brings it, or remove it."
        ) from error
    network: nn.Module = build(config, **shape)
    put_channels_last(network)
    return network


def parameter_count(name: str, size: str) -> int:
    """Return the number of parameters at the paper's input size."""
    import torch

    with torch.device("meta"):
        network = build_model(
            name,
            model_entry(name).sizes[size],
            clinical_width=CLINICAL_EXAMPLE,
            **PAPER_SIZE,
        )
    return sum(weight.numel() for weight in network.parameters())


@cache
def _own() -> Mapping[str, Any]:
    return {point.name: point for point in entry_points(group=OWN_MODELS)}
