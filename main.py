"""Train and use classifiers of sign-language digits.

python main.py --config=configs/resnet.py
python main.py --mode=predict --workdir=runs/resnet photo.jpg
"""

import sys

from absl import flags
from ml_collections import config_flags

from signjax.errors import SignjaxError
from signjax.modes import Options, help_text, run

config_flags.DEFINE_config_file("config", None, "config file, as configs/resnet.py")
flags.DEFINE_string("mode", "train", "what to do")
flags.DEFINE_string("workdir", "", "directory of the run; train: runs/NAME by default")
flags.DEFINE_string("data", "", "evaluate: an h5 file or a folder of images to score")
flags.DEFINE_string("output", "", "evaluate: JSON file to write")
flags.DEFINE_string("weights", "", "port: a file, a workdir or a published name")
flags.DEFINE_bool("best", False, "evaluate, predict: the best checkpoint, not the last")
flags.DEFINE_bool("json", False, "predict: one JSON object a line")
flags.DEFINE_enum("require_device", "", ["", "cpu", "gpu", "tpu"], "refuse all others")
flags.DEFINE_bool("deterministic", False, "the same bits from run to run on a GPU too")
flags.DEFINE_bool("help", False, "show this text", short_name="h")


def main(argv: list[str]) -> int:
    """Runs one mode. Exit status: 0 done, 2 the input is wrong, 1 anything else."""
    try:
        arguments = flags.FLAGS(argv)[1:]
        values = flags.FLAGS.flag_values_dict()
        if values["config"] is not None:
            values["config"].lock()  # raises now if the file could not be loaded
    except Exception as error:  # a config file is code and can raise anything
        return _fail(f"flags: {type(error).__name__}: {_last_line(error)}", 2)
    if values["help"]:
        own = flags.FLAGS.get_key_flags_for_module(argv[0])
        print(help_text(__doc__ or "", {flag.name: flag.help or "" for flag in own}))
        return 0
    try:
        run(values["mode"], Options.of(values, arguments))
    except SignjaxError as error:
        return _fail(str(error), error.exit_status)
    except KeyboardInterrupt:
        return _fail("stopped by Ctrl-C; what was saved before is kept", 1)
    return 0


def _last_line(error: Exception) -> str:
    return str(error).replace("\\n", "\n").splitlines()[-1].strip(" '\"\\")


def _fail(message: str, status: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv))
