"""From a name on the command line to the class: "CnnModel", or "my_module:MyModel" from the working directory."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import Any

from estimators.errors import UserError
from estimators.processes.user_code import user_errors_told

_HOME_OF = {"model": "estimators.cvd_models", "label_loss": "estimators.losses"}
_BASE_OF = {"model": "estimators.models:BaseModel", "label_loss": "estimators.losses:BaseLoss"}


def built_in_names(flag: str) -> list[str]:
    """The classes that `--model` or `--label_loss` finds by a plain name.

    They are read from the source, not imported: a wrong name is told without waiting for TensorFlow.

    Args:
      flag: "model" or "label_loss".
    """
    home, base = _HOME_OF[flag], _BASE_OF[flag].split(":")[1]
    spec = importlib.util.find_spec(home)
    assert spec is not None and spec.origin is not None, home
    derived: set[str] = {base}
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and derived & {part.id for part in node.bases if isinstance(part, ast.Name)}:
            derived.add(node.name)
    return sorted(derived - {base})


def check_name(flag: str, name: str) -> None:
    """Refuses a name that cannot be found, as far as that can be told without an import.

    Raises:
      UserError: no such built-in class (the right ones are listed), or no such module.
    """
    if ":" in name:
        module = name.split(":")[0]
        _put_working_directory_on_path()
        if not _is_there(module):
            raise UserError(
                f"No module {module!r} for --{flag}",
                asked=f"--{flag}={name}",
                found=f"no {module.replace('.', '/')}.py in {os.getcwd()} and no installed package of that name",
                change=f"--{flag}={_meant(name) or 'module:Class'}, run from the folder that holds the module",
            )
        return
    names = built_in_names(flag)
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        raise UserError(
            f"No {flag.replace('_', ' ')} {name!r}",
            asked=f"--{flag}={name}",
            found=f"{', '.join(names)}" + (f"; did you mean {close[0]}?" if close else ""),
            change=f"--{flag} to one of these, or to {_meant(name) or 'module:Class'} for a class of your own",
        )


def load_class(flag: str, name: str) -> Any:
    """Imports and returns the class.

    Args:
      flag: "model" or "label_loss".
      name: a plain name or "module:Class".

    Raises:
      UserError: there is no such class, or it does not inherit from BaseModel or BaseLoss.
    """
    check_name(flag, name)
    module_name, _, class_name = name.rpartition(":")
    with user_errors_told(f"The module of --{flag} cannot be imported", asked=f"--{flag}={name}"):
        module = importlib.import_module(module_name or _HOME_OF[flag])
    found = getattr(module, class_name, None)
    base_module, base_name = _BASE_OF[flag].split(":")
    base = getattr(importlib.import_module(base_module), base_name)
    if found is None:
        raise UserError(
            f"No class {class_name!r} in {module_name}",
            asked=f"--{flag}={name}",
            found=", ".join(key for key, value in vars(module).items() if isinstance(value, type)) or "no class at all",
            change=f"--{flag}",
        )
    if not (isinstance(found, type) and issubclass(found, base)):
        raise UserError(
            f"{name} is not a {base_name}",
            asked=f"--{flag}={name}",
            found=f"{class_name} is a {found.__name__ if isinstance(found, type) else type(found).__name__}"
            + (
                f" that inherits from {', '.join(b.__name__ for b in found.__bases__)}"
                if isinstance(found, type)
                else ""
            ),
            change=f"let the class inherit from estimators.{base_name}",
        )
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if missing:
        raise UserError(
            f"{name} does not define {', '.join(missing)}",
            asked=f"--{flag}={name}",
            change=f"define {', '.join(missing)} in {class_name}; estimators.{base_name} says with which arguments",
        )
    return found


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError as error:
        # The packages that hold it are imported for this, and may lack something themselves.
        return not f"{module}.".startswith(f"{error.name}.")
    except ValueError:
        return False
    except Exception:
        return True  # what is wrong with it, its import will tell


def _meant(name: str) -> str:
    """`my_models:MyModel` for `my_models.MyModel`, `my_models.py:MyModel` and `./my_models:MyModel`; "" for others."""
    parts = [word for word in re.split(r"[./:]+", name) if word not in ("", "py")]
    return f"{'.'.join(parts[:-1])}:{parts[-1]}" if len(parts) > 1 and ("." in name or "/" in name) else ""


def _put_working_directory_on_path() -> None:
    # `python -m` does this by itself; a console script or a role's process does not.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
