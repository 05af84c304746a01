"""Builds the graph of model and loss once, before a run: `python -m estimators.model_graph.graph_check RESULT_FD`.

A model that cannot be built is told before anything is written; so `--start_new_model` has deleted nothing for it. For
a run on Ray a process of its own does it, beside the start of Ray: that command itself never imports TensorFlow.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import IO

from estimators.errors import HarnessError, InfrastructureError
from estimators.experiment_options import ExperimentOptions
from estimators.processes.child_process import ChildProcess, child_environment, die_with_parent
from estimators.processes.user_code import user_errors_told
from estimators.tensorflow_compat import quiet_tensorflow


def build_graph(options: ExperimentOptions, *, warm_start_from: str | None = None) -> None:
    """Builds what training, evaluation and export will build, on no data and without a session.

    Args:
      options: of the run.
      warm_start_from: prefix of the checkpoint that a new run begins with; None for the model's own values.

    Raises:
      UserError: model and loss do not fit, the checkpoint is of a wholly different model, or the user's code raised
        something.
    """
    quiet_tensorflow()
    import tensorflow as tf

    from estimators.model_graph.model_fn import make_model_fn

    size = options.image_size
    keys = tf.estimator.ModeKeys
    asked = f"--model={options.model} --label_loss={options.label_loss}"
    model_fn = None
    for mode, batch in ((keys.TRAIN, options.batch_size), (keys.EVAL, None), (keys.PREDICT, None)):
        with (
            tf.Graph().as_default(),
            tf.device("/CPU:0"),
            user_errors_told(f"The graph of {options.model} cannot be built, to {mode}", asked=asked),
        ):
            # One for all modes: so it can compare them.
            model_fn = model_fn or make_model_fn(
                options, examples_per_step=options.batch_size, warm_start_from=warm_start_from
            )
            tf.compat.v1.train.get_or_create_global_step()
            image = tf.compat.v1.placeholder(tf.float32, [batch, size, size, 3])
            features = {"image": image, "image_id": tf.compat.v1.placeholder(tf.string, [batch])}
            labels = None if mode == keys.PREDICT else tf.compat.v1.placeholder(tf.int64, [batch])
            model_fn(features, labels, mode)


@contextlib.contextmanager
def graph_checked_beside(
    options: ExperimentOptions, *, warm_start_from: str | None = None
) -> Iterator[Callable[[], None]]:
    """Starts a process that builds the graph; yields a function that returns once it is built. See `build_graph`.

    Raises, that function:
      UserError: the graph cannot be built.
      InfrastructureError: the process ended without a word.
    """
    with tempfile.TemporaryFile() as output:
        check = _GraphCheck(options, warm_start_from, output)
        try:
            yield check.wait
        finally:
            check.end()


class _GraphCheck:
    def __init__(self, options: ExperimentOptions, warm_start_from: str | None, output: IO[bytes]) -> None:
        read_fd, write_fd = os.pipe()
        self._output = output
        argv = [sys.executable, "-m", "estimators.model_graph.graph_check", str(write_fd)]
        try:
            self._process = ChildProcess(
                argv, env=child_environment(gpus=False), output=output, pass_fds=[write_fd], stdin=True
            )
        finally:
            os.close(write_fd)
        self._result = os.fdopen(read_fd, "rb")
        self._process.write_line(json.dumps([options.to_json(), warm_start_from]))

    def wait(self) -> None:
        result = self._result.read()
        code = self._process.wait()
        if result:
            raise pickle.loads(result)
        if code != 0:
            self._output.seek(0)
            last = self._output.read().decode("utf-8", "replace").strip().splitlines()[-3:]
            raise InfrastructureError(
                "The process that builds the graph to check it ended without a word",
                found="\n".join([f"exit code {code}", *last]),
                change="look for memory that ran out, or a library that the model's module needs",
            )

    def end(self) -> None:
        self._result.close()
        self._process.kill()


def main() -> int:
    """Reads what to build from stdin; writes the pickled error, if there is one, to RESULT_FD."""
    die_with_parent()
    values, warm_start_from = json.loads(sys.stdin.readline())
    options = ExperimentOptions.from_json(values, source="the options of this check")
    try:
        build_graph(options, warm_start_from=warm_start_from)
    except HarnessError as error:
        with os.fdopen(int(sys.argv[1]), "wb") as result:
            pickle.dump(error, result)
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # what TensorFlow would tidy up is of no use to anybody
