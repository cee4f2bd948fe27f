"""Which settled combats of the last week a review rule would have held.

Set-based, over the ledger: what was really given, which is never more than was asked.
A day counts what the same character was given in the 24 hours before.
"""

from __future__ import annotations

from django.db import connection

from combat_history.models import ReviewRule

FIGHTS = """
SELECT count(*) FROM combat_history
WHERE settlement_status = 'processed' AND settled_at > now() - interval '7 days'
"""

AMOUNTS = """
SELECT count(DISTINCT session_id) FILTER (WHERE value > %(limit)s)
FROM (
    SELECT h.session_id, h.settled_at,
           CASE %(span)s WHEN 'fight' THEN l.{delta} ELSE sum(l.{delta}) OVER (
               PARTITION BY l.character_id ORDER BY h.settled_at
               RANGE BETWEEN interval '24 hours' PRECEDING AND CURRENT ROW
           ) END AS value
    FROM combat_history h
    JOIN settlement_ledger l ON l.session_id = h.session_id AND l.revision = h.revision
    WHERE h.settlement_status = 'processed' AND l.kind = 'settlement'
      AND h.settled_at > now() - interval '7 days'
) lately
"""

ITEMS = """
SELECT count(DISTINCT session_id)
FROM (
    SELECT h.session_id, l.character_id, item ->> 'item_template_id' AS template,
           sum((item ->> 'delta')::bigint) AS value
    FROM combat_history h
    JOIN settlement_ledger l ON l.session_id = h.session_id AND l.revision = h.revision
    CROSS JOIN LATERAL jsonb_array_elements(l.items) AS item
    WHERE h.settlement_status = 'processed' AND l.kind = 'settlement'
      AND h.settled_at > now() - interval '7 days' AND item ->> 'kind' = 'gained'
    GROUP BY 1, 2, 3
) lately
WHERE value > %(limit)s AND %(item)s IN ('', template)
"""


def would_hold(rule: ReviewRule) -> tuple[int, int]:
    """Combats that it would have held, of those that were settled. Reads only."""
    if rule.amount == ReviewRule.Amount.ITEMS:
        text = ITEMS
    else:
        text = AMOUNTS.format(delta=f"{ReviewRule.Amount(rule.amount)}_delta")
    named: dict[str, str | int] = {
        "limit": rule.limit,
        "span": rule.span,
        "item": rule.item_template_id,
    }
    with connection.cursor() as cursor:
        cursor.execute(text, named)
        (held,) = cursor.fetchone()
        cursor.execute(FIGHTS)
        (combats,) = cursor.fetchone()
    return held, combats
