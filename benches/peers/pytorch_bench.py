"""Time PyTorch (CPU) on the three networks of `ocellus bench`.

    pip install torch numpy
    python pytorch_bench.py [--steps 50] [--repeats 3] [--threads N] [--compile] [W1 W2 W3]

Prints one JSON object a line, with the keys of `ocellus bench --json` and the mode that was best:
median, least and most milliseconds of a step, images a second, both for training and for inference.
Modes are the two memory layouts and, with --compile (needs a C++ compiler), torch.compile on each.
Data are in memory, numbers float32, the optimizer Adam. Run it on a machine that does nothing else:
PyTorch's threads wait on each other, and a busy core makes it several times slower.
"""

import argparse
import json
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

DEVICE = "pytorch-cpu"
BATCHES_IN_MEMORY = 8


def w1():
    return nn.Sequential(
        nn.Conv2d(3, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(31 * 31 * 32, 128),
        nn.ReLU(),
        nn.Linear(128, 1),
    )


def w2():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(12 * 12 * 64, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


class Block(nn.Module):
    def __init__(self, inputs, filters, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, filters, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(filters)
        self.shortcut = nn.Identity()
        if stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, filters, 1, stride, bias=False), nn.BatchNorm2d(filters))

    def forward(self, x):
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def w3():
    """ResNet-20 for CIFAR: no biases but the last, 1×1 stride-2 shortcuts with batch-norm."""
    parts, inputs = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()], 16
    for filters in (16, 32, 64):
        for block in range(3):
            parts.append(Block(inputs, filters, 2 if filters > 16 and block == 0 else 1))
            inputs = filters
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


# name: network, trained parameters, batch size, image, classes
WORKLOADS = {
    "W1": (w1, 3_937_409, 32, (3, 64, 64), 2),
    "W2": (w2, 1_199_882, 64, (1, 28, 28), 10),
    "W3": (w3, 272_474, 32, (3, 32, 32), 10),
}

LAYOUTS = {"default": torch.contiguous_format, "channels_last": torch.channels_last}


def make(name, layout):
    network, parameters, batch, image, classes = WORKLOADS[name]
    torch.manual_seed(0)
    model = network().to(memory_format=LAYOUTS[layout])
    trained = sum(p.numel() for p in model.parameters())
    if trained != parameters:
        sys.exit(f"{name}: {trained} trained parameters, not {parameters}")
    x = [torch.rand(batch, *image).to(memory_format=LAYOUTS[layout]) for _ in range(BATCHES_IN_MEMORY)]
    if classes == 2:
        return model, x, [torch.randint(0, 2, (batch, 1)).float() for _ in x], F.binary_cross_entropy_with_logits
    return model, x, [torch.randint(0, classes, (batch,)) for _ in x], F.cross_entropy


def timed(step, steps, warmup):
    """Milliseconds of each of `steps` calls."""
    times = []
    for i in range(warmup + steps):
        start = time.perf_counter()
        step(i % BATCHES_IN_MEMORY)
        if i >= warmup:
            times.append(1e3 * (time.perf_counter() - start))
    return times


def train(name, layout, compiled, steps, warmup):
    model, x, y, loss_of = make(name, layout)
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    forward = torch.compile(model) if compiled else model

    def step(i):
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(forward(x[i]), y[i])
        loss.backward()
        optimizer.step()
        return loss.item()

    return timed(step, steps, warmup)


def predict(name, layout, compiled, steps, warmup):
    model, x, _, _ = make(name, layout)
    model.eval()
    forward = torch.compile(model) if compiled else model
    last = torch.sigmoid if WORKLOADS[name][4] == 2 else lambda logits: torch.softmax(logits, 1)
    with torch.inference_mode():
        return timed(lambda i: last(forward(x[i])), steps, warmup)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[], help="W1, W2, W3 (default: all)")
    parser.add_argument("--steps", type=int, default=50, help="steps timed, each repeat")
    parser.add_argument("--warmup", type=int, default=5, help="steps before them")
    parser.add_argument("--repeats", type=int, default=3, help="times that each mode is run")
    parser.add_argument("--threads", type=int, help="default: PyTorch's own choice")
    parser.add_argument("--compile", action="store_true", help="try torch.compile too")
    args = parser.parse_args()
    if unknown := set(args.names) - set(WORKLOADS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if args.threads:
        torch.set_num_threads(args.threads)
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads", file=sys.stderr)
    modes = [(layout, compiled) for compiled in ([False, True] if args.compile else [False]) for layout in LAYOUTS]
    for name in args.names or WORKLOADS:
        batch = WORKLOADS[name][2]
        for suite, run in (("training", train), ("inference", predict)):
            results = {}
            for _ in range(args.repeats):
                for layout, compiled in modes:
                    mode = layout + ("-compile" if compiled else "")
                    results.setdefault(mode, []).extend(run(name, layout, compiled, args.steps, args.warmup))
            for mode, times in results.items():
                print(f"{name} {suite} {mode}: {statistics.median(times):.2f} ms", file=sys.stderr)
            mode, times = min(results.items(), key=lambda item: statistics.median(item[1]))
            median = statistics.median(times)
            line = {"suite": suite, "name": name, "device": DEVICE, "mode": mode, "ms": median}
            line |= {"min_ms": min(times), "max_ms": max(times), "images_per_s": 1e3 * batch / median}
            line = {key: round(value, 4) if isinstance(value, float) else value for key, value in line.items()}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
