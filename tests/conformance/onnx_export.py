"""Compares an exported classifier under onnxruntime with `ocellus predict`, on whole pictures.

    ocellus export RUN --output model.onnx
    python tests/conformance/onnx_export.py RUN model.onnx PICTURES --binary target/release/ocellus

Needs the packages onnx, onnxruntime, numpy and pillow. Pictures are decoded by pillow here and by Ocellus there; give PNGs to
rule out that JPEG decoders differ. Prints the largest difference of a probability; exits with 1 if it is above 1e-4.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import numpy
import onnx
import onnxruntime
from PIL import Image


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("model")
    parser.add_argument("pictures", type=pathlib.Path)
    parser.add_argument("--binary", default="target/release/ocellus")
    parser.add_argument("--count", type=int, default=50)
    arguments = parser.parse_args()
    onnx.checker.check_model(arguments.model, full_check=True)
    session = onnxruntime.InferenceSession(arguments.model)
    labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])
    paths = sorted(p for p in arguments.pictures.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    paths = paths[:: max(1, len(paths) // arguments.count)][: arguments.count]
    command = [arguments.binary, "predict", arguments.run, *map(str, paths), "--json", "--top", str(min(len(labels), 65535)), "--device", "cpu"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    worst, agree = 0.0, 0
    for path, line in zip(paths, lines):
        pixels = numpy.asarray(Image.open(path).convert("RGB"))[None]
        [[found]] = session.run(None, {"images": pixels})
        top = json.loads(line)["top"]
        worst = max(worst, max(abs(found[labels.index(answer["label"])] - answer["score"]) for answer in top))
        agree += labels[int(found.argmax())] == top[0]["label"]
    batch = numpy.zeros((3, 40, 60, 3), numpy.uint8)
    assert session.run(None, {"images": batch})[0].shape == (3, len(labels))
    print(f"{arguments.model}: largest difference of a probability {worst:.1e}, same answer {agree} of {len(paths)}")
    sys.exit(1 if worst > 1e-4 else 0)


if __name__ == "__main__":
    main()
