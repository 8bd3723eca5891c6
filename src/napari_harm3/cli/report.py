"""``harm3 report``: a run or a case, told on one page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from napari_harm3.cli.options import Output
from napari_harm3.cli.show import Result, show
from napari_harm3.jobs.report import report


@dataclass(kw_only=True)
class Report(Output):
    """Write one self-contained HTML page about a run."""

    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run folder."""

    out: Path
    """The page, FILE.html."""

    case: str | None = None
    """Tell one case of the run instead."""

    explanation: Path | None = None
    """An explanation folder whose heat maps the page shows, too."""

    def run(self) -> int:
        """Write the page."""
        job = report(
            self.model, out=self.out, case=self.case, explanation=self.explanation
        )
        return show(job, json=self.json, summary=_summary)


def _summary(result: Result) -> str:
    return f"report: {result['report']}"
