"""Writes docs/reference/config.md and commands.md from the tables of the program.

python -m docs.generate
"""

from pathlib import Path

from signjax.commands.cli import FLAGS, MODES
from signjax.config import CONFLICTS, KEYS, Key

REFERENCE = Path(__file__).parent / "reference"


def pages() -> dict[str, str]:
    """File name in docs/reference/ -> its text."""
    return {"config.md": config_page(), "commands.md": commands_page()}


def config_page() -> str:
    groups: dict[str, list[Key]] = {}
    for name, key in KEYS.items():
        groups.setdefault(name.rpartition(".")[0], []).append(key)
    text = """\
# Config

A config file is Python whose `get_config()` takes `signjax.config.default_config()` and
sets keys of it; the command line overrides any key by its name, as
`--config.train.epochs=5`. `python main.py --help=config` prints these tables.
"""
    for group, keys in groups.items():
        text += f"\n## {group or 'The run'}\n\n"
        text += "| key | default | legal | is |\n|---|---|---|---|\n"
        for key in keys:
            legal = key.expected.replace("'", "`")
            only = f" ({key.model} alone)" if key.model else ""
            text += (
                f"| `{key.name}` | `{key.default!r}` | {legal} | {key.help}{only} |\n"
            )
    text += "\n## What does not go together\n\n"
    for conflict in CONFLICTS:
        text += f"- `{conflict.key}`: {conflict.why}\n"
    return text.replace("{", "`").replace("}", "`")


def commands_page() -> str:
    text = """\
# Commands

`python main.py --mode=MODE` and the flags of that mode, in any order. Without a mode it
trains, without anything it prints the help. Exit status: 0 done; 2 the input is wrong,
and one line on stderr says what, where, what was expected and what to do; 1 anything
else.
"""
    for mode, does in MODES.items():
        text += f"\n## {mode}\n\n{does[0].upper() + does[1:]}.\n\n"
        text += "| flag | needed | is |\n|---|---|---|\n"
        for name, flag in FLAGS.items():
            row = flag.metadata
            if mode in row["modes"] and name != "mode":
                needed = "yes" if mode in row["needed"] else ""
                text += f"| `--{name}` | {needed} | {row['text']} |\n"
    return text


if __name__ == "__main__":
    for name, page in pages().items():
        (REFERENCE / name).write_text(page, "utf-8")
        print(f"written: docs/reference/{name}")
