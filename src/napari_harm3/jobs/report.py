"""What a user can ask to have told on one page."""

from pathlib import Path

from napari_harm3.jobs.progress import Job, finished
from napari_harm3.report.tables import METRICS, interval, metrics_rows, number

__all__ = ["METRICS", "interval", "metrics_rows", "number", "report"]


def report(
    run: Path,
    *,
    out: Path,
    case: str | None = None,
    explanation: Path | None = None,
) -> Job:
    """Write one self-contained HTML page about a run, or about a case of it."""
    from napari_harm3.report.case_report import write_case_report
    from napari_harm3.report.run_report import write_run_report

    if case is None:
        write_run_report(run, out, explanation=explanation)
    else:
        write_case_report(run, out, case, explanation=explanation)
    yield finished("report", {"report": str(out.resolve())})
