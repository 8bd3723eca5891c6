"""What several commands take."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from napari_harm3.config import changed, read_toml
from napari_harm3.data.config import Size
from napari_harm3.errors import ConfigError
from napari_harm3.experiments.carrying import carried_over
from napari_harm3.training.config import RunConfig
from napari_harm3.wsi.config import PatchConfig, Preset, Rule, Stain


@dataclass(kw_only=True)
class Output:
    """How the result is told."""

    json: bool = False
    """Print one JSON object on stdout, and nothing else."""


@dataclass(kw_only=True)
class CohortOptions(Output):
    """Where made things are kept, and which files may be read."""

    work: Path | None = None
    """Folder for everything made once; .harm3 beside the cohort table if not given."""

    allow_external: bool = False
    """Accept paths that leave the cohort table's folder."""


@dataclass(kw_only=True)
class DeviceOptions(CohortOptions):
    """The same, for commands that run a network."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""


@dataclass(kw_only=True)
class ModelOptions(DeviceOptions):
    """The same, for commands that ask a model of a cohort."""

    model: Annotated[Path, tyro.conf.Positional]
    """A run folder, or an exported model folder."""

    cohort: Annotated[Path, tyro.conf.Positional]
    """The cohort table, cohort.csv."""


@dataclass(kw_only=True)
class SlideOptions(Output):
    """What to do with slides, and at which resolution."""

    slides: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Whole-slide images, folders of them, or a cohort table (.csv)."""

    out: Path
    """Folder to write into."""

    preset: Preset = "harm3"
    """How tissue is told from glass: ours, the paper's, or as CLAM does it."""

    rule: Rule = PatchConfig().rule
    """Which patches count as tissue."""

    patch: int = PatchConfig().patch
    """Side of a patch, pixels."""

    mpp: float = PatchConfig().mpp
    """Resolution of the patches, microns per pixel."""

    source_mpp: float | None = None
    """Resolution of the slides themselves, for all that have none in a cohort table; it
    wins over what their files say."""

    allow_upsampling: bool = False
    """Accept slides coarser than the patches by more than 10 %."""

    workers: int | None = None
    """Processes at once; one per core, or per GPU, if not given."""

    scheduler: str | None = None
    """Address of a running Dask cluster, which then does the work."""

    allow_external: bool = False
    """Accept paths that leave a cohort table's folder."""

    def patch_config(self, stain: Stain = "none") -> PatchConfig:
        """Return the grid of patches.

        Raises
        ------
        ConfigError
            If a value is out of bounds.
        """
        return changed(
            PatchConfig(),
            patch=self.patch,
            mpp=self.mpp,
            rule=self.rule,
            stain=stain,
            allow_upsampling=self.allow_upsampling,
        )


@dataclass(kw_only=True)
class InputOptions:
    """What the network sees of a case."""

    size: Size | None = None
    """small trains on two cores; full is the paper's size, for a GPU. full if not
    given."""

    config: Path | None = None
    """A run.toml to take everything from; other options win over it."""

    encoder: str | None = None
    """Name of a timm vision transformer for the slides' patches."""

    weights: Path | None = None
    """The encoder's weights, a file or a folder; without them it is untrained."""

    def run_config(self, method: str | None = None) -> RunConfig:
        """Return the configuration of a run with these inputs.

        Raises
        ------
        ConfigError
            If there is no such method, or the file cannot be used.
        """
        if self.config is None:
            chosen = RunConfig.of(method or "harm3", self.size or "full")
        else:
            file = read_toml(self.config, RunConfig)
            chosen = carried_over(
                file, method=method or file.method, size=self.size or file.size
            )
        encoder = chosen.inputs.encoder
        if self.encoder is not None:
            encoder = replace(encoder, name=self.encoder, depth=None)
        if self.weights is not None:
            encoder = replace(encoder, weights=self.weights)
        return replace(chosen, inputs=replace(chosen.inputs, encoder=encoder))


@dataclass(kw_only=True)
class TrainingOptions(InputOptions, DeviceOptions):
    """The same, for commands that train."""

    folds: int | None = None
    """Folds by patient; a column `fold` in the table wins. 5 if not given."""

    repeats: int | None = None
    """Repeated cross-validation, each time with other folds. 1 if not given."""

    epochs: int | None = None
    """Passes over the training cases."""

    seed: int | None = None
    """Seed of folds, weights and order. 0 if not given."""

    jobs: int = 1
    """Folds at once, each in a process of its own."""

    scheduler: str | None = None
    """Address of a running Dask cluster, which then trains the folds."""

    def over(self, config: RunConfig) -> RunConfig:
        """Return a configuration with the given options in place of its own.

        Raises
        ------
        ConfigError
            If one is out of bounds.
        """
        if self.jobs < 1:
            raise ConfigError(f"{self.jobs} jobs train no fold: give --jobs 1 or more.")
        training = changed(config.training, **_given(epochs=self.epochs))
        given = _given(folds=self.folds, repeats=self.repeats, seed=self.seed)
        return changed(config, training=training, **given)


def _given(**options: int | None) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
