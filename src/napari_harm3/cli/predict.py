"""``harm3 predict``: the probability of pCR."""

from dataclasses import dataclass
from pathlib import Path

from napari_harm3.cli.options import ModelOptions
from napari_harm3.cli.show import Result, show, unanswered
from napari_harm3.jobs.prediction import predict


@dataclass(kw_only=True)
class Predict(ModelOptions):
    """Predict one case, or every case of a cohort."""

    case: str | None = None
    """One case only."""

    out: Path | None = None
    """Write the predictions as CSV, too."""

    def run(self) -> int:
        """Ask the model; exit 1 if any case could not be predicted."""
        job = predict(
            self.model,
            cohort=self.cohort,
            case=self.case,
            out=self.out,
            work=self.work,
            device=self.device,
            allow_external=self.allow_external,
        )
        return show(job, json=self.json, summary=_summary, failed=_any_without)


def _any_without(result: Result) -> bool:
    without = [unanswered(row) for row in result["predictions"]]  # each is told
    return any(without)


def _summary(result: Result) -> str:
    return "\n".join(
        f"{row['case_id']:<16} p(pCR) {row['probability']:.3f}  "
        f"{row['seen']}, model trained on {row['trained_on']}"
        for row in result["predictions"]
        if row["probability"] is not None
    )
