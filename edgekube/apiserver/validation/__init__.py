"""What an object may not be: one module a family of kinds, each with `validate(new, old, subresource)`.

Pure functions of Structs; they return FieldErrors with Kubernetes' paths and wording and never raise. `old` is None on
create. May import `edgekube.types`.
"""
