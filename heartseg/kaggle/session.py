"""What runs on Kaggle once heartseg can be imported: find the data, train, evaluate, say what came out."""

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
from heartseg.data.download import fetch
from heartseg.data.files import PARTIAL
from heartseg.errors import InputError, input_error
from heartseg.kaggle.inputs import JUDGED, find_data, find_file, take_earlier_run
from heartseg.kaggle.manifest import MANIFEST, write_manifest
from heartseg.results.evaluation_files import RESULTS
from heartseg.training.exact_resume import BEFORE, BEST, CHECKPOINT, PENDING

PROCESSES_VARIABLE = "HEARTSEG_KAGGLE_PROCESSES"  # how many train together, whatever GPUs there are
TOGETHER = "multi_gpu"  # the overlay for several processes
POSE = "pose.pt"
SPOKEN = "heartseg: "  # begins the one line that says why a program of heartseg's ended


def run_session(header: Mapping[str, Any], root: Path, began: float) -> int:
    """Do what the header of a script says; the exit status, 2 with one line where something is wrong.

    ``root/working`` then holds the run, its evaluation on the cases that were held out, and ``manifest.json``, which is
    written last: without it nothing is complete.

    Args:
        header: of the script, see `heartseg.kaggle.script.kernel_script`.
        root: Kaggle's folder, with ``input`` and ``working``.
        began: when the kernel began, in seconds since the epoch.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="heartseg-") as scratch:
            _session(header, root, began, Path(scratch))
    except Exception as error:
        found = input_error(error)
        if found is None:
            raise
        sys.stdout.flush()
        print(f"{SPOKEN}{found}", file=sys.stderr, flush=True)
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
    settings = {**_for_the_pose(bundle, knobs, inputs), **options["settings"]}

    if not (working / CHECKPOINT).exists() and (epochs := take_earlier_run(inputs, bundle.name, working)) is not None:
        _say(f"goes on with an earlier output, of {epochs} epochs")
    if options["resume"] and not (working / CHECKPOINT).exists():
        raise InputError(
            f"{inputs}: holds no output of {bundle.name} to go on with (manifest.json and checkpoint.pt); "
            "push without --resume to begin anew"
        )
    data = find_data(inputs, options["data"]) or _downloaded(knobs, header["internet"], inputs, scratch)
    minutes = max(1.0, options["minutes"] - (time.time() - began) / 60)
    values = {"dataset_dir": str(data), "output_dir": str(working), "max_minutes": round(minutes, 1)}
    write_config(compose(bundle, files, settings, values).get(), working / "config.yaml")
    values |= fold_settings(bundle, files, settings)
    train(bundle, files, values, processes if together else 1)

    if (working / BEST).is_file():
        evaluate(bundle, options["overlays"], options["settings"], data, working)
    else:
        _say("the time was over before a validation; a session that this output is attached to goes on")
    tidy(working)
    print(f"{SPOKEN}{write_manifest(working, about(header, settings, overlays, working, began))}", flush=True)


def count_processes() -> int:
    """How many train together: one on each GPU, one on a CPU. Raises InputError for a variable that is no number."""
    told = os.environ.get(PROCESSES_VARIABLE)
    if not told:
        return max(1, torch.cuda.device_count())
    if not told.isdecimal() or not int(told):
        raise InputError(f"{PROCESSES_VARIABLE}: {told!r} is not a number of processes; give one, or unset it")
    return int(told)


def train(bundle: Path, files: list[str], values: Mapping[str, Any], processes: int = 1) -> None:
    """Train in processes of their own, by the words that a shell would take, with their output in this one's.

    Raises InputError where they fail, with the last line that they said for people.
    """
    line = command_line("training", files, values)
    _say(f"cd {bundle} && {line}")
    words = [sys.executable, *shlex.split(line)[1:]]
    if processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        words = [words[0], *launcher, *words[1:]]
    said = ""
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
        for told in child.stdout:
            print(told, end="", flush=True)
            said = told.strip().removeprefix(SPOKEN) if told.startswith(SPOKEN) else said
    if child.returncode:
        raise InputError(said or f"training ended with status {child.returncode}; its log says why")


def evaluate(bundle: Path, overlays: list[str], set_: Mapping[str, Any], data: Path, working: Path) -> None:
    """Judge the best weights of the run in ``working`` on the cases that it held out; the results go there too."""
    for left in working.iterdir():
        if f"{left.name}/".startswith(JUDGED):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    files = config_files(bundle, "inference", ["evaluate", *(name for name in overlays if name != TOGETHER)])
    ids = {key for file in files for key in read_yaml(bundle / file)}
    settings = {
        **settings_of_run(working, split=True),
        **{name: value for name, value in set_.items() if name.split("::")[0] in ids},  # others are of the training
    }
    values = {"dataset_dir": str(data), "output_dir": str(working), "weights": str(working / BEST), "split": "val"}
    compose(bundle, files, settings, values)
    values |= fold_settings(bundle, files, settings)
    _say(f"cd {bundle} && {command_line('evaluating', files, values)}")
    run(bundle, "evaluating", files, values)


def tidy(working: Path) -> None:
    """Remove what a run leaves behind that is of no use elsewhere."""
    for pattern in (BEFORE, PENDING, PARTIAL):
        for left in working.rglob(pattern):
            left.unlink()


def about(
    header: Mapping[str, Any], settings: Mapping[str, Any], overlays: list[str], working: Path, began: float
) -> dict[str, Any]:
    """What the manifest says of the session beside its files."""
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
        "dice": _read(working / RESULTS).get("clean", {}).get("dice"),
        "settings": {**settings, "overlays": overlays},
    }


def _for_the_pose(bundle: Path, knobs: ConfigParser, inputs: Path) -> dict[str, Any]:
    """The setting that a bundle needs which recognises how a scan lies, where the network for that is not attached."""
    weights = bundle / "models" / POSE
    if knobs.get("anatomy") != "auto" or weights.is_file():
        return {}
    if attached := find_file(inputs, POSE):
        weights.parent.mkdir(exist_ok=True)
        shutil.copyfile(attached, weights)
        return {}
    _say(
        f"anatomy=header: headers are believed, since no attached data set holds {POSE}; "
        "attach one, or say what they mean, as in --set anatomy=ASR"
    )
    return {"anatomy": "header"}


def _downloaded(knobs: ConfigParser, internet: bool, inputs: Path, scratch: Path) -> Path:
    """The data of a bundle that can fetch them, fetched: here, since several processes would do so at once."""
    if "download" not in knobs or not internet:
        off = "" if "download" not in knobs else ", and the internet is off"
        wanted = "imagesTr and labelsTr, or patients' folders as in ACDC"
        raise InputError(f"{inputs}: holds no data set ({wanted}){off}; attach one with --data OWNER/SLUG")
    _say(f"{inputs}: holds no data set; Task02_Heart is downloaded")
    return fetch("task02", scratch, progress=False)  # what the knob `download` stands for


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _say(text: str) -> None:
    print(f"{SPOKEN}{text}", flush=True)
