"""What is usual: the percentiles of last week, of what each review rule bounds.

Of a sample whose cost does not grow with the ledger: a thousand places of the week,
spread evenly, with a hundred lines each; of days, those of three hundred characters who
stand there. A week of fewer lines than that is read as a whole, days without a fight
count for nobody.
"""

from __future__ import annotations

from collections.abc import Iterable

from celery import shared_task
from django.db import connection
from django.db.models.functions import Now

from combat_history.models import ReviewRule
from persistence.savers.combat.statements import LINES_SINCE
from persistence.worker.transactions import renew_connection

Amount, Span = ReviewRule.Amount, ReviewRule.Span

SAMPLE = """{since},
week AS (
    SELECT first, COALESCE((SELECT max(id) FROM settlement_ledger), 0) + 1 - first AS n
    FROM since
), sample AS MATERIALIZED (
    SELECT line.* FROM week CROSS JOIN generate_series(0, 999) AS place
    CROSS JOIN LATERAL (
        SELECT id, character_id, xp_delta, gold_delta, items FROM settlement_ledger
        WHERE id >= first + n * place / 1000 AND id < first + n * (place + 1) / 1000
          AND kind = 'settlement'
        ORDER BY id LIMIT 100
    ) line
)"""

UNITS = {
    Span.FIGHT: """
SELECT character_id, id::text AS unit, xp_delta, gold_delta, items FROM sample""",
    Span.DAY: """
SELECT who.character_id, recorded_at::date::text AS unit, xp_delta, gold_delta, items
FROM (SELECT character_id FROM sample GROUP BY character_id
      ORDER BY md5(character_id::text) LIMIT 300) who
CROSS JOIN LATERAL (
    SELECT recorded_at, xp_delta, gold_delta, items FROM settlement_ledger l
    WHERE l.character_id = who.character_id AND id >= (SELECT first FROM since)
      AND kind = 'settlement'
    ORDER BY id DESC LIMIT 7000
) line""",
}

VALUES = {
    Amount.XP: """
SELECT sum(xp_delta) AS value FROM units GROUP BY character_id, unit""",
    Amount.GOLD: """
SELECT sum(gold_delta) AS value FROM units GROUP BY character_id, unit""",
    Amount.ITEMS: """
SELECT sum((item ->> 'delta')::bigint) AS value
FROM units CROSS JOIN LATERAL jsonb_array_elements(items) AS item
WHERE item ->> 'kind' = 'gained' AND %(item)s IN ('', item ->> 'item_template_id')
GROUP BY character_id, unit, item ->> 'item_template_id'""",
}

PERCENTILES = """{sample}, units AS ({units})
SELECT (percentile_disc(0.5) WITHIN GROUP (ORDER BY value))::bigint,
       (percentile_disc(0.99) WITHIN GROUP (ORDER BY value))::bigint
FROM ({values}) gained
"""


@shared_task(
    name="measure_rules",
    acks_late=True,  # harmless to run twice
    ignore_result=True,
    max_retries=3,  # bounds redelivery after a lost worker
    default_retry_delay=1,
)
def measure_rules() -> None:
    """Measure for every rule, on or off; beat sends it every hour."""
    renew_connection()
    measure(ReviewRule.objects.all())


def measure(rules: Iterable[ReviewRule]) -> None:
    """Write down what is usual by now. A rule of the roster has no such thing."""
    for rule in rules:
        if rule.amount == Amount.ROSTER:
            continue
        rule.usual_p50, rule.usual_p99 = usual(rule)
        ReviewRule.objects.filter(pk=rule.pk).update(
            usual_p50=rule.usual_p50, usual_p99=rule.usual_p99, measured_at=Now()
        )


def usual(rule: ReviewRule) -> tuple[int | None, int | None]:
    """The median and the 99th percentile; None where nobody gained such a thing."""
    text = PERCENTILES.format(
        sample=SAMPLE.format(since=LINES_SINCE.format(time="7 days")),
        units=UNITS[Span(rule.span)],
        values=VALUES[Amount(rule.amount)],
    )
    with connection.cursor() as cursor:
        cursor.execute(text, {"item": rule.item_template_id})
        p50, p99 = cursor.fetchone()
    return p50, p99
