"""Replays of hundreds of combats at once: a batch and its combats."""

from __future__ import annotations

import uuid

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("combat_history", "0004_review"),
    ]

    operations = [
        migrations.CreateModel(
            name="ReplayBatch",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, primary_key=True, serialize=False
                    ),
                ),
                ("selection", models.JSONField()),
                ("shortages", models.CharField(max_length=10, null=True)),
                ("actor_id", models.BigIntegerField()),
                ("actor_name", models.CharField(max_length=150, verbose_name="who")),
                ("reason", models.TextField(verbose_name="reason")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("running", "running"),
                            ("paused", "paused"),
                            ("finished", "finished"),
                            ("cancelled", "cancelled"),
                            ("stopped", "stopped"),
                        ],
                        db_default=models.Value("running"),
                        max_length=20,
                        verbose_name="state",
                    ),
                ),
                (
                    "total",
                    models.IntegerField(
                        db_default=models.Value(0), verbose_name="combats"
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="begun",
                    ),
                ),
                ("finished_at", models.DateTimeField(null=True, verbose_name="ended")),
                (
                    "detail",
                    models.TextField(
                        db_default=models.Value(""), verbose_name="detail"
                    ),
                ),
            ],
            options={
                "verbose_name": "replay batch",
                "verbose_name_plural": "replay batches",
                "db_table": "replay_batches",
            },
        ),
        migrations.CreateModel(
            name="ReplayBatchItem",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "batch_id",
                        "position",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "batch",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="combat_history.replaybatch",
                    ),
                ),
                ("position", models.IntegerField()),
                ("session_id", models.UUIDField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "waiting"),
                            ("reopened", "reopened"),
                            ("skipped", "skipped"),
                        ],
                        db_default=models.Value("waiting"),
                        max_length=20,
                    ),
                ),
                ("why", models.TextField(db_default=models.Value(""))),
            ],
            options={
                "verbose_name": "combat of a replay batch",
                "verbose_name_plural": "combats of a replay batch",
                "db_table": "replay_batch_items",
            },
        ),
        migrations.RemoveIndex(
            model_name="replayrequest",
            name="replay_requests_batch",
        ),
        migrations.AddIndex(
            model_name="replayrequest",
            index=models.Index(
                models.F("batch_id"),
                models.F("state"),
                models.F("id"),
                condition=models.Q(("batch_id__isnull", False)),
                name="replay_requests_outcome",
            ),
        ),
        migrations.AddConstraint(
            model_name="replayrequest",
            constraint=models.UniqueConstraint(
                condition=models.Q(("batch_id__isnull", False)),
                fields=("batch_id", "session_id"),
                name="replay_requests_once_in_batch",
            ),
        ),
        migrations.AddIndex(
            model_name="replaybatch",
            index=models.Index(
                models.OrderBy(models.F("created_at"), descending=True),
                name="replay_batches_newest",
            ),
        ),
        migrations.AddConstraint(
            model_name="replaybatch",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "state__in",
                        ["running", "paused", "finished", "cancelled", "stopped"],
                    )
                ),
                name="replay_batches_known_state",
            ),
        ),
        migrations.AddConstraint(
            model_name="replaybatch",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("shortages__isnull", True),
                    ("shortages__in", ["record", "fail"]),
                    _connector="OR",
                ),
                name="replay_batches_known_policy",
            ),
        ),
        migrations.AddConstraint(
            model_name="replaybatch",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("finished_at__isnull", True),
                        ("state__in", ["running", "paused"]),
                    ),
                    models.Q(
                        models.Q(("state__in", ["running", "paused"]), _negated=True),
                        ("finished_at__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="replay_batches_finished_iff_over",
            ),
        ),
        migrations.AddConstraint(
            model_name="replaybatch",
            constraint=models.CheckConstraint(
                condition=models.Q(("total__gte", 0)), name="replay_batches_total"
            ),
        ),
        migrations.AddIndex(
            model_name="replaybatchitem",
            index=models.Index(
                models.F("batch_id"),
                models.F("state"),
                models.F("position"),
                name="replay_batch_items_state",
            ),
        ),
        migrations.AddConstraint(
            model_name="replaybatchitem",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "waiting")),
                fields=("session_id",),
                name="replay_batch_items_one_waiting",
            ),
        ),
        migrations.AddConstraint(
            model_name="replaybatchitem",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["waiting", "reopened", "skipped"])),
                name="replay_batch_items_known_state",
            ),
        ),
        migrations.AddConstraint(
            model_name="replaybatchitem",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("state", "skipped"), models.Q(("why", ""), _negated=True)
                    ),
                    models.Q(
                        models.Q(("state", "skipped"), _negated=True), ("why", "")
                    ),
                    _connector="OR",
                ),
                name="replay_batch_items_why_iff_skipped",
            ),
        ),
    ]
