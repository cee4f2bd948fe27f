"""Whose processes the embedded servers are, and what they may touch."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from devservers import postgres
from tests.support.embedded_pair import (
    DAC_OVERRIDE,
    SERVERS,
    TIMEOUT_SECONDS,
    USER,
    Pair,
    access_to,
    answers,
    pair_over,
    process_field,
)

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="what root must not do shows only where root runs it"
)


def test_closed_parent_folders_work_and_stay_closed(tmp_path: Path) -> None:
    parent = tmp_path / "closed"
    parent.mkdir(mode=0o700)
    before = access_to(parent, *parent.parents)

    with pair_over(parent / "repository" / ".data") as pair:
        assert answers(pair.attach())

    assert access_to(parent, *parent.parents) == before


@needs_root
def test_root_serves_an_open_folder_without_any_power() -> None:
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        with pair_over(folder / "data") as pair:
            pair.attach()
            for name in SERVERS:
                assert process_field(pair.pid(name), "Uid") != "0"
                assert int(process_field(pair.pid(name), "CapEff"), 16) == 0
    finally:
        shutil.rmtree(folder)


@needs_root
def test_root_can_serve_with_binaries_in_a_closed_folder(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    installed = postgres.binaries().parents[1]
    for name in (installed.name, f"{installed.name}.libs"):
        subprocess.run(["cp", "-a", installed.parent / name, closed], check=True)

    with pair_over(tmp_path / "data") as pair:
        assert answers(pair.attach(env={"PYTHONPATH": str(closed)}))

        command = Path(f"/proc/{pair.pid('postgres')}/cmdline").read_text("utf-8")
        assert command.startswith(str(closed))
        assert int(process_field(pair.pid("postgres"), "CapEff"), 16) == DAC_OVERRIDE


@needs_root
def test_root_of_a_sandbox_with_one_user_can_serve(fresh: Pair) -> None:
    sandbox = ("unshare", "--user", "--map-root-user")
    if subprocess.run([*sandbox, "true"], capture_output=True).returncode:
        pytest.skip("the sandbox is a user namespace, which this machine forbids")

    urls = fresh.attach(prefix=sandbox)

    assert answers(urls)
    assert (fresh.data_dir / "postgres").stat().st_uid == 0


@needs_root
def test_data_of_another_user_is_refused_in_plain_words() -> None:
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        with pair_over(folder / "data") as pair:
            pair.attach()
            stranger = pair.user(
                "import os; " + USER.replace("servers =", "os.setuid(12345); servers =")
            )
            _, error = stranger.communicate(timeout=TIMEOUT_SECONDS)
            assert "is closed to this user (uid 12345)" in error
    finally:
        shutil.rmtree(folder)
