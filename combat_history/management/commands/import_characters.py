"""Register characters from a file: id, name, external ids, and what they come with."""

from __future__ import annotations

from collections.abc import Iterable

from combat_history.actions.register import Refused, register
from combat_history.management.importing import ImportCommand
from combat_history.management.world_files import Fault, Line
from persistence.contract.errors import PayloadInvalid
from persistence.contract.world import Registration
from persistence.engine.calls import player


class Command(ImportCommand):
    help = (
        "Register characters: JSON lines as of PUT /api/characters/{id} with an id, or "
        "CSV with the columns id, name, external:<kind>, xp, gold, hp, energy, "
        "location, balance:<id>. Items need JSON."
    )

    def bring(self, lines: list[Line]) -> tuple[int, list[Fault]]:
        said: dict[int, tuple[int, Registration]] = {}
        faults: list[Fault] = []
        for line in lines:
            try:
                char_id, one = _read(line)
                if char_id in said:
                    raise ValueError(f"line {said[char_id][0]} has the same id")
            except ValueError as error:
                faults.append(Fault(line.number, "id", str(error)))
            except PayloadInvalid as error:
                faults += [
                    Fault(line.number, f["path"], f["message"]) for f in error.errors
                ]
            else:
                said[char_id] = line.number, one
        while said:
            try:
                made = register([(i, one) for i, (_, one) in sorted(said.items())])
            except Refused as error:
                # None of them was written: the others once more, without these.
                faults += _refused(error, said)
            else:
                return len(made), faults
        return 0, faults


def _refused(
    error: Refused, said: dict[int, tuple[int, Registration]]
) -> Iterable[Fault]:
    for char_id, fault in error.faults.items():
        number, _ = said.pop(int(char_id))
        yield Fault(number, fault.path, fault.message)


def _read(line: Line) -> tuple[int, Registration]:
    """Raises ValueError of the line or its id, PayloadInvalid of the rest."""
    if line.problem:
        raise ValueError(line.problem)
    fields = {**line.said}
    given = fields.pop("id", None)
    if isinstance(given, str) and given.isascii() and given.isdecimal():
        given = int(given[:20])
    return player(given), Registration.read(fields)
