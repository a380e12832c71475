"""left_atrium from data to masks, as the Model Zoo tries a bundle: on phantoms, through MONAI's own doors."""

import csv
import json
import shlex
from contextlib import chdir
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from every_bundle import options, small
from monai.bundle import ConfigWorkflow
from monai.data import MetaTensor
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import heartseg as package
from heartseg.data.files import sha256

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "left_atrium"
TRAIN = ["configs/train.yaml", "configs/demo.yaml", "configs/quick.yaml"]
INFER = ["configs/inference.yaml", "configs/demo.yaml"]
EVALUATE = ["configs/inference.yaml", "configs/evaluate.yaml", "configs/demo.yaml"]
# Of the six cases, by seed 0, fold 0 of 4.
UNSEEN, SEEN = ["la_001", "la_006"], ["la_002", "la_003", "la_004", "la_005"]


def voxels(path):
    return np.asarray(nib.load(path).dataobj)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def read_json(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def workflow(kind, run_id, files, check=True, **values):
    """Initialise, check the properties, run, finalise."""
    with chdir(BUNDLE):
        flow = ConfigWorkflow(files, workflow_type=kind, run_id=run_id, logging_file=False, **values)
        flow.initialize()
        if check:
            assert flow.check_properties() == []
        flow.run()
        flow.finalize()
        return flow


@pytest.fixture(scope="module")
def evaluated(phantoms, learned, tmp_path_factory):
    """All labelled cases judged with the learned weights, masks kept."""
    out = tmp_path_factory.mktemp("evaluated")
    values = {"dataset_dir": str(phantoms), "output_dir": str(out), "weights": str(learned / "model.pt")}
    workflow("infer", "evaluating", EVALUATE, save_masks=True, pictures=2, **values)
    return out


@pytest.fixture(scope="module")
def inferred(phantoms, learned, tmp_path_factory):
    """The mask of the scan without label, written by `run inference`."""
    out = tmp_path_factory.mktemp("inferred")
    values = {"dataset_dir": str(phantoms), "output_dir": str(out), "weights": str(learned / "model.pt")}
    workflow("infer", "inference", INFER, **values)
    return out


# Training


def test_training_learns(learned):
    history = read_json(learned / "training_metrics.json")
    assert [row["epoch"] for row in history] == list(range(1, 11))
    assert [row["epoch"] for row in history if row.get("val_dice") is not None] == [5, 10]
    assert history[-1]["val_dice"] > 0.5  # 0.74 where this was written; 0.04 after one epoch
    assert history[-1]["train_loss"] < 0.7 * history[0]["train_loss"]
    assert history[-1]["val_loss"] < history[4]["val_loss"]


def test_the_best_weights_are_plain_and_the_averaged_ones(learned):
    best = torch.load(learned / "model.pt", map_location="cpu", weights_only=True)
    last = torch.load(learned / "checkpoint.pt", map_location="cpu", weights_only=True)
    saved = last["state"]
    assert set(saved) == {"network", "ema", "optimizer", "lr_scheduler", "plateau", "early_stop", "summary"}
    assert (last["epoch"], last["finished"], last["best"]["epoch"]) == (10, True, 10)
    assert last["best"]["sha256"] == sha256(learned / "model.pt")
    assert best.keys() == saved["ema"].keys()
    assert all(torch.equal(best[name], saved["ema"][name]) for name in best)  # the last validation was the best
    assert not all(torch.equal(best[name], saved["network"][name]) for name in best)


def test_the_cases_are_listed_beside_the_weights(learned):
    cases = read_json(learned / "model.json")
    assert (cases["train"], cases["val"]) == (SEEN, UNSEEN)


def test_the_summary_describes_the_run(learned):
    summary = read_json(learned / "run_summary.json")
    assert summary["status"] == "finished"
    assert summary["best"]["epoch"] == 10 and summary["best"]["value"] > 0.5
    assert (summary["epochs"], summary["max_epochs"], summary["parameters"]) == (10, 10, 4_806_481)
    assert summary["cases"] == {"train": 4, "val": 2}
    assert summary["provenance"]["weights"] == {"file": "model.pt", "sha256": sha256(learned / "model.pt")}
    assert summary["settings"]["spacing"] == [2.5, 2.5, 2.5]  # demo's, not the bundle's
    assert "la_001" not in (learned / "run_summary.md").read_text(encoding="utf-8")
    assert "4,806,481 parameters" in (learned / "run_summary.md").read_text(encoding="utf-8")


def test_pictures_and_logs_are_there(learned):
    assert (learned / "curves.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    events = EventAccumulator(str(learned / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {"train_loss", "val_mean_dice", "val_loss"} <= set(tags["scalars"])
    assert len(events.Scalars("val_mean_dice")) == 2
    assert tags["graph"] and tags["images"]


# Judging


def test_every_case_is_evaluated_on_the_mask_that_was_written(phantoms, evaluated):
    result = read_json(evaluated / "evaluation_results.json")["clean"]
    assert sorted(case["id"] for case in result["cases"]) == sorted(UNSEEN + SEEN)
    for case in result["cases"]:
        mask, truth = evaluated / f"{case['id']}.nii.gz", phantoms / "labelsTr" / f"{case['id']}.nii.gz"
        row = case["classes"]["left_atrium"]
        assert row["dice"] == pytest.approx(dice(voxels(mask) == 1, voxels(truth) == 1), abs=1e-9)
        voxel = np.prod(nib.load(truth).header.get_zooms()) / 1000
        assert row["pred_ml"] == pytest.approx((voxels(mask) == 1).sum() * voxel, abs=2e-3)
        assert row["truth_ml"] == pytest.approx((voxels(truth) == 1).sum() * voxel, abs=2e-3)
        assert case["seen"] == (case["id"] in SEEN)


def test_means_are_those_of_the_unseen_cases(evaluated):
    result = read_json(evaluated / "evaluation_results.json")["clean"]
    assert {"dice", "hd95", "hd", "assd", "nsd", "boundary_dice", "missing", "classes", "cases"} <= set(result)
    assert result["averaged_over"] == {"cases": 2, "seen": False}
    for part, seen in ((result, False), (result["seen"], True)):
        rows = [case for case in result["cases"] if case["seen"] == seen]
        for metric in ("dice", "hd95", "assd", "nsd", "boundary_dice"):
            assert part[metric] == pytest.approx(np.mean([row[metric] for row in rows]))
            assert part["classes"]["left_atrium"][metric] == pytest.approx(part[metric])  # one class
    assert result["dice"] > 0.5 and 0 < result["assd"] < result["hd95"] <= result["hd"] < 100
    assert result["missing"] == 0


def test_the_results_carry_their_provenance(learned, evaluated):
    provenance = read_json(evaluated / "evaluation_results.json")["provenance"]
    assert provenance["heartseg"] == package.__version__
    assert provenance["weights"] == {"file": "model.pt", "sha256": sha256(learned / "model.pt")}
    assert (provenance["tolerance_mm"], provenance["anatomy"], provenance["spacing"]) == (2.0, "header", [2.5] * 3)


def test_the_table_holds_the_same_numbers(evaluated):
    with open(evaluated / "evaluation_results.csv", encoding="utf-8", newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    for case in read_json(evaluated / "evaluation_results.json")["clean"]["cases"]:
        assert float(rows[case["id"]]["dice"]) == case["dice"]
        assert rows[case["id"]]["seen"] == str(case["seen"])
    assert len(rows) == 6


def test_as_many_cases_are_drawn_as_were_asked_for(evaluated):
    drawn = sorted(path.stem for path in (evaluated / "pictures").glob("*.png"))
    assert drawn == ["la_001", "la_002"]


# Masks


def test_a_mask_lies_on_its_scan(phantoms, inferred, evaluated):
    scans = [*phantoms.glob("imagesTs/*.nii.gz"), *phantoms.glob("imagesTr/*.nii.gz")]
    assert sorted(path.name for path in inferred.iterdir()) == ["la_007.nii.gz"]
    for path in scans:
        mask = nib.load((inferred if "imagesTs" in str(path) else evaluated) / path.name)
        scan = nib.load(path)
        assert mask.shape == scan.shape and mask.get_data_dtype() == np.uint8
        assert np.array_equal(mask.affine, scan.affine)
        for field in ("qform_code", "sform_code", "xyzt_units"):
            assert mask.header[field] == scan.header[field]
        assert set(np.unique(mask.dataobj)) == {0, 1}


def test_every_door_gives_the_same_mask(phantoms, learned, inferred, heartseg, tmp_path):
    scan = phantoms / "imagesTs" / "la_007.nii.gz"
    expected = voxels(inferred / scan.name)
    status, said, _ = heartseg("segment", "left_atrium", scan, "--run", learned, "--overlay", "demo", "--out", tmp_path)
    assert status == 0
    assert voxels(tmp_path / scan.name).tobytes() == expected.tobytes()
    assert (tmp_path / scan.name).read_bytes() == (inferred / scan.name).read_bytes()
    millilitres = expected.sum() * np.prod(nib.load(scan).header.get_zooms()) / 1000
    assert f"la_007.nii.gz: left_atrium {millilitres:.1f} mL" in said
    record = read_json(tmp_path / "segmentation.json")[scan.name]
    assert record["millilitres"]["left_atrium"] == pytest.approx(millilitres, abs=1e-3)
    assert record["weights"]["sha256"] == sha256(learned / "model.pt")

    values = {"bundle": "left_atrium", "overlays": ["demo"], "weights": learned / "model.pt"}
    image = nib.load(scan)
    tensor = MetaTensor(torch.from_numpy(np.asarray(image.dataobj, np.float32)), affine=torch.from_numpy(image.affine))
    for given in (scan, str(scan), image):
        mask = package.segment(given, **values)
        assert isinstance(mask, nib.Nifti1Image) and np.array_equal(mask.affine, image.affine)
        assert np.asarray(mask.dataobj).tobytes() == expected.tobytes()
    for given in (tensor, tensor[None]):
        mask = package.segment(given, **values)
        assert isinstance(mask, MetaTensor) and mask.shape == given.shape and mask.dtype == torch.uint8
        assert np.array_equal(mask.numpy().reshape(expected.shape), expected)
        assert torch.equal(mask.affine, given.affine)


def test_masks_that_exist_are_kept_by_run_inference(phantoms, learned, inferred):
    before = (inferred / "la_007.nii.gz").stat().st_mtime_ns
    values = {"dataset_dir": str(phantoms), "output_dir": str(inferred), "weights": str(learned / "model.pt")}
    workflow("infer", "inference", INFER, check=False, **values)
    assert (inferred / "la_007.nii.gz").stat().st_mtime_ns == before


# Seeds


def test_a_seed_gives_the_same_run_to_the_bit_and_another_seed_another(phantoms, tmp_path):
    states = []
    for name, seed in (("first", 0), ("second", 0), ("other", 1)):
        out = tmp_path / name
        # The check builds parts in another order, which draws other random numbers: so only where none compares.
        values = {
            "dataset_dir": str(phantoms),
            "output_dir": str(out),
            "seed": seed,
            "split_file": str(split(tmp_path)),
            **small("left_atrium", "train"),
        }
        workflow("train", "training", TRAIN, check=name == "other", **values)
        states.append(torch.load(out / "model.pt", weights_only=True))
        (row,) = read_json(out / "training_metrics.json")
        states[-1] = (states[-1], row["train_loss"], row["val_loss"])
    (first, *losses), (second, *again), (other, *others) = states
    assert all(torch.equal(first[name], second[name]) for name in first) and losses == again
    assert not any(torch.equal(first[name], other[name]) for name in first if first[name].ndim > 1)
    assert losses != others


def split(folder):
    """A fixed split, so that another seed changes nothing but the randomness."""
    path = folder / "split.json"
    path.write_text(json.dumps({"train": SEEN, "val": UNSEEN}))
    return path


# The plain overlay


@pytest.mark.proof  # 22 million parameters
def test_the_plain_network_trains_and_is_distinguished_from_the_shipped_one(phantoms, heartseg, tmp_path):
    run, small = tmp_path / "run", ["spacing=[5, 5, 5]", "roi_size=[32, 32, 32]", "overlap=0.0", "batch_size=4"]
    words = ["--overlay", "demo", "--overlay", "quick", "--overlay", "plain"]
    for setting in (*small, "epochs=1", "folds=2"):
        words += ["--set", setting]
    status, _, said = heartseg("train", "left_atrium", "--data", phantoms, "--out", run, *words)
    assert status == 0, said[-2000:]
    summary = read_json(run / "run_summary.json")
    assert (summary["status"], summary["epochs"], summary["parameters"]) == ("finished", 1, 22_625_314)
    state = torch.load(run / "model.pt", weights_only=True)
    assert sum(t.numel() for n, t in state.items() if "running" not in n and "num_b" not in n) == (22_625_314)

    judge = ["evaluate", "left_atrium", "--data", phantoms, "--run", run, "--split", "val", "--set", small[0]]
    status, _, said = heartseg(*judge, "--out", tmp_path / "wrong")
    lines = [line for line in said.splitlines() if line.startswith("heartseg: ")]
    assert status == 2 and "Traceback" not in said
    assert len(lines) == 1 and "weights of another network" in lines[0] and str(run / "model.pt") in lines[0]
    assert not (tmp_path / "wrong").exists()

    own = ["--overlay", "plain", "--set", small[1], "--set", small[2], "--set", "anatomy=header"]
    status, _, said = heartseg(*judge, *own, "--out", tmp_path / "right")
    assert status == 0, said[-2000:]
    assert read_json(tmp_path / "right" / "evaluation_results.json")["clean"]["averaged_over"]["cases"] == 3


def test_the_resolved_configuration_is_kept_and_runs_again(phantoms, heartseg, monai_run, tmp_path):
    """config.yaml of a run, given to `python -m monai.bundle run`, trains the same weights."""
    words = ["--overlay", "demo", "--overlay", "quick", *options(small("left_atrium", "train"))]
    status, _, said = heartseg("train", "left_atrium", "--data", phantoms, "--out", tmp_path / "one", *words)
    assert status == 0, said[-2000:]
    line = next(line for line in said.splitlines() if "monai.bundle" in line)
    assert shlex.split(line)[1] == str(BUNDLE)
    again = ["--config_file", tmp_path / "one" / "config.yaml", "--output_dir", tmp_path / "two"]
    status, said = monai_run("left_atrium", "training", *again)
    assert status == 0, said[-2000:]
    one, two = (torch.load(tmp_path / run / "model.pt", weights_only=True) for run in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)
