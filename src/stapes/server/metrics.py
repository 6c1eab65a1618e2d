"""What a server counts of itself, in the words of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from stapes.server.deployment import Deployment


class Metrics:
    """The counters of one server; nothing is shared with another one in the same process."""

    def __init__(self) -> None:
        """Nothing counted yet."""
        self._registry = CollectorRegistry()
        self.tokens_minted = Counter(
            "stapes_tokens_minted", "Session tokens that were minted.", registry=self._registry
        )
        self.streams_opened = Counter(
            "stapes_streams_opened", "Streams that were connected.", registry=self._registry
        )

    def exposition(self, deployment: Deployment) -> bytes:
        """All figures as they are now, in Prometheus' text format 0.0.4."""
        state = CollectorRegistry()
        state.register(_State(deployment))
        return generate_latest(self._registry) + generate_latest(state)


class _State(Collector):
    """What need not be counted, since it is known elsewhere."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    def collect(self) -> Iterator[Metric]:
        """Every figure, asked for anew."""
        it = self._deployment
        problem = it.store_problem or it.writer.problem
        for name, text, value in (
            ("stapes_live_sessions", "Sessions whose socket is open.", len(it.live)),
            ("stapes_streams", "Streams that have a recogniser.", it.pool.live),
            ("stapes_streams_limit", "Streams that may have one.", it.pool.limit),
            ("stapes_records_waiting", "Records that wait for the database.", it.writer.waiting),
            ("stapes_database_problem", "1 while the database fails.", int(problem is not None)),
            ("stapes_draining", "1 while the server is stopping.", int(it.draining)),
        ):
            yield GaugeMetricFamily(name, text, value)
        refused = CounterMetricFamily(
            "stapes_refused", "What quotas refused, by the name of the error.", labels=["error"]
        )
        for error, count in sorted(it.quotas.refused.items()):
            refused.add_metric([error], count)
        yield refused
