"""EdgeKube: Kubernetes, whole, in one process.

docs/architecture.md names every room and the direction imports may take; the contracts in pyproject.toml enforce it.
"""

__version__ = "0.1.0"
