"""What evaluation measures. NumPy only: TensorFlow is not imported here, so parts can be merged anywhere."""

from estimators.metrics.average_precision import average_precision
from estimators.metrics.batch_metrics import BatchMetrics, batch_metrics
from estimators.metrics.evaluation_metrics import EvaluationMetrics, EvaluationResult
from estimators.metrics.global_average_precision import global_average_precision
from estimators.metrics.hit_at_one import hit_at_one
from estimators.metrics.mean_average_precision import mean_average_precision
from estimators.metrics.precision_at_equal_recall import precision_at_equal_recall

__all__ = [
    "BatchMetrics",
    "EvaluationMetrics",
    "EvaluationResult",
    "average_precision",
    "batch_metrics",
    "global_average_precision",
    "hit_at_one",
    "mean_average_precision",
    "precision_at_equal_recall",
]
