"""What every thread of a process does at the moment, from outside, also of one that hangs or is stopped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from typing import IO

_TIMEOUT_SECS = 5.0


def dump_stacks(pid: int, log: IO[bytes]) -> str:
    """Has py-spy write the Python stacks of a process into `log`.

    Returns:
      A line for people: that it is done, or why not.
    """
    program = shutil.which("py-spy", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]))
    if program is None:
        return "no stacks: py-spy is not installed (it comes with ray[default])"
    # A process that stands still needs not be halted to be read, and one that is halted already cannot be.
    command = [program, "dump", "--pid", str(pid), "--nonblocking"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_SECS, check=False)
    except subprocess.TimeoutExpired:
        return f"no stacks: py-spy did not end within {_TIMEOUT_SECS:g} s"
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        hint = ""
        if any("ermission" in line for line in reason):
            hint = (
                "; it needs the right to trace processes (root, CAP_SYS_PTRACE in a container, or ptrace_scope 0 or 1)"
            )
        return f"no stacks: py-spy: {reason[0]}{hint}"
    log.write(f"{time.ctime()}: the stacks of process {pid}\n".encode() + done.stdout)
    log.flush()
    return f"its stacks are in {log.name}"
