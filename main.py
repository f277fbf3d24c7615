"""Train and use classifiers of sign-language digits.

python main.py --config=configs/resnet.py
python main.py --mode=predict --workdir=runs/resnet photo.jpg
"""

import os
import sys

from absl import flags
from ml_collections import config_flags

from signjax.commands import Options, help_text, read_flags, run
from signjax.errors import SignjaxError

config_flags.DEFINE_config_file("config", None, "config file, as configs/resnet.py")
flags.DEFINE_string("mode", "train", "what to do")
flags.DEFINE_string("workdir", "", "directory of the run; train: runs/NAME by default")
flags.DEFINE_string("data", "", "evaluate, audit: an h5 file or folder of images")
flags.DEFINE_string("output", "", "evaluate, audit, benchmark: JSON file to write")
flags.DEFINE_string("weights", "", "port: a file, a workdir or a published name")
flags.DEFINE_bool("best", False, "evaluate, predict: the best checkpoint, not the last")
flags.DEFINE_bool("json", False, "predict: one JSON object a line")
flags.DEFINE_string("sweep", "", 'benchmark: "batch_size=32,128 program=step"; README')
flags.DEFINE_integer("repeats", 0, "benchmark: samples a row, 30 by default")
flags.DEFINE_string("compare", "", "benchmark: older JSON to compare with")
flags.DEFINE_string("trace", "", "benchmark: folder for a profile of each row")
flags.DEFINE_enum("require_device", None, ["cpu", "gpu", "tpu"], "refuse all others")
flags.DEFINE_bool("deterministic", False, "the same bits from run to run on a GPU too")
flags.DEFINE_string("distributed", "", "train: auto or HOST:PORT,COUNT,INDEX")
flags.DEFINE_bool("help", False, "show this text", short_name="h")


def main(argv: list[str]) -> int:
    """Runs one mode. Exit status: 0 done, 2 the input is wrong, 1 anything else."""
    try:
        values, arguments = read_flags(argv)
        if values["help"]:
            own = flags.FLAGS.get_key_flags_for_module(argv[0])
            print(help_text(__doc__ or "", {f.name: f.help or "" for f in own}))
        else:
            run(values["mode"], Options.of(values, arguments))
        sys.stdout.flush()
    except (SignjaxError, KeyboardInterrupt) as error:
        line = str(error) or "stopped by Ctrl-C; what was saved before is kept"
        print(f"error: {line}", file=sys.stderr)
        return getattr(error, "exit_status", 1)
    except BrokenPipeError:
        # The reader has left, as head does: quiet as other tools, the last flush too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
