"""First module of the binary. `sys.frozen` is how everything else knows that there is no interpreter to call."""

import os
import sys

sys.frozen = True  # type: ignore[attr-defined]
# Otherwise zoneinfo asks the interpreter's build configuration, which the binary does not have.
os.environ.setdefault("PYTHONTZPATH", "/usr/share/zoneinfo:/usr/lib/zoneinfo:/usr/share/lib/zoneinfo:/etc/zoneinfo")

from edgekube.__main__ import main  # noqa: E402

sys.exit(main())
