"""``harm3 doctor``: what a file is, and what is wrong with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from napari_harm3.cli.options import Output
from napari_harm3.cli.show import Result, show
from napari_harm3.jobs.doctor import examine


@dataclass(kw_only=True)
class Doctor(Output):
    """Examine slides, volumes and feature files; exit 1 if any cannot be trusted."""

    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Files, or folders of slides."""

    source_mpp: float | None = None
    """Resolution of the slides; it wins over what their files say."""

    def run(self) -> int:
        """Print what each file is, its faults first."""
        job = examine(self.files, source_mpp=self.source_mpp)
        return show(job, json=self.json, summary=_summary, failed=_any_fault)


def _any_fault(result: Result) -> bool:
    return any(row["faults"] for row in result["files"])


def _summary(result: Result) -> str:
    lines = []
    for row in result["files"]:
        lines.append(f"{Path(row['file']).name}: {row['kind']}")
        lines += [f"  FAULT  {fault}" for fault in row["faults"]]
        lines += [f"  {note}" for note in row["notes"]]
    return "\n".join(lines)
