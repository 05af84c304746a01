"""How a TensorFlow process tells the outside what it does; in a cluster these calls travel to the driver."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Where lines and progress go."""

    def line(self, text: str) -> None:
        """A line for people."""

    def progress(self, global_step: int, local_steps: int) -> None:
        """This process took part in training.

        Args:
          global_step: the step that the whole run has reached.
          local_steps: steps this process made since it started.
        """

    def checkpoint_saved(self, global_step: int) -> None:
        """A checkpoint of this step is complete."""

    def training_finished(self, global_step: int) -> None:
        """The last checkpoint is complete and exported; only clean-up is left to this process."""

    def training_stopped(self, global_step: int) -> None:
        """Training ends before its last step, as was asked, and a checkpoint of this step is complete."""


class ConsoleReporter:
    """Prints lines; progress needs no telling where the reader sees the lines themselves."""

    def line(self, text: str) -> None:
        """Prints the line at once."""
        print(text, flush=True)

    def progress(self, global_step: int, local_steps: int) -> None:
        """Says nothing."""

    def checkpoint_saved(self, global_step: int) -> None:
        """Says nothing."""

    def training_finished(self, global_step: int) -> None:
        """Says nothing."""

    def training_stopped(self, global_step: int) -> None:
        """Says so."""
        print(f"stopped after step {global_step}", flush=True)
