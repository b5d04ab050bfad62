"""The four ways to change an object: JSON patch, merge patch, strategic merge patch, server-side apply.

Pure functions of plain values (dict, list, str, int, float, bool, None). Malformed input raises PatchError, a patch
that does not fit the object raises PatchConflict, and nothing else. May import `edgekube.types`.
"""
