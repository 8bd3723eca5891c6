"""What every configuration class shares: strictness, TOML, and a recipe's name.

A configuration class is a frozen pydantic dataclass beside the step it steers.
The same class serves Python, the TOML file, the command line and the napari form.
"""

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import tomli_w
from pydantic import ConfigDict, TypeAdapter, ValidationError

from napari_harm3.artifacts import write_text
from napari_harm3.errors import ConfigError, sentence

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

STRICT = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)
"""Unknown names and loose types are refused."""

Config = TypeVar("Config")
Whole = TypeVar("Whole", bound="DataclassInstance")


def to_plain(config: object) -> Any:
    """Return a configuration as dictionaries, lists, numbers and strings."""
    return TypeAdapter(type(config)).dump_python(config, mode="json")


def from_plain(kind: type[Config], plain: object, *, source: str) -> Config:
    """Return the configuration that `to_plain` took apart.

    Raises
    ------
    ConfigError
        Naming ``source`` and every field that is unknown or out of bounds.
    """
    with _faults_told(source):
        # Through JSON: strict Python validation would refuse a list for a tuple. A
        # date, which TOML alone has, becomes a string, and is refused as that.
        return TypeAdapter(kind).validate_json(json.dumps(plain, default=str))


def changed(config: Whole, /, *, source: str = "the options", **fields: Any) -> Whole:
    """Return a configuration with other fields, as somebody asked for them.

    Raises
    ------
    ConfigError
        Naming ``source`` and every field that is out of bounds.
    """
    with _faults_told(source):
        return replace(config, **fields)


@contextmanager
def _faults_told(source: str) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        faults = "; ".join(_told(fault) for fault in error.errors())
        raise ConfigError(f"{source}: {faults}. Correct that.") from error


def _told(fault: Mapping[str, Any]) -> str:
    where = ".".join(map(str, fault["loc"]))
    said = str(fault["msg"]).removeprefix("Value error, ")  # of our own checks
    return f"{where}: {said}" if where else said


def recipe_hash(config: object) -> str:
    """Return 16 hexadecimal digits that change whenever the configuration does."""
    text = json.dumps(to_plain(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def to_toml(config: object) -> str:
    """Return a configuration as TOML; fields that are None are left out."""
    return tomli_w.dumps(_without_none(to_plain(config)))


def write_toml(path: Path, config: object) -> None:
    """Write a configuration as TOML."""
    write_text(path, to_toml(config))


def read_toml(path: Path, kind: type[Config]) -> Config:
    """Return the configuration in a TOML file.

    Raises
    ------
    ConfigError
        If the file is missing, is no TOML, or holds a field that is not right.
    """
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(sentence(error)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        told = f"{path.name} is not a TOML file: {error}. Correct that."
        raise ConfigError(told) from error
    return from_plain(kind, plain, source=path.name)


def _without_none(plain: Any) -> Any:
    if isinstance(plain, dict):
        return {k: _without_none(v) for k, v in plain.items() if v is not None}
    if isinstance(plain, list):
        return [_without_none(v) for v in plain]
    return plain
