"""What the start of launch.inference is made of, each thing by itself, one after the other, in one fresh process:

    python -m benchmarks.inference_start MODEL_DIR

Prints JSON, seconds by name. In launch.inference most of it happens at the same time: predictors load TensorFlow and
the model while the command imports Ray Data and the readers read.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_BATCH, _THREADS = 128, 2


def stages(model_dir: str) -> dict[str, float]:
    """Seconds of each, in the order in which they are first needed."""
    found: dict[str, float] = {}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        found[name] = time.perf_counter() - begun

    with timed("import of Ray"):
        import ray

        from cvd_cluster.ray_session import ray_session
    begun = time.perf_counter()
    with ray_session(cpus_needed=2, announce=lambda line: None):
        found["start of Ray"] = time.perf_counter() - begun
        with timed("import of Ray Data"):
            import cvd_cluster.prediction.record_blocks  # noqa: F401
        from cvd_cluster.prediction.predictor import Predictor, PredictorSettings
        from estimators.train_dir.exports import digest_of

        with timed("an actor's process"):
            settings = PredictorSettings(model_dir, digest_of(model_dir), _BATCH, _THREADS, 50_000_000)
            actor = ray.remote(num_cpus=1)(Predictor).remote(settings)
            ray.get(actor.__ray_ready__.remote())
        with timed("TensorFlow, the model and a first batch, in an actor"):
            ray.get(actor.load.remote())
        begun = time.perf_counter()
    found["end of Ray"] = time.perf_counter() - begun

    from cvd_cluster.prediction.batch_model import BatchModel

    BatchModel(model_dir, _BATCH, _THREADS)  # imports TensorFlow here too
    with timed("of it the model and a first batch"):
        BatchModel(model_dir, _BATCH, _THREADS)
    return found


if __name__ == "__main__":
    print(json.dumps(stages(sys.argv[1])))
