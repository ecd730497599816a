"""Metrics: a registry per app (never the global one), and what the web layer counts."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class Metrics:
    """A service's metrics. Names get the prefix `caravan_`; labels stay few and bounded (never an id)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._requests = self.counter("http_requests", "HTTP requests answered", "operation", "status")
        self._seconds = self.histogram("http_request_seconds", "Time to answer an HTTP request", "operation")
        self._children: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(name, documentation, labels, namespace="caravan", registry=self.registry)

    def gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(name, documentation, labels, namespace="caravan", registry=self.registry)

    def histogram(self, name: str, documentation: str, *labels: str) -> Histogram:
        return Histogram(name, documentation, labels, namespace="caravan", registry=self.registry, buckets=BUCKETS)

    def observe_request(self, operation: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        found = self._children.get((operation, status))
        if found is None:
            found = self._requests.labels(operation, str(status)), self._seconds.labels(operation)
            self._children[operation, status] = found
        found[0].inc()
        found[1].observe(seconds)

    def render(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self.registry)
