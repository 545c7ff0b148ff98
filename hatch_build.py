"""How residua is built, and how its wheel comes by the contracts.

`residua-schemas` is a distribution of its own (schemas/). Two distributions never ship the same
files: a wheel of residua holds `residua` alone and requires the other one. Built from a clone,
the requirement names the folder beside it, so that one `pip install .` needs no index; built from
a source distribution it names the version. An editable installation is the clone itself, both
source folders on the path, and requires nothing.

Hence the dependencies are dynamic, and this file is the build backend too: hatchling would let
frontends other than pip ask for metadata without the build hook.
"""

from pathlib import Path
from typing import Any

from hatchling.build import (
    build_editable,
    build_sdist,
    build_wheel,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
)
from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

__all__ = [
    "ContractsHook",
    "DependenciesHook",
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]

CONTRACTS = "residua-schemas>=1.7,<2"


class DependenciesHook(MetadataHookInterface):
    """Hands on the dependencies that pyproject.toml lists."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Set them."""
        metadata["dependencies"] = self.config["dependencies"]


class ContractsHook(BuildHookInterface[Any]):
    """Adds the requirement of the contracts to a wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add it, unless the wheel is an editable one."""
        if self.target_name != "wheel" or version == "editable":
            return
        folder = Path(self.root, "schemas")
        beside = (folder / "pyproject.toml").exists()
        build_data["dependencies"].append(
            f"residua-schemas @ {folder.resolve().as_uri()}" if beside else CONTRACTS
        )
