#!/usr/bin/env python
"""Say how well trainings know their own mistakes, out of fold.

    scripts/rate_confidence.py DATA results/NAME/confidence.json RUN...

RUN is a folder that `dermseg train` filled with --protocol or --fold, DATA what it was trained on.
The file holds the calibration that `dermseg export --calibrate-on` would put into a model, and its
quality, each fold judged by a calibration on the others.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from dermseg.files import written_whole
from dermseg.training.calibration import calibrate, describe


def main(data: Path, output: Path, runs: list[Path]) -> None:
    """Write the file, and print what it says."""
    calibration, quality = calibrate(runs, data)
    content = {"quality": asdict(quality), "calibration": calibration.to_dict()}
    with written_whole(output) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
    print(describe(quality))


if __name__ == "__main__":
    data, output, *runs = (Path(argument) for argument in sys.argv[1:])
    main(data, output, runs)
