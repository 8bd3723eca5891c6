"""``harm3 demo``: the whole road in one go."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from napari_harm3.cli.metrics import metrics_table
from napari_harm3.cli.options import Output
from napari_harm3.cli.show import Result, show
from napari_harm3.cli.view import View
from napari_harm3.config import changed
from napari_harm3.jobs.demo import demo
from napari_harm3.jobs.progress import Job, Progress, finished
from napari_harm3.phantom.config import PhantomConfig
from napari_harm3.training.config import RunConfig


@dataclass(kw_only=True)
class Demo(Output):
    """Made-up cohort, training, metrics, prediction, heat maps, report, screenshot."""

    out: Annotated[Path, tyro.conf.Positional]
    """Folder to write into; run again, it goes on where it was stopped."""

    cases: int = 120
    """Number of made-up patients."""

    seed: int = 0
    """Seed of the cohort and of the training."""

    permute_labels: bool = False
    """Shuffle the label: the metrics must then fall to chance."""

    work: Path | None = None
    """Folder for everything made once; .harm3 beside the cohort table if not given."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""

    def run(self) -> int:
        """Run every stage, then show where things are."""
        job = demo(
            self.out,
            cohort=changed(
                PhantomConfig(),
                cases=self.cases,
                seed=self.seed,
                permute_labels=self.permute_labels,
            ),
            config=changed(RunConfig.of("harm3", "small"), seed=self.seed),
            device=self.device,
            work=self.work,
        )
        return show(self._pictured(job), json=self.json, summary=_summary)

    def _pictured(self, job: Job) -> Job:
        """Add a picture of napari's window to what the job made."""
        for message in job:
            if message.result is None:
                yield message
            else:
                yield Progress(stage="window", step=0, of=1, text="napari")
                result = message.result | {
                    "screenshot": self._screenshot(message.result)
                }
                yield finished("demo", result)

    def _screenshot(self, result: Result) -> str | None:
        """Have napari draw the explained case; None where it cannot."""
        picture = self.out / "napari.png"
        viewer = View(
            cohort=Path(result["cohort"]),
            case=result["case"],
            model=Path(result["run"]),
            explanation=Path(result["explanation"]),
            screenshot=picture,
        )
        done = subprocess.run(viewer.arguments(), check=False, stdout=sys.stderr)
        return str(picture.resolve()) if done.returncode == 0 else None


def _summary(result: Result) -> str:
    made = ("cohort", "run", "predictions", "explanation", "report", "screenshot")
    no_picture = "not made: napari needs a screen and Qt (see the README)"
    paths = [f"{name:<12}{result[name] or no_picture}" for name in made]
    return "\n".join([metrics_table(result["metrics"]), "", *paths])
