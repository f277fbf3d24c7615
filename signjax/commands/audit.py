"""--mode=audit: copies, leaks between splits, balance and odd images of --data."""

from pathlib import Path

from signjax.commands.cli import Options
from signjax.data.audit import audit, describe_audit
from signjax.runtime.console import Console
from signjax.runtime.files import write_json


def run(options: Options) -> None:
    """Prints what is found; writes it as JSON to --output. Findings are no failure."""
    report = audit(options.data)
    console = Console()
    for line in describe_audit(report):
        console.info(line)
    if options.output:
        write_json(Path(options.output), report)
