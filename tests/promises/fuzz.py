"""Readers of images, arrays, tables and weights against mutated files."""

from collections.abc import Iterator
from importlib import import_module

from tests.promises.outcome import EQUAL, OTHER, REFUSED, Outcome

COUNT = 2000  # mutated files of a kind
AT_ONCE = 100  # of them, by one seed


def measure(module: str, kinds: str, done: int) -> Iterator[Outcome]:
    """module: a command, imported when asked for. kinds: the name of its table."""
    command = import_module(module)
    seeds = range(COUNT // AT_ONCE)
    parts = [(kind, seed) for kind in getattr(command, kinds) for seed in seeds]
    for kind, seed in parts[done // AT_ONCE :]:
        promise = f"mutated {kind} files"
        outcomes, faults = command.run(kind, AT_ONCE, seed)
        for ended, n in outcomes.items():
            yield Outcome(promise, ended if ended in (EQUAL, REFUSED) else OTHER, n)
        yield from (Outcome(promise, fault) for fault in faults)
