"""A real Apache Kafka for tests: KRaft, one node or three, in a temporary directory.

Each node is broker and controller. A node answers 2 to 4 s after its start. With ``secure`` there
is a second listener, SASL over TLS: SCRAM-SHA-512, and OAUTHBEARER with tokens that the broker
checks against a key set.
"""

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource
from tests.support.librdkafka import administrating
from tests.support.servers.certificates import (
    Certificates,
    TokenIssuer,
    make_certificates,
    make_token_issuer,
)
from tests.support.servers.kafka_jars import find_java, kafka_jars, kafka_missing
from tests.support.servers.server_process import (
    ServerProcess,
    free_ports,
    removed_when_we_die,
    wait_until,
)

__all__ = ["SCRAM_PASSWORD", "SCRAM_USER", "ApacheKafka", "kafka_missing", "running_kafka"]

SCRAM_USER = "residua"
SCRAM_PASSWORD = "scram-secret-of-the-tests"

_CLUSTER_ID = "cmVzaWR1YS10ZXN0cy0wMQ"
_START_SECONDS = 90.0


@dataclass(frozen=True)
class _Ports:
    plain: int
    controller: int
    secure: int


class ApacheKafka:
    """A running cluster; made by `running_kafka`.

    Nodes are numbered from 0 and keep port and data over `kill`, `stop` and `start`.
    """

    def __init__(self, directory: Path, nodes: int, *, secure: bool, jars: Path) -> None:
        java = find_java()
        if java is None:
            raise RuntimeError(kafka_missing())
        self._directory = directory
        self._java = [
            str(java),
            *("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"),
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        ]
        self._class_path = ["-cp", f"{jars}/*"]
        numbers = free_ports(3 * nodes)
        self._ports = [_Ports(*numbers[3 * n : 3 * n + 3]) for n in range(nodes)]
        self.certificates: Certificates | None = None
        self.tokens: TokenIssuer | None = None
        if secure:
            self.certificates = make_certificates(directory)
            self.tokens = make_token_issuer(directory)
            # Kafka reads token keys only from addresses that are allowed by name.
            self._java.append(
                "-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=" + self.tokens.key_set.as_uri()
            )
        self._nodes = [self._make_node(n) for n in range(nodes)]

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return len(self._nodes)

    @property
    def bootstrap(self) -> str:
        """``host:port`` of every node's listener without security, separated by commas."""
        return ",".join(f"127.0.0.1:{p.plain}" for p in self._ports)

    @property
    def secure_bootstrap(self) -> str:
        """The same of the listener with SASL over TLS."""
        if self.certificates is None:
            raise ValueError("this cluster has no secure listener: start it with secure=True")
        return ",".join(f"127.0.0.1:{p.secure}" for p in self._ports)

    def kill(self, node: int = 0) -> None:
        """SIGKILL a node."""
        self._nodes[node].kill()

    def stop(self, node: int = 0) -> None:
        """End a node in order (SIGTERM)."""
        self._nodes[node].stop()

    def start(self, node: int = 0, *, wait: bool = True) -> None:
        """Start a node again, on its old port and data; by default wait until it answers."""
        process = self._nodes[node]
        process.start(
            (lambda: self._answers(node)) if wait else (lambda: True), seconds=_START_SECONDS
        )

    def leader(self, topic: str, partition: int = 0) -> int | None:
        """Node that leads a partition; `None` while there is none, or no such topic."""
        try:
            with administrating(self.bootstrap) as admin:
                found = admin.list_topics(topic, timeout=5.0).topics[topic]
        except KafkaException:
            return None
        known = found.partitions.get(partition)
        return known.leader - 1 if known is not None and known.leader > 0 else None

    def wait_for_topic(self, topic: str) -> None:
        """Wait until a topic that was made is known: the answer to its making comes before."""
        wait_until(lambda: self.leader(topic) is not None, f"topic {topic}", seconds=30.0)

    def allow_large_records(self, topic: str, size: int) -> None:
        """Let a topic take records of up to ``size`` bytes, more than the default of 1 MiB."""
        name = "max.message.bytes"
        entry = ConfigEntry(name, str(size), incremental_operation=AlterConfigOpType.SET)
        kind = ConfigResource.Type.TOPIC
        changes = [ConfigResource(kind, topic, incremental_configs=[entry])]
        with administrating(self.bootstrap) as admin:
            for answer in admin.incremental_alter_configs(changes).values():
                answer.result(10.0)

            def is_in_force() -> bool:
                [asked] = admin.describe_configs([ConfigResource(kind, topic)]).values()
                return bool(asked.result(10.0)[name].value == str(size))

            wait_until(is_in_force, f"{name} of {topic}", seconds=30.0)

    def start_all(self) -> None:
        """Start every node and wait until all answer."""
        for node in range(self.nodes):
            # A node alone has no quorum: start all, then wait.
            self.start(node, wait=False)
        wait_until(
            lambda: len(self._brokers()) == self.nodes,
            f"{self.nodes} nodes of Kafka answer",
            seconds=_START_SECONDS,
            pause=0.1,
        )

    def kill_all(self) -> None:
        """SIGKILL every node."""
        for process in self._nodes:
            process.kill()

    def _answers(self, node: int) -> bool:
        found = self._brokers(f"127.0.0.1:{self._ports[node].plain}")
        return node + 1 in found

    def _brokers(self, bootstrap: str | None = None) -> Sequence[int]:
        try:
            with administrating(bootstrap or self.bootstrap) as admin:
                return list(admin.list_topics(timeout=1.0).brokers)
        except KafkaException:
            return []

    def _make_node(self, node: int) -> ServerProcess:
        name = f"kafka-{node}"
        path = self._directory / f"{name}.properties"
        properties = self._properties(node)
        path.write_text("".join(f"{k}={v}\n" for k, v in properties.items()), encoding="utf-8")
        path.chmod(0o600)
        scram = ["--add-scram", f"SCRAM-SHA-512=[name={SCRAM_USER},password={SCRAM_PASSWORD}]"]
        tool = [*self._java, *self._class_path, "kafka.tools.StorageTool", "format"]
        tool += ["-t", _CLUSTER_ID, "-c", str(path), *(scram if self.certificates else [])]
        done = subprocess.run(tool, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"Kafka's storage could not be made: {done.stdout}{done.stderr}")
        command = [*self._java, *self._class_path, "kafka.Kafka", str(path)]
        return ServerProcess(name, command, self._directory)

    def _properties(self, node: int) -> dict[str, str]:
        ports, nodes = self._ports[node], len(self._ports)
        copies = min(3, nodes)
        listeners = {"PLAIN": f"127.0.0.1:{ports.plain}"}
        if self.certificates:
            listeners["SECURE"] = f"127.0.0.1:{ports.secure}"
        advertised = ",".join(f"{name}://{place}" for name, place in listeners.items())
        voters = [f"{n + 1}@127.0.0.1:{p.controller}" for n, p in enumerate(self._ports)]
        properties = {
            "process.roles": "broker,controller",
            "node.id": str(node + 1),
            "listeners": f"{advertised},CONTROLLER://127.0.0.1:{ports.controller}",
            "advertised.listeners": advertised,
            "listener.security.protocol.map": (
                "PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL"
            ),
            "inter.broker.listener.name": "PLAIN",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": ",".join(voters),
            "log.dirs": str(self._directory / f"data-{node}"),
            # A topic that nobody made is an error here as in production.
            "auto.create.topics.enable": "false",
            "num.partitions": "4",
            "default.replication.factor": str(copies),
            "min.insync.replicas": str(max(1, copies - 1)),
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": str(copies),
            "transaction.state.log.num.partitions": "1",
            "transaction.state.log.replication.factor": str(copies),
            "transaction.state.log.min.isr": str(max(1, copies - 1)),
            "share.coordinator.state.topic.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": str(copies),
            # Quick at noticing a dead node, and without a pause before the first rebalance.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "log.cleaner.dedupe.buffer.size": "2097152",
            "num.network.threads": "2",
            "num.io.threads": "2",
        }
        if self.certificates and self.tokens:
            properties |= self._security(self.certificates, self.tokens)
        return properties

    @staticmethod
    def _security(certificates: Certificates, tokens: TokenIssuer) -> dict[str, str]:
        module = "org.apache.kafka.common.security"
        prefix = "listener.name.secure"
        return {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(certificates.server),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(certificates.authority),
            "sasl.enabled.mechanisms": "SCRAM-SHA-512,OAUTHBEARER",
            f"{prefix}.scram-sha-512.sasl.jaas.config": (
                f"{module}.scram.ScramLoginModule required;"
            ),
            f"{prefix}.oauthbearer.sasl.jaas.config": (
                f"{module}.oauthbearer.OAuthBearerLoginModule required;"
            ),
            f"{prefix}.oauthbearer.sasl.server.callback.handler.class": (
                f"{module}.oauthbearer.OAuthBearerValidatorCallbackHandler"
            ),
            f"{prefix}.oauthbearer.sasl.oauthbearer.jwks.endpoint.url": tokens.key_set.as_uri(),
            f"{prefix}.oauthbearer.sasl.oauthbearer.expected.audience": tokens.audience,
            f"{prefix}.oauthbearer.sasl.oauthbearer.expected.issuer": tokens.issuer,
        }


@contextmanager
def running_kafka(
    nodes: int = 1, *, secure: bool = False, jars: Path | None = None
) -> Iterator[ApacheKafka]:
    """Start a cluster in a new temporary directory; end it and remove the directory after.

    Parameters
    ----------
    nodes
        1, or 3 for failover (replication 3, two in-sync replicas needed).
    secure
        Whether there is a listener with SASL over TLS.
    jars
        Where Kafka's jars are kept; by default `kafka_jars.default_cache`.
    """
    with (
        tempfile.TemporaryDirectory(prefix="residua-kafka-", ignore_cleanup_errors=True) as name,
        removed_when_we_die(Path(name)),
    ):
        cluster = ApacheKafka(Path(name), nodes, secure=secure, jars=kafka_jars(jars))
        try:
            cluster.start_all()
            yield cluster
        finally:
            cluster.kill_all()
