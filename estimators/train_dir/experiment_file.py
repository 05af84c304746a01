"""The folder of one training run: whose it is, how it is begun, continued or begun anew.

experiment.json     the options; what may not change while there are checkpoints is checked against it
run_state.json      whether the run goes on
generation.json     who may write checkpoints
events.jsonl        what happened to the processes of a distributed run
run_lock.json       which process has the folder, while one has it
progress.json       step, speed and metrics that the chief reported last
model.ckpt-N.*      checkpoints
export/step_N/      SavedModels
eval/               metrics.jsonl, TensorBoard events
eval_NAME/          the same, of an evaluation that was given a name
logs/               the output of each role, in a distributed run
torn/               checkpoints that were damaged when a run was continued
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable

from estimators import storage
from estimators.checkpoints.checkpoint_files import forget_evaluator, list_checkpoints
from estimators.checkpoints.torn_checkpoints import TORN_FOLDER, check_sound, set_torn_aside
from estimators.errors import UserError
from estimators.experiment_options import ExperimentOptions
from estimators.train_dir.generation import GENERATION_FILE
from estimators.train_dir.train_dir_holder import LOCK_FILE, check_free

EXPERIMENT_FILE = "experiment.json"
# What a run, or TensorFlow on its behalf, writes. Nothing else is ever deleted.
_OWN_NAMES = re.compile(
    r"experiment\.json|run_state\.json|generation\.json|progress\.json|events\.jsonl|checkpoint|graph\.pbtxt"
    r"|model\.ckpt-.*|events\.out\.tfevents\..*"
    rf"|export|eval|logs|{TORN_FOLDER}|\.preflight-.*|\..*\.partial|checkpoint\.tmp.*"
)
# Of a named evaluation; another folder may be called so too, that of the validation files for one.
_NAMED_EVALUATION = re.compile(r"eval_[A-Za-z0-9_-]+")
_OF_EVALUATION = re.compile(r"metrics\.jsonl|events\.out\.tfevents\..*|\..*\.partial")
_PROOF = re.compile(r"experiment\.json|model\.ckpt-\d+\.index")


def write_experiment(options: ExperimentOptions) -> None:
    """Stores the options in train_dir, whole or not at all."""
    text = json.dumps(options.to_json(), indent=2, sort_keys=True) + "\n"
    storage.write_text(os.path.join(options.train_dir, EXPERIMENT_FILE), text)


def read_experiment(train_dir: str) -> ExperimentOptions:
    """The options of the run in `train_dir`, with `train_dir` as it is called now.

    Raises:
      UserError: there is no experiment.json, or it cannot be read.
    """
    path = os.path.join(train_dir, EXPERIMENT_FILE)
    if not storage.exists(path):
        raise UserError(
            "No training run here",
            asked=f"--train_dir={train_dir}",
            found=f"no {EXPERIMENT_FILE}; {storage.nearest_names(path)}",
            change="--train_dir to the folder that launch.train was given, or train first",
        )
    try:
        values = json.loads(storage.read_text(path))
    except ValueError as error:
        raise UserError(f"{path} is not JSON", found=str(error), change="train again with --start_new_model") from None
    return ExperimentOptions.from_json({**values, "train_dir": train_dir}, source=path)


def check_train_dir(
    options: ExperimentOptions, *, start_new_model: bool, announce: Callable[[str], None] = print
) -> None:
    """Refuses a folder that cannot be used as asked. Writes and deletes nothing.

    Args:
      options: of the run.
      start_new_model: whether it will be emptied.
      announce: called with a line where a run elsewhere may be at work, and is looked for.

    Raises:
      UserError: it is a file; a run is at work on it; it is to be emptied but is no training folder; or it holds
        checkpoints of another model, or none that is sound.
    """
    path = options.train_dir
    names = [name for name in storage.list_dir(path) if name != LOCK_FILE]
    if storage.exists(path) and not storage.is_dir(path):
        raise UserError("--train_dir is a file", asked=f"--train_dir={path}", change="--train_dir to a folder")
    _check_writable(path)
    check_free(path, announce)
    if start_new_model:
        if names and not any(_PROOF.fullmatch(name) for name in names):
            raise UserError(
                "--start_new_model empties training folders only; nothing was deleted",
                asked=f"--train_dir={path} --start_new_model",
                found=f"no {EXPERIMENT_FILE} and no checkpoint, but {len(names)} other names: {', '.join(names[:3])}",
                change="--train_dir to a new folder, or empty this one yourself",
            )
        return
    check_sound(path)
    if not list_checkpoints(path):
        return
    if not storage.exists(os.path.join(path, EXPERIMENT_FILE)):
        raise UserError(
            "--train_dir holds checkpoints of an unknown model",
            asked=f"--train_dir={path} --model={options.model}",
            found=f"checkpoints without {EXPERIMENT_FILE}",
            change="--train_dir to another folder, or --start_new_model to delete them and begin anew",
        )
    before, now = read_experiment(path).fixed_by_checkpoints(), options.fixed_by_checkpoints()
    different = [name for name in now if now[name] != before[name]]
    if different:
        raise UserError(
            "--train_dir holds checkpoints of another model",
            asked=" ".join(f"--{name}={now[name]}" for name in different),
            found=" ".join(f"--{name}={before[name]}" for name in different) + f" in {path}/{EXPERIMENT_FILE}",
            change="--train_dir to another folder, or --start_new_model to delete those checkpoints and begin anew",
        )


def _check_writable(path: str) -> None:
    if storage.is_remote(path):
        return
    folder = os.path.abspath(path)
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        raise UserError(
            "--train_dir lies below a file",
            asked=f"--train_dir={path}",
            found=f"{folder} is a file",
            change="--train_dir to a path whose parents are folders, or missing",
        )
    if not os.access(folder, os.W_OK):
        raise UserError(
            "--train_dir cannot be written",
            asked=f"--train_dir={path}",
            found=f"no permission to write in {folder}",
            change="--train_dir, or the folder's permissions",
        )


def _is_named_evaluation(train_dir: str, name: str) -> bool:
    """Whether a name in train_dir is a folder with the results of `--eval_name`, and nothing but those."""
    inside = storage.list_dir(os.path.join(train_dir, name)) if _NAMED_EVALUATION.fullmatch(name) else []
    return bool(inside) and all(map(_OF_EVALUATION.fullmatch, inside))


def begin(options: ExperimentOptions, *, start_new_model: bool, announce: Callable[[str], None] = print) -> None:
    """Makes train_dir ready, once per run: empties it if asked, sets torn checkpoints aside, and stores the options.

    To be called with the folder checked (`check_train_dir`) and locked (train_dir_lock.py).
    """
    if start_new_model:
        kept = []
        for name in storage.list_dir(options.train_dir):
            # The first is replaced below; until then a start that is cut off leaves what is known as a training folder.
            # The last keeps a process of the run that was there from writing into this one.
            if name in (EXPERIMENT_FILE, LOCK_FILE, GENERATION_FILE):
                continue
            if _OWN_NAMES.fullmatch(name) or _is_named_evaluation(options.train_dir, name):
                storage.delete(os.path.join(options.train_dir, name))
            else:
                kept.append(name)
        if kept:
            announce(f"--start_new_model leaves what no run wrote in {options.train_dir}: {', '.join(kept)}")
    storage.make_dirs(options.train_dir)
    set_torn_aside(options.train_dir, announce=announce)
    forget_evaluator(options.train_dir)
    write_experiment(options)
