"""Which files and records each process of a run reads. TensorFlow-free."""

from __future__ import annotations

from dataclasses import dataclass

from estimators.inputs.data_check import DataFiles


@dataclass(frozen=True)
class WorkerShard:
    """The part of a data set that one worker reads.

    Attributes:
      files: paths.
      every: 1 takes all records of the files; n takes every n-th block of them.
      offset: the first block taken, where every > 1.
      examples: about how many records that is.
      block: how many records that follow one another are taken, or left to others, together.
    """

    files: tuple[str, ...]
    every: int
    offset: int
    examples: int
    block: int = 1


def shard_for_worker(data: DataFiles, worker_index: int, num_workers: int) -> WorkerShard:
    """Whole files where there are enough of them; otherwise every worker reads all files and takes its records.

    Args:
      data: the data set.
      worker_index: 0 is the chief.
      num_workers: training replicas, the chief among them.
    """
    # An empty file is nobody's share: a worker that got nothing else would end at once, and the others wait for it.
    filled = [(path, count) for path, count in zip(data.paths, data.counts, strict=True) if count]
    if len(filled) >= num_workers:
        mine = filled[worker_index::num_workers]
        return WorkerShard(tuple(path for path, _ in mine), 1, 0, sum(count for _, count in mine))
    mine_examples = len(range(worker_index, data.examples, num_workers))
    return WorkerShard(tuple(path for path, _ in filled), num_workers, worker_index, mine_examples)


def shard_for_evaluator(data: DataFiles, index: int, count: int, batch_size: int) -> WorkerShard:
    """Every n-th batch of those that one process would make, so that n processes find exactly what one finds.

    Other parts, of files or of single records, would make other batches; and what TensorFlow computes for a picture
    depends, in the last bits (1e-7), on its place in its batch. Every process reads all records for that, but decodes
    its own only, which takes ten times as long.

    Args:
      data: the data set.
      index: which process; the first is 0.
      count: how many processes there are.
      batch_size: records a batch.
    """
    sizes = [min(batch_size, data.examples - start) for start in range(0, data.examples, batch_size)]
    return WorkerShard(data.paths, count, index, sum(sizes[index::count]), block=batch_size)
