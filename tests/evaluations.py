"""Evaluations without a network, for tests of handlers: cases, an engine, result files."""

import json

import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor

SHAPE = (10, 8, 8)


def label_map(start, stop, value=1, spacing=(1.0, 1.0, 1.0)):
    """Return a label map ``[1, x, y, z]`` that fills some slices of the first axis, 64 voxels each."""
    volume = torch.zeros(1, *SHAPE)
    volume[:, start:stop] = value
    return MetaTensor(volume, affine=torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64)))


def case(identity, pred, truth, spacing=(1.0, 1.0, 1.0), **entry):
    """Return an entry of the loader and the engine's output for it."""
    truth = label_map(*truth, spacing=spacing)
    return {"id": identity, **entry}, {"pred": label_map(*pred, spacing=spacing), "label": truth}


def evaluate(handlers, *batches, epochs=1):
    """Run an engine with one or more handlers over these batches, each a decollated list of cases."""
    engine = Engine(lambda engine, batch: [item for _, item in batch])
    # As in MONAI's engines, the batch is a list of cases afterwards.
    engine.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda engine: setattr(engine.state, "batch", [entry for entry, _ in engine.state.batch]),
    )
    for handler in handlers if isinstance(handlers, list) else [handlers]:
        handler.attach(engine)
    for _ in range(epochs):
        engine.run([list(batch) for batch in batches])
    return engine


def strict(path):
    """Load JSON strictly, without NaN or infinity."""

    def refuse(constant):
        raise AssertionError(f"{path}: holds {constant}, which is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def results(folder):
    return strict(folder / "evaluation_results.json")
