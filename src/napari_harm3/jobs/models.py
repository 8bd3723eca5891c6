"""What a user can ask about the registry."""

from dataclasses import dataclass
from typing import Literal

from napari_harm3.jobs.progress import Job, finished

Group = Literal["table1", "table2", "beyond", "reference", "own"]


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method that can be trained, for whoever offers a choice."""

    name: str
    title: str
    group: Group
    """Which table it belongs to; ``own`` if another package brings it."""

    modalities: tuple[str, ...] = ()
    reference: str = ""


def methods() -> list[Method]:
    """Return every method in the registry's order; those of other packages, unloaded.

    It imports no torch.
    """
    from napari_harm3.models.registry import MODELS, method_names

    own = [name for name in method_names() if name not in MODELS]
    return [
        *(
            Method(
                name=entry.name,
                title=entry.title,
                group=entry.group,
                modalities=entry.modalities,
                reference=entry.reference,
            )
            for entry in MODELS.values()
        ),
        *(Method(name=name, title=name, group="own") for name in own),
    ]


def list_models() -> Job:
    """List every registered method at the paper's size."""
    from napari_harm3.models.registry import MODELS, parameter_count

    rows = [
        {
            "name": entry.name,
            "modalities": list(entry.modalities),
            "reference": entry.reference,
            "parameters": parameter_count(entry.name, "full"),
        }
        for entry in MODELS.values()
    ]
    yield finished("models", {"models": rows})
