"""What every test can ask for: databases on both engines, and how long hypothesis looks."""

import gc
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from bench import bytecode
from tests.databases import Engine, Postgres, Server, Sqlite, roomy_folder

pytest_plugins = [
    "pytester",
    "tests.census",
    "tests.sharing",
    "tests.backends.kubernetes.fixtures",
    "tests.backends.slurm.fixtures",
]

# a machine under load is slow without being wrong
settings.register_profile(
    "short", max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "prove", max_examples=2_000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("CARAVAN_EXAMPLES", "short"))


def pytest_configure(config: pytest.Config) -> None:
    # before the first worker starts: it inherits the environment
    ends = ExitStack()
    ends.enter_context(bytecode.kept())
    config.add_cleanup(ends.close)


def pytest_collection_finish() -> None:
    # What was imported stays to the end, and each app that a test starts leaves much at once: with the usual thresholds a tenth of the
    # run is the collector, looking again at what it has seen.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The DSN of a running PostgreSQL, one for each process of the run. A run without one fails; it never skips."""
    server = Server()
    try:
        yield server.dsn
    finally:
        server.stop()


@pytest.fixture(scope="session")
def sqlite_engine() -> Iterator[Engine]:
    with tempfile.TemporaryDirectory(prefix="caravan-sqlite-", dir=roomy_folder()) as folder:
        yield Sqlite(Path(folder))


@pytest.fixture(scope="session")
def postgresql_engine(postgres: str) -> Iterator[Engine]:
    engine = Postgres(postgres)
    yield engine
    engine.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_engine(request: pytest.FixtureRequest) -> str:
    """The engine's name; whatever asks for a database runs once on each."""
    return str(request.param)


@pytest.fixture
def _databases(request: pytest.FixtureRequest, database_engine: str) -> Iterator[tuple[Engine, list[str]]]:
    # only the engine that is asked for is started
    engine: Engine = request.getfixturevalue(f"{database_engine}_engine")
    made: list[str] = []
    yield engine, made
    for url in made:
        engine.drop(url)


@pytest.fixture
def new_database_url(_databases: tuple[Engine, list[str]]) -> Callable[[], str]:
    """Makes a further empty database of the test's engine, and returns its URL."""
    engine, made = _databases

    def new() -> str:
        made.append(engine.fresh())
        return made[-1]

    return new


@pytest.fixture
def database_url(new_database_url: Callable[[], str]) -> str:
    """An empty database of the test's own."""
    return new_database_url()


@pytest.fixture
def migrated(_databases: tuple[Engine, list[str]]) -> Callable[[str], str]:
    """Makes a database with the newest schema of a service (`catalog`, `broker`, `accounting`), and returns its URL."""
    engine, made = _databases

    def new(service: str) -> str:
        made.append(engine.migrated(service))
        return made[-1]

    return new
