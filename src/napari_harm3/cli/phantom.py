"""``harm3 phantom``: make up a cohort in real file formats."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from napari_harm3.cli.options import Output
from napari_harm3.cli.show import Result, show
from napari_harm3.jobs.cohort import make_phantom
from napari_harm3.phantom.config import PhantomConfig


@dataclass(kw_only=True)
class Phantom(Output):
    """Make up a cohort: MRI, annotations, slides and a label that they carry."""

    out: Annotated[Path, tyro.conf.Positional]
    """Folder to write into; finished cases in it are kept."""

    cases: int = 120
    """Number of patients."""

    seed: int = 0
    """The same seed gives the same bytes."""

    signal: Literal["default", "strong"] = "default"
    """How clearly the files tell the label."""

    permute_labels: bool = False
    """Shuffle the label, so that nothing can be learned."""

    missing: float = 0.0
    """Share of the cases that lack a sequence, a time point or the slide."""

    workers: int = 1
    """Processes at once."""

    def run(self) -> int:
        """Make the cohort and say where its table is."""
        job = make_phantom(
            self.out,
            config=PhantomConfig(
                cases=self.cases,
                seed=self.seed,
                signal=self.signal,
                permute_labels=self.permute_labels,
                missing=self.missing,
            ),
            workers=self.workers,
        )
        return show(job, json=self.json, summary=_summary)


def _summary(result: Result) -> str:
    return f"{result['cases']} made-up cases: {result['cohort']}"
