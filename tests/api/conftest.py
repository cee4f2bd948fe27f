"""The API as its own description says it is: `make test-api`, which sets API_CASES."""

from __future__ import annotations

import os

import pytest

# schemathesis is of requirements-dev, and `make test` does without.
collect_ignore_glob = [] if "API_CASES" in os.environ else ["test_*.py"]


@pytest.fixture(scope="session", autouse=True)
def _servers(servers: None) -> None:
    """Every test here may ask for them."""
