"""Server-side printing: the columns `kubectl get` and `-o wide` show, a module a family of kinds.

Rows are computed from Structs. May import `edgekube.types`.
"""
