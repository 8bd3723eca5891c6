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
    rows = [
        (
            row["name"],
            f"{row['parameters'] / 1e6:.2f} M",
            "+".join(row["modalities"]),
            row["reference"],
        )
        for row in result["models"]
    ]
    name, size, seen, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    return "\n".join(
        f"{row[0]:<{name}}  {row[1]:>{size}}  {row[2]:<{seen}}  {row[3]}"
        for row in rows
    )
