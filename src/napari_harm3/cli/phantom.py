"""``harm3 phantom``: make up a cohort in real file formats."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from napari_harm3.cli.options import Output
from napari_harm3.cli.show import Result, show
from napari_harm3.config import changed
from napari_harm3.errors import ConfigError
from napari_harm3.jobs.cohort import make_phantom
from napari_harm3.phantom.config import ImplantConfig, PhantomConfig, Strength


@dataclass(kw_only=True)
class Phantom(Output):
    """Make up a cohort: MRI, annotations, slides and a label that they carry.

    With --anatomy and --lesions, lesions of real shape are implanted in real volumes.
    """

    out: Annotated[Path, tyro.conf.Positional]
    """Folder to write into; finished cases in it are kept."""

    cases: int = 120
    """Number of patients."""

    seed: int = 0
    """The same seed gives the same bytes."""

    signal: Strength = PhantomConfig().signal
    """How clearly the files tell the label."""

    permute_labels: bool = False
    """Shuffle the label, so that nothing can be learned."""

    missing: float = 0.0
    """Share of the cases that lack a sequence, a time point or the slide."""

    anatomy: Path | None = None
    """Folder of real patients' T1 and T2, before and after treatment, to implant in."""

    lesions: Path | None = None
    """Folder of voxel annotations to take the shapes of lesions from."""

    slides: Path | None = None
    """Folder of real slides to take biopsies from; drawn if not given."""

    null: bool = False
    """Implanted lesions and slides do not depend on the label."""

    unchanged: bool = False
    """Implanted lesions stay as they were: what is still learned is a leak."""

    fractions: bool = False
    """Also write which share of each voxel an implanted lesion fills."""

    workers: int = 1
    """Processes at once."""

    def run(self) -> int:
        """Make the cohort and say where its table is."""
        job = make_phantom(self.out, config=self._config(), workers=self.workers)
        return show(job, json=self.json, summary=_summary)

    def _config(self) -> PhantomConfig | ImplantConfig:
        implanted = self.slides is not None or self.null or self.unchanged
        drawn = (
            self.signal != PhantomConfig().signal or self.permute_labels or self.missing
        )
        if self.anatomy is None and self.lesions is None:
            if implanted or self.fractions:
                raise ConfigError(
                    "--slides, --null, --unchanged and --fractions are for implanted "
                    "lesions: give --anatomy and --lesions too."
                )
            return changed(
                PhantomConfig(),
                cases=self.cases,
                seed=self.seed,
                signal=self.signal,
                permute_labels=self.permute_labels,
                missing=self.missing,
            )
        if self.anatomy is None or self.lesions is None:
            raise ConfigError("--anatomy and --lesions go together: give both.")
        if drawn:
            raise ConfigError(
                "--signal, --permute-labels and --missing are for the drawn cohort: "
                "leave them out, or take --null."
            )
        return changed(
            ImplantConfig(anatomy=self.anatomy, lesions=self.lesions),
            slides=self.slides,
            cases=self.cases,
            seed=self.seed,
            null=self.null,
            unchanged=self.unchanged,
            fractions=self.fractions,
        )


def _summary(result: Result) -> str:
    return f"{result['cases']} made-up cases: {result['cohort']}"
