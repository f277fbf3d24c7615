"""What --help and --version print, from the tables of modes, flags and config keys."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from platform import python_version

import signjax
from signjax.commands.cli import FLAGS, MODES
from signjax.config import KEYS

USAGE = """\
Train and use classifiers of sign-language digits.

  python main.py --mode=predict photo.jpg
  python main.py --config=configs/resnet.py
"""
OVERRIDE = """
Any key of a config is overridden by its name, --config.train.epochs=5; a variant
follows a colon, --config=configs/resnet.py:seed."""


def information(argv: Sequence[str]) -> str:
    """The text that a command line asks for; empty where it asks for something else.

    No word at all asks for the help, as --help and -h do; --help=MODE or a --mode
    beside them for a mode's, --help=config for the config keys.
    """
    words = argv[1:] if len(argv) == 2 else [w for w in argv[1:] if w.startswith("-")]
    parts = [word.lstrip("-").partition("=") for word in words]
    given = {name: value for name, _, value in parts}
    if "version" in given:
        jax = f"jax {version('jax')}, Python {python_version()}"
        return f"signjax {signjax.__version__}, {jax}"
    topic = given.get("help", given.get("h"))
    if topic is None and len(argv) > 1:
        return ""
    topic = topic or given.get("mode", "")
    group, _, prefix = topic.partition(".")
    return config_help(prefix) if group == "config" else mode_help(topic)


def mode_help(mode: str) -> str:
    """The flags that a mode reads; where there is no such mode, all modes and flags."""
    known = mode in MODES
    rows = {}
    for name, flag in FLAGS.items():
        modes, needed = flag.metadata["modes"], mode in flag.metadata["needed"]
        if not known or (mode in modes and name != "mode"):
            readers = f" ({', '.join(modes)})" if not known and len(modes) < 4 else ""
            rows[f"--{name}"] = flag.metadata["text"] + readers + " (needed)" * needed
    rows["--help"] = "this; --help=MODE: of one mode; --help=config: the config's keys"
    rows["--version"] = "of signjax, jax and Python"
    flags = _columns("flags:", rows) + OVERRIDE * ("--config" in rows)
    if known:
        return f"--mode={mode}: {MODES[mode]}\n\n{flags}"
    return f"{USAGE}\n{_columns('modes:', MODES)}\n{flags}"


def config_help(prefix: str = "") -> str:
    """The keys that begin with `prefix`: their defaults, meanings and legal values."""
    keys = [key for name, key in KEYS.items() if name.startswith(prefix)]
    rows = {
        f"--config.{key.name}={key.default}": f"{key.help} [{key.expected}]"
        for key in keys
    }
    return _columns("keys of a config, with their defaults:", rows)


def _columns(title: str, rows: Mapping[str, str]) -> str:
    width = max(map(len, rows), default=0)
    lines = [f"  {name:{width}}  {text}" for name, text in rows.items()]
    return "\n".join([title, *lines, ""])
