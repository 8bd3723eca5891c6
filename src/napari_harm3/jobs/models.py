"""What a user can ask about the registry."""

from dataclasses import dataclass
from typing import Literal

from napari_harm3.errors import ModelError
from napari_harm3.jobs.progress import Job, Progress, finished

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
    """List every registered method at the paper's size; warn of those that fail."""
    from napari_harm3.models.registry import method_names, model_entry, parameter_count

    rows = []
    for name in method_names():
        try:
            entry = model_entry(name)
            count = parameter_count(name, "full")
        except ModelError as error:
            yield Progress(stage="models", warning=str(error))
            continue
        rows.append(
            {
                "name": name,
                "modalities": list(entry.modalities),
                "reference": entry.reference,
                "parameters": count,
            }
        )
    yield finished("models", {"models": rows})
