"""``harm3 explain``: where the model looks, and how that agrees with annotations."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_harm3.cli.options import ModelOptions
from napari_harm3.cli.show import Result, show
from napari_harm3.config import from_plain
from napari_harm3.explain.config import ExplainConfig, Method, Target
from napari_harm3.jobs.explanation import explain, explain_cohort


@dataclass(kw_only=True)
class Explain(ModelOptions):
    """Write heat maps, the slide's maps, their link, agreement and figure."""

    case: str | None = None
    """The case to explain; every case of the cohort if not given."""

    out: Path
    """Folder to write into."""

    method: Method = "gradcam"
    """How the channels of a layer are weighed."""

    layer: str = "last"
    """Layer of the volumes' encoder: last, or stem, stage1 and so on, which are finer.
    Choose layercam or hirescam for these."""

    target: Target = "pcr"
    """What the maps are evidence of."""

    def run(self) -> int:
        """Explain; exit 1 if a case lacks what the model needs."""
        fields = {"method": self.method, "layer": self.layer, "target": self.target}
        asked: dict[str, Any] = {
            "cohort": self.cohort,
            "out": self.out,
            "config": from_plain(ExplainConfig, fields, source="the options"),
            "work": self.work,
            "device": self.device,
            "allow_external": self.allow_external,
        }
        if self.case is None:
            job = explain_cohort(self.model, **asked)
            return show(job, json=self.json, summary=_all, failed=_some_without)
        job = explain(self.model, case=self.case, **asked)
        return show(job, json=self.json, summary=_summary, failed=_without)


def _some_without(result: Result) -> bool:
    lacking = [_without(row) for row in result["cases"]]  # each is told
    return any(lacking)


def _all(result: Result) -> str:
    done = len(result["cases"]) - len(result["failed"])
    return f"{done} cases explained: {result['agreement']}"


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
