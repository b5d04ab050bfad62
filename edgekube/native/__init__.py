"""What only C can do: mounts, namespaces, path resolution inside a root, starting a process that outlives us.

Typed wrappers over the extension `_native`, which `native/build.py` compiles from `native/system.c`. Imports nothing of
EdgeKube. Calls are short system calls and may be made on the loop; each failure is an OSError that names its path.
"""
