"""``harm3 explain``: where the model looks, and how that agrees with annotations."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_harm3.cli.options import ModelOptions
from napari_harm3.cli.show import Result, show, unanswered
from napari_harm3.config import from_plain
from napari_harm3.explain.config import (
    Also,
    Check,
    ExplainRequest,
    Method,
    Target,
)
from napari_harm3.jobs.explanation import explain
from napari_harm3.jobs.explanation_cohort import explain_cohort


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

    also: tuple[Also, ...] = ()
    """Maps beside these: occlusion covers the volumes cube by cube, the gold check;
    decoupled shows what both halves of the LD-VAE respond to."""

    checks: tuple[Check, ...] = ()
    """Trials of the map: randomisation asks whether it depends on what was learned,
    faithfulness whether the model needs what it points to."""

    cube: tuple[int, int, int] | None = None
    """Sides of occlusion's cube along z, y, x in voxels of the model's grid; as large
    as a cell of the last layer if not given."""

    def run(self) -> int:
        """Explain; exit 1 if a case lacks what the model needs."""
        fields = {
            "maps": {
                "method": self.method,
                "layer": self.layer,
                "target": self.target,
            },
            "also": self.also,
            "checks": self.checks,
            "occlusion": self.cube and {"cube": self.cube, "stride": self.cube},
        }
        asked: dict[str, Any] = {
            "cohort": self.cohort,
            "out": self.out,
            "request": from_plain(ExplainRequest, fields, source="the options"),
            "work": self.work,
            "device": self.device,
            "allow_external": self.allow_external,
        }
        if self.case is None:
            job = explain_cohort(self.model, **asked)
            return show(job, json=self.json, summary=_all, failed=_some_without)
        job = explain(self.model, case=self.case, **asked)
        return show(job, json=self.json, summary=_summary, failed=unanswered)


def _some_without(result: Result) -> bool:
    without = [unanswered(row) for row in result["cases"]]  # each is told
    return any(without)


def _all(result: Result) -> str:
    done = len(result["cases"]) - len(result["failed"])
    return f"{done} cases explained: {result['page']}" if done else ""


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
    lines += _measured(result["agreement"])
    for kind, agreement in result.get("also_agreement", {}).items():
        lines += [f"{kind}:", *_measured(agreement)]
    lines += [f"{name}: {one['verdict']}" for name, one in result["verdicts"].items()]
    figures = ("figure", "also_figure", "checks_figure")
    made = [result[name] for name in figures if result[name] is not None]
    return "\n".join([*lines, *(f"figure: {path}" for path in made)])


def _measured(agreement: Result) -> list[str]:
    lines = []
    for role, measures in agreement.items():
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
    return lines
