"""Images: references, manifests, registries, the content store and the unpacking of layers.

The room has two sides. The node's side (service, registry, web, store, archive) runs on the trio loop and only moves
bytes. The helper's side (helper, unpack, tree, tar, faults) does pure-Python bulk work in a process of its own; it
imports neither trio nor the rest of the runtime, which keeps that process small and quick to start.

May import `edgekube.runtime.api`, `edgekube.types` and `edgekube.native`, never another mechanism.
"""
