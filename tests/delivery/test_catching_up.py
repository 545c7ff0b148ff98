"""Templates that were sent before an arrival are in the index, and a backlog asks for them once."""

import asyncio
from contextlib import suppress

from tests.delivery.test_topology import template

from residua.messaging.client import send
from residua.messaging.making_topics import create_topics
from residua.messaging.settings import KafkaSettings
from residua.metrics import Metrics
from residua.testing.embedded_broker import EmbeddedBroker
from residua.worker.templates.in_force import Templates
from residua.worker.templates.template_follower import TemplateFollower


class CountingFollower(TemplateFollower):
    asked = 0

    async def _ends(self):
        self.asked += 1
        return await super()._ends()


def test_a_backlog_asks_once_and_what_comes_later_asks_again(topic_prefix):
    async def go(settings):
        await create_topics(settings, partitions=1, replication=1)
        index, ends = Templates("default"), {3: 100}
        follower = CountingFollower(index, settings, Metrics(), lambda: ends)
        following = asyncio.ensure_future(follower.follow())
        seen = []
        for n, place in enumerate([(3, 7), (3, 8), (3, 99), (3, 100), (3, 101), (4, 0), None]):
            if n != 1:
                await send(settings, [template(settings, patch=n)])
            await asyncio.wait_for(follower.catch_up(place), 30)
            if n not in {1, 2}:
                assert len(index) == max(n, 1)
            seen.append(follower.asked)
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        return seen

    with EmbeddedBroker(topic_prefix) as broker:
        settings = KafkaSettings(kafka_bootstrap=broker.bootstrap, topic_prefix=topic_prefix)
        # The first asks for all below the end it knew then; after that each asks for itself.
        assert asyncio.run(go(settings)) == [1, 1, 1, 2, 3, 4, 5]
