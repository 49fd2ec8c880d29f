"""Who hears of each epoch: log.csv, the page progress.html, TensorBoard, and callbacks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dermseg.settings import TrainingSettings
from dermseg.storage.files import write_text
from dermseg.storage.tables import write_table
from dermseg.training import progress_page
from dermseg.training.run_folder import LOG, PAGE, TENSORBOARD

Row = Mapping[str, Any]
"""What log.csv has of an epoch, by column."""
Callback = Callable[[Row], object]
"""Called after each epoch; what it returns does not matter, and what it raises ends the training,
which then can be gone on with."""


@contextmanager
def followed(
    run: Path, settings: TrainingSettings, begun: int, callbacks: Sequence[Callback]
) -> Iterator[Callable[[Sequence[Row]], None]]:
    """Yield what to call after each epoch with the whole log.

    `begun` is how many epochs an earlier call has made; TensorBoard, where it is installed, keeps
    these and drops later ones of a run that was killed.
    """
    with ExitStack() as stack:
        board = None
        if find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            board = SummaryWriter(str(run / TENSORBOARD), purge_step=begun + 1)
            stack.callback(board.close)

        def tell(log: Sequence[Row]) -> None:
            write_log(run, log)
            page = progress_page.draw(f"{run.name}, {settings.network}", settings.epochs, log)
            write_text(run / PAGE, page)
            if board is not None:
                for name, value in log[-1].items():
                    if name != "epoch":
                        board.add_scalar(name, value, log[-1]["epoch"])
                board.flush()
            for callback in callbacks:
                callback(dict(log[-1]))

        yield tell


def write_log(run: Path, log: Sequence[Row]) -> None:
    """Write log.csv, a row an epoch; raise OutputError if it cannot be written."""
    write_table(run / LOG, list(log[0]), log)
