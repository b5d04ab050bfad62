"""The API server (kube-apiserver's role): the Kubernetes REST API over a store.

Two halves meet in `request.py`. The front (server, authentication, discovery, OpenAPI, streams) turns HTTP into an
ApiRequest; the registry (resource table, verbs, patches, admission, validation, watch cache) answers it. The in-process
Client of the other roles enters at the same seam and skips HTTP and nothing else.
May import `edgekube.client`, mechanisms and `edgekube.types`; no other role.
"""
