"""Writes the schema artefact: see `edgekube.types.schema` for its shape."""

from pathlib import Path


def write(out: Path) -> None:
    raise NotImplementedError(out)
