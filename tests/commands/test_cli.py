"""The command line's tables: help, flags, config files, and mistakes told in a line."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import main as program
from configs import cnn
from docs import generate
from signjax import __version__
from signjax.commands.cli import FLAGS, MODES, Options, run
from signjax.commands.parse import parse
from signjax.config import KEYS, TABLE, one_of
from signjax.errors import InputError, RunError
from tests.helpers.command_line import ROOT

CNN = "--config=configs/cnn.py"


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr with which the program refuses these arguments."""
    assert program.main(["main.py", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1, err
    return err.removeprefix("error: ")


def printed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert program.main(["main.py", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_nothing_and_help_print_all_modes_and_flags(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(arguments, capsys)
    assert len(text.splitlines()) < 45
    for name in [*MODES, *(f"--{flag}" for flag in FLAGS), "--help=config"]:
        assert name in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("arguments", [["--help=audit"], ["--mode=audit", "--help"]])
def test_the_help_of_a_mode_lists_what_it_reads(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(arguments, capsys)
    assert "--data" in text and "--output" in text and MODES["audit"] in text
    assert "--config " not in text and "--weights" not in text


def test_the_help_of_config_lists_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(["--help=config"], capsys)
    assert all(f"--config.{name}=" in text for name in KEYS)
    part = printed(["--help=config.tta"], capsys)
    assert "--config.tta.flip=False" in part and "--config.train" not in part


def test_the_reference_pages_are_those_of_the_tables() -> None:
    for name, text in generate.pages().items():
        page = (generate.REFERENCE / name).read_text("utf-8")
        assert page == text, f"{name} is stale: python -m docs.generate"


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(["--version"], capsys).startswith(f"signjax {__version__}, jax ")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        # What was meant.
        ("train", "'train': a mode is chosen by --mode=train"),
        ("evalute --workdir=x", "'evalute': a mode is chosen by --mode=evaluate"),
        ("--mode=trian", "--mode=trian: expected train or evaluate"),
        ("--mode=trian", "(train is one)"),
        ("--confg=x", "--confg: no such flag (--config=x is one); --help"),
        ("--epochs=5", "--epochs: no such flag (--config.train.epochs=5 is one)"),
        ("--batch-size=5", "(--config.train.batch_size=5 is one)"),
        ("--tta.flip", "(--config.tta.flip is one)"),
        ("--flip=True", "--config.augment.flip=True or --config.tta.flip=True is"),
        ("--learning_rat=1", "(--config.optimizer.learning_rate=1 is one)"),
        ("--xyzzy", "--xyzzy: no such flag; --help and --help=config list all"),
        # Values.
        ("--repeats=many", "--repeats=many: expected a whole number"),
        ("--best=maybe", "--best=maybe: expected True or False"),
        ("--require_device=xpu", "--require_device=xpu: expected cpu or gpu or tpu"),
        ("--workdir", "--workdir: its value is missing; write --workdir=VALUE"),
        # Addresses, of which a folder named s3: would be made.
        ("CNN --workdir=s3://bucket/run", "=s3://bucket/run: expected a path of this"),
        ("CNN --workdir=gs://ab/run", "gs://ab/run: expected gs://BUCKET/NAME"),
        ("--mode=export --output=gs://b/x", "only gs://BUCKET/NAME serves, for --work"),
        ("CNN --config.data.dir=s3://bucket", "dir=s3://bucket: expected a path of"),
        ("--mode=audit --data=HTTPS://a.org/x", "mount the storage and name its fol"),
        ("--mode=predict --workdir=x http://a.org/b.jpg", "http://a.org/b.jpg: expec"),
        # Config files.
        ("--config=configs/cnn", "no such file (configs/cnn.py is one)"),
        ("--config=cnn:seed", "cnn:seed: no such file (configs/cnn.py:seed is one)"),
        ("--config=configs/resnt.py", "no such file (configs/resnet.py is one)"),
        ("--config=nothing/like.it", "no such file; expected a file, as --config="),
        ("--config configs", "--config=configs: a folder; expected a file, as --con"),
        ("--config=README.md", "--config=README.md: no Python file; expected one"),
        ("CNN:sed", "cnn.py:sed: cnn.py has no variant 'sed': it has seed"),
        # Config keys.
        ("--config.train.epochs=3", "the config of --config, which is missing"),
        ("--workdir=x --config.seed=1 x.jpg", "that of a --workdir cannot be changed"),
        ("CNN --config.train.epoch=3", "no such flag (--config.train.epochs=3 is one)"),
        ("CNN --config.epochs=3", "no such flag (--config.train.epochs=3 is one)"),
        ("CNN --config.data.mean.red=3", "red: no such flag (--config.data.mean=3 is"),
        ("CNN --config.train=3", "a group of keys; set one, as --config.train.KEY="),
        ("CNN --config.train.epochs=many", "epochs=many: expected a whole number of"),
        ("CNN --config.optimizer.momentum=x", "momentum=x: expected a number of"),
        ("CNN --config.data.mean=(1,", "data.mean=(1,: expected three numbers"),
        ("CNN --config.train.epochs=0", "at least 1"),
        # What a mode reads and needs.
        (
            "--workdir=x",
            "--config is missing: --mode=train needs it, such as --config=",
        ),
        ("--mode=evaluate", "--workdir is missing: --mode=evaluate needs it"),
        ("--mode=predict --workdir=x", "no image is named"),
        ("--mode=audit --data=x --deterministic", "--deterministic means nothing"),
        ("--mode=audit --config.data.dir=x", "--config.data.dir means nothing to"),
        ("CNN --data=hands", "leave it out, or use --config.data.dir"),
        ("CNN photo.jpg", "'photo.jpg': --mode=train takes only flags"),
        ("CNN --config.train.shuffle maybe", "'maybe': --mode=train takes only"),
        # What is not there.
        ("CNN --require_device=tpu --workdir=new", "JAX found only cpu"),
        ("CNN --config.data.dir=nowhere --workdir=new", "nowhere: train_signs.h5 and"),
        ("--mode=evaluate --workdir=~nobody-here/x", "~nobody-here/x holds no run"),
        ("--mode=predict --workdir=nowhere x.jpg", "nowhere holds no run"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_was_meant(
    words: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert line in told(words.replace("CNN", CNN).split(), capsys)
    assert not Path("new").exists()


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("config.train.epoch = 1", "sets epoch, which is no key (epochs is one)"),
        ("config.train.update(epoch=1)", "sets epoch, which is no key"),
        ("config.learning_rat = 3.0", "no key (learning_rate is one); --help=config"),
        ("config.train.epochs = 'ten'", "sets epochs to 'ten': expected a whole num"),
        ("config.train.epochs = True", "epochs is True: expected a whole number of"),
        ("return None", "its get_config() returns no config"),
        ("raise KeyError('abc')", "KeyError: 'abc'"),
        ("return config config", "SyntaxError: invalid syntax"),
    ],
)
def test_a_mistake_in_a_config_file_is_told(
    body: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from signjax.config import default_config\n"
        "def get_config():\n"
        f"    config = default_config()\n    {body}\n    return config\n"
    )
    text = told([f"--config={file}"], capsys)
    assert line in text
    assert "is True" in line or text.startswith(f"--config={file}: ")


def test_flags_and_keys_become_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/people/anna")
    keys = [
        "seed=3",
        "data.mean=(0.5,0.5,1)",
        "train.shuffle=false",
        "optimizer.momentum=0",
    ]
    options = parse(
        ["main.py", "--workdir=~/run", "--config", "configs/cnn.py:seed", "--best"]
        + [f"--config.{key}" for key in keys]
        + ["--mode=predict", "--nojson", "photo.jpg", "--config.augment.flip"]
    )
    assert (options.workdir, options.best, options.json) == (
        "/people/anna/run",
        True,
        False,
    )
    assert (options.mode, options.arguments) == ("predict", ("photo.jpg",))
    config = options.config
    assert (config.name, config.seed, config.data.mean) == (
        "cnn-seed",
        3,
        (0.5, 0.5, 1),
    )
    assert (config.train.shuffle, config.augment.flip) == (False, True)
    given = {*(key.split("=")[0] for key in keys), "augment.flip"}
    assert len(options.chosen) == len(given) and given.issuperset(options.chosen)
    assert config.optimizer.momentum == 0 and type(config.optimizer.momentum) is float
    assert Options(config=config).workdir == ""


@pytest.mark.parametrize(
    ("key", "file", "place"),
    [
        ("optimizer.name", "signjax/optim.py", "make_optimizer"),
        ("model.name", "signjax/models/__init__.py", "NETWORKS"),
        ("data.source", "signjax/data/load.py", "_SOURCES"),
    ],
)
def test_a_name_that_is_in_the_table_of_keys_alone_is_told_where_to_add_it(
    key: str,
    file: str,
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A half-made change; the names are those of docs/architecture.md."""
    row = KEYS[key]._replace(rule=one_of("new", KEYS[key].default, "synthetic"))
    table = tuple(row if other.name == key else other for other in TABLE)
    monkeypatch.setattr("signjax.config.TABLE", table)
    monkeypatch.setitem(KEYS, key, row)
    small = [f"--config.data.synthetic_{part}=32" for part in ("train", "test")]
    arguments = [CNN, "--config.data.source=synthetic", *small, f"--config.{key}=new"]
    arguments += [f"--workdir={tmp_path / 'run'}"]
    assert program.main(["main.py", *arguments]) == 2
    line = capsys.readouterr().err
    assert "'new'" in line and file in line and place in line and ": add one" in line
    assert line.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.image_size", 3_200_000),  # numpy's error
        ("data.synthetic_train", 10**11),  # XLA's
    ],
)
def test_what_no_memory_holds_is_told_with_what_to_lower(
    key: str, value: int, tmp_path: Path
) -> None:
    config = cnn.get_config("")
    config.data.source = "synthetic"
    config.update_from_flattened_dict({key: value})
    with pytest.raises(RunError, match=r"out of memory \(.+\): lower config\.data"):
        run(Options(config=config, workdir=str(tmp_path / "run")))
    assert not (tmp_path / "run").exists()


def test_a_file_that_cannot_be_opened_is_an_input_error() -> None:
    with pytest.raises(InputError, match="a: File name too long"):
        run(Options("audit", data="a" * 300))


def test_damage_beside_an_image_that_pillow_reads_is_no_warning(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hands").mkdir()
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0\x12\x01"  # ends within its first entry
    picture = io.BytesIO()
    Image.new("RGB", (64, 64)).save(picture, "JPEG", exif=exif)
    (tmp_path / "hands" / "0.jpg").write_bytes(picture.getvalue())
    run(Options("audit", data=str(tmp_path)))
    told = capfd.readouterr()
    assert told.out and not told.err


# In place of the mode: what it would find when it imports jax.
PROBE = """
import os, sys
from signjax.commands import cli

class Mode:
    def run(options):
        print(os.environ["XLA_FLAGS"], "jax" in sys.modules)

cli.import_module = lambda name: Mode
import main
sys.exit(main.main(["main.py", "--mode=summary", *sys.argv[1:]]))
"""


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--deterministic"], "--xla_dump_to=x --xla_gpu_deterministic_ops=true False"),
        ([], "--xla_dump_to=x False"),
    ],
)
def test_deterministic_reaches_xla_beside_what_the_person_set(
    arguments: list[str], found: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, CNN, *arguments],
        env=os.environ | {"XLA_FLAGS": "--xla_dump_to=x"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"{found}\n", done.stderr
