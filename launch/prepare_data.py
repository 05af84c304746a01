"""Make TFRecord files, as launch.train and launch.inference read them, of your own photos:

    python -m launch.prepare_data --input=/data/photos --output=/data/set

where /data/photos, a folder or a .zip, holds one folder per class (cats/ dogs/), or cat.0.jpg dog.1.jpg …, or photos
without classes, which become a test set: 1.jpg 2.jpg …, or with --unlabelled any names (photo.1.jpg). Or draw a small
data set of cat-like and dog-like faces, without a download:

    python -m launch.prepare_data --synthetic=600 --output=/tmp/drawn

The same flags write the same bytes: train/, validation/, test/ (its labels are in test_labels.csv, not in the records)
and manifest.json, which says what is in them. Or verify files, whoever made them: checksums, fields, labels, whether
pictures decode, ids that occur twice:

    python -m launch.prepare_data --check='/data/set/train/*'
"""

from __future__ import annotations

from cvd_cluster.ray_session import require_absolute_paths
from estimators.conversion.check_options import CheckOptions
from estimators.conversion.photo_options import PhotoOptions
from estimators.conversion.synthetic_options import SyntheticOptions
from launch.flags import parse_one_of, run_command


def main() -> None:
    """Flags -> options -> a folder of shards, or a verdict on one."""
    alternatives = {"input": PhotoOptions, "synthetic": SyntheticOptions, "check": CheckOptions}
    options = parse_one_of("launch.prepare_data", __doc__, alternatives)
    require_absolute_paths({name: getattr(options, name, None) for name in ("input", "output", "check")})
    if isinstance(options, CheckOptions):
        from estimators.conversion.data_set_check import check_data_set

        check_data_set(options)
        return
    if isinstance(options, PhotoOptions):
        from cvd_cluster.conversion_job import convert_photos

        manifest = convert_photos(options)
    else:
        from estimators.conversion.synthetic_data_set import write_synthetic_data_set

        manifest = write_synthetic_data_set(options)
    print("\n".join(manifest.summary(options.output)), flush=True)


if __name__ == "__main__":
    run_command(main)
