"""The fault campaign: harm everything that can be harmed, then count.

    python -m tests.delivery.campaign --arrivals 300 --faults 100 --seed 1 --json campaign.json

runs two workers and a catalog consumer as processes on Apache Kafka and a real S3 store (or, with
``--embedded``, on the embedded broker and local files), sends arrivals, and injects faults between
them. A supervisor starts again what died. In the end every arrival must have exactly one outcome,
every created outcome one file and one row. Exit code 1 when the account does not balance.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.delivery.faults import Campaign
from tests.delivery.supervisor import Supervisor
from tests.support.account import Account
from tests.support.kafka_tools import Delivery
from tests.support.servers.apache_kafka import running_kafka
from tests.support.servers.s3 import running_s3

from residua.messaging.settings import KafkaSettings
from residua.testing.embedded_broker import EmbeddedBroker
from residua_schemas import VISIT_ARRIVALS


@dataclass(frozen=True)
class Tally:
    """What a campaign came to; `balances` are the sums that must hold."""

    arrivals: int
    outcomes: int
    created: int
    skipped: int
    failed: int
    dead_letters: int
    files: int
    rows: int
    duplicates: int
    repeats: int
    orphans: int
    faults: int
    fault_kinds: dict[str, int]
    poison: int
    lost: int
    seconds: float

    @property
    def balances(self) -> bool:
        """Whether nothing is lost, doubled or left over."""
        return (
            self.arrivals == self.outcomes == self.created + self.skipped + self.failed
            and self.created == self.files == self.rows
            and self.dead_letters == self.poison
            and self.duplicates == self.orphans == self.lost == 0
        )


def tally(campaign: Campaign, account: Account, seconds: float) -> Tally:
    """Count."""
    expected = {e.visit_detector.visit for e in campaign.sent}
    found = account.visits
    created = {o.uri for o in account.outcomes if o.outcome == "created"}
    rows = set(account.rows.values())
    kinds = account.kinds
    # Who buries a bad announcement owns its partition just then: in a rebalance, nobody or two.
    arrivals_topic = campaign.delivery.settings.topic_name(VISIT_ARRIVALS)
    letters = [d for d in account.dead_letters if d.topic == arrivals_topic]
    return Tally(
        arrivals=len(campaign.sent),
        outcomes=len(account.outcomes),
        created=kinds["created"],
        skipped=kinds["skipped"],
        failed=kinds["failed"],
        dead_letters=len(letters),
        files=len(account.files),
        rows=len(account.rows),
        duplicates=account.conflicts + sum(n - 1 for n in found.values()),
        repeats=account.repeats,
        orphans=len((set(account.files) | rows) - created) + len(created - account.files),
        faults=sum(campaign.counts.values()),
        fault_kinds=dict(sorted(campaign.counts.items())),
        poison=campaign.poison,
        lost=len(expected - set(found)),
        seconds=round(seconds, 1),
    )


def run_campaign(
    arrivals: int, faults: int, seed: int, *, embedded: bool, directory: Path, patience: float
) -> Tally:
    """Run one campaign and count."""
    began = time.monotonic()
    with ExitStack() as stack:
        kafka = s3 = None
        prefix = f"campaign-{os.getpid()}-{seed}-"
        if embedded:
            bootstrap = stack.enter_context(EmbeddedBroker(prefix)).bootstrap
        else:
            kafka = stack.enter_context(running_kafka())
            s3 = stack.enter_context(running_s3("difference-images"))
            bootstrap = kafka.bootstrap
        settings = KafkaSettings(kafka_bootstrap=bootstrap, topic_prefix=prefix)
        delivery = stack.enter_context(Delivery(settings, directory, s3=s3))
        supervisor = stack.enter_context(Supervisor(delivery))
        campaign = Campaign(delivery, supervisor, seed, kafka, s3)
        campaign.run(arrivals, faults)

        def settled(account: Account) -> bool:
            return tally(campaign, account, 0.0).balances

        try:
            account = delivery.wait(settled, seconds=patience)
        except TimeoutError:
            account = delivery.account()
        return tally(campaign, account, time.monotonic() - began)


def main() -> int:
    """Run a campaign from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arrivals", type=int, default=300)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--embedded", action="store_true", help="no Apache Kafka, no S3")
    parser.add_argument("--keep", type=Path, help="directory for logs and catalog")
    parser.add_argument("--patience", type=float, default=300.0, help="seconds to settle in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.keep or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        result = run_campaign(
            options.arrivals,
            options.faults,
            options.seed,
            embedded=options.embedded,
            directory=directory,
            patience=options.patience,
        )
    table = asdict(result)
    for name, value in table.items():
        if name != "fault_kinds":
            print(f"{name:>14}  {value}")
    for name, value in result.fault_kinds.items():
        print(f"{value:>14}  {name}")
    print("balances" if result.balances else "DOES NOT BALANCE")
    if options.json:
        options.json.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    return 0 if result.balances else 1


if __name__ == "__main__":
    sys.exit(main())
