"""Runs Ocellus, Keras and PyTorch side by side and prints what came out as a Markdown table.

    cargo build --release
    pip install tensorflow-cpu keras torch numpy
    python benches/peers/compare.py [--rounds 5] [--device cpu] [W1 W2 W3]

Rounds are interleaved: each runs every workload on every one of them in turn, so that a slow spell of the machine meets
all alike. A round's figure is the median of its steps; the table has the median over rounds, and the range. Use a machine
that does nothing else.
"""

import argparse
import json
import pathlib
import platform
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
OCELLUS = HERE.parent.parent / "target/release/ocellus"
SUITES = ("training", "inference")


def lines(command):
    """The JSON objects that a command prints, one a line."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr.strip().splitlines()[-1]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def ocellus(name, device):
    return [line for suite in SUITES for line in lines([OCELLUS, "bench", "--json", "--device", device, "--suite", suite, name])]


def keras(name, _):
    return lines([sys.executable, HERE / "keras_bench.py", "--mode", "function", "--steps", "30", "--repeats", "1", name])


def pytorch(name, _):
    return lines([sys.executable, HERE / "pytorch_bench.py", "--steps", "30", "--repeats", "1", name])


PEERS = {"Ocellus": ocellus, "Keras": keras, "PyTorch": pytorch}


def measure(names, rounds, device):
    """Milliseconds and images/s of every (suite, workload, peer), a pair for each round."""
    found = {}
    for round in range(rounds):
        for name in names:
            for peer, run in PEERS.items():
                for line in run(name, device):
                    key = (line["suite"], line["name"], peer)
                    found.setdefault(key, []).append((line["ms"], line["images_per_s"]))
        print(f"round {round + 1} of {rounds}", file=sys.stderr)
    return found


def table(found, names):
    def cell(values):
        ms = sorted(value[0] for value in values)
        rate = statistics.median(value[1] for value in values)
        return f"{rate:.0f} ({statistics.median(ms):.1f} ms, {ms[0]:.1f}–{ms[-1]:.1f})"

    def ratio(suite, name, peer):
        ours, theirs = (statistics.median(v[0] for v in found[suite, name, p]) for p in ("Ocellus", peer))
        return f"{theirs / ours:.2f}×"

    print("| suite | workload | " + " | ".join(PEERS) + " | against Keras | against PyTorch |")
    print("|---" * (len(PEERS) + 4) + "|")
    for suite in SUITES:
        for name in names:
            cells = [cell(found[suite, name, peer]) for peer in PEERS]
            ratios = [ratio(suite, name, peer) for peer in ("Keras", "PyTorch")]
            print("| " + " | ".join([suite, name, *cells, *ratios]) + " |")


def versions():
    code = "import keras, tensorflow, torch; print(keras.__version__, tensorflow.__version__, torch.__version__)"
    run = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    keras_version, tensorflow, torch = run.stdout.split()
    ours = subprocess.run([OCELLUS, "--version"], stdout=subprocess.PIPE, text=True).stdout.strip()
    return f"{ours}, Keras {keras_version} on TensorFlow {tensorflow}, PyTorch {torch}; Python {platform.python_version()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[], help="W1, W2, W3 (default: all)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="where Ocellus runs")
    args = parser.parse_args()
    names = args.names or ["W1", "W2", "W3"]
    found = measure(names, args.rounds, args.device)
    print(f"Images/s (median step, range of the rounds' medians) over {args.rounds} interleaved rounds; {versions()}.\n")
    table(found, names)


if __name__ == "__main__":
    main()
