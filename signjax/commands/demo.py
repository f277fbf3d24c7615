"""--mode=demo: the model of --workdir before the camera, on a page of this machine."""

import time
import webbrowser
from pathlib import Path
from tempfile import TemporaryDirectory

from signjax.commands.cli import Options
from signjax.commands.common import require_packages
from signjax.commands.cut_out import palm_detector
from signjax.commands.export import PACKAGES, describe_check, evaluation_to_export
from signjax.runtime.console import Console
from signjax.runtime.signals import StopRequest


def run(options: Options) -> None:
    """Serves the page on localhost and opens it, until Ctrl-C."""
    require_packages("export", PACKAGES)
    from signjax.export.page import onnxruntime_web, write_page
    from signjax.export.serve import serving
    from signjax.export.write import write_card, write_export, write_palm

    console, tarball = Console(), onnxruntime_web()
    evaluation = evaluation_to_export(options, console)
    palm = palm_detector(options)
    with StopRequest() as stop, TemporaryDirectory() as folder:
        directory = Path(folder)
        with console.if_slow("writing and checking the model"):
            record = write_export(directory, evaluation, "float32", stablehlo=False)
            if palm:
                write_palm(directory, palm, evaluation.data.images[:3])
        write_page(directory, tarball)
        write_card(directory, record)
        console.info(f"checked: {describe_check(record['checked'])}")
        with serving(directory) as address:
            console.info(f"the page is at {address}; Ctrl-C ends it")
            webbrowser.open(address)
            while stop.received is None:
                time.sleep(0.1)
