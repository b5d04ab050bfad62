"""Objects in files: `-f FILE`, `-f FOLDER`, `-f -`, several documents a file, Lists taken apart."""

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from edgekube.cli.api import Json
from edgekube.cli.errors import CliError, UsageError

SUFFIXES = (".yaml", ".yml", ".json")


class Manifest(NamedTuple):
    """One object and where it was read."""

    source: str
    obj: Json


def read(paths: Sequence[str], *, recursive: bool = False) -> list[Manifest]:
    """Every object, in the order of the files. Raises CliError."""
    found = [each for source, text in _texts(paths, recursive) for each in parse(text, source)]
    if not found:
        raise CliError(f"no objects found in {', '.join(paths)}")
    return found


def parse(text: str, source: str) -> Iterator[Manifest]:
    from edgekube.cli.yamltext import load_all

    for value in load_all(text, source):
        if not isinstance(value, dict):
            raise CliError(f"{source} holds something that is no object: a manifest has `apiVersion: ...` lines")
        yield from _taken_apart(value, source)


def _taken_apart(obj: Json, source: str) -> Iterator[Manifest]:
    items: Any = obj.get("items")
    if str(obj.get("kind", "")).endswith("List") and isinstance(items, list):
        for item in items:
            if isinstance(item, dict):
                yield from _taken_apart(item, source)
        return
    for field in ("apiVersion", "kind"):
        if not obj.get(field):
            raise CliError(f'error validating "{source}": {field} not set')
    if not isinstance(obj.setdefault("metadata", {}) or {}, dict):
        raise CliError(f'error validating "{source}": metadata is no mapping')
    obj["metadata"] = obj["metadata"] or {}
    yield Manifest(source, obj)


def _texts(paths: Sequence[str], recursive: bool) -> Iterator[tuple[str, str]]:
    for path in paths:
        if path == "-":
            yield "STDIN", sys.stdin.read()
        elif path.startswith(("http://", "https://")):
            raise UsageError(f"manifests are not fetched: download {path} and give the file, or pipe it into -f -")
        elif os.path.isdir(path):
            files = sorted(_files(path, recursive))
            if not files:
                raise CliError(f"the folder {path} holds no {', '.join(SUFFIXES)} files")
            for name in files:
                yield name, _read(name)
        else:
            yield path, _read(path)


def _files(folder: str, recursive: bool) -> Iterator[str]:
    for entry in os.scandir(folder):
        if entry.is_dir() and recursive:
            yield from _files(entry.path, recursive)
        elif entry.is_file() and entry.name.endswith(SUFFIXES):
            yield entry.path


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        raise CliError(f'the path "{path}" does not exist') from None
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f'cannot read "{path}": {getattr(error, "strerror", None) or error}') from None
