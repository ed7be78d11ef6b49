"""Reads the event files of run folders with TensorBoard's own reader and prints what they hold.

    python -m pip install tensorboard
    python tests/tensorboard/read.py RUN...

Fails unless each run has scalars, a picture that decodes and histograms, with steps that rise.
"""

import io
import sys

from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

for run in sys.argv[1:]:
    events = EventAccumulator(run, size_guidance={"scalars": 0, "images": 0, "histograms": 0})
    events.Reload()
    tags = events.Tags()
    assert tags["scalars"] and tags["images"] and tags["histograms"], tags
    for tag in tags["scalars"]:
        values = events.Scalars(tag)
        steps = [v.step for v in values]
        assert steps == sorted(set(steps)), (tag, steps)
        print(f"{run}  scalar     {tag:32} {len(values):5} values, steps {steps[0]} to {steps[-1]}, last {values[-1].value:.6g}")
    for tag in tags["images"]:
        picture = Image.open(io.BytesIO(events.Images(tag)[0].encoded_image_string))
        picture.load()
        print(f"{run}  image      {tag:32} {picture.width}x{picture.height}")
    for tag in tags["histograms"]:
        last = events.Histograms(tag)[-1].histogram_value
        assert sum(last.bucket) == last.num and len(last.bucket) == len(last.bucket_limit), tag
        print(f"{run}  histogram  {tag:32} {last.num:.0f} values, {last.min:.4g} to {last.max:.4g}")
