"""What msgspec raises for bytes that are no value of the type asked for.

Its own errors are not all of it: text that is no UTF-8 and nesting without end come as Python's.
"""

from typing import Final

import msgspec

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
