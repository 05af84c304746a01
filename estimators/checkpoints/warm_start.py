"""Beginning a new model with the variables of another run's checkpoint: `--warm_start_from`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from estimators import storage
from estimators.checkpoints.checkpoint_soundness import flaw_of
from estimators.checkpoints.torn_checkpoints import look
from estimators.errors import UserError


def find_checkpoint(path: str, *, emptied: str | None = None, announce: Callable[[str], None] = print) -> str:
    """The prefix of the checkpoint that is meant; needs no TensorFlow.

    Args:
      path: a training folder, of which the newest sound checkpoint is taken, or a prefix such as
        `/tmp/run/model.ckpt-500`.
      emptied: the folder that is emptied before the run begins; None if none is.
      announce: called with a line if a newer one is torn.

    Raises:
      UserError: there is no checkpoint, none is sound, or it would be deleted.
    """
    if emptied is not None and storage.is_inside(path, emptied):
        raise UserError(
            "--start_new_model would delete the checkpoint to start from; nothing was deleted",
            asked=f"--warm_start_from={path} --train_dir={emptied} --start_new_model",
            change="--train_dir to another folder, or leave --start_new_model out to continue that run",
        )
    if storage.exists(path + ".index"):
        if flaw := flaw_of(path):
            raise _no_checkpoint(path, f"{flaw}, so it is torn")
        return path
    if not storage.is_dir(path):
        raise _no_checkpoint(path, f"no {path}.index; {storage.nearest_names(path)}")
    found = look(path)
    torn = "; ".join(f"the checkpoint of step {step} is torn: {flaw}" for step, flaw in found.flaws.items())
    if found.newest is None:
        raise _no_checkpoint(path, torn or "a folder without a complete checkpoint")
    if torn:
        announce(f"{torn}; {found.newest.prefix} is taken instead")
    return found.newest.prefix


def _no_checkpoint(path: str, found: str) -> UserError:
    return UserError(
        "No checkpoint to start from",
        asked=f"--warm_start_from={path}",
        found=found,
        change="--warm_start_from to the train_dir of a run, or to one of its checkpoints (…/model.ckpt-500)",
    )


def take_initial_values(prefix: str, *, line: Callable[[str], None] | None) -> None:
    """Has each variable of the graph begin with the value it has in a checkpoint, where name and shape agree.

    Call it in a model_fn, after the model is built and before the optimizer: its slots begin anew, as the step does.

    Args:
      prefix: of the checkpoint.
      line: called with what was taken and what was not; None says nothing.

    Raises:
      UserError: nothing agrees.
    """
    import tensorflow as tf

    def take(strategy: Any) -> None:
        _take_initial_values(prefix, line)

    # Once for all replicas of this process, outside of them: a second one calls its variables `weights/replica_1`.
    tf.distribute.get_replica_context().merge_call(take)


def _take_initial_values(prefix: str, line: Callable[[str], None] | None) -> None:
    import tensorflow as tf

    saved = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
    step = tf.compat.v1.train.get_global_step()
    variables = {v.op.name: v for v in tf.compat.v1.global_variables() if v is not step}
    alike = {name: v for name, v in variables.items() if saved.get(name) == v.shape.as_list()}
    new = sorted(set(variables) - set(alike))
    if not alike:
        raise UserError(
            "The checkpoint has no variable of this model",
            asked=f"--warm_start_from={prefix}",
            found=f"it holds {_some(_without_slots(saved))}; the model has {_some(sorted(variables))}",
            change="--warm_start_from to a checkpoint of a like model, or leave it out",
        )
    tf.compat.v1.train.init_from_checkpoint(prefix, alike)
    if line is not None:
        rest = f"; these begin anew, since their name or shape is not in it: {_some(new)}" if new else ""
        line(f"{len(alike)} of {len(variables)} variables begin as in {prefix}{rest}")


def _without_slots(names: Collection[str]) -> list[str]:
    """Without what an optimizer keeps of a variable, such as `weights/Adam` beside `weights`."""
    return sorted(name for name in names if name.rpartition("/")[0] not in names)


def _some(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "") if names else "none"
