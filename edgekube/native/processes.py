"""Processes that are not our children."""

from collections.abc import Mapping, Sequence

from edgekube.native._lib import PAUSE_PATH, SHIM_PATH, check, ffi, lib, strings, text

__all__ = ["PAUSE_PATH", "SHIM_PATH", "set_subreaper", "spawn_detached"]


def set_subreaper(on: bool) -> None:
    """prctl(PR_SET_CHILD_SUBREAPER): orphans below us become our children."""
    check(lib.ek_set_subreaper(int(on)))


def spawn_detached(path: str, arguments: Sequence[str], environment: Mapping[str, str], fds: Sequence[int] = ()) -> int:
    """Starts a program in a session of its own that is not our child; returns its pid.

    `fds` become its descriptors 3, 4, ...; 0-2 are /dev/null; all signals are unblocked and default. The caller's
    memory is not copied (vfork), so the cost does not grow with it. Raises OSError when it cannot be executed.
    """
    argv, kept_arguments = strings([path, *arguments], terminated=True)
    envp, kept_environment = strings([f"{key}={value}" for key, value in environment.items()], terminated=True)
    numbers = ffi.new("int[]", list(fds) or [0])
    result = lib.ek_spawn_detached(text(path), argv, envp, numbers, len(fds))
    del kept_arguments, kept_environment
    return check(result, path)
