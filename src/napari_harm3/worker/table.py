"""The jobs that the viewer may ask for, and how their parameters are read."""

import inspect
import json
from importlib import import_module
from typing import Any

from pydantic import TypeAdapter, ValidationError

from napari_harm3.errors import ConfigError
from napari_harm3.jobs.progress import Job

JOBS = {
    "check_cohort": "napari_harm3.jobs.cohort",
    "prepare_cohort": "napari_harm3.jobs.cohort",
    "make_phantom": "napari_harm3.jobs.cohort",
    "preview_tissue": "napari_harm3.jobs.slides",
    "find_tissue": "napari_harm3.jobs.slides",
    "extract_features": "napari_harm3.jobs.slides",
    "register_case": "napari_harm3.jobs.registration",
    "predict": "napari_harm3.jobs.prediction",
    "explain": "napari_harm3.jobs.explanation",
    "explain_cohort": "napari_harm3.jobs.explanation_cohort",
    "report": "napari_harm3.jobs.report",
}
"""Name of the function to the module that holds it."""


def job_of(name: str, params: dict[str, Any]) -> Job:
    """Return a job that is ready to run.

    Raises
    ------
    ConfigError
        If there is no such job, or a parameter is not right.
    """
    if name not in JOBS:
        raise ConfigError(f"The worker has no job '{name}'.")
    function = getattr(import_module(JOBS[name]), name)
    arguments = inspect.signature(function).parameters
    unknown = sorted(params.keys() - arguments.keys())
    if unknown:
        raise ConfigError(f"The job '{name}' takes no '{unknown[0]}'.")
    given = {
        key: _typed(name, key, arguments[key].annotation, value)
        for key, value in params.items()
    }
    first = next(iter(arguments))
    job: Job = function(given.pop(first), **given)
    return job


def _typed(job: str, key: str, kind: Any, value: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_json(json.dumps(value))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, (key, *fault["loc"])))
        raise ConfigError(f"{job}: '{where}' is not right ({fault['msg']}).") from error
