"""The fault campaign: harm everything that can be harmed, then count.

    python -m tests.delivery.campaign --arrivals 300 --faults 100 --seed 1 --json campaign.json

runs two workers and a catalog consumer as processes on Apache Kafka, a real S3 store and PostgreSQL
(or, with ``--embedded``, on the embedded broker, local files and SQLite), sends arrivals, and
injects faults between them. A supervisor starts again what died. In the end every arrival must have
exactly one outcome, and the right one; of each visit the newest image is in force by the rule, in
row, file and Butler, to the byte; every other file is garbage by the rule. Exit code 1 when it is
not so.
With ``--brokers 3`` Apache Kafka has three nodes.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from lsst.resources import ResourcePath
from tests.delivery.faults import Campaign
from tests.delivery.meanings import INPUT
from tests.delivery.supervisor import Supervisor
from tests.delivery.verdict import Verdict, judge
from tests.support.account import Account
from tests.support.kafka_tools import Delivery
from tests.support.servers.apache_kafka import running_kafka
from tests.support.servers.postgres import running_postgres
from tests.support.servers.s3 import running_s3

from residua.ledger import identity_of
from residua.messaging.settings import KafkaSettings
from residua.testing.embedded_broker import EmbeddedBroker
from residua_schemas import VISIT_ARRIVALS

BUCKET = "campaign-inputs"


@dataclass(frozen=True)
class Tally:
    """What a campaign came to."""

    arrivals: int
    outcomes: int
    created: int
    skipped: int
    failed: int
    dead_letters: int
    files: int
    rows: int
    visits_with_image: int
    duplicates: int
    repeats: int
    faults: int
    fault_kinds: dict[str, int]
    poison: int
    lost: int
    superseded: int
    garbage: int
    unlucky: int
    complaints: tuple[str, ...]
    seconds: float

    @property
    def balances(self) -> bool:
        """Whether nothing is lost, doubled or left over."""
        return (
            self.settles
            and not self.complaints
            and self.duplicates == self.lost == 0
            # A process that dies twice under one arrival is a failure: by chance, seldom.
            and self.unlucky <= 1 + self.arrivals // 50
        )

    @property
    def settles(self) -> bool:
        """Whether nothing more is to come."""
        return (
            self.arrivals == self.outcomes == self.created + self.skipped + self.failed
            and self.dead_letters == self.poison
            and self.rows == self.visits_with_image
        )


def tally(
    campaign: Campaign, account: Account, seconds: float, verdict: Verdict | None = None
) -> Tally:
    """Count."""
    verdict = verdict or Verdict()
    expected = {e.visit_detector.visit for e in campaign.sent}
    answered = Counter((o.visit_detector.visit, identity_of(o.arrival)) for o in account.outcomes)
    kinds = account.kinds
    # Who buries a bad announcement owns its partition just then: in a rebalance, nobody or two.
    arrivals_topic = campaign.delivery.settings.topic_name(VISIT_ARRIVALS)
    letters = [d for d in account.dead_letters if d.topic == arrivals_topic]
    imaged = {o.visit_detector.visit for o in account.outcomes if o.outcome == "created"}
    return Tally(
        arrivals=len({(e.visit_detector.visit, identity_of(e)) for e in campaign.sent}),
        outcomes=len(account.outcomes),
        created=kinds["created"],
        skipped=kinds["skipped"],
        failed=kinds["failed"],
        dead_letters=len(letters),
        files=len(account.files),
        rows=len(account.rows),
        visits_with_image=len(imaged),
        duplicates=account.conflicts + sum(n - 1 for n in answered.values()),
        repeats=account.repeats,
        faults=sum(campaign.counts.values()),
        fault_kinds=dict(sorted(campaign.counts.items())),
        poison=campaign.poison,
        lost=len(expected - set(account.visits)),
        superseded=verdict.superseded,
        garbage=verdict.garbage,
        unlucky=verdict.unlucky,
        complaints=tuple(verdict.complaints),
        seconds=round(seconds, 1),
    )


def run_campaign(
    arrivals: int,
    faults: int,
    seed: int,
    *,
    embedded: bool,
    directory: Path,
    patience: float,
    brokers: int = 1,
    fresh: bool = True,
    only: Sequence[str] | None = None,
) -> Tally:
    """Run one campaign and count."""
    began = time.monotonic()
    with ExitStack() as stack:
        kafka = s3 = catalog_url = None
        prefix = f"campaign-{os.getpid()}-{seed}-"
        if embedded:
            bootstrap = stack.enter_context(EmbeddedBroker(prefix)).bootstrap
        else:
            kafka = stack.enter_context(running_kafka(brokers))
            s3 = stack.enter_context(running_s3("difference-images", BUCKET))
            database = stack.enter_context(running_postgres(durable=True))
            catalog_url = database.create_database("campaign", ["pg_sphere"])
            bootstrap = kafka.bootstrap
        settings = KafkaSettings(kafka_bootstrap=bootstrap, topic_prefix=prefix)
        delivery = stack.enter_context(
            Delivery(
                settings,
                directory,
                s3=s3,
                replication=min(brokers, 3),
                catalog_url=catalog_url,
                fresh=fresh,
            )
        )
        inputs = directory / "inputs"
        inputs.mkdir()
        (inputs / INPUT).write_text("there")
        roots = [str(inputs)]
        if s3 is not None:
            s3.client().put_object(Bucket=BUCKET, Key=INPUT, Body=b"there")
            roots.append(f"s3://{BUCKET}/")
            for name, value in s3.environment.items():
                os.environ[name] = value
        supervisor = Supervisor(delivery)
        supervisor.worker_settings = {"input_roots": json.dumps(roots)}
        stack.enter_context(supervisor)
        campaign = Campaign(delivery, supervisor, seed, kafka, s3, inputs, BUCKET)
        campaign.meanings.patience = patience
        campaign.run(arrivals, faults, only)

        def settled(account: Account) -> bool:
            return tally(campaign, account, 0.0).settles

        try:
            account = delivery.wait(settled, seconds=patience)
        except TimeoutError:
            account = delivery.account()
        campaign.lettings.finish()
        account = delivery.account()
        verdict = judge(
            delivery, campaign.sent, campaign.meanings.ghosts, content_of, account.files
        )
        return tally(campaign, account, time.monotonic() - began, verdict)


def content_of(uri: str) -> bytes:
    """Read a file of the store."""
    return bytes(ResourcePath(uri, forceAbsolute=True).read())


def main() -> int:
    """Run a campaign from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arrivals", type=int, default=300)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--embedded", action="store_true", help="no Apache Kafka, S3, PostgreSQL")
    parser.add_argument("--brokers", type=int, default=1, help="nodes of Apache Kafka")
    parser.add_argument("--forked", action="store_true", help="services start with imports done")
    parser.add_argument(
        "--keep",
        type=Path,
        help="directory for logs and catalog; else they stay only where it does not balance",
    )
    parser.add_argument("--patience", type=float, default=300.0, help="seconds to settle in")
    parser.add_argument("--only", nargs="+", metavar="KIND", help="these kinds, in this order")
    options = parser.parse_args()
    directory = options.keep or Path(tempfile.mkdtemp(prefix="campaign-"))
    directory.mkdir(parents=True, exist_ok=True)
    # Said before anything can go wrong: what went wrong is in the logs.
    print(f"logs in {directory}", flush=True)
    result = run_campaign(
        options.arrivals,
        options.faults,
        options.seed,
        embedded=options.embedded,
        directory=directory,
        patience=options.patience,
        brokers=options.brokers,
        fresh=not options.forked,
        only=options.only,
    )
    if result.balances and options.keep is None:
        shutil.rmtree(directory)
    table = asdict(result)
    for name, value in table.items():
        if name not in {"fault_kinds", "complaints"}:
            print(f"{name:>14}  {value}")
    for name, value in result.fault_kinds.items():
        print(f"{value:>14}  {name}")
    for complaint in result.complaints:
        print(complaint)
    print("balances" if result.balances else "DOES NOT BALANCE")
    if options.json:
        options.json.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    return 0 if result.balances else 1


if __name__ == "__main__":
    sys.exit(main())
