"""How many examples a test takes whose every example writes to a database: fewer than the profile's."""

from hypothesis import settings


def examples(short: int, prove: int, steps: int = 50) -> settings:
    """`short` in the suite, `prove` where the profile asks for many; a state machine takes `steps` in each."""
    many = settings().max_examples > 100
    return settings(max_examples=prove if many else short, stateful_step_count=steps)
