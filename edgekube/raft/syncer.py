"""A thread of the log's own for writing and syncing: one commit after another, handed over by a lock and an eventfd.

`trio.to_thread` does the same for 100 us of CPU more a commit (a task, a context and a worker looked up each time), as
much as the fdatasync itself.
"""

import os
import threading
from collections.abc import Callable, Sequence
from typing import Final

import trio

Write = tuple[int, int, bytes]  # descriptor, offset, data
_NAME: Final = "log-sync"


class Syncer:
    """Runs `function` on batches of writes, one at a time, in a thread that lives from the first batch to `close`.

    The function may not touch trio, and should release the GIL for most of its time.
    """

    def __init__(self, function: Callable[[Sequence[Write]], None]) -> None:
        self._function = function
        self._thread: threading.Thread | None = None
        self._go = threading.Lock()  # let go of when there is a batch to take
        self._batch: Sequence[Write] | None = None
        self._error: BaseException | None = None
        self._busy = False
        self._done = -1  # eventfd

    async def run(self, batch: Sequence[Write]) -> None:
        """Raises what the function raised. Not to be cancelled: call it shielded, and by one task at a time."""
        assert not self._busy, "one batch at a time"
        if self._thread is None:
            self._start()
        self._busy = True
        self._batch = batch
        self._go.release()
        try:
            while self._pending():
                await trio.lowlevel.wait_readable(self._done)
                os.eventfd_read(self._done)
        finally:
            self._busy = False
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _pending(self) -> bool:
        return self._batch is not None

    def close(self) -> None:
        """End the thread. A batch under way is finished first."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._busy:  # the task in `run` was torn down with the loop: the descriptor goes with the process
            return
        self._go.release()  # without a batch: the end
        thread.join()
        os.close(self._done)

    def _start(self) -> None:
        self._done = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._go.acquire()
        self._thread = threading.Thread(target=self._work, name=_NAME, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while True:
            self._go.acquire()
            batch = self._batch
            if batch is None:
                return
            try:
                self._function(batch)
            except BaseException as error:  # the waiting task's to raise
                self._error = error
            self._batch = None
            os.eventfd_write(self._done, 1)
