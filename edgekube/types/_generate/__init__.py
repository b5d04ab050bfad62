"""Writes the committed kinds of `edgekube.types` and the schema artefact. Build time only: not part of the binary.

    python -m edgekube.types._generate               write the modules
    python -m edgekube.types._generate --check       exit 1 and say which modules are out of date
    python -m edgekube.types._generate --schema OUT  write the compressed schema for OpenAPI and `kubectl explain`

The source is the data of the pinned PyPI package `kubernetes-validate`.
"""
