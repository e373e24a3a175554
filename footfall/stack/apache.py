"""One Apache Kafka broker in KRaft mode: its configuration, storage format and Java options.

Works with `libs/` of a distribution alone; 4.x needs Java 17.
"""

import base64
import subprocess
import uuid
from pathlib import Path

from footfall.stack.probes import HOST
from footfall.stack.server import StackError

# One broker: every internal topic has one replica. Groups form at once, and tests may use short sessions. The broker's
# own session is short since a restart after kill -9 waits for it (15 s with the default).
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
num.partitions=8
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=4194304
"""
_LOG4J2 = """\
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=[%d] %p %m (%c)%n
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
"""
_LOG4J1 = """\
log4j.rootLogger=WARN, console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=[%d] %p %m (%c)%n
"""  # Kafka 3.9


def version_in(home: Path) -> str | None:
    """The version of the distribution at `home`, or None when there is none."""
    for jar in home.glob("libs/kafka-clients-*.jar"):
        version = jar.stem.removeprefix("kafka-clients-")
        if version[:1].isdigit() and not version.endswith("test"):
            return version
    return None


def write_configuration(directory: Path, port: int, controller_port: int) -> Path:
    """Write server.properties and what the loggers need; the path of the former."""
    properties = directory / "server.properties"
    properties.write_text(
        _PROPERTIES.format(host=HOST, port=port, controller_port=controller_port, data=directory / "kafka")
    )
    (directory / "log4j2.properties").write_text(_LOG4J2)
    (directory / "log4j.properties").write_text(_LOG4J1)
    return properties


def jvm_options(directory: Path) -> list[str]:
    """Options for a small broker that is up soon: 2.4 s instead of 4 s with the first compiler tier only."""
    return [
        *("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"),
        f"-Dlog4j2.configurationFile={directory}/log4j2.properties",
        f"-Dlog4j.configuration=file:{directory}/log4j.properties",
    ]


def format_once(jvm: list[str], directory: Path, properties: Path) -> None:
    """Format the data directory if it is new. Raises StackError with the tool's output when that fails."""
    if (directory / "kafka" / "meta.properties").exists():
        return
    argv = [*jvm, "kafka.tools.StorageTool", "format", "-t", _cluster_id(), "-c", str(properties)]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    if ran.returncode:
        raise StackError(f"Apache Kafka could not format {directory}:\n{(ran.stdout + ran.stderr)[-1500:]}")


def _cluster_id() -> str:
    """A Kafka uuid: 16 random bytes, url-safe base64 without padding, which the tool must not take for an option."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        if not text.startswith("-"):
            return text
