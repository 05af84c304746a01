"""Everything that is checked before a training run writes or starts anything. TensorFlow-free for built-in classes."""

from __future__ import annotations

from collections.abc import Callable

from estimators import class_lookup
from estimators.checkpoints.checkpoint_files import latest_checkpoint
from estimators.checkpoints.warm_start import find_checkpoint
from estimators.experiment_options import ExperimentOptions
from estimators.inputs.data_check import DataFiles, check_data
from estimators.storage.access import check_access
from estimators.tensorflow_compat import quiet_tensorflow
from estimators.train_dir import experiment_file
from estimators.training_plan import Strategy, TrainingPlan, make_plan


def prepare_run(
    options: ExperimentOptions,
    *,
    strategy: Strategy,
    num_workers: int = 1,
    count_replicas: Callable[[], int] = lambda: 1,
    start_new_model: bool,
    announce: Callable[[str], None] = print,
) -> TrainingPlan:
    """Checks classes, train_dir and data, and plans the run. Writes nothing.

    Args:
      options: of the run.
      strategy: how the replicas work together.
      num_workers: processes that train, the chief among them.
      count_replicas: how many replicas each of them has; called once all else is right, since to count GPUs imports
        TensorFlow.
      start_new_model: whether train_dir will be emptied.
      announce: called with lines for people.

    Raises:
      UserError: something does not fit; DataError: a data file is damaged.
    """
    for flag, name in (("model", options.model), ("label_loss", options.label_loss)):
        class_lookup.check_name(flag, name)
        if ":" in name:
            quiet_tensorflow()  # which a class of the user's own imports
            class_lookup.load_class(flag, name)
    patterns = ("train_data_pattern", "eval_data_pattern", "warm_start_from")
    check_access(read={flag: getattr(options, flag) for flag in patterns}, folders={"train_dir": options.train_dir})
    experiment_file.check_train_dir(options, start_new_model=start_new_model, announce=announce)

    def checked(flag: str, pattern: str) -> DataFiles:
        return check_data(
            pattern,
            flag=flag,
            num_classes=options.num_classes,
            on_bad_record=options.on_bad_record,
            announce=announce,
        )

    train_data = checked("train_data_pattern", options.train_data_pattern)
    eval_pattern = options.eval_data_pattern
    eval_data = None if eval_pattern is None else checked("eval_data_pattern", eval_pattern)
    # A run that is continued has variables of its own.
    kept = None if start_new_model else latest_checkpoint(options.train_dir)
    if options.warm_start_from and kept:
        announce(f"{options.train_dir} is continued from step {kept.step}: --warm_start_from is for a run that begins")
    plan = make_plan(
        options,
        strategy=strategy,
        num_workers=num_workers,
        replicas_per_worker=count_replicas(),
        train_data=train_data,
        eval_data=eval_data,
        warm_start_from=find_checkpoint(
            options.warm_start_from, emptied=options.train_dir if start_new_model else None, announce=announce
        )
        if options.warm_start_from and kept is None
        else None,
    )
    announce(
        f"{options.model}, {options.label_loss}: {train_data.examples} examples in {len(train_data.paths)} files, "
        f"{plan.examples_per_step} a step, {plan.max_steps} steps"
        + (f"; {eval_data.examples} to evaluate on" if eval_data else "")
    )
    return plan
