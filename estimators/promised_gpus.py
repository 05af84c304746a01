"""GPUs that were set aside for a process are there for TensorFlow, too."""

from __future__ import annotations

import socket

from estimators.errors import UserError


def check_gpus(promised: float) -> None:
    """Refuses to compute on processors what GPUs were asked for.

    Ray counts the GPUs of a node by its driver. Without its CUDA libraries TensorFlow finds none of them, and would go
    on without a word, many times slower.

    Args:
      promised: how many Ray has set aside for this process, or a part of one; 0 if none.

    Raises:
      UserError: TensorFlow finds fewer.
    """
    if not promised:
        return
    import tensorflow as tf

    found = len(tf.config.list_physical_devices("GPU"))
    if found < promised:
        raise UserError(
            "TensorFlow does not find the GPUs that Ray has set aside for it",
            asked=f"--gpus_per_worker={promised:g}",
            found=f"{found} on {socket.gethostname()}",
            change="install TensorFlow's CUDA libraries there (in the project's folder: pip install -c constraints.txt "
            "-e '.[cuda]'), and see with nvidia-smi whether the driver works; or leave --gpus_per_worker out",
        )
