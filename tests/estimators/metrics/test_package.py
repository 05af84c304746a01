from __future__ import annotations

import subprocess
import sys

from estimators import metrics


def test_all_is_sorted_and_complete():
    assert metrics.__all__ == sorted(metrics.__all__)
    for name in metrics.__all__:
        assert callable(getattr(metrics, name))


def test_importing_the_metrics_imports_no_tensorflow():
    script = "import sys, estimators.metrics; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
