"""One TensorFlow process of a training run: builds its Estimator and runs its part."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from estimators.checkpoints.checkpoint_files import (
    Checkpoint,
    awaits_evaluation,
    delete_half_saved,
    latest_checkpoint,
    prune,
)
from estimators.checkpoints.torn_checkpoints import ensure_named
from estimators.errors import DataError, HarnessError, UserError
from estimators.experiment_options import ExperimentOptions
from estimators.export.exporter import export_checkpoint
from estimators.hooks.agreed_requests import AgreedRequests
from estimators.hooks.checkpoint_saving import AtMultiples, checkpoint_hook
from estimators.hooks.finite_training import FiniteTrainingHook
from estimators.hooks.last_step import LastStepHook
from estimators.hooks.progress import ProgressHook
from estimators.hooks.restored_shapes import RestoredShapesHook
from estimators.inputs import data_check
from estimators.inputs.input_fns import NOTHING_LEFT, train_input_fn
from estimators.inputs.skipped_records import SkippedRecords
from estimators.inputs.worker_shards import shard_for_worker
from estimators.mirrored_replicas import mirrored_strategy, session_config
from estimators.model_graph.model_fn import StepReportSettings, make_model_fn
from estimators.processes.reporting import Reporter
from estimators.storage_trouble import storage_trouble_told
from estimators.tensorflow_compat import reason_of, shorten_readiness_poll
from estimators.train_dir.exports import exported_steps
from estimators.train_dir.generation import check_generation
from estimators.train_dir.run_state import RunState, write_run_state
from estimators.training_plan import Role, TrainingPlan, runs_in_one_process


@dataclass(frozen=True)
class Experiment:
    """All that one process of a training run needs.

    Attributes:
      options: of the run.
      plan: what all tasks of the run share.
      role: of this process; a local run is a chief alone.
      worker_index: 0 is the chief; the number among all training replicas.
      scratch_dir: a folder of this task alone, deleted by whoever made it.
      reporter: where lines and progress go.
      generation: that has begun in train_dir; a later one keeps this one from writing. See generation.py.
      requests: may ask for a checkpoint, or for the end of training, from any thread.
    """

    options: ExperimentOptions
    plan: TrainingPlan
    role: Role
    worker_index: int
    scratch_dir: str
    reporter: Reporter
    generation: int
    requests: AgreedRequests = field(default_factory=AgreedRequests)

    @property
    def is_chief(self) -> bool:
        """True for the task that reports, saves and exports."""
        return self.role == "chief"

    def train(self) -> None:
        """Runs this task to its end; in a cluster TF_CONFIG says which task of which cluster it is.

        Raises:
          HarnessError: a mistake of the user's, with its message for people.
          Exception: whatever the user's code or TensorFlow raises.
        """
        folder = self.options.train_dir
        with storage_trouble_told(folder, when_full=lambda: delete_half_saved(folder) if self.is_chief else None):
            self._train()

    def _train(self) -> None:
        check_generation(self.options.train_dir, self.generation)
        shorten_readiness_poll()
        latest = latest_checkpoint(self.options.train_dir)
        if latest is not None and latest.step >= self.plan.max_steps and self.role != "ps":
            if self.is_chief:
                self.reporter.line(f"nothing to train: step {latest.step} of {self.plan.max_steps} is reached already")
                self._after_checkpoint(latest.step, ended=True)
            return
        if latest is not None and self.is_chief:
            ensure_named(self.options.train_dir, latest)
        skipped = SkippedRecords(self.reporter.line)
        try:
            estimator = self._estimator()
            spec = tf.estimator.TrainSpec(self._input_fn(skipped), max_steps=self.plan.max_steps, hooks=self._hooks())
            if runs_in_one_process(self.plan.strategy):
                estimator.train(spec.input_fn, max_steps=spec.max_steps, hooks=list(spec.hooks))
            else:
                # The evaluation of EvalSpec never runs: the evaluator is a process of its own, outside the cluster.
                tf.estimator.train_and_evaluate(estimator, spec, tf.estimator.EvalSpec(spec.input_fn))
        except (tf.errors.InvalidArgumentError, tf.errors.DataLossError, tf.errors.NotFoundError) as error:
            raise self._explain(error) from error
        finally:
            skipped.summarize()

    def _estimator(self) -> Any:
        replicas, placement = self.plan.replicas_per_worker, self.options.log_device_placement
        # The strategy first: it configures TensorFlow's server, which must happen before anything else runs.
        strategy = None
        if self.plan.strategy == "multi_worker_mirrored":
            strategy = tf.compat.v1.distribute.experimental.MultiWorkerMirroredStrategy()
        elif self.plan.strategy == "mirrored":
            strategy = mirrored_strategy(replicas)
        asynchronous = self.plan.strategy == "parameter_server"
        session = session_config(self.plan.strategy, replicas, log_device_placement=placement)
        report = StepReportSettings(self.plan.examples_per_step, self.options.train_dir, self.reporter.line)
        config = tf.estimator.RunConfig(
            model_dir=self.options.train_dir,
            tf_random_seed=self.options.seed,
            train_distribute=strategy,
            session_config=None if asynchronous else session,
            # Saving, logging and pruning are hooks of ours.
            save_checkpoints_steps=None,
            save_checkpoints_secs=None,
            save_summary_steps=None,
            log_step_count_steps=None,
            keep_checkpoint_max=0,
            # Otherwise worker k sleeps 5 (k + 1) s before it starts.
            experimental_max_worker_delay_secs=0,
        )
        if asynchronous and placement and config.session_config is not None:
            # TensorFlow's own, which says whom each task talks to, and which one of ours would replace.
            config.session_config.log_device_placement = True
        model_fn = make_model_fn(
            self.options,
            examples_per_step=self.plan.examples_per_step,
            max_steps=self.plan.max_steps,
            warm_start_from=self.plan.warm_start_from,
            requests=self.requests if self.plan.strategy == "multi_worker_mirrored" else None,
            step_report=report if self.is_chief else None,
        )
        return tf.estimator.Estimator(model_fn, config=config)

    def _input_fn(self, skipped: SkippedRecords) -> Callable[[], Any]:
        shard = shard_for_worker(self.plan.train_data, self.worker_index, self.plan.num_workers)
        return train_input_fn(
            self.options, shard, num_workers=self.plan.num_workers, scratch_dir=self.scratch_dir, skipped=skipped
        )

    def _hooks(self) -> list[Any]:
        finite = FiniteTrainingHook(self.options)
        hooks = [RestoredShapesHook(self.options.train_dir), ProgressHook(self.reporter), finite]
        if self.plan.strategy == "parameter_server":
            hooks.append(LastStepHook(self.plan.max_steps, self.plan.num_workers))
        periods = (self.options.save_checkpoints_steps, self.options.export_model_steps)
        timer = AtMultiples(*filter(None, periods))
        if self.is_chief:

            def check(session: Any) -> None:
                check_generation(self.options.train_dir, self.generation)
                finite.check_variables(session)

            self.requests.attach(timer, every_secs=self.options.save_checkpoints_secs)
            saver = checkpoint_hook(self.options.train_dir, timer=timer, saved=self._after_checkpoint, check=check)
            hooks += [self.requests, saver]
        elif self.plan.strategy == "multi_worker_mirrored":
            self.requests.attach(timer, every_secs=None)
            folder = os.path.join(self.scratch_dir, "checkpoints_of_a_worker")
            hooks += [self.requests, checkpoint_hook(folder, timer=timer, check=finite.check_variables)]
        elif self.role == "worker":
            hooks.append(self.requests)  # it saves nothing, but ends when it is asked to
        return hooks

    def _after_checkpoint(self, step: int, ended: bool) -> None:
        """Exports if that is due, and prunes. A checkpoint of every step at which an export is due is saved."""
        is_last = ended and step >= self.plan.max_steps
        if not ended:
            self.reporter.checkpoint_saved(step)
        exported = exported_steps(self.options.train_dir)
        due = step // self.options.export_model_steps > max(exported, default=0) // self.options.export_model_steps
        if due or (is_last and step not in exported):
            checkpoint = Checkpoint(step, os.path.join(self.options.train_dir, f"model.ckpt-{step}"))
            folder = export_checkpoint(self.options, checkpoint)
            self.reporter.line(f"exported step {step} to {folder}")
        prune(
            self.options.train_dir,
            keep=self.options.keep_checkpoint_max,
            keep_unevaluated=awaits_evaluation(
                self.options.train_dir, evaluator_planned=self.plan.eval_data is not None
            ),
        )
        if is_last:
            self.reporter.training_finished(step)
        elif ended and self.requests.stopped:
            # Said by the process that knows: the command that asked may be gone by now, and another have begun.
            check_generation(self.options.train_dir, self.generation)
            write_run_state(self.options.train_dir, RunState.STOPPED, self.plan.max_steps)
            self.reporter.training_stopped(step)

    def _explain(self, error: Exception) -> Exception:
        """The record that TensorFlow's message does not name, or the error itself."""
        cause = error.__cause__ or error.__context__
        if isinstance(cause, HarnessError):
            return cause
        if "Restoring from checkpoint failed" in str(error):
            return UserError(
                "--train_dir holds checkpoints of another model: its variables have other names or shapes",
                asked=f"--train_dir={self.options.train_dir} --model={self.options.model}",
                found=reason_of(str(error)),
                change="the model as it was, another --train_dir, or --start_new_model to begin anew",
            )
        if NOTHING_LEFT in str(error):
            return DataError(
                "No record is left to train on",
                asked=f"--train_data_pattern={self.options.train_data_pattern} "
                f"--on_bad_record={self.options.on_bad_record}",
                found="every record of this task's files is bad",
                change="--train_data_pattern",
            )
        if "IteratorGetNext" not in str(error) and "iterator_get_next" not in str(error).lower():
            return error  # it arose in the model, not in its input
        if self.options.on_bad_record == "skip":
            return error  # bad records were left out, so it is none of them
        self.reporter.line("TensorFlow met data it cannot use; looking for the record …")
        found: DataError | None = data_check.find_bad_record(
            self.plan.train_data, flag="train_data_pattern", num_classes=self.options.num_classes
        )
        return error if found is None else found
