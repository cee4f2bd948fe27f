"""What the description allows is answered, and what it forbids is refused: never 5xx.

API_CASES: how many requests are drawn in all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.config import (
    GenerationConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
)

from combat_history.api import openapi
from persistence.contract.meta import MAX_END_TIMESTAMP
from tests.support.ids import TOKEN
from tests.support.web import Web, running_web

CASES = int(os.environ["API_CASES"])

# NUL is refused in every text and every key, which no schema can say of keys.
CONFIG = SchemathesisConfig(
    projects=ProjectsConfig(
        default=ProjectConfig(generation=GenerationConfig(allow_x00=False))
    )
)
LONG_AGO = 1_700_000_000
SCHEMA = schemathesis.openapi.from_dict(openapi.document(), config=CONFIG)
OPERATIONS = sum(1 for _ in SCHEMA.get_all_operations())


@pytest.fixture
def web(world: None, tmp_path: Path) -> Iterator[Web]:
    with running_web(
        tmp_path / "uvicorn.log",
        # Ids are drawn: nearly all of them are unknown.
        SETTLEMENT_API_UNKNOWN_PER_MINUTE="100000",
    ) as web:
        yield web


@SCHEMA.hook
def map_body(context: Any, body: Any) -> Any:
    """What lies in the future is refused by a clock, of which no schema knows."""
    if isinstance(body, dict) and isinstance(meta := body.get("meta"), dict):
        end = meta.get("end_timestamp")
        if isinstance(end, int | float) and LONG_AGO < end <= MAX_END_TIMESTAMP:
            return {**body, "meta": {**meta, "end_timestamp": LONG_AGO}}
    return body


@SCHEMA.parametrize()
@settings(
    max_examples=max(1, CASES // OPERATIONS),
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_api_is_what_its_description_says(case: Any, web: Web) -> None:
    case.call_and_validate(
        base_url=web.address, headers={"Authorization": f"Bearer {TOKEN}"}
    )
