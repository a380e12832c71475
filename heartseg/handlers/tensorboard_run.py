"""Handler that adds what MONAI's TensorBoard handlers lack: the network's graph, learning rate and memory.

Losses and metrics come from ``monai.handlers.TensorBoardStatsHandler``. Give all handlers of a run the same
``SummaryWriter``: TensorBoard expects one event file that grows in a folder, not several.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer
from monai.handlers import TensorBoardHandler
from torch.utils.tensorboard import SummaryWriter

from heartseg.errors import first_line
from heartseg.machine import memory

logger = logging.getLogger(__name__)


class TensorBoardRun(TensorBoardHandler):
    """Write the graph at the start, learning rate and memory after every epoch. Attach it to the trainer.

    Scalars: ``learning_rate`` (of the first parameter group at the start of the epoch) and, in GiB,
    ``memory/process``, on CUDA also ``memory/gpu`` and ``memory/gpu_peak``; steps are epochs.

    The graph is traced with an input of zeros in evaluation mode. This changes neither the network nor the random
    state, so a run with it gives the same weights as one without. A network that cannot be traced is reported in one
    line of the log. A resumed run does not write the graph again.

    Args:
        input_shape: shape of the network's input with batch and channel, such as ``[1, 1, 96, 96, 96]``. A small
            one gives the same graph. None leaves the graph out.
        network: None for the trainer's own.
        summary_writer: the writer that the run's TensorBoard handlers share.
        log_dir: folder for its own writer, if none is given.
    """

    def __init__(
        self,
        input_shape: Sequence[int] | None = None,
        network: torch.nn.Module | None = None,
        summary_writer: SummaryWriter | None = None,
        log_dir: str = "./runs",
    ) -> None:
        super().__init__(summary_writer=summary_writer, log_dir=log_dir)
        self.input_shape = input_shape
        self.network = network
        self._learning_rate = 0.0

    def attach(self, engine: Engine) -> None:
        """Register with a trainer that has ``optimizer`` and ``network``, as MONAI's trainers do."""
        engine.add_event_handler(Events.STARTED, self._started)
        engine.add_event_handler(Events.EPOCH_STARTED, self._epoch_started)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._epoch_completed)
        engine.add_event_handler(Events.COMPLETED, self._completed)

    def _started(self, engine: SupervisedTrainer) -> None:
        if self.input_shape is None or engine.state.epoch > 0:
            return
        write_graph(self._writer, engine.network if self.network is None else self.network, self.input_shape)

    def _epoch_started(self, engine: SupervisedTrainer) -> None:
        self._learning_rate = float(engine.optimizer.param_groups[0]["lr"])

    def _epoch_completed(self, engine: SupervisedTrainer) -> None:
        step = engine.state.epoch
        self._writer.add_scalar("learning_rate", self._learning_rate, step)
        for name, gib in memory(engine.state.device).items():
            self._writer.add_scalar(f"memory/{name}", gib, step)
        self._writer.flush()

    def _completed(self, engine: SupervisedTrainer) -> None:
        self.close()


def write_graph(writer: SummaryWriter, network: torch.nn.Module, input_shape: Sequence[int]) -> bool:
    """Add the network's graph to TensorBoard; return False, with one line in the log, if it cannot be traced."""
    parameter = next(network.parameters(), torch.empty(0))
    example = torch.zeros(*input_shape, dtype=parameter.dtype, device=parameter.device)
    try:
        with _undisturbed(network, parameter.device):
            writer.add_graph(network, example)
    except Exception as error:  # tracing may raise anything, and must not end the run
        logger.warning("the network's graph is left out of TensorBoard, it cannot be traced: %s", first_line(error))
        return False
    writer.flush()
    return True


@contextlib.contextmanager
def _undisturbed(network: torch.nn.Module, device: torch.device) -> Iterator[None]:
    """Use evaluation mode without gradients, warnings or output; restore the random state and the modules' modes."""
    modes = [(module, module.training) for module in network.modules()]
    gpus = [device] if device.type == "cuda" else []
    try:
        with (
            torch.random.fork_rng(devices=gpus),
            torch.no_grad(),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),  # add_graph prints an error before it raises it
        ):
            warnings.simplefilter("ignore")
            network.eval()
            yield
    finally:
        for module, training in modes:
            module.training = training
