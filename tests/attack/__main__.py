"""Prints what pytest has to run to replay every attack of docs/operator/security.md."""

from __future__ import annotations

import sys

from tests.support.docs import OWN_TARGETS, attacks

if __name__ == "__main__":
    named = {test for tests in attacks().values() for test in tests}
    ours = sorted(test for test in named if not test.startswith(OWN_TARGETS))
    sys.stdout.write("\n".join(ours))
