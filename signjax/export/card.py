"""README.md of an export: a model card as Hugging Face reads it."""

import json
from typing import Any

KINDS = {
    "signs": "SIGNS",
    "ankara": "the Ankara digits",
    "digits": "SIGNS and the Ankara digits",
    "synthetic": "synthetic hands",
    "folder": "a folder of photographs",
}


def model_card(record: dict[str, Any], files: dict[str, int]) -> str:
    """Markdown with its YAML header, from `record.model_record`.

    files: name -> bytes, of what lies beside it.
    """
    parts = [
        _header(record),
        f"# {record['name']}",
        _summary(record),
        _files(files),
        _use(record),
        _scores(record),
        _answers(record),
        _origin(record),
        _check(record),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _header(record: dict[str, Any]) -> str:
    """YAML. Texts are quoted as JSON, which YAML reads.

    An accuracy on images that the model learned from stands in no list of results.
    """
    text = json.dumps
    lines = [
        "---",
        f"license: {record['licence']['id']}",
        "library_name: onnx",
        "pipeline_tag: image-classification",
        "tags: [image-classification, onnx, jax, signjax]",
    ]
    scores = record["scores"]
    if scores and not scores["trained_on_count"]:
        lines += [
            "metrics: [accuracy]",
            "model-index:",
            f"  - name: {text(record['name'])}",
            "    results:",
            "      - task: {type: image-classification}",
            f"        dataset: {{name: {text(scores['data'])}, "
            f"type: {text(record['data']['source'])}}}",
            "        metrics:",
            f"          - {{type: accuracy, value: {scores['accuracy']:.4f}}}",
        ]
    return "\n".join([*lines, "---"])


def _summary(record: dict[str, Any]) -> str:
    classes, size = record["classes"], record["image_size"]
    names = ", ".join(classes[:20]) + (", ..." if len(classes) > 20 else "")
    return (
        f"A {record['network']} with {record['parameters']:,} parameters that tells "
        f"{len(classes)} classes in a photograph ({names}), trained and exported by "
        f"signjax {record['versions']['signjax']}. It looks at {size} x {size} pixels."
    )


def _files(files: dict[str, int]) -> str:
    is_what = {
        "model.onnx": "photograph in, probabilities out; crop and resize are inside",
        "model.stablehlo": "prepared images in, probabilities out; cpu, cuda and tpu",
        "model.json": "classes, preprocessing, calibration, scores, licence, check",
        "palm.onnx": "photograph in, box of the surest hand out; MediaPipe's palm "
        "detector (Apache-2.0, licence in `mediapipe/`)",
        "index.html": "the page: camera or photograph, in a browser",
    }
    rows = [
        f"| `{name}` | {files[name] / 1e6:,.2f} MB | {what} |"
        for name, what in is_what.items()
        if name in files
    ]
    table = "\n".join(["| file | size | is |", "|---|---|---|", *rows])
    if "index.html" in files:
        table += (
            "\n\nAny web server shows the page, as `python -m http.server` in this "
            "folder does. No picture leaves the browser."
        )
    return table


def _use(record: dict[str, Any]) -> str:
    size = record["image_size"]
    return f"""\
## Use

```python
import json
from pathlib import Path
import numpy as np, onnxruntime
from PIL import Image

photograph = np.asarray(Image.open("photo.jpg").convert("RGB"))
session = onnxruntime.InferenceSession("model.onnx")
probabilities, label = session.run(
    ["probabilities", "label"], {{"photograph": photograph[None]}}
)
classes = json.loads(Path("model.json").read_text())["classes"]
print("unsure" if label[0] < 0 else classes[label[0]], probabilities[0].max())
```

`photograph` is uint8, `[N, H, W, 3]`, RGB, of any size, and upright
(`ImageOps.exif_transpose` turns a phone's). In JAX, where `images` is uint8,
`[N, {size}, {size}, 3]`:

```python
import jax
model = jax.export.deserialize(bytearray(Path("model.stablehlo").read_bytes()))
probabilities = model.call(images)
```"""


def _scores(record: dict[str, Any]) -> str:
    scores = record["scores"]
    if not scores:
        return "## Scores\n\nNone: there were no test images of its own to score it on."
    low, high = scores["interval95"]
    interval = f"95% interval {low:.3f} to {high:.3f}"
    rows = [f"| accuracy | {scores['accuracy']:.4f} ({interval}) |"]
    if rest := scores.get("leak_free"):
        rows.append(
            f"| accuracy on the {rest['count']} that are not in SIGNS' training set "
            f"too | {rest['accuracy']:.4f} |"
        )
    rows.append(f"| cross-entropy, nats | {scores['loss']:.4f} |")
    calibrated = scores["calibrated"]
    ece = calibrated["ece"] if calibrated else scores["ece"]
    rows.append(f"| expected calibration error | {ece:.4f} |")
    if given := calibrated and calibrated["selective"]:
        rows.append(f"| coverage at the threshold | {given['coverage']:.1%} |")
        if given["accuracy"] is not None:
            rows.append(f"| accuracy of these answers | {given['accuracy']:.4f} |")
    heading = f"| {scores['count']} images ({scores['data']}) | |"
    table = "\n".join(["## Scores", "", heading, "|---|---|", *rows])
    if known := scores["trained_on_count"]:
        table += (
            f"\n\n{known} of the images were trained on, or held out for validation: "
            "of these the scores say nothing about new ones."
        )
    return table


def _answers(record: dict[str, Any]) -> str:
    threshold = record["threshold"]
    if not record["calibration"]:
        text = "It is not calibrated: take its probabilities for an order, not a rate."
    else:
        text = (
            "Its probabilities were calibrated on "
            f"{record['calibration']['count']} held-out images (temperature "
            f"{record['temperature']:.3f})."
        )
    text += (
        f" Below a confidence of {threshold:.3f} it is unsure, and `label` is -1."
        if threshold
        else " It always answers, whatever a photograph shows."
    )
    return (
        f"## What an answer is worth\n\n{text} Scores hold for pictures like its test "
        "images; people, light and walls that it has not seen cost accuracy, and a "
        "picture of something else can get a confident wrong answer."
    )


def _origin(record: dict[str, Any]) -> str:
    data, licence = record["data"], record["licence"]
    source = data["source"]
    kind = KINDS.get(source, KINDS["folder"])
    synthetic = data["synthetic_count"]
    came = (
        "The weights were ported from another program's file"
        if source == "ported"
        else f"Trained on {data['train_size'] - synthetic:,} images: {kind}"
    )
    if synthetic:
        came += f", and on {synthetic:,} synthetic hands"
    if begun := record["pretrained"]:
        came += f", from the pretrained weights `{begun}`"
    return (
        f"## Data and licence\n\n{came} (sha256 `{data['sha256'][:16]}...`, whole in "
        f"`model.json`). Licence: {licence['reason']}."
    )


def _check(record: dict[str, Any]) -> str:
    checked = record["checked"]
    rows = [
        f"| `{name}` | {largest:.1e} |"
        for name, largest in checked["largest_difference"].items()
    ]
    return "\n".join(
        [
            "## Checked",
            "",
            f"Against signjax itself on {checked['count']} images "
            f"({checked['images']}), weights in {record['precision']}: the same "
            "labels, and probabilities that differ by at most",
            "",
            "| file | largest difference |",
            "|---|---|",
            *rows,
            "",
            f"What `model.onnx` sees of photographs of other sizes differs by at most "
            f"{checked['resize_levels']} of 255 levels.",
        ]
    )
