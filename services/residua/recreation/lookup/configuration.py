"""What an outcome says of its image: configuration, output root, name of the file."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from pydantic import JsonValue, TypeAdapter, ValidationError

from residua.identity import configuration_dict, installed_version
from residua.recreation.errors import IncompatibleVersionError, UnknownConfigurationError
from residua.storage.runs.run_record import RunRecord
from residua.subtraction.config import SubtractionConfig
from residua_schemas import DifferenceImageCreated

__all__ = ["configuration_of", "file_name_of", "output_root_of", "require_same_major"]


def require_same_major(created: DifferenceImageCreated) -> None:
    """Return when this release may make the images of the outcome's run.

    Raises
    ------
    residua.recreation.errors.IncompatibleVersionError
        Its major version is another one.
    """
    installed = installed_version("residua")
    made_by = created.software.get("residua", created.run.partition("/")[2])
    if made_by.split(".")[0].split("/")[0] != installed.split(".")[0]:
        raise IncompatibleVersionError(
            f"{created.visit_detector} was made by residua {made_by}, this is {installed}: "
            "recreate it with a release of that major version, or ask for best now"
        )


def configuration_of(
    created: DifferenceImageCreated, record: RunRecord | None
) -> SubtractionConfig:
    """Return the configuration an image was made with.

    Parameters
    ----------
    record
        Of its run, if there is one.

    Raises
    ------
    residua.recreation.errors.UnknownConfigurationError
        The outcome's configuration is not what its hash says, not that of the run, or has choices
        that this release does not know.
    """
    text = json.dumps(dict(created.configuration), sort_keys=True, separators=(",", ":"))
    found = hashlib.sha256(text.encode()).hexdigest()
    who = f"{created.visit_detector} in {created.run}"
    if found != created.configuration_hash:
        raise UnknownConfigurationError(
            f"the configuration of {who} has the hash {found[:12]}, its outcome says "
            f"{created.configuration_hash[:12]}: the outcome was damaged; take it from the ledger"
        )
    if record is not None and record.configuration_hash != found:
        raise UnknownConfigurationError(
            f"the outcome of {who} has the configuration {found[:12]}, the run was begun with "
            f"{record.configuration_hash[:12]}: the outcome is not of this run"
        )
    try:
        config = TypeAdapter(SubtractionConfig).validate_python(dict(created.configuration))
    except ValidationError as e:
        raise UnknownConfigurationError(
            f"the configuration of {who} cannot be used by residua "
            f"{installed_version('residua')}: {e.errors()[0]['msg']}; use the release that made it"
        ) from e
    unknown = sorted(_names(created.configuration) - _names(configuration_dict(config)))
    if unknown:
        # Choices it does not name have their defaults then: the checksum will tell.
        raise UnknownConfigurationError(
            f"the configuration of {who} has {', '.join(unknown)}, which residua "
            f"{installed_version('residua')} does not know: use the release that made it"
        )
    return config


def file_name_of(created: DifferenceImageCreated) -> str:
    """Return the name of an image's file, without its folder."""
    return PurePosixPath(unquote(urlsplit(created.uri).path)).name


def output_root_of(created: DifferenceImageCreated) -> str:
    """Return the root under which an image lies or lay, from its address."""
    head, found, _ = unquote(created.uri).rpartition(f"/{created.run}/")
    if not found:
        raise UnknownConfigurationError(
            f"{created.uri} does not lie under the name of its run, {created.run}: give the "
            "output root"
        )
    return head


def _names(value: Mapping[str, JsonValue], before: str = "") -> set[str]:
    found = set()
    for name, child in value.items():
        found.add(f"{before}{name}")
        if isinstance(child, dict):
            found |= _names(child, f"{before}{name}.")
    return found
