"""Draw a small data set of cat-like and dog-like faces, without a download:

    python -m launch.prepare_data --synthetic=600 --output=/tmp/drawn

It holds train/, validation/ and test/ (without labels), in TFRecord files as launch.train and launch.inference read
them: class 0 is cat, 1 is dog. The same flags write the same bytes.
"""

from __future__ import annotations

import os

from estimators.conversion.synthetic_options import SyntheticOptions
from launch.flags import parse_flags, run_command


def main() -> None:
    """Flags -> options -> a folder of shards."""
    (options,) = parse_flags("launch.prepare_data", __doc__, SyntheticOptions)
    from estimators.conversion.synthetic_data_set import write_synthetic_data_set

    for split, count in write_synthetic_data_set(options).items():
        print(f"{count} pictures in {os.path.join(options.output, split, split)}-*", flush=True)


if __name__ == "__main__":
    run_command(main)
