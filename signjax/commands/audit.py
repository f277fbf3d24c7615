"""--mode=audit: copies, leaks between splits, balance and odd pictures of --data."""

from pathlib import Path

from signjax.commands.common import refuse_arguments
from signjax.commands.options import Options
from signjax.data.audit import audit, describe_audit
from signjax.errors import InputError
from signjax.runtime.console import Console
from signjax.runtime.files import write_json


def run(options: Options) -> None:
    """Prints what is found; writes it as JSON to --output. Findings are no failure."""
    refuse_arguments(options)
    if not options.data:
        raise InputError(
            "--data is missing: expected an h5 file of the SIGNS layout, a folder with "
            "the two, or a folder of class-named folders"
        )
    report = audit(options.data)
    console = Console()
    for line in describe_audit(report):
        console.info(line)
    if options.output:
        write_json(Path(options.output), report)
