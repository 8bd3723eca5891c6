"""``harm3 models``: what can be trained."""

from dataclasses import dataclass

from napari_harm3.cli.options import Output
from napari_harm3.cli.show import Result, show
from napari_harm3.jobs.models import list_models


@dataclass(kw_only=True)
class Models(Output):
    """List the registered methods: the paper's and its rivals."""

    def run(self) -> int:
        """Print the registry."""
        return show(list_models(), json=self.json, summary=_summary)


def _summary(result: Result) -> str:
    return "\n".join(
        f"{row['name']:<14}{row['parameters'] / 1e6:>8.2f} M  "
        f"{'+'.join(row['modalities']):<10}{row['reference']}"
        for row in result["models"]
    )
