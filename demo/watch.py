"""How much of what was sent the tables account for. Asks only for what is missing."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError, connection

from combat_history.models import CombatHistory, RejectedPayload, Status
from demo.submission import Outcome, Submission


class Watch:
    """Told of every submission before it is sent; `refresh` looks for its trace."""

    def __init__(self) -> None:
        self._rows: set[str] = set()
        self._rejections: dict[str, str] = {}
        self._conflicts: set[tuple[str, str]] = set()
        self.settled = 0
        """Combats that have their final row, or are kept as rejected."""

    def expect(self, submission: Submission) -> None:
        match submission.outcome:
            case Outcome.PROCESSED | Outcome.FAILED:
                self._rows.add(submission.session_id)
            case Outcome.REJECTED:
                self._rejections[submission.sha256] = submission.session_id
            case Outcome.CONFLICT:
                self._conflicts.add((submission.session_id, submission.sha256))

    @property
    def missing(self) -> set[str]:
        """Sessions that have left no final trace yet."""
        return self._rows | set(self._rejections.values())

    @property
    def is_complete(self) -> bool:
        return not (self._rows or self._rejections or self._conflicts)

    async def refresh(self) -> dict[str, str]:
        """One look at the tables: the sessions that ended since, and how.

        A database that is away shows nothing new.
        """
        # The thread works on copies: the engine adds to these sets meanwhile.
        ended, kept, refused = await sync_to_async(_look)(
            list(self._rows), list(self._rejections), list(self._conflicts)
        )
        self._rows.difference_update(ended)
        self._conflicts.difference_update(refused)
        for sha256, code in kept.items():
            ended[self._rejections.pop(sha256)] = f"rejected: {code}"
        self.settled += len(ended)
        return ended

    def lines(self) -> list[str]:
        """What is missing, in words."""
        return [
            *(f"combat {session_id}: no final row" for session_id in self._rows),
            *(
                f"malformed payload of fight {session_id}: not kept"
                for session_id in self._rejections.values()
            ),
            *(
                f"conflicting document for combat {session_id}: not recorded"
                for session_id, _ in self._conflicts
            ),
        ]


def _look(
    sessions: list[str], hashes: list[str], conflicts: list[tuple[str, str]]
) -> tuple[dict[str, str], dict[str, str], set[tuple[str, str]]]:
    try:
        return _final_rows(sessions), _rejected(hashes), _refused(conflicts)
    except (OperationalError, InterfaceError):
        connection.close()
        return {}, {}, set()


def _final_rows(sessions: list[str]) -> dict[str, str]:
    rows = CombatHistory.objects.filter(session_id__in=sessions)
    final = rows.exclude(settlement_status=Status.PENDING).values_list(
        "session_id", "settlement_status", "failure_code"
    )
    return {
        str(session_id): f"{status}: {code}" if code else status
        for session_id, status, code in final
    }


def _rejected(hashes: list[str]) -> dict[str, str]:
    kept = RejectedPayload.objects.filter(session_id=None, payload_sha256__in=hashes)
    rows = kept.values_list("payload_sha256", "code")
    return {sha256: code for sha256, code in rows if sha256 is not None}


def _refused(conflicts: list[tuple[str, str]]) -> set[tuple[str, str]]:
    kept = RejectedPayload.objects.filter(
        session_id__in={session_id for session_id, _ in conflicts}
    ).values_list("session_id", "payload_sha256")
    return {(str(session_id), sha256 or "") for session_id, sha256 in kept}
