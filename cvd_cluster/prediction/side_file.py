"""`<output>.json`: what an output was made of, so that nobody has to remember."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
from typing import Any

from cvd_cluster.prediction.files_beside import quarantine_path, side_file_path
from cvd_cluster.prediction.finished_parts import FinishedParts
from cvd_cluster.prediction.prediction_options import PredictionOptions
from cvd_cluster.prediction.preparation import Prepared, tensorflow_version
from cvd_cluster.prediction.submission_merge import Merged
from estimators import storage
from estimators.errors import UserError

_LIBRARIES = ("ray", "pyarrow", "numpy", "distributed-estimator-cluster")


def write_side_file(options: PredictionOptions, prepared: Prepared, parts: FinishedParts, merged: Merged) -> None:
    """Writes what is to be known of an output that was published. It holds no time: the same command writes the same.

    Raises:
      UserError: the disk does not take it, or does not give back the output.
    """
    path = side_file_path(options.output)
    try:
        storage.write_text(path, json.dumps(_content(options, prepared, parts, merged), indent=2) + "\n")
    except OSError as error:
        raise UserError(
            "The submission is written and complete, but not the file that says what it was made of",
            asked=f"{path} beside {options.output_flag}={options.output}",
            found=error.strerror or str(error),
            change="make room there and run the command again: no photo is predicted again",
        ) from error


def _content(options: PredictionOptions, prepared: Prepared, parts: FinishedParts, merged: Merged) -> dict[str, Any]:
    model = prepared.model
    return {
        "output": options.output,
        "rows": merged.rows,
        "quarantined": merged.quarantined,
        "quarantine": quarantine_path(options.output) if merged.quarantined else None,
        "defaulted": merged.defaulted,
        "sha256": _digests(options.output),
        "model": {
            "model_dir": model.model_dir,
            "step": model.step,
            "digest": prepared.model_digest,
            "eval_metrics": model.metrics,
        },
        "input": [
            {"path": file.path, "bytes": file.size, "rows": sum(part.rows + part.lost for part in of_file.values())}
            for file, of_file in zip(prepared.files, parts.of_file, strict=True)
        ],
        "options": options.to_json(),
        "versions": {
            "python": platform.python_version(),
            "tensorflow": tensorflow_version(),
            **{name: _version(name) for name in _LIBRARIES},
        },
    }


def _digests(output: str) -> Any:
    """Of a file its sha256; of a folder that of each file of results."""
    if not storage.is_dir(output):
        return _sha256(output)
    names = [name for name in storage.list_dir(output) if name.startswith("prediction.results-")]
    return {name: _sha256(os.path.join(output, name)) for name in names}


def _sha256(path: str) -> str:
    with storage.open_binary(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # it needs less than an IO


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
