"""Kubernetes API kinds as frozen values, and the small languages that live inside them.

One importable name per group-version (`edgekube.types.core_v1`, `apps_v1`, ...), generated from the published schema by
`python -m edgekube.types._generate` and committed; everything else here is written by hand. Attributes carry
Kubernetes' own JSON names. Values are shared by every role of the process and never mutated.

May import `edgekube.native` and nothing else of EdgeKube.
"""
