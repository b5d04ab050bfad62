"""/healthz, /livez and /readyz: named checks, kube-apiserver's wording."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from edgekube.http.messages import Response

Check = Callable[[], str]  # "" when well, else what is wrong and what to do
_TEXT: Final = [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-cache, private")]
_NOSNIFF: Final = ("X-Content-Type-Options", "nosniff")


def health(endpoint: str, checks: Mapping[str, Check], query: Sequence[tuple[str, str]], *, only: str = "") -> Response:
    """Run `checks`; 200 "ok" or 500 with the list. `?verbose` lists always, `?exclude=NAME` skips."""
    excluded = {value for key, value in query if key == "exclude"}
    verbose = any(key == "verbose" for key, _ in query)
    if only and only not in checks:
        return Response(status=404, headers=[*_TEXT, _NOSNIFF], body=b"404 page not found\n")
    lines: list[str] = []
    failed: list[str] = []
    for name, check in checks.items():
        if only and name != only:
            continue
        if name in excluded:
            lines.append(f"[+]{name} excluded: ok")
            continue
        problem = check()
        lines.append(f"[-]{name} failed: {problem}" if problem else f"[+]{name} ok")
        if problem:
            failed.append(name)
    if failed:
        text = "\n".join([*lines, f"{endpoint} check failed"]) + "\n"
        return Response(status=500, headers=[*_TEXT, _NOSNIFF], body=text.encode())
    if verbose:
        return Response(headers=_TEXT, body=("\n".join([*lines, f"{endpoint} check passed"]) + "\n").encode())
    return Response(headers=_TEXT, body=b"ok")
