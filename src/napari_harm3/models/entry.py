"""What a row of the registry says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from napari_harm3.cohort.case import Case
from napari_harm3.models.config import ModelConfig

Group = Literal["table1", "table2", "beyond", "reference"]
IMAGES = {"mri", "wsi"}


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """A method that can be trained.

    The network is named, not imported, so that whoever only lists methods loads no
    torch.
    """

    name: str
    title: str
    """As tables print it."""

    reference: str
    modalities: tuple[str, ...]
    """``mri``, ``wsi``, ``clinical``: what it looks at."""

    network: str
    """Module and class, ``package.module:Class``; a `Network` that takes a
    configuration, ``volume_size`` and ``patch_width``, and ``clinical_width`` if it
    looks at clinical columns."""

    sizes: Mapping[str, ModelConfig]
    """Configuration of each registered size, ``small`` and ``full``."""

    group: Group = "beyond"
    """Which table it belongs to; ``reference`` rows say what is easy."""

    annotations: bool = False
    """Whether training looks at annotations, where a case has them."""

    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the training recipe in which it is not like all others."""

    native: Mapping[str, Any] = field(default_factory=dict)
    """The same, as its own authors trained it."""

    @property
    def reads(self) -> tuple[str, ...]:
        """What is read of a case: its modalities, and perhaps its annotations."""
        return (*self.modalities, *(["annotation"] if self.annotations else []))

    @property
    def known_by(self) -> tuple[str, ...]:
        """By which images a case is known again: those it looks at, all if none."""
        return tuple(IMAGES & set(self.modalities)) or tuple(IMAGES)

    def lacks(self, case: Case, config: ModelConfig) -> tuple[str, ...]:
        """Return the inputs that a case lacks, without which nothing is said of it.

        A network that requires none of them still needs one to look at.
        """
        if not config.required and IMAGES & set(self.modalities):
            return () if case.volumes or case.slides else case.missing
        return tuple(name for name in case.missing if name in config.required)
