"""What a comparison of methods is told: one row a method, nothing computed here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from napari_harm3.training.metrics import FoldScores
from napari_harm3.training.statistics import Against
from napari_harm3.training.subgroups import Subgroup

NAMES = {"mri": "MRI", "wsi": "WSI"}


@dataclass(frozen=True, kw_only=True)
class Reported:
    """What the paper prints of a method: never a target."""

    table: str
    """Where it stands, such as *Table 1, CLAM*."""

    auc: float
    acc: float
    f1: float
    sen: float
    spe: float
    caveats: tuple[str, ...] = ()
    """Sentences on why it is *reported*."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a method takes; None where it was not measured."""

    parameters: int | None = None
    flops: int | None = None
    """Of one case, forward."""

    seconds_per_epoch: float | None = None
    timed: Literal["CPU", "GPU"] = "CPU"
    """Whose seconds they are: of a processor, or of the clock beside a GPU."""

    peak_memory_mb: float | None = None


@dataclass(frozen=True, kw_only=True)
class MethodRow:
    """A method, as it was measured on a cohort."""

    name: str
    """Of the registry, or of an ablation."""

    title: str
    modalities: tuple[str, ...]
    """``mri``, ``wsi``, ``clinical``."""

    metrics: Mapping[str, Any]
    """The ``metrics`` object of its run."""

    folds: tuple[FoldScores, ...] = ()
    """Held-out scores, for the curves."""

    reported: Reported | None = None
    against: Against | None = None
    """Tests against the reference; None for the reference itself."""

    cost: Cost = field(default_factory=Cost)
    subgroups: tuple[Subgroup, ...] = ()

    @property
    def inputs(self) -> str:
        """The modalities, for people."""
        return " + ".join(NAMES.get(name, name) for name in self.modalities)


Rows = Sequence[MethodRow]


def by_auc(rows: Iterable[MethodRow]) -> list[MethodRow]:
    """Return the rows, the best mean AUC first."""
    return sorted(rows, key=lambda row: -(row.metrics["auc"]["mean"] or 0))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Several methods on one cohort."""

    name: str
    """Stem of the files, such as ``table1``."""

    title: str
    rows: tuple[MethodRow, ...]
    cohort: str
    made_up: bool = False
    """Whether the cohort was made by `harm3 phantom`."""

    untrained_encoder: bool = False
    """Whether slide features come from weights drawn from seed 0."""

    reference: str = "harm3"
    """The row that the others are tested against."""

    caveats: tuple[str, ...] = ()
    """What holds for all reported figures."""

    notes: tuple[str, ...] = ()
    """Anything else a reader must know, such as folds, size and device."""
