"""Settings: read from the environment once, then passed on. Every process of the product understands these names."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

REPLY_ENGINES = ("worker", "endpoint", "template")


class SettingsError(ValueError):
    """A setting cannot be used; the message names it and says what would be right."""


class Settings(Struct, frozen=True, kw_only=True):
    """See README, "Settings". Empty `bootstrap_servers` or `redis_url` means: the local stack provides it."""

    bootstrap_servers: str = ""
    redis_url: str = ""
    kafka_home: str = ""
    workers: tuple[str, ...] = ()
    prefix: str = "retail"
    device: str = "cpu"
    home: Path = Path("~/.cache/footfall")
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = ""
    sasl_username: str = ""
    sasl_password: str = ""
    ssl_ca_location: str = ""
    session_timeout_s: float = 20.0
    group_instance_id: str = ""  # static membership: the same for a process and its restart, of no other
    fetch_max_wait_ms: int = 500  # the local broker does not wake a waiting fetch: the stack sets 20
    budget_s: float = 2.0  # how long an event waits for the model; then a fallback answers
    reply_engine: str = "worker"  # who words replies: the worker's `replier`, an endpoint, or templates alone
    reply_url: str = ""  # of an OpenAI-compatible endpoint, as in http://vllm:8000/v1
    reply_model: str = ""  # the endpoint's name for the model
    reply_budget_s: float = 20.0  # how long a message waits for a text of the model; then the template answers
    refund_limit: float = 100.0  # a request for more is a person's
    currency: str = "EUR"  # of prices, and of what does not name its own
    policies: str = ""  # a folder of passages; empty: the starter set
    user_ttl_s: int = 90 * 86_400
    session_ttl_s: int = 1800

    @property
    def alive_within_s(self) -> float:
        """For how long an agent may be silent before its guard ends it: well below the session time-out."""
        return self.session_timeout_s / 2

    @property
    def lease_s(self) -> float:
        """For how long an agent that stands still surely keeps its partitions: its last sign may be a sixth old."""
        return self.session_timeout_s * 5 / 6

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings.

        Raises SettingsError when one of them cannot be used.
        """
        get = environ.get
        prefix = get("FOOTFALL_PREFIX", "retail")
        if not prefix or not all(c.isalnum() or c in "._-" for c in prefix):
            raise SettingsError(f"FOOTFALL_PREFIX={prefix!r}: use letters, digits, '.', '_' and '-' (it names topics)")
        protocol = get("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT").upper()
        if protocol not in {"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}:
            raise SettingsError(
                f"KAFKA_SECURITY_PROTOCOL={protocol!r}: use PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"
            )
        if protocol.startswith("SASL") and not (get("KAFKA_SASL_USERNAME") and get("KAFKA_SASL_PASSWORD")):
            raise SettingsError(f"{protocol} needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD")
        engine = get("FOOTFALL_REPLY_ENGINE", "worker")
        if engine not in REPLY_ENGINES:
            raise SettingsError(f"FOOTFALL_REPLY_ENGINE={engine!r}: use {', '.join(REPLY_ENGINES)}")
        if engine == "endpoint" and not (get("FOOTFALL_REPLY_URL") and get("FOOTFALL_REPLY_MODEL")):
            raise SettingsError("FOOTFALL_REPLY_ENGINE=endpoint needs FOOTFALL_REPLY_URL and FOOTFALL_REPLY_MODEL")
        return cls(
            bootstrap_servers=get("KAFKA_BOOTSTRAP_SERVERS", ""),
            redis_url=get("REDIS_URL", ""),
            kafka_home=get("KAFKA_HOME", ""),
            workers=tuple(w.strip() for w in get("FOOTFALL_WORKERS", "").split(",") if w.strip()),
            prefix=prefix,
            device=get("FOOTFALL_DEVICE", "cpu"),
            home=Path(get("FOOTFALL_HOME", "~/.cache/footfall")).expanduser(),
            security_protocol=protocol,
            sasl_mechanism=get("KAFKA_SASL_MECHANISM", "PLAIN" if protocol.startswith("SASL") else ""),
            sasl_username=get("KAFKA_SASL_USERNAME", ""),
            sasl_password=get("KAFKA_SASL_PASSWORD", ""),
            ssl_ca_location=get("KAFKA_SSL_CA_LOCATION", ""),
            session_timeout_s=_number(environ, "FOOTFALL_SESSION_TIMEOUT_S", 20.0, low=1.0),
            group_instance_id=get("FOOTFALL_GROUP_INSTANCE_ID", ""),
            fetch_max_wait_ms=int(_number(environ, "FOOTFALL_FETCH_MAX_WAIT_MS", 500, low=1)),
            budget_s=_number(environ, "FOOTFALL_BUDGET_S", 2.0, low=0.01),
            reply_engine=engine,
            reply_url=get("FOOTFALL_REPLY_URL", ""),
            reply_model=get("FOOTFALL_REPLY_MODEL", ""),
            reply_budget_s=_number(environ, "FOOTFALL_REPLY_BUDGET_S", 20.0, low=0.01),
            refund_limit=_number(environ, "FOOTFALL_REFUND_LIMIT", 100.0, low=0),
            currency=get("FOOTFALL_CURRENCY", "EUR"),
            policies=get("FOOTFALL_POLICIES", ""),
            user_ttl_s=int(_number(environ, "FOOTFALL_USER_TTL_S", 90 * 86_400, low=60)),
            session_ttl_s=int(_number(environ, "FOOTFALL_SESSION_TTL_S", 1800, low=1)),
        )


def _number(environ: Mapping[str, str], name: str, default: float, low: float) -> float:
    text = environ.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        raise SettingsError(f"{name}={text!r} is not a number") from None
    if value < low:
        raise SettingsError(f"{name}={text}: must be at least {low:g}")
    return value


def ipc_endpoint(name: str) -> str:
    """A ZeroMQ endpoint inside this host, in a directory that only this user can enter."""
    return f"ipc://{Path(tempfile.mkdtemp(prefix='footfall-')) / name}"
