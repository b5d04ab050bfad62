"""How the node logs: one line a fact, on standard error."""

import logging
import os


class OneLine(logging.Formatter):
    """Escapes what cannot be printed: a message quotes strangers, who must not begin a line or colour a terminal.

    A traceback follows its line as it is.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's own name)
        text = super().formatMessage(record)
        if text.isprintable():
            return text
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def set_up(*, verbose: bool) -> None:
    """Warnings and errors; with `verbose` what the node does, too. Under systemd the journal has the time."""
    stamp = "" if "INVOCATION_ID" in os.environ else "%(asctime)s "
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine(f"{stamp}%(levelname).1s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])
