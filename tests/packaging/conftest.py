from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--whole",
        action="store_true",
        help="every Celery that docs/install.md names, alone and beside redis-py 5.0",
    )


@pytest.fixture(scope="session", autouse=True)
def _servers(servers: None) -> None:
    """Every test here has the servers."""
