"""Field numbers, one module a group-version: message -> its fields. `decode` says how a field is written."""
