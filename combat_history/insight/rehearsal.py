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

HELD = """
SELECT count(DISTINCT session_id) FILTER (WHERE value > %(limit)s)
FROM (
    SELECT session_id, CASE %(span)s WHEN 'fight' THEN value ELSE sum(value) OVER (
        PARTITION BY character_id, template ORDER BY settled_at
        RANGE BETWEEN interval '24 hours' PRECEDING AND CURRENT ROW
    ) END AS value
    FROM (
        SELECT h.session_id, h.settled_at, l.character_id, {gained}
        WHERE h.settlement_status = 'processed' AND l.kind = 'settlement'
          AND h.settled_at > now() - interval '7 days' {more}
    ) gains
) lately
"""

LINES = """
FROM combat_history h
JOIN settlement_ledger l ON l.session_id = h.session_id AND l.revision = h.revision
"""

ITEMS = HELD.format(
    gained=f"""item ->> 'item_template_id' AS template,
               sum((item ->> 'delta')::bigint) AS value
        {LINES} CROSS JOIN LATERAL jsonb_array_elements(l.items) AS item""",
    more="""AND item ->> 'kind' = 'gained'
          AND %(item)s IN ('', item ->> 'item_template_id')
        GROUP BY 1, 2, 3, 4""",
)


def would_hold(rule: ReviewRule) -> tuple[int, int] | None:
    """Combats that it would have held, of those that were settled. Reads only.

    None of a rule of the roster: who was announced is not kept of settled fights.
    """
    if rule.amount == ReviewRule.Amount.ROSTER:
        return None
    if rule.amount == ReviewRule.Amount.ITEMS:
        text = ITEMS
    else:
        delta = f"l.{ReviewRule.Amount(rule.amount)}_delta"
        text = HELD.format(gained=f"'' AS template, {delta} AS value {LINES}", more="")
    named: dict[str, str | int] = {
        "limit": rule.bound,
        "span": rule.span,
        "item": rule.item_template_id,
    }
    with connection.cursor() as cursor:
        cursor.execute(text, named)
        (held,) = cursor.fetchone()
        cursor.execute(FIGHTS)
        (combats,) = cursor.fetchone()
    return held, combats
