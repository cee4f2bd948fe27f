"""Settings from the environment; the comment above each variable is its meaning in
docs/reference/settings.md, which is made from this module.

No variable at all is the demo: embedded servers, DEBUG on, secrets of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from kombu import Queue

from persistence.engine import connecting
from persistence.protocols import QUEUE, QUEUES, ROUTES
from settlement_project import extensions, logs, servers
from settlement_project.env import Environment
from settlement_project.schedule import schedule

PACKAGE = Path(__file__).resolve().parent
# What is written lies in the checkout, or, where the package is installed, in the
# folder from which it is run.
IS_CHECKOUT = (PACKAGE.parent / "manage.py").exists()
BASE_DIR = PACKAGE.parent if IS_CHECKOUT else Path.cwd()
env = Environment()

DATABASE_URL, REDIS_URL, BROKER_URL = servers.resolve(BASE_DIR, env.problem)

# On where every server is local, as on a developer's machine. Off in production.
DEBUG = env.flag(
    "DEBUG", default=servers.are_local(DATABASE_URL, REDIS_URL, BROKER_URL)
)


def _drawn(name: str) -> Callable[[], str]:
    return partial(servers.own_secret, servers.data_dir(BASE_DIR) / name)


def _own_tokens() -> str:
    """A developer's: of a bot, in api-token, and of an engine, in engine-token."""
    bot, engine = _drawn("api-token")(), _drawn("engine-token")()
    return (
        f"own-bot=results:read={bot},"
        f"own-engine=results:read+combats:submit+belts:reserve={engine}"
    )


# Django's secret; must be set unless DEBUG is on.
SECRET_KEY = env.secret("SECRET_KEY", _drawn("secret-key") if DEBUG else None)
# Former ones, comma-separated: what they signed (sessions, links) stays good while the
# secret is rotated.
SECRET_KEY_FALLBACKS = env.secrets("SECRET_KEY_FALLBACKS", "")
# Hosts that may be served; must be set unless DEBUG is on.
ALLOWED_HOSTS = env.names("ALLOWED_HOSTS", [])
if not DEBUG and not ALLOWED_HOSTS:
    env.problem(
        "ALLOWED_HOSTS must name the hosts that may be served unless DEBUG is on"
    )
# Origins of the admin behind a TLS proxy, such as https://admin.example.com.
CSRF_TRUSTED_ORIGINS = env.names("CSRF_TRUSTED_ORIGINS", [])

INSTALLED_APPS = [
    # Before the admin, some of whose templates it replaces.
    "combat_history",
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "settlement_project",
    "persistence",
]
SETTLEMENT_APPS, SETTLEMENT_SAVERS, SETTLEMENT_HOOKS = extensions.read(env)
INSTALLED_APPS += SETTLEMENT_APPS
# `manage.py demo` and `manage.py run` belong to a checkout; the image does without.
if IS_CHECKOUT and (BASE_DIR / "demo").is_dir():
    INSTALLED_APPS.append("demo")

MIDDLEWARE = [
    # Outermost, so that refusals and redirects are timed and carry an id, too.
    "settlement_project.http_metrics.timing",
    "settlement_project.request_id.RequestIdMiddleware",
    "settlement_project.content_policy.content_policy",
    # Before whoever reads a field and would answer 500.
    "settlement_project.readable_requests.ReadableRequestsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "settlement_project.static_files.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "settlement_project.time_zones.viewers_time_zone",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

ROOT_URLCONF = "settlement_project.urls"
ASGI_APPLICATION = "settlement_project.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# How long a statement waits for a row lock: no longer than its task may live.
LOCK_TIMEOUT_MS = env.integer("SETTLEMENT_LOCK_TIMEOUT_MS", 5_000, 10, 60_000)
# On where PgBouncer in transaction mode stands before PostgreSQL: the limits are then
# those of the role, which `manage.py database_roles` sets.
PGBOUNCER = env.flag("SETTLEMENT_PGBOUNCER", default=False)
# No client holds a row for ever: a statement ends, and so does a transaction whose
# client says nothing any more. What is answered as committed is on disk.
DATABASES = {
    "default": servers.django_database(
        DATABASE_URL,
        f"-c lock_timeout={LOCK_TIMEOUT_MS}ms -c statement_timeout=10s "
        "-c idle_in_transaction_session_timeout=15s -c synchronous_commit=on",
        shared=PGBOUNCER,
    )
}
# Connections of a web process: under ASGI every request has a thread of its own. There
# the default is 10. 0: no pool, as for workers, which keep one connection for life.
DATABASE_POOL = env.integer("SETTLEMENT_DATABASE_POOL", 0, 0, 100)
if DATABASE_POOL:
    DATABASES["default"]["ENGINE"] = "settlement_project.pooled_postgresql"
    DATABASES["default"]["CONN_MAX_AGE"] = 0
    DATABASES["default"]["OPTIONS"]["pool_size"] = DATABASE_POOL

# Sign-ins: the throttle comes first, and says no to who has failed too often.
AUTHENTICATION_BACKENDS = [
    "combat_history.actions.sign_in.Throttle",
    "django.contrib.auth.backends.ModelBackend",
]
_VALIDATION = "django.contrib.auth.password_validation"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"{_VALIDATION}.UserAttributeSimilarityValidator"},
    {"NAME": f"{_VALIDATION}.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": f"{_VALIDATION}.CommonPasswordValidator"},
    {"NAME": f"{_VALIDATION}.NumericPasswordValidator"},
]
# A working day, counted from the sign-in.
SESSION_COOKIE_AGE = 8 * 3600
# How long after a sign-in undo, inventories, users, groups and the pause may be opened
# without giving the password again.
SETTLEMENT_FRESH_SIGN_IN_SECONDS = env.integer(
    "SETTLEMENT_FRESH_SIGN_IN_SECONDS", 900, 60, 28_800
)

DATABASE_ROLE_PASSWORDS = {
    # Of the role settlement_worker; `manage.py database_roles` gives it, and it alone.
    "worker": env.secret("WORKER_DATABASE_PASSWORD", ""),
    # The same of settlement_web.
    "web": env.secret("WEB_DATABASE_PASSWORD", ""),
    # The same of settlement_reporter.
    "reporter": env.secret("REPORTER_DATABASE_PASSWORD", ""),
}

LANGUAGE_CODE = "en"
LANGUAGES = [("ru", "Русский"), ("en", "English")]
LOCALE_PATHS = [PACKAGE / "locale"]
USE_I18N = True
FORMAT_MODULE_PATH = ["settlement_project.formats"]
USE_TZ = True
# Time zone of the admin's dates where a browser names none of its own.
TIME_ZONE = env.text("TIME_ZONE", "UTC")
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
# Said here, because test runners turn DEBUG off: there is no STATIC_ROOT to miss then.
WHITENOISE_AUTOREFRESH = DEBUG

if not DEBUG:
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    # Send plain HTTP to HTTPS; only without DEBUG.
    SECURE_SSL_REDIRECT = env.flag("SECURE_SSL_REDIRECT", default=True)
    # Probes come from next door, without a proxy in between.
    SECURE_REDIRECT_EXEMPT = [r"^livez$", r"^readyz$", r"^metrics$"]
    # How long browsers insist on HTTPS; only without DEBUG.
    SECURE_HSTS_SECONDS = env.integer("SECURE_HSTS_SECONDS", 31_536_000, 0, 10**9)
    # Whether browsers do so for every subdomain, too; only without DEBUG.
    SECURE_HSTS_INCLUDE_SUBDOMAINS = env.flag(
        "SECURE_HSTS_INCLUDE_SUBDOMAINS", default=False
    )
    # Whether the domain may be put on the browsers' own list, which it hardly leaves
    # again; only without DEBUG.
    SECURE_HSTS_PRELOAD = env.flag("SECURE_HSTS_PRELOAD", default=False)
    # What that asks for binds a whole domain: its owner's decision, not ours.
    SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
    # The proxy has to set or to strip it: a client could claim to have come by HTTPS.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# Settlement. Times are settings so that tests need not wait for them.

# Keys that engines sign by, `id:secret`, several by commas: the first signs, each of
# them verifies. Where there are any, what no engine has signed is not settled. Engines,
# workers and web have the same; none by default.
SETTLEMENT_ENGINE_KEYS = env.engine_keys("SETTLEMENT_ENGINE_KEYS")
# A shortage is recorded as a discrepancy, or fails its combat.
SETTLEMENT_SHORTAGES = env.choice("SETTLEMENT_SHORTAGES", "record", ("record", "fail"))
# Combats a transaction, at most.
SETTLEMENT_BATCH_SIZE = env.integer("SETTLEMENT_BATCH_SIZE", 100, 1, 500)
# Larger documents are rejected.
SETTLEMENT_MAX_DOCUMENT_BYTES = env.integer(
    "SETTLEMENT_MAX_DOCUMENT_BYTES", 1024 * 1024, 1024, 64 * 1024 * 1024
)
# Tries that killed their worker before a combat is failed as poison.
SETTLEMENT_MAX_ATTEMPTS = env.integer("SETTLEMENT_MAX_ATTEMPTS", 5, 1, 100)
# Replicas of Redis that must have a message or a form's effect before it is answered.
SETTLEMENT_SUBMIT_REPLICAS = env.integer("SETTLEMENT_SUBMIT_REPLICAS", 0, 0, 10)
# How long settled documents stay in Redis.
SETTLEMENT_RAW_RETENTION_SECONDS = env.integer(
    "SETTLEMENT_RAW_RETENTION_SECONDS", 0, 0, 30 * 24 * 3600
)
# A task is killed after this; its soft limit is two thirds of it, the broker's
# visibility timeout four times as long.
SETTLEMENT_HARD_LIMIT_SECONDS = env.integer("SETTLEMENT_HARD_LIMIT_SECONDS", 30, 3, 600)
# After this the inbox entries of a dead worker come due again.
SETTLEMENT_LEASE_MS = env.integer(
    "SETTLEMENT_LEASE_MS", (SETTLEMENT_HARD_LIMIT_SECONDS + 5) * 1000, 100, 3_600_000
)
# First delay after a transient error; it doubles.
SETTLEMENT_BACKOFF_MS = env.integer("SETTLEMENT_BACKOFF_MS", 1000, 10, 60_000)
# How long one drain takes new batches.
SETTLEMENT_DRAIN_SECONDS = env.integer("SETTLEMENT_DRAIN_SECONDS", 8, 1, 60)
# A drain that is done before waits for hand-offs in the process it has, and gives it up
# to whatever else waits for one: settling begins without a message's way through broker
# and pool. Only in a prefork pool.
SETTLEMENT_LINGER = env.flag("SETTLEMENT_LINGER", default=True)
# How often beat drains the inbox, advances replay batches and publishes events.
SETTLEMENT_BEAT_SECONDS = env.integer("SETTLEMENT_BEAT_SECONDS", 5, 1, 300)
# Events that the stream `combat:events` keeps, about.
SETTLEMENT_EVENTS_KEPT = env.integer(
    "SETTLEMENT_EVENTS_KEPT", 100_000, 100, 100_000_000
)
# A Celery task of the game that is told every event, too, by its name; none by default.
SETTLEMENT_EVENTS_TASK = env.text("SETTLEMENT_EVENTS_TASK", "")
# The queue of that task: none of ours, and one that a worker of the game listens to.
SETTLEMENT_EVENTS_QUEUE = env.text("SETTLEMENT_EVENTS_QUEUE", "game")
if SETTLEMENT_EVENTS_QUEUE in QUEUES:
    env.problem("SETTLEMENT_EVENTS_QUEUE is a queue of the game, and none of ours")
# Silence after which a running combat is saved as abandoned.
SETTLEMENT_ABANDONED_SECONDS = env.integer(
    "SETTLEMENT_ABANDONED_SECONDS", 600, 1, 86_400
)
# How long a worker's start waits for servers that do not answer; one that is loading
# or recovering is waited for as long as it says so.
SETTLEMENT_START_WAIT_SECONDS = env.integer(
    "SETTLEMENT_START_WAIT_SECONDS", 30, 0, 3600
)
# How often beat sweeps.
SETTLEMENT_SWEEP_SECONDS = env.integer("SETTLEMENT_SWEEP_SECONDS", 15, 1, 3600)

# Where people reach Flower, for the links of a combat's page; none: no links.
FLOWER_URL = env.text("FLOWER_URL", "")

# Tokens of the HTTP API beside those of `manage.py api_token`, comma-separated, each
# `name=scope+scope=secret` with a secret of 16 characters or more. A bare secret may
# read results alone.
SETTLEMENT_API_TOKENS = env.tokens(
    "SETTLEMENT_API_TOKENS", _own_tokens if DEBUG else "", least=0 if DEBUG else 16
)
# Unknown ids that a token may ask for, for one character, before it gets 429.
SETTLEMENT_API_UNKNOWN_PER_MINUTE = env.integer(
    "SETTLEMENT_API_UNKNOWN_PER_MINUTE", 30, 1, 100_000
)

# How long a client may take to send a request's head, and how long its body.
SETTLEMENT_REQUEST_SECONDS = env.integer("SETTLEMENT_REQUEST_SECONDS", 10, 1, 600)

# Bearer token of /metrics, 16 characters or more, or several, comma-separated, while it
# is rotated; none: 404 outside DEBUG.
SETTLEMENT_METRICS_TOKENS = env.secrets(
    "SETTLEMENT_METRICS_TOKEN", "", least=0 if DEBUG else 16
)

# Celery. Messages are hints, and no setting makes a broker lossless: the inbox is what
# counts (docs/decisions/0001). Each line says which window it closes or narrows.
_kombu_url, _broker_options = connecting.broker(BROKER_URL)
# Both, for Celery itself reads the environment's CELERY_BROKER_URL, as it stands there.
CELERY_BROKER_READ_URL = CELERY_BROKER_WRITE_URL = _kombu_url
# Celery's own default: a producer without any settings publishes there.
CELERY_TASK_DEFAULT_QUEUE = QUEUE
# Of RabbitMQ: quorum queues outlive a node of a cluster. The type of a queue that is
# there does not change: drain it and delete it first.
QUEUE_TYPE = env.choice("SETTLEMENT_QUEUE_TYPE", "classic", ("classic", "quorum"))
# Deliveries: one that ends its worker each time is kept as unreadable long before.
_quorum = {"x-queue-type": "quorum", "x-delivery-limit": 100}
# A worker takes from them in turn: what waits in one holds nothing up in the others.
CELERY_TASK_QUEUES = [
    Queue(name, queue_arguments=_quorum if QUEUE_TYPE == "quorum" else None)
    for name in QUEUES
]
# A misspelt queue is an error, not a queue that nobody reads.
CELERY_TASK_CREATE_MISSING_QUEUES = False
# Rings never wait behind saves, nor recovery behind either.
CELERY_TASK_ROUTES = ROUTES
# A pickle would run its sender's code.
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_ACCEPT_CONTENT = ["json"]
# combat_history is the result: nothing to fill, to wait for or to attack.
CELERY_RESULT_BACKEND = None
CELERY_TASK_IGNORE_RESULT = True
# Acknowledged before its task has run, as by default, a message dies with its worker.
CELERY_TASK_ACKS_LATE = True
# By default the message of a child that was killed counts as done all the same.
CELERY_TASK_REJECT_ON_WORKER_LOST = True
# Sent again with a count up to the task's max_retries, where a plain rejection would
# give a message that kills its child to the next one for ever.
CELERY_TASK_RETRY_ON_WORKER_LOST = True
# Not acknowledged, a message would be dropped where its task failed, and loop where it
# was killed for its time. What failed is a row instead, or an entry that comes due.
CELERY_TASK_ACKS_ON_FAILURE = True
CELERY_TASK_ACKS_ON_TIMEOUT = True
# Far below the visibility timeout, or a task at work would be delivered again for ever.
# Between the soft limit and the hard one it can roll back and close its connection.
CELERY_TASK_TIME_LIMIT = SETTLEMENT_HARD_LIMIT_SECONDS
CELERY_TASK_SOFT_TIME_LIMIT = SETTLEMENT_HARD_LIMIT_SECONDS * 2 // 3
# Few messages at risk, and none hoarded that others could work on.
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# A stop ends with the last task; no message that cannot be read ends a worker.
CELERY_WORKER_POOL = "persistence.worker.pool:TaskPool"
CELERY_WORKER_CONSUMER = "persistence.worker.intake.consumer:ReadingConsumer"
# What waits for its turn would fill the prefetch and hold up everything else.
CELERY_WORKER_DISABLE_RATE_LIMITS = True
# A broker that was lost delivers what was not acknowledged again: two of a task at once
# would only wait for each other.
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
# A quick stop (SIGQUIT) still lets running tasks end, and those just taken.
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = SETTLEMENT_HARD_LIMIT_SECONDS
CELERY_WORKER_ENABLE_SOFT_SHUTDOWN_ON_IDLE = True
# Importing Django takes longer than the 4 s after which a child counts as dead.
CELERY_WORKER_PROC_ALIVE_TIMEOUT = 30
# Whether workers obey broadcasts, such as `celery control`: whoever reaches the broker
# could stop them all. With ops/redis/users.acl that is Flower's user and workers alone.
CELERY_WORKER_ENABLE_REMOTE_CONTROL = env.flag(
    "SETTLEMENT_REMOTE_CONTROL", default=False
)
# For Flower, which is told of no task by default.
CELERY_WORKER_SEND_TASK_EVENTS = True
# The event of sending shows the arguments as the sender has them, loot included.
CELERY_TASK_SEND_SENT_EVENT = False
# LOGGING below is for workers, too; by default Celery replaces it.
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# A worker outlives its broker: it waits for ever; READONLY or OOM does not end it.
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # What a killed worker held comes back after that, not after an hour and more; the
    # shortest timeout of all programs on this Redis counts.
    "visibility_timeout": SETTLEMENT_HARD_LIMIT_SECONDS * 4,
    # Looked for every 5 s; by default at every tenth look of 10 s.
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    # Held by a worker that was killed, it blocks the others no longer.
    "unacked_mutex_expire": 30,
    # A frozen or half-open Redis is noticed: by default a publisher waits for ever.
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 10,
    **_broker_options,
}
# A ring is bounded in time; beat makes up for one that is given up.
CELERY_TASK_PUBLISH_RETRY_POLICY = {
    "max_retries": 2,
    "interval_start": 0,
    "interval_step": 0.2,
    "interval_max": 0.2,
}
# Connections live across tasks: by default Celery closes them around each. A drain
# checks its own before the first claim.
CELERY_DB_REUSE_MAX = 10_000
# No file, which would need a volume and could be damaged: docs/decisions/0046.
CELERY_BEAT_SCHEDULER = "settlement_project.liveness:BeatScheduler"
CELERY_BEAT_SCHEDULE = schedule(SETTLEMENT_BEAT_SECONDS, SETTLEMENT_SWEEP_SECONDS)

# Of the root logger.
LOG_LEVEL = env.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR"))
# text: lines for people, key=value. json: an object a line, tracebacks inside.
LOG_FORMAT = env.choice("LOG_FORMAT", "text", ("text", "json"))
LOGGING = logs.configuration(LOG_LEVEL, LOG_FORMAT)

env.raise_if_invalid()
