"""Checks the daily roll-ups against the ledger, up to where they have come."""

from __future__ import annotations

from combat_history.reconcile.table_check import TableCheck
from persistence.savers.economy import BY_DAY, MOVED

GIVEN = f"""
WITH batch AS (
    SELECT * FROM settlement_ledger
    WHERE id <= coalesce((SELECT ledger_id FROM economy_progress), 0)
), moved AS ({MOVED}), told AS ({BY_DAY})
"""  # noqa: S608 -- of constants

DIFFERS = """
SELECT coalesce(told.kind, rolled.kind) AS kind,
       coalesce(told.subject, rolled.subject) AS subject_id,
       coalesce(told.day, rolled.day)::text AS day_id,
       coalesce(told.source, rolled.source) AS source_id,
       coalesce(told.minted, 0) AS minted, coalesce(told.sunk, 0) AS sunk,
       coalesce(rolled.minted, 0) AS rolled_minted,
       coalesce(rolled.sunk, 0) AS rolled_sunk
FROM told
FULL JOIN economy_days rolled USING (kind, subject, day, source)
WHERE told.minted IS DISTINCT FROM rolled.minted
   OR told.sunk IS DISTINCT FROM rolled.sunk
"""

ECONOMY_CHECKS = (
    TableCheck(
        "economy_differs",
        "the roll-ups of every day hold what the ledger gave and took",
        DIFFERS,
        "{kind}: rolled up +{rolled_minted} −{rolled_sunk}, ledger +{minted} −{sunk}",
        GIVEN,
    ),
)
