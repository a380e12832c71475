"""A bundle that is run in this process, as ``python -m monai.bundle run`` runs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from heartseg import distributed
from heartseg.config.composition import write_config
from heartseg.config.config_errors import TracingResolver, readable
from heartseg.training.run_folder import NEXT_CONFIG, keep_config

TRAINING = "training"  # the id of a run that leaves a folder behind


def run(bundle: Path, run_id: str, files: Sequence[str], values: Mapping[str, Any]) -> None:
    """Initialize, run and finalize a bundle. Raises InputError where bad input is behind an error of the run."""
    with chdir(bundle), readable(bundle, files):
        workflow = ConfigWorkflow(
            list(files),
            meta_file="configs/metadata.json",
            logging_file="configs/logging.conf",
            run_id=run_id,
            **values,
        )
        workflow.parser.ref_resolver = TracingResolver(workflow.parser, bundle, files)
        workflow.initialize()
        if run_id == TRAINING:
            with _config_kept(workflow):
                workflow.run()
        else:
            workflow.run()
        workflow.finalize()


@contextmanager
def _config_kept(workflow: ConfigWorkflow) -> Iterator[None]:
    """Write the configuration, macros and overlays resolved, into the run's folder, for a later run and ``--run``.

    A run that resumes decides itself when it replaces the earlier one (`heartseg.training.ExactResume`).
    """
    folder = Path(workflow.parser.get_parsed_content("output_dir"))
    if distributed.is_first():
        write_config(workflow.parser.get(), folder / NEXT_CONFIG)
    finished = False
    try:
        yield
        finished = True
    finally:
        keep_config(folder, wanted=finished)
