"""Draw the bundled sample of MNIST from the four full IDX files.

    python make.py FOLDER_WITH_THE_FULL_FILES

Keeps the first 10,000 training images and every fifth of the 10,000 test images (0, 5, 10, …),
with their labels, in their order. Compresses with zopfli where it is installed (`pip install
zopfli`), else with gzip at level 9; either way without a date, so that the same input and
compressor give the same bytes.
"""

import gzip
import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
PARTS = {"train": range(0, 10_000), "t10k": range(0, 10_000, 5)}
KINDS = {"images-idx3": (0x803, 3), "labels-idx1": (0x801, 1)}


def compress(data):
    try:
        import zopfli.gzip
    except ImportError:
        return gzip.compress(data, 9, mtime=0)
    return zopfli.gzip.compress(data, numiterations=15)


def draw(data, rows, magic, rank):
    """An IDX file with only these rows: magic, extents (big-endian u32 each), then bytes."""
    found, *extents = struct.unpack_from(f">{1 + rank}I", data)
    if found != magic:
        raise SystemExit(f"expected magic {magic:#x}, found {found:#x}")
    start, size = 4 + 4 * rank, 1
    for extent in extents[1:]:
        size *= extent
    if len(data) != start + extents[0] * size or rows[-1] >= extents[0]:
        raise SystemExit(f"not the full file: {extents[0]} rows, {len(data)} bytes")
    kept = [data[start + row * size : start + (row + 1) * size] for row in rows]
    return struct.pack(f">{1 + rank}I", magic, len(rows), *extents[1:]) + b"".join(kept)


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    for part, rows in PARTS.items():
        for kind, (magic, rank) in KINDS.items():
            name = f"{part}-{kind}-ubyte.gz"
            data = gzip.decompress((pathlib.Path(sys.argv[1]) / name).read_bytes())
            packed = compress(draw(data, rows, magic, rank))
            (HERE / name).write_bytes(packed)
            print(f"{name}: {len(rows)} rows, {len(packed)} bytes")


if __name__ == "__main__":
    main()
