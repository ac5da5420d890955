"""What a server counts, as Prometheus reads it. No label is a client's word: there is a fixed number of series."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from slmbench.serving.pool import Pool

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self, pool: Pool) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "slmbench_requests", "Requests by route and status; 499: the client went away.", ["route", "status"],
            registry=self.registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "slmbench_request_seconds", "From a request's first line to the end of its answer.", ["route"],
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.tokens = Counter("slmbench_tokens", "Tokens of prompts and of answers.", ["kind"], registry=self.registry)
        for name, says, value in (
            ("slmbench_queue_length", "Requests that wait for a worker.", lambda: pool.waiting),
            ("slmbench_answering", "Requests that are being answered.", lambda: pool.busy),
            ("slmbench_workers", "Requests that can be answered at a time.", lambda: len(pool.workers)),
        ):
            Gauge(name, says, registry=self.registry).set_function(value)

    def note(self, route: str, status: int, seconds: float) -> None:
        """Count a request that has ended."""
        self.requests.labels(route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def page(self) -> bytes:
        """All figures in Prometheus's text format."""
        return generate_latest(self.registry)
