"""Kubernetes' protobuf bodies, read only: Go clients send them, and take JSON for an answer.

`decode` turns a body into JSON by the field numbers in `tables`, which `generate` writes. Tables are imported one
group-version at a time, when the first such body comes. Imports the standard library and `edgekube.types`.
"""
