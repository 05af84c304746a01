"""Whether py-spy may look into other processes here, by what the kernel says, not py-spy."""

from __future__ import annotations

from pathlib import Path

_CAP_SYS_PTRACE = 19
_PTRACE_SCOPE = Path("/proc/sys/kernel/yama/ptrace_scope")


def may_trace() -> bool:
    """True where a process may be traced by one that it named for that, so that stacks must come."""
    (capabilities,) = (
        int(line.split()[1], 16)
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("CapEff:")
    )
    return (
        bool(capabilities >> _CAP_SYS_PTRACE & 1) or not _PTRACE_SCOPE.exists() or _PTRACE_SCOPE.read_text()[0] in "01"
    )
