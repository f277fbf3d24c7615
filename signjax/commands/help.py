"""What --help and --version print, from the tables of modes, flags and config keys."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from platform import python_version

import signjax
from signjax.commands.cli import FLAGS, MODES
from signjax.config import KEYS

USAGE = """\
Train and use classifiers of sign-language digits.

  python main.py --config=configs/resnet.py
  python main.py --mode=predict --workdir=runs/resnet photo.jpg"""


def information(argv: Sequence[str]) -> str:
    """The text that a command line asks for; empty where it asks for something else.

    No word at all asks for the help, as --help and -h do; of one mode with --mode, of
    the config keys by --help=config.
    """
    words = [word.lstrip("-") for word in argv[1:] if word.startswith("-")]
    if "version" in words:
        return f"signjax {signjax.__version__}, jax {version('jax')}, Python " + (
            python_version()
        )
    asked = [w.partition("=")[2] for w in words if w.split("=")[0] in ("h", "help")]
    if len(argv) > 1 and not asked:
        return ""
    topic = next(filter(None, asked), "")
    mode = [word.partition("=")[2] for word in words if word.startswith("mode=")]
    if topic.split(".")[0] == "config":
        return config_help(topic)
    return mode_help(topic or "".join(mode[:1]))


def mode_help(mode: str) -> str:
    """The flags that a mode reads; with no mode's name, all modes and flags."""
    lines = [USAGE, "", "modes:", *_columns(MODES)]
    if mode in MODES:
        lines = [f"--mode={mode}: {MODES[mode]}"]
    rows = {}
    for name, flag in FLAGS.items():
        row = flag.metadata
        if mode not in MODES or mode in row["modes"]:
            needed = " (needed)" if mode in row["needed"] else ""
            readers = f" ({', '.join(row['modes'])})" if not mode else ""
            few = len(row["modes"]) < 4
            rows[f"--{name}"] = row["text"] + needed + readers * few
    rows |= {"--help": "this text; --help=MODE: of a mode; --help=config: config keys"}
    return "\n".join([*lines, "", "flags:", *_columns(rows), "", _OVERRIDE])


_OVERRIDE = """\
Any key of a config is overridden by its name, --config.train.epochs=5; a variant
follows a colon, --config=configs/resnet.py:seed."""


def config_help(topic: str = "config") -> str:
    """All keys that begin with `topic`: their defaults, legal values and meanings."""
    prefix = topic.partition(".")[2]
    rows = {
        f"--config.{name}={key.default}": f"{key.help} [{key.expected}]"
        for name, key in KEYS.items()
        if name.startswith(prefix)
    }
    return "\n".join(["keys of a config, with their defaults:", *_columns(rows)])


def _columns(rows: Mapping[str, str]) -> list[str]:
    width = max(map(len, rows), default=0)
    return [f"  {name:{width}}  {text}" for name, text in rows.items()]
