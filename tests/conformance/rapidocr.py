"""Compares `ocellus run` with onnxruntime on the networks in PyPI's rapidocr-onnxruntime (text detection, direction, recognition).

    pip download --no-deps rapidocr-onnxruntime==1.4.4 && unzip rapidocr_onnxruntime*.whl -d rapidocr
    python tests/conformance/rapidocr.py rapidocr/rapidocr_onnxruntime/models PICTURES --binary target/release/ocellus --device cpu

Needs the packages onnxruntime, numpy and pillow. PICTURES is a folder of photographs, onto which a line of text is
painted; detection gets the whole, direction and recognition a strip with the text, in several widths. Prints the largest difference of each network, and exits with 1 if one is
1e-3 or more.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy
import onnxruntime
from PIL import Image, ImageDraw, ImageFont

# Network, heights and widths of its inputs, mean and standard deviation of its pixels from 0 to 1.
NETWORKS = [
    ("ch_PP-OCRv4_det_infer.onnx", [(320, 320), (256, 448)], (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ("ch_ppocr_mobile_v2.0_cls_infer.onnx", [(48, 192)], (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ("ch_PP-OCRv4_rec_infer.onnx", [(48, 320), (48, 200)], (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
]


def pixels(path, height, width, mean, deviation):
    picture = Image.open(path).convert("RGB").resize((width, height))
    font = ImageFont.load_default(size=min(32, height * 3 // 4))
    ImageDraw.Draw(picture).text((8, height // 8), path.stem.split("_")[-1].upper(), font=font, fill="white", stroke_width=2, stroke_fill="black")
    scaled = (numpy.asarray(picture, numpy.float32) / 255 - numpy.float32(mean)) / numpy.float32(deviation)
    return scaled.transpose(2, 0, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=pathlib.Path)
    parser.add_argument("pictures", type=pathlib.Path)
    parser.add_argument("--binary", default="target/release/ocellus")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--count", type=int, default=4, help="pictures, which are one batch")
    arguments = parser.parse_args()
    photos = sorted(p for p in arguments.pictures.iterdir() if p.suffix == ".jpg")[: arguments.count]
    worst = 0.0
    for name, sizes, mean, deviation in NETWORKS:
        session = onnxruntime.InferenceSession(arguments.models / name)
        [info] = session.get_inputs()
        for height, width in sizes:
            batch = numpy.stack([pixels(p, height, width, mean, deviation) for p in photos])
            [wanted] = session.run(None, {info.name: batch})
            with tempfile.TemporaryDirectory() as folder:
                numpy.save(f"{folder}/x.npy", batch)
                command = [arguments.binary, "run", arguments.models / name, "--device", arguments.device, "--quiet"]
                start = time.time()
                subprocess.run([*command, "--input", f"{info.name}={folder}/x.npy", "--output-dir", folder], check=True)
                seconds = time.time() - start
                got = numpy.load(f"{folder}/output_0.npy")
            difference = float(numpy.abs(got - wanted).max())
            worst = max(worst, difference)
            print(f"{name} {batch.shape}: largest difference {difference:.1e} of {numpy.abs(wanted).max():.2f}, {seconds:.1f} s")
    sys.exit(1 if worst >= 1e-3 else 0)


if __name__ == "__main__":
    main()
