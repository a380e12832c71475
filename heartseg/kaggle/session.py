"""The session on Kaggle, once heartseg can be imported: find the data, train, evaluate, write the manifest."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from heartseg.config.bundle_runs import run
from heartseg.config.bundles import config_files, find_bundle
from heartseg.config.command_lines import command_line
from heartseg.config.composition import compose, fold_settings, settings_of_run, write_config
from heartseg.config.yaml_files import read_yaml
from heartseg.data.download import DATASETS, fetch
from heartseg.data.files import PARTIAL
from heartseg.errors import InputError, input_error
from heartseg.kaggle.inputs import EVALUATED, find_data, find_file, take_earlier_run
from heartseg.kaggle.manifest import MANIFEST, write_manifest
from heartseg.metrics.table import key_metric
from heartseg.results.evaluation_files import RESULTS
from heartseg.training.exact_resume import BEFORE, BEST, CHECKPOINT, PENDING

PROCESSES_VARIABLE = "HEARTSEG_KAGGLE_PROCESSES"  # overrides the number of processes, one for each GPU
TOGETHER = "multi_gpu"  # the overlay for several processes
PREFIX = "heartseg: "  # of the one line that says why a program of heartseg's ended


def run_session(header: Mapping[str, Any], root: Path, began: float) -> int:
    """Run the session that the header of a script describes; return the exit status, 2 after a one-line error.

    Afterwards ``root/working`` has the run, its evaluation on the held-out cases, and ``manifest.json``, which is
    written last: without it the session is not complete.

    Args:
        header: of the script, see `heartseg.kaggle.script.kernel_script`.
        root: Kaggle's folder, with ``input`` and ``working``.
        began: start of the kernel, in seconds since 1970.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="heartseg-") as scratch:
            _session(header, root, began, Path(scratch))
    except Exception as error:
        found = input_error(error)
        if found is None:
            raise
        sys.stdout.flush()
        print(f"{PREFIX}{found}", file=sys.stderr, flush=True)
        return 2
    return 0


def _session(header: Mapping[str, Any], root: Path, began: float, scratch: Path) -> None:
    bundle, options = find_bundle(header["bundle"]), header["options"]
    inputs, working = root / "input", root / "working"
    working.mkdir(parents=True, exist_ok=True)
    (working / MANIFEST).unlink(missing_ok=True)
    processes = count_processes()
    overlays = list(options["overlays"])
    together = processes > 1 and (bundle / "configs" / f"{TOGETHER}.yaml").is_file()
    if together and TOGETHER not in overlays:
        overlays.append(TOGETHER)
    files = config_files(bundle, "train", overlays)
    knobs = compose(bundle, files, options["settings"])
    declared = _read(bundle / "configs" / "metadata.json").get("kaggle", {})
    settings = {**_attach_files(bundle, declared.get("needs", {}), knobs, inputs), **options["settings"]}

    if not (working / CHECKPOINT).exists() and (epochs := take_earlier_run(inputs, bundle.name, working)) is not None:
        _say(f"resumes an earlier output, of {epochs} epochs")
    if options["resume"] and not (working / CHECKPOINT).exists():
        raise InputError(
            f"{inputs}: holds no output of {bundle.name} to resume (manifest.json and checkpoint.pt); "
            "push without --resume to start from scratch"
        )
    data = find_data(inputs, options["data"]) or _download(declared.get("fetch"), header["internet"], inputs, scratch)
    minutes = max(1.0, options["minutes"] - (time.time() - began) / 60)
    values = {"dataset_dir": str(data), "output_dir": str(working), "max_minutes": round(minutes, 1)}
    write_config(compose(bundle, files, settings, values).get(), working / "config.yaml")
    values |= fold_settings(bundle, files, settings)
    train(bundle, files, values, processes if together else 1)

    if (working / BEST).is_file():
        evaluate(bundle, options["overlays"], options["settings"], data, working)
    else:
        _say("the time ended before the first validation; a session with this output attached resumes it")
    tidy(working)
    print(f"{PREFIX}{write_manifest(working, about(header, settings, overlays, working, began))}", flush=True)


def count_processes() -> int:
    """Return the number of training processes: one for each GPU, one on a CPU. InputError for an invalid variable."""
    text = os.environ.get(PROCESSES_VARIABLE)
    if not text:
        return max(1, torch.cuda.device_count())
    if not text.isdecimal() or not int(text):
        raise InputError(f"{PROCESSES_VARIABLE}: {text!r} is not a number of processes; give one, or unset it")
    return int(text)


def train(bundle: Path, files: list[str], values: Mapping[str, Any], processes: int = 1) -> None:
    """Train in separate processes, with the command that a shell would take; their output is passed on.

    Raises InputError with their last line for people if they fail.
    """
    line = command_line("training", files, values)
    _say(f"cd {bundle} && {line}")
    words = [sys.executable, *shlex.split(line)[1:]]
    if processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        words = [words[0], *launcher, *words[1:]]
    fault = ""
    with subprocess.Popen(
        words,
        cwd=bundle,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "TQDM_DISABLE": "1"},  # a log shows lines, not bars
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            print(line, end="", flush=True)
            fault = line.strip().removeprefix(PREFIX) if line.startswith(PREFIX) else fault
    if child.returncode:
        raise InputError(fault or f"training ended with status {child.returncode}; its log says why")


def evaluate(bundle: Path, overlays: list[str], set_: Mapping[str, Any], data: Path, working: Path) -> None:
    """Evaluate the best weights of the run in ``working`` on its held-out cases; write the results there."""
    for left in working.iterdir():
        if f"{left.name}/".startswith(EVALUATED):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    files = config_files(bundle, "inference", ["evaluate", *(name for name in overlays if name != TOGETHER)])
    ids = {key for file in files for key in read_yaml(bundle / file)}
    settings = {
        **settings_of_run(working, split=True),
        **{
            name: value for name, value in set_.items() if name.split("::")[0] in ids
        },  # the others belong to the training
    }
    values = {"dataset_dir": str(data), "output_dir": str(working), "weights": str(working / BEST), "split": "val"}
    compose(bundle, files, settings, values)
    values |= fold_settings(bundle, files, settings)
    _say(f"cd {bundle} && {command_line('evaluating', files, values)}")
    run(bundle, "evaluating", files, values)


def tidy(working: Path) -> None:
    """Remove files of a run that are of no use elsewhere."""
    for pattern in (BEFORE, PENDING, PARTIAL):
        for left in working.rglob(pattern):
            left.unlink()


def about(
    header: Mapping[str, Any], settings: Mapping[str, Any], overlays: list[str], working: Path, began: float
) -> dict[str, Any]:
    """Return what the manifest says of the session, in addition to its files."""
    summary = _read(working / "run_summary.json")
    return {
        "bundle": header["bundle"],
        "commit": header["commit"],
        "archive_sha256": header["sha256"],
        "heartseg": header["heartseg"],
        "finished": summary.get("status") == "finished",
        "epochs": summary.get("epochs", 0),
        "minutes": round(summary.get("minutes", 0.0), 2),
        "started": datetime.fromtimestamp(began, UTC).isoformat(timespec="seconds"),
        "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
        **_score(summary, _read(working / RESULTS)),
        "settings": {**settings, "overlays": overlays},
    }


def _score(summary: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``metric``, the name of the key metric, and its value in the evaluation under that name."""
    if not summary.get("best"):  # no validation, and so no weights to evaluate
        return {"metric": None, "dice": None}
    try:
        name = key_metric(summary["best"]["metric"]).name
    except InputError as error:  # results without a score are better than none
        _say(f"warning: {error}; the manifest has no score")
        return {"metric": None, "dice": None}
    return {"metric": name, name: results.get("clean", {}).get(name)}


def _attach_files(bundle: Path, needs: Mapping[str, Any], knobs: ConfigParser, inputs: Path) -> dict[str, Any]:
    """Copy files that a bundle needs from the inputs; return the settings that replace those that are missing.

    Args:
        bundle: its folder.
        needs: ``kaggle.needs`` of its metadata: for each file the knobs that need it (``if``), the settings that apply
            where it is missing (``else``), and what that means (``note``).
        knobs: the composed configuration.
        inputs: folder of what is attached.
    """
    settings: dict[str, Any] = {}
    for name, need in needs.items():
        file = bundle / name
        if file.is_file() or any(knobs.get(knob) != value for knob, value in need["if"].items()):
            continue
        if attached := find_file(inputs, file.name):
            file.parent.mkdir(exist_ok=True)
            shutil.copyfile(attached, file)
            continue
        settings |= need["else"]
        words = ", ".join(f"{knob}={value}" for knob, value in need["else"].items())
        _say(f"{words}: no attached data set has {file.name}; {need['note']}")
    return settings


def _download(name: str | None, internet: bool, inputs: Path, scratch: Path) -> Path:
    """Fetch the bundle's public data set, once for all processes. InputError if it has none, or without internet."""
    if name is None or not internet:
        off = ", and the internet is off" if name else ""
        wanted = "imagesTr and labelsTr, or patients' folders as in ACDC"
        raise InputError(f"{inputs}: holds no data set ({wanted}){off}; attach one with --data OWNER/SLUG")
    _say(f"{inputs}: holds no data set; {DATASETS.get(name, name)} is downloaded")
    return fetch(name, scratch, progress=False)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _say(text: str) -> None:
    print(f"{PREFIX}{text}", flush=True)
