"""``harm3 explain``: where the model looks, and how that agrees with annotations."""

import sys
from dataclasses import dataclass
from pathlib import Path

from napari_harm3.cli.options import ModelOptions
from napari_harm3.cli.show import Result, show
from napari_harm3.jobs.explanation import explain


@dataclass(kw_only=True)
class Explain(ModelOptions):
    """Write the heat maps of a case, the slide's attention, figure and agreement."""

    case: str
    """The case to explain."""

    out: Path
    """Folder to write into."""

    def run(self) -> int:
        """Explain the case; exit 1 if it lacks what the model needs."""
        job = explain(
            self.model,
            cohort=self.cohort,
            case=self.case,
            out=self.out,
            work=self.work,
            device=self.device,
            allow_external=self.allow_external,
        )
        return show(job, json=self.json, summary=_summary, failed=_without)


def _without(result: Result) -> bool:
    if result["probability"] is None:
        print(f"harm3: {result['message']}", file=sys.stderr)
        return True
    return False


def _summary(result: Result) -> str:
    if result["probability"] is None:
        return ""
    lines = [
        (
            f"{result['case_id']}: p(pCR) {result['probability']:.3f} "
            f"({result['seen']}, "
            f"model trained on {result['trained_on']})"
        ),
        f"{'volume':<9}{'measure':<16}{'value':>8}{'chance':>8}{'ceiling':>9}",
    ]
    for role, measures in result["agreement"].items():
        if "not_applicable" in measures:
            lines.append(f"{role:<9}{measures['not_applicable']}")
            continue
        for name in ("pointing_game", "energy", "dice"):
            figures = measures[name]
            cells = "".join(
                f"{'-' if figures[key] is None else format(figures[key], '.3f'):>8}"
                for key in ("value", "chance", "ceiling")
            )
            lines.append(f"{role:<9}{name:<16}{cells}")
    return "\n".join([*lines, f"figure: {result['figure']}"])
