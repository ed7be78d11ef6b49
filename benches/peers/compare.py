"""Runs Ocellus, Keras and PyTorch, and Burn where it has been built, side by side and prints Markdown tables.

    cargo build --release
    pip install tensorflow-cpu keras torch numpy
    cargo build --release --manifest-path benches/peers/burn/Cargo.toml   # for --burn: most of an hour of one core
    python benches/peers/compare.py [--rounds 5] [--device cpu] [--burn benches/peers/burn/target/release/burn-bench] [W1 W2 W3]

Rounds are interleaved: each runs every workload on every one of them in turn, so that a slow spell of the machine meets
all alike. A round's figure is the median of its steps; a table has the median over rounds, and the range. Use a machine
that does nothing else. With --burn, a second table has Ocellus and Burn on the first GPU, or what stands in for one.
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


def ocellus(device):
    def run(name):
        return [line for suite in SUITES for line in lines([OCELLUS, "bench", "--json", "--device", device, "--suite", suite, name])]

    return run


def keras(name):
    return lines([sys.executable, HERE / "keras_bench.py", "--mode", "function", "--steps", "30", "--repeats", "1", name])


def pytorch(name):
    return lines([sys.executable, HERE / "pytorch_bench.py", "--steps", "30", "--repeats", "1", name])


def burn(program, device, steps):
    return lambda name: lines([program, "--device", device, "--steps", str(steps), "--repeats", "1", name])


def tables(args):
    """What stands side by side in each table, the one that the others are compared with first."""
    cpu = {"Ocellus": ocellus(args.device), "Keras": keras, "PyTorch": pytorch}
    if not args.burn:
        return [cpu]
    gpu = {"Ocellus gpu": ocellus("gpu"), "Burn wgpu": burn(args.burn, "gpu", 10)}
    return [cpu | {"Burn flex": burn(args.burn, "cpu", 30)}, gpu]


def measure(names, rounds, peers):
    """Every line that a round printed, by (suite, workload, peer)."""
    found = {}
    for round in range(rounds):
        for name in names:
            for peer, run in peers.items():
                for line in run(name):
                    found.setdefault((line["suite"], line["name"], peer), []).append(line)
        print(f"round {round + 1} of {rounds}", file=sys.stderr)
    return found


def table(found, names, peers):
    def cell(values):
        ms = sorted(line["ms"] for line in values)
        rate = statistics.median(line["images_per_s"] for line in values)
        return f"{rate:.0f} ({statistics.median(ms):.1f} ms, {ms[0]:.1f}–{ms[-1]:.1f})"

    def ratio(suite, name, peer):
        ours, theirs = (statistics.median(line["ms"] for line in found[suite, name, p]) for p in (first, peer))
        return f"{theirs / ours:.2f}×"

    first, *others = peers
    print("| suite | workload | " + " | ".join([*peers, *(f"against {peer}" for peer in others)]) + " |")
    print("|---" * (2 + len(peers) + len(others)) + "|")
    for suite in SUITES:
        for name in names:
            cells = [cell(found[suite, name, peer]) for peer in peers]
            ratios = [ratio(suite, name, peer) for peer in others]
            print("| " + " | ".join([suite, name, *cells, *ratios]) + " |")


def versions(program):
    code = "import keras, tensorflow, torch; print(keras.__version__, tensorflow.__version__, torch.__version__)"
    run = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    keras_version, tensorflow, torch = run.stdout.split()
    ours = subprocess.run([OCELLUS, "--version"], stdout=subprocess.PIPE, text=True).stdout.strip()
    theirs = f"Keras {keras_version} on TensorFlow {tensorflow}, PyTorch {torch}"
    if program:
        theirs += ", Burn " + subprocess.run([program, "--version"], stdout=subprocess.PIPE, text=True).stdout.split()[-1]
    return f"{ours}, {theirs}; Python {platform.python_version()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[], help="W1, W2, W3 (default: all)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="where Ocellus runs")
    parser.add_argument("--burn", type=pathlib.Path, help="the program built of benches/peers/burn")
    args = parser.parse_args()
    names = args.names or ["W1", "W2", "W3"]
    groups = tables(args)
    if args.burn:
        print("Burn tunes its kernels, for minutes if it never did on this adapter", file=sys.stderr)
        lines([args.burn, "--device", "gpu", "--steps", "1", "--repeats", "1", *names])
    found = measure(names, args.rounds, {peer: run for group in groups for peer, run in group.items()})
    print(f"Images/s (median step, range of the rounds' medians) over {args.rounds} interleaved rounds; {versions(args.burn)}.")
    for group in groups:
        devices = ", ".join(f"{peer} on {found[SUITES[0], names[0], peer][0]['device']}" for peer in group)
        print(f"\n{devices}:\n")
        table(found, names, group)


if __name__ == "__main__":
    main()
