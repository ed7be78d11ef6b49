"""Runs ONNX's own tests of its operators through `ocellus run`.

    pip download --no-deps onnx==1.16.2 && unzip onnx-1.16.2*.whl -d onnx-1.16.2     # its wheel holds the tests
    python tests/conformance/onnx_nodes.py onnx-1.16.2/onnx/backend/test/data --binary target/release/ocellus --device cpu

Needs the packages onnx and numpy. Prints passed, failed and out of scope by operator; the last are tests with operators
or element types that `ocellus run` says it does not support. Exits with 1 if a test within the scope fails.
"""

import argparse
import collections
import concurrent.futures
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy
import onnx
from onnx import numpy_helper

# The tolerance of onnx.backend.test.
RELATIVE, ABSOLUTE = 1e-3, 1e-7
# Whose expected values were corrected after 1.16.2.
CUT_OFF = "expects that bfloat16 cuts off; later versions of the package expect that it rounds to the nearest"
SUPERSEDED = {
    "test_cast_FLOAT_to_BFLOAT16": CUT_OFF,
    "test_castlike_FLOAT_to_BFLOAT16": CUT_OFF,
    "test_castlike_FLOAT_to_BFLOAT16_expanded": CUT_OFF,
    "test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True":
        "expects that what rounding up adds behind the padding counts; later versions of the package expect, as PyTorch does, that it does not",
}
GROUPS = ["node", "pytorch-operator", "pytorch-converted", "simple"]


def load(path, type_proto):
    if type_proto.WhichOneof("value") != "tensor_type":
        raise ValueError("is no tensor")
    tensor = onnx.TensorProto()
    tensor.ParseFromString(path.read_bytes())
    array = numpy_helper.to_array(tensor)
    return array.view("V2") if type_proto.tensor_type.elem_type == onnx.TensorProto.BFLOAT16 else array


def light_models(data):
    """Networks of the model zoo with made-up weights: (file, input, expected output), as onnx.backend.test makes them."""
    for path in sorted((data / "light").glob("*.onnx")):
        graph = onnx.load(path).graph
        given = {tensor.name for tensor in graph.initializer}
        [info] = [i for i in graph.input if i.name not in given]
        shape = [d.dim_value or 1 for d in info.type.tensor_type.shape.dim]
        n = int(numpy.prod(shape))
        value = (numpy.arange(n).reshape(shape) / n).astype(numpy.float32)
        yield path, info.name, value, load(path.with_name(path.stem + "_output_0.pb"), graph.output[0].type)


def compare(got, value):
    if value.dtype.kind == "V":
        numpy.testing.assert_array_equal(got.view("u2"), value.view("u2"))
    else:
        numpy.testing.assert_allclose(got, value, rtol=RELATIVE, atol=ABSOLUTE)


def run(binary, device, model, values, folder):
    command = [binary, "run", str(model), "--device", device, "--quiet", "--output-dir", str(folder / "results")]
    for i, (name, value) in enumerate(values):
        numpy.save(folder / f"input_{i}.npy", numpy.ascontiguousarray(value).reshape(value.shape))
        command += ["--input", f"{name}={folder / f'input_{i}.npy'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    return done.returncode, done.stderr.strip()


def check(test, binary, device):
    """(verdict, operators, why)"""
    if test.name in SUPERSEDED:
        return "out of scope", [test.name.split("_")[1]], SUPERSEDED[test.name]
    path = test / "model.onnx"
    try:
        model = onnx.load(path)
    except Exception as error:
        return "out of scope", ["?"], f"no model: {error}"
    operators = sorted({node.op_type for node in model.graph.node})
    given = {tensor.name for tensor in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in given] or list(model.graph.input)
    for data in sorted(test.glob("test_data_set_*")):
        try:
            fed = [i for i in model.graph.input]
            values = [(i.name, load(data / f"input_{n}.pb", i.type)) for n, i in enumerate(fed) if (data / f"input_{n}.pb").exists()]
            wanted = [load(data / f"output_{n}.pb", o.type) for n, o in enumerate(model.graph.output)]
        except Exception as error:
            return "out of scope", operators, f"data: {error}"
        values = [(name, value) for name, value in values if name in {i.name for i in inputs}]
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            code, message = run(binary, device, path, values, folder)
            if code != 0:
                beyond = re.search(r"operators that are not supported|element type \d+|is no tensor|as in training|could not read|no array of numpy", message)
                return ("out of scope" if beyond else "failed"), operators, message[:300]
            for n, (value, info) in enumerate(zip(wanted, model.graph.output)):
                got = numpy.load(folder / "results" / f"output_{n}.npy")
                if got.dtype != value.dtype or got.shape != value.shape:
                    return "failed", operators, f"{info.name}: {got.dtype}{got.shape}, not {value.dtype}{value.shape}"
                try:
                    compare(got, value)
                except AssertionError as error:
                    return "failed", operators, f"{info.name}: " + " ".join(str(error).split())[:250]
    return "passed", operators, ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--binary", default="target/release/ocellus")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default="", help="part of a test's name")
    parser.add_argument("--verbose", action="store_true", help="say why tests are out of scope")
    arguments = parser.parse_args()
    tests = [t for group in GROUPS for t in sorted((arguments.data / group).glob("test_*")) if arguments.only in t.name]
    table = collections.defaultdict(collections.Counter)
    total = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda t: check(t, arguments.binary, arguments.device), tests)
        for test, (verdict, operators, why) in zip(tests, results):
            total[verdict] += 1
            key = operators[0] if len(operators) == 1 else f"several ({test.parent.name})"
            table[key][verdict] += 1
            if verdict == "failed" or (arguments.verbose and verdict != "passed"):
                print(f"{verdict}: {test.parent.name}/{test.name}: {why}", flush=True)
    for path, name, value, wanted in light_models(arguments.data):
        if arguments.only not in path.stem:
            continue
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            code, message = run(arguments.binary, arguments.device, path, [(name, value)], folder)
            verdict = "failed"
            if code == 0:
                got = numpy.load(folder / "results" / "output_0.npy")
                difference = numpy.abs(got - wanted).max()
                message = f"largest difference {difference:.1e} of {numpy.abs(wanted).max():.1e}"
                verdict = "passed" if got.shape == wanted.shape and numpy.allclose(got, wanted, RELATIVE, ABSOLUTE) else "failed"
            print(f"{verdict}: {path.stem}: {message}", flush=True)
            total[verdict] += 1
            table["several (light)"][verdict] += 1
    print(f"\n{'operator':32} passed failed out of scope")
    for key, counts in sorted(table.items()):
        print(f"{key:32} {counts['passed']:6} {counts['failed']:6} {counts['out of scope']:12}")
    print(f"{'all':32} {total['passed']:6} {total['failed']:6} {total['out of scope']:12}")
    sys.exit(1 if total["failed"] else 0)


if __name__ == "__main__":
    main()
