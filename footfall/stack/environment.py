"""Settings as environment variables, for child processes: the inverse of `Settings.from_environment`."""

from schemas.settings import Settings


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the variables for which `Settings.from_environment` gives these settings again."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "KAFKA_HOME": settings.kafka_home,
        "KAFKA_SECURITY_PROTOCOL": settings.security_protocol,
        "KAFKA_SASL_MECHANISM": settings.sasl_mechanism,
        "KAFKA_SASL_USERNAME": settings.sasl_username,
        "KAFKA_SASL_PASSWORD": settings.sasl_password,
        "KAFKA_SSL_CA_LOCATION": settings.ssl_ca_location,
        "REDIS_URL": settings.redis_url,
        "FOOTFALL_WORKERS": ",".join(settings.workers),
        "FOOTFALL_PREFIX": settings.prefix,
        "FOOTFALL_DEVICE": settings.device,
        "FOOTFALL_HOME": str(settings.home),
        "FOOTFALL_SESSION_TIMEOUT_S": repr(settings.session_timeout_s),
        "FOOTFALL_GROUP_INSTANCE_ID": settings.group_instance_id,
        "FOOTFALL_FETCH_MAX_WAIT_MS": str(settings.fetch_max_wait_ms),
        "FOOTFALL_BUDGET_S": repr(settings.budget_s),
        "FOOTFALL_REPLY_ENGINE": settings.reply_engine,
        "FOOTFALL_REPLY_URL": settings.reply_url,
        "FOOTFALL_REPLY_MODEL": settings.reply_model,
        "FOOTFALL_REPLY_BUDGET_S": repr(settings.reply_budget_s),
        "FOOTFALL_REFUND_LIMIT": repr(settings.refund_limit),
        "FOOTFALL_CURRENCY": settings.currency,
        "FOOTFALL_POLICIES": settings.policies,
        "FOOTFALL_USER_TTL_S": str(settings.user_ttl_s),
        "FOOTFALL_SESSION_TTL_S": str(settings.session_ttl_s),
    }
