"""A case: one patient's volumes, annotations, slides and label."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

SEQUENCES = ("t1", "t2")
"""``t1`` is contrast-enhanced T1."""

TIMES = ("pre", "post")
"""Before and after treatment; nothing to do with contrast agent."""

PARTS = {f"{part[0]}_{part[1]}": part for part in product(SEQUENCES, TIMES)}
"""Sequence and time of each role."""

ROLES = tuple(PARTS)
"""The four volumes, in the order of the tensor's axes S and T."""

AXES = dict(zip(ROLES, product(range(len(SEQUENCES)), range(len(TIMES))), strict=True))
"""Where each role stands along these axes."""

BEFORE = {f"{sequence}_post": f"{sequence}_pre" for sequence in SEQUENCES}
"""Of each volume after treatment, the one before."""

TITLES = {
    "t1_pre": "T1+C before therapy",
    "t1_post": "T1+C after therapy",
    "t2_pre": "T2 before therapy",
    "t2_post": "T2 after therapy",
    "wsi": "Biopsy slide",
}
"""What a person reads on screen for each input."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row of the cohort table; a blank cell is absent from the mappings."""

    case_id: str
    row: int
    """Row of the table; the header is row 1."""

    volumes: Mapping[str, Path] = field(default_factory=dict)
    """Role to file."""

    masks: Mapping[str, Path] = field(default_factory=dict)
    """Role to voxel annotation."""

    slides: tuple[Path, ...] = ()
    """Slides or feature files of the biopsy."""

    slide_mpp: tuple[float | None, ...] = ()
    """Stated microns per pixel of each slide; None where the file says it."""

    bare_slides: tuple[Path, ...] = ()
    """Slides that the case counts as without: no patch of them can be used."""

    pcr: int | None = None
    """1 = pathological complete response, 0 = none, None = not known."""

    fold: int | None = None
    split: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    """Every other column, as text."""

    @property
    def patient(self) -> str:
        """Whose case it is: the column ``patient_id``, or a patient of its own."""
        return self.extra.get("patient_id", "").strip() or self.case_id

    @property
    def files(self) -> tuple[tuple[str, Path], ...]:
        """Every file that the row names, with its column."""
        masks = ((f"mask_{role}", path) for role, path in self.masks.items())
        slides = (("wsi", path) for path in self.slides)
        return (*self.volumes.items(), *masks, *slides)

    def only(self, reads: Collection[str]) -> "Case":
        """Return the case without the files that nobody reads.

        Parameters
        ----------
        reads
            Which are read of ``mri``, the ``annotation`` of these, and ``wsi``.
        """
        case = self
        if "mri" not in reads:
            case = replace(case, volumes={}, masks={})
        if "annotation" not in reads:
            case = replace(case, masks={})
        if "wsi" not in reads:
            case = replace(case, slides=(), slide_mpp=())
        return case

    def with_bare_slides(self) -> "Case":
        """Return the case as without its slides, of which no patch can be used."""
        return replace(self, slides=(), slide_mpp=(), bare_slides=self.slides)

    @property
    def bare(self) -> str:
        """What is to be said of its bare slides; empty if there are none."""
        names = ", ".join(path.name for path in self.bare_slides)
        return f"no patch of {names} shows tissue that can be read" if names else ""

    @property
    def missing(self) -> tuple[str, ...]:
        """The inputs that the case lacks, of the four volumes and ``wsi``."""
        absent = tuple(role for role in ROLES if role not in self.volumes)
        return absent if self.slides else (*absent, "wsi")

    @property
    def complete(self) -> bool:
        """Whether all four volumes and a slide are there."""
        return not self.missing
