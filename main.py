"""The command line: flags, then one call. `python main.py` says what there is.

--config=configs/resnet.py trains: see signjax/commands/train.py, signjax/train.py.
"""

import sys

from signjax.commands.cli import run
from signjax.commands.help import information
from signjax.commands.parse import parse
from signjax.errors import SignjaxError, printable
from signjax.runtime.console import Console


def main(argv: list[str]) -> int:
    """Runs one mode. Exit status: 0 done, 2 the input is wrong, 1 anything else."""
    try:
        if text := information(argv):
            for line in text.splitlines():
                Console().info(line)
        else:
            run(parse(argv))
    except (SignjaxError, KeyboardInterrupt) as error:
        line = str(error) or "stopped by Ctrl-C; what was saved before is kept"
        print(f"error: {printable(line)}", file=sys.stderr)
        return getattr(error, "exit_status", 1)
    except BrokenPipeError:  # the reader has left, as head does
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
