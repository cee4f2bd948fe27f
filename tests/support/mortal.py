"""Programs that end with the test process, however that ends."""

from __future__ import annotations

import sys

# Set before exec: the kernel then ends what a killed pytest left behind. Begun in the
# background, pytest itself has Ctrl-C ignored, and so would have all that it starts.
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def mortal(*command: str) -> list[str]:
    """`command`, as one that the kernel kills when the thread that starts it ends."""
    return [sys.executable, "-S", "-c", _DIE_WITH_PARENT, *command]
