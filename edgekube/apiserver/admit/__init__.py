"""Admission plugins that change objects, a module a kind. They get plain dicts they may change, and read the caches."""
