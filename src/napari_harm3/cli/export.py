"""``harm3 export``: one model folder to give away."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from napari_harm3.cli.options import Output
from napari_harm3.cli.show import Result, show
from napari_harm3.jobs.training import export


@dataclass(kw_only=True)
class Export(Output):
    """Gather a run's networks in one folder, without case names."""

    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run folder."""

    out: Path
    """The model folder to write."""

    refit: bool = False
    """Give one network fitted on every case, instead of one per fold."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:N; for --refit."""

    allow_external: bool = False
    """Accept paths that leave the cohort table's folder; for --refit."""

    def run(self) -> int:
        """Export the run."""
        job = export(
            self.model,
            out=self.out,
            refit=self.refit,
            device=self.device,
            allow_external=self.allow_external,
        )
        return show(job, json=self.json, summary=_summary)


def _summary(result: Result) -> str:
    return f"model: {result['model']}"
