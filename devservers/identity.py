"""Whom the servers run as. PostgreSQL refuses root; Redis gains from less power too.

An ordinary user runs them as himself. Root has three ways, tried in this order, none
of which changes anything outside DATA_DIR:

1. as `nobody`, where it may traverse to the binaries and to the data;
2. as `nobody` with the one capability to pass closed folders, below e.g. /root;
3. in a user namespace that shows root as `nobody`, where root may not become another
   user (rootless sandboxes). The files then stay root's.

A cluster is served as its owner ever after, whoever starts it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from devservers.errors import EmbeddedError

TRY = 'cd "$0" && for program; do "$program" --version || exit; done'


@dataclass(frozen=True)
class Identity:
    """`prefix` goes before a command line; `uid` and `gid` own the servers' files."""

    prefix: tuple[str, ...]
    uid: int
    gid: int

    def give(self, path: Path) -> None:
        """Hand over a path that this process created."""
        if self.uid != os.geteuid():
            os.chown(path, self.uid, self.gid)

    def guarded(self, command: list[str], orphan_signal: signal.Signals) -> list[str]:
        """`command` as this identity, to get `orphan_signal` when its parent dies.

        Where there is no setpriv (not Linux) a supervisor killed -9 leaves its servers
        running, and the next start says so.
        """
        if shutil.which("setpriv") is None:
            return [*self.prefix, *command]
        # Last in the chain: a change of user clears the parent-death signal.
        name = orphan_signal.name.removeprefix("SIG")
        return [*self.prefix, "setpriv", f"--pdeathsig={name}", *command]


def admit(data_dir: Path) -> None:
    """Let whom root serves as pass a folder that is root's alone, not look into it."""
    if os.geteuid() != 0 or data_dir.stat().st_mode & 0o077:
        return
    with contextlib.suppress(OSError):  # a sandbox with one user: root serves there
        os.chown(data_dir, -1, pwd.getpwnam("nobody").pw_gid)
        data_dir.chmod(0o710)


def choose(data_dir: Path, programs: Sequence[Path]) -> Identity:
    """The first identity that can enter `data_dir` and run the programs."""
    if os.geteuid() != 0:
        return Identity((), os.geteuid(), os.getegid())
    reasons = []
    for identity in _for_root(data_dir / "postgres"):
        reason = _obstacle(identity, data_dir, programs)
        if not reason:
            return identity
        reasons.append(f"  {reason}")
    raise EmbeddedError(
        "PostgreSQL refuses to run as root, and no other identity works here. Run as "
        "an ordinary user, or set DATABASE_URL and REDIS_URL to other servers.\n"
        + "\n".join(dict.fromkeys(reasons))
    )


def _for_root(cluster: Path) -> Iterator[Identity]:
    nobody = pwd.getpwnam("nobody")
    uid, gid = nobody.pw_uid, nobody.pw_gid
    if cluster.exists():
        uid, gid = cluster.stat().st_uid, cluster.stat().st_gid
    if uid != 0:
        become = ("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups")
        # The security bit: PostgreSQL looks at its binaries with access(2), which
        # otherwise disregards the capabilities of a user that is not root.
        passing = (
            "--inh-caps=+dac_override",
            "--ambient-caps=+dac_override",
            "--securebits=+no_setuid_fixup",
        )
        yield Identity(become, uid, gid)
        yield Identity((*become, *passing), uid, gid)
    if uid == 0 or not cluster.exists():
        # initdb asks for a user name, so the number shown must be a known user's.
        shown = (f"--map-user={nobody.pw_uid}", f"--map-group={nobody.pw_gid}")
        yield Identity(("unshare", "--user", *shown), 0, os.getegid())


def _obstacle(identity: Identity, data_dir: Path, programs: Sequence[Path]) -> str:
    """What keeps this identity from running the servers; empty when nothing does."""
    tool = identity.prefix[0]
    if shutil.which(tool) is None:
        return f"{tool}: not installed (package util-linux)"
    result = subprocess.run(
        [*identity.prefix, "sh", "-c", TRY, data_dir, *programs],
        capture_output=True,
        text=True,
    )
    return result.stderr.strip() if result.returncode else ""
