"""Where a training run's SavedModels lie, found without TensorFlow: `train_dir/export/step_N/`."""

from __future__ import annotations

import hashlib
import os
import re

from estimators import storage
from estimators.errors import UserError

SAVED_MODEL = "saved_model.pb"
MOST_CLASSES = 20  # an export answers with the likeliest
# What an export is asked, and what it answers.
SIGNATURE, INPUT = "serving_default", "example_bytes"
OUTPUTS = "image_id", "class_indexes", "predictions"
_READ_AT_ONCE = 1 << 20
_EXPORTED = re.compile(rf"step_(\d+)/{re.escape(SAVED_MODEL)}")


def export_dir(train_dir: str, step: int) -> str:
    """`train_dir/export/step_N`."""
    return os.path.join(train_dir, "export", f"step_{step}")


def exported_steps(train_dir: str) -> list[int]:
    """Steps that are exported, lowest first."""
    folder = os.path.join(train_dir, "export")
    names = storage.names_below(folder) if storage.is_dir(folder) else []
    return sorted(int(match[1]) for name in names if (match := _EXPORTED.fullmatch(name)))


def is_exported(folder: str) -> bool:
    """Whether a SavedModel is all there: in a bucket its files appear one by one, and this one is the last."""
    return storage.exists(os.path.join(folder, SAVED_MODEL))


def newest_export(train_dir: str) -> str:
    """The folder of the newest SavedModel of a run.

    Raises:
      UserError: there is none.
    """
    steps = exported_steps(train_dir)
    if not steps:
        raise UserError(
            "No exported model to predict with",
            asked=f"--train_dir={train_dir}",
            found=f"no {os.path.join(train_dir, 'export')}/step_N"
            if storage.is_dir(train_dir)
            else f"the folder {train_dir} does not exist",
            change="--train_dir to the folder that launch.train was given, or train first: it exports as it goes and "
            "at its end",
        )
    return export_dir(train_dir, steps[-1])


def check_export(model_dir: str) -> str:
    """`model_dir`, if it holds a SavedModel.

    Raises:
      UserError: it does not.
    """
    path = os.path.join(model_dir, SAVED_MODEL)
    if not is_exported(model_dir):
        raise UserError(
            "No SavedModel in --model_dir",
            asked=f"--model_dir={model_dir}",
            found=f"no {SAVED_MODEL}; {storage.nearest_names(path)}",
            change="--model_dir to a folder like TRAIN_DIR/export/step_N, or --train_dir alone for its newest",
        )
    return model_dir


def digest_of(model_dir: str) -> str:
    """A digest of all that lies in a SavedModel, names and bytes."""
    digest = hashlib.blake2b(digest_size=16)
    for name in storage.names_below(model_dir):
        digest.update(f"{name}\0".encode())
        if not name.endswith("/"):
            with storage.open_binary(os.path.join(model_dir, name)) as file:
                while part := file.read(_READ_AT_ONCE):
                    digest.update(part)
    return digest.hexdigest()
