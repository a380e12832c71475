"""An evaluation without a network, for the tests of what judges and draws: cases, an engine, the files."""

import json

import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor

SHAPE = (10, 8, 8)


def label_map(start, stop, value=1, spacing=(1.0, 1.0, 1.0)):
    """A label map ``[1, x, y, z]`` that fills some slices of the first axis, 64 voxels each."""
    volume = torch.zeros(1, *SHAPE)
    volume[:, start:stop] = value
    return MetaTensor(volume, affine=torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64)))


def case(identity, pred, truth, spacing=(1.0, 1.0, 1.0), **entry):
    """What the loader gives and what the engine makes of it."""
    truth = label_map(*truth, spacing=spacing)
    return {"id": identity, **entry}, {"pred": label_map(*pred, spacing=spacing), "label": truth}


def evaluate(handlers, *batches, epochs=1):
    """Run an engine with a handler, or several, whose loader gives these batches, each a list of cases, decollated."""
    engine = Engine(lambda engine, batch: [item for _, item in batch])
    # MONAI's engines leave lists of cases behind; so does this one.
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
    """JSON that any reader accepts."""

    def refuse(constant):
        raise AssertionError(f"{path}: holds {constant}, which is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def results(folder):
    return strict(folder / "evaluation_results.json")
