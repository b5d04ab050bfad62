"""Command line of the generator; see the package."""

import argparse
import sys
from pathlib import Path

from edgekube.types._generate import emit, schema, shape, tables
from edgekube.types._generate.source import definitions

HERE = Path(__file__).resolve().parent.parent


def texts() -> dict[Path, str]:
    """Every generated file, by its place."""
    source = definitions()
    found = emit.plan(source)
    out = {path_of(module): text for module, text in emit.modules(found).items()}
    out[HERE / "_kinds.py"] = tables.kinds(found)
    out[HERE / "_patchmeta.py"] = tables.merge(source, found)
    return out


def path_of(module: str) -> Path:
    """Where a module's file is."""
    return HERE.joinpath(*module.removeprefix(emit.ROOT + ".").split(".")).with_suffix(".py")


def stale(wanted: dict[Path, str]) -> list[Path]:
    """Generated files that are missing, differ, or should no longer be there."""
    kept = {path_of(f"{emit.ROOT}.{p}.{m}") for p, ms in shape.HAND_WRITTEN.items() for m in ms}
    there = {path for package in shape.PACKAGES for path in (HERE / package).rglob("*.py")} - kept
    there |= {path for package in shape.PACKAGES if (path := HERE / f"{package}.py").exists()}
    wrong = {path for path, text in wanted.items() if not path.exists() or path.read_text() != text}
    return sorted(wrong | (there - wanted.keys()))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m edgekube.types._generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="say which files are out of date, change nothing")
    parser.add_argument("--schema", type=Path, metavar="OUT", help="write the compressed schema artefact")
    options = parser.parse_args()
    if options.schema:
        schema.write(options.schema)
        return 0
    wanted = texts()
    wrong = stale(wanted)
    for path in wrong:
        print(path.relative_to(HERE))
        if options.check:
            continue
        if path in wanted:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted[path])
        else:
            path.unlink()
    return 1 if options.check and wrong else 0


sys.exit(main())
