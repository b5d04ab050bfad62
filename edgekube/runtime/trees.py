"""Deleting folders that containers have filled: any number of files, in folders as deep as they like."""

import os
import shutil

import trio

SMALL_TREE_ENTRIES = 256


def count_entries(folder: str, limit: int) -> int:
    """Files and folders below, counting no further than `limit`; no link is followed.

    `limit` for what cannot be walked (paths that are too long), 0 for what is not there.
    """
    count = 0
    waiting = [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    count += 1
                    if count >= limit:
                        return limit
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except FileNotFoundError:
            continue
        except OSError:
            return limit
    return count


async def remove_tree(folder: str) -> None:
    """Delete a folder and all in it, as far as that is possible; what is not there is gone already.

    A large one by a process of its own: thousands of files would hold the loop up, thousands of folders in one another
    would be too deep for shutil.
    """
    if count_entries(folder, SMALL_TREE_ENTRIES) < SMALL_TREE_ENTRIES:
        shutil.rmtree(folder, ignore_errors=True)
        await trio.lowlevel.checkpoint()
    else:
        await trio.run_process(["rm", "-rf", "--one-file-system", "--", folder], check=False, capture_stderr=True)
