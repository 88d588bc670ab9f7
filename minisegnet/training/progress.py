"""The progress bar of a run."""

from __future__ import annotations

from types import TracebackType


class Progress:
    """A bar over the steps of a run, with the loss, the learning rate, images a second and the best score.

    A context manager, so that the bar is closed however the run ends. `shown` False makes it silent.
    """

    def __init__(self, steps: int, done: int, shown: bool = True, score: str = "score") -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=steps, initial=done, unit="step", disable=not shown, dynamic_ncols=True)
        self._images_per_second: float | None = None
        self._score = score

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._bar.close()

    def advance(self, loss: float, lr: float, images: int, seconds: float, best: float | None) -> None:
        """One more step, which took so many seconds for so many images."""
        rate = images / seconds if seconds > 0 else 0.0
        smoothed = rate if self._images_per_second is None else 0.9 * self._images_per_second + 0.1 * rate
        self._images_per_second = smoothed
        told = f"loss {loss:.4f}, lr {lr:.2g}, {smoothed:.3g} images/s"
        self._bar.set_postfix_str(told if best is None else f"{told}, best {self._score} {best:.4f}", refresh=False)
        self._bar.update()
