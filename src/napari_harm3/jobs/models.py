"""What a user can ask about the registry."""

from napari_harm3.jobs.progress import Job, finished


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
