"""Conditions and their data set: selection, loading once, reproducibility."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
import torch
from images import scan
from monai.data import DataLoader, MetaTensor
from monai.transforms import NormalizeIntensityd

from heartseg.artifacts import ARTIFACTS, CLEAN, Condition, ConditionDataset, at_severity, list_conditions
from heartseg.artifacts.conditions import condition_seed
from heartseg.errors import InputError

CASES = [{"id": name, "image": f"{name}.nii.gz"} for name in ("a", "b", "c")]


class Load:
    """Fake loader: a different image for each case, with a label; counts its calls."""

    def __init__(self) -> None:
        self.loaded: list[str] = []

    def __call__(self, case: dict) -> dict:
        self.loaded.append(case["id"])
        label = MetaTensor((scan(1, 6, 7, 5) > 0.5).float())
        return {**case, "image": scan(1, 12, 9, 10, seed=ord(case["id"])), "label": label}


def dataset(*conditions, cases=CASES, seed=0, load=None, after=None):
    return ConditionDataset(cases, load or Load(), after or NormalizeIntensityd("image"), conditions, seed)


def images(items):
    """Return the images by case, artifact and severity."""
    return {(item["id"], item["artifact"], item["severity"]): item["image"] for item in items}


# Selection


def test_clean_then_all_artifacts_at_three_severities():
    conditions = list_conditions()
    assert conditions[0] == CLEAN == Condition("clean", "", {}) and CLEAN.transform is None
    expected = [(name, level) for name in ARTIFACTS for level in ("mild", "moderate", "severe")]
    assert [(condition.artifact, condition.severity) for condition in conditions[1:]] == expected
    assert len(conditions) == 1 + 9 * 3


def test_conditions_hold_their_strengths():
    _, *motion = list_conditions(["motion", "motion"])
    assert [dict(condition.strengths) for condition in motion] == [
        {"degrees": 5, "translation": 2.5},
        {"degrees": 10, "translation": 5},
        {"degrees": 20, "translation": 10},
    ]


@pytest.mark.parametrize(
    ("severity", "text", "degrees", "translation"),
    [("severe", "severe", 20, 10), (10, "10", 10, 5), (10.0, "10", 10, 5), (0.5, "0.5", 0.5, 5), (0, "0", 0, 0)],
)
def test_one_severity(severity, text, degrees, translation):
    _, condition = list_conditions(["motion"], severity)
    assert condition == Condition("motion", text, {"degrees": degrees, "translation": translation})


def test_settings_for_all_severities_or_for_each():
    settings = {"motion": {"degrees": 12, "translation": [2, 4, 8], "moves": 1}}
    _, *conditions = list_conditions(["motion", "noise"], settings=settings)
    assert [tuple(condition.strengths.values()) for condition in conditions] == [
        *((12, 2), (12, 4), (12, 8)),
        *((0.015,), (0.03,), (0.06,)),
    ]
    assert conditions[0].transform.moves == 1


def test_conditions_hold_their_other_settings():
    settings = {"motion": {"degrees": 12, "moves": np.int64(8), "axis": None}, "ghosting": {"count": (2, np.int64(3))}}
    _, motion, noise, ghosting = list_conditions(["motion", "noise", "ghosting"], 10, settings)
    assert [condition.settings for condition in (motion, noise, ghosting)] == [
        {"moves": 8, "axis": None},
        {},
        {"count": [2, 3]},
    ]
    assert json.dumps(motion.settings) == '{"moves": 8, "axis": null}'
    assert motion.transform.moves == 8 and CLEAN.settings == {}


def test_a_number_that_not_every_artifact_accepts():
    said = "share (10.0, 10.0) is more than all slices; give at most 1"
    hint = "; 10 sets the first strength of every artifact: select some of them (--artifact)"
    with pytest.raises(InputError, match=f"{re.escape(said + hint)}$"):
        list_conditions(None, 10)
    with pytest.raises(InputError, match=f"{re.escape(said)}$"):  # there is nothing to choose from
        list_conditions(["slice_dropout", "slice_dropout"], 10)
    with pytest.raises(InputError, match="severity -1: is not a strength") as info:  # of no artifact
        list_conditions(None, -1)
    assert "--artifact" not in str(info.value)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"artifacts": ["motoin"]}, "did you mean motion?"),
        ({"artifacts": "motion"}, "is not a list of names"),
        ({"artifacts": []}, "is not a list of names"),
        ({"artifacts": [["motion"]]}, "is not a list of names"),
        ({"severity": "sever"}, "severity sever: is not a strength"),
        ({"severity": -1}, "severity -1: is not a strength"),
        ({"severity": math.nan}, "severity nan: is not a strength"),
        ({"severity": True}, "severity True: is not a strength"),
        ({"severity": [1]}, r"severity \[1\]: is not a strength"),
        ({"settings": 5}, "strengths: 5 is not a mapping by artifact"),
        ({"settings": {"motion": 12}}, "is not a mapping by artifact"),
        ({"settings": {"motoin": {}}}, "did you mean motion?"),
        ({"settings": {"motion": {"degrees": -1}}}, "motion: degrees -1: is not a strength"),
        ({"settings": {"motion": {"degres": 1}}}, "motion: degres: unknown setting; did you mean degrees?"),
        ({"artifacts": ["noise"], "settings": {"motion": {"degres": 1}}}, "motion: degres"),
    ],
)
def test_invalid_arguments_give_one_line(wrong, said):
    with pytest.raises(InputError, match=said) as info:
        list_conditions(**wrong)
    assert "\n" not in str(info.value)


# Loading once


def test_each_case_is_loaded_once_and_clean_is_first():
    load = Load()
    conditions = list_conditions(["noise", "blur"], "mild")
    data = dataset(*conditions, load=load)
    found = [(item["id"], item["artifact"], item["severity"]) for item in data]
    under = [("clean", ""), ("noise", "mild"), ("blur", "mild")]
    assert found == [(case, *condition) for case in "abc" for condition in under]
    assert len(data) == len(found) == 9
    assert load.loaded == ["a", "b", "c"]


def test_artifacts_are_applied_before_the_normalisation():
    data = dataset(*list_conditions(["noise"], "severe"), cases=CASES[:1])
    clean, noisy = data
    loaded = Load()(CASES[0])["image"]
    normalise = NormalizeIntensityd("image")
    assert torch.equal(clean["image"], normalise({"image": loaded.clone()})["image"])
    transform = at_severity("noise", "severe").set_random_state(condition_seed(0, "a", "noise"))
    assert torch.equal(noisy["image"], normalise({"image": transform(loaded)})["image"])
    assert noisy["image"].std() == pytest.approx(1, abs=0.01)
    assert torch.equal(clean["label"], noisy["label"])


def test_nothing_leaks_from_one_condition_into_the_next():
    def spoil(item):
        item["image"].fill_(0)
        item["image"].meta["spoilt"] = True
        item["image"].push_applied_operation({"class": "Spoil"})
        item["image"].applied_operations[0]["orig_size"] = (0, 0, 0)
        return item

    seen = []

    def look_and_spoil(item):
        image = item["image"]
        seen.append((float(image.std()), "spoilt" in image.meta, image.applied_operations[0]["orig_size"]))
        assert len(image.applied_operations) == 1
        return spoil(item)

    list(dataset(*list_conditions(["blur", "gamma"], "mild"), cases=CASES[:1], after=look_and_spoil))
    assert len(seen) == 3
    assert all(std > 0.1 and not spoilt and size == (5, 6, 7) for std, spoilt, size in seen)


@pytest.mark.parametrize(
    ("name", "severity"),
    [("bias_field", 500), ("noise", 1e38), ("spike", 1e39), ("bias_field", 40)],
)
def test_an_image_that_is_not_finite_is_refused(name, severity):
    items = iter(dataset(*list_conditions([name], severity)))
    assert next(items)["artifact"] == "clean"
    with pytest.raises(InputError) as info:
        next(items)
    assert str(info.value) == (
        f"a: the image is no longer finite under {name} at severity {severity:g}; lower the severity or the strengths"
    )


def test_an_image_that_overflows_in_the_normalisation_is_refused():
    """Deviations of 1e30 are finite, their squares are not."""

    def square(item):
        return {**item, "image": item["image"] ** 2}

    data = dataset(*list_conditions(["noise"], 1e30), cases=CASES[:1], after=square)
    items = iter(data)
    assert next(items)["image"].isfinite().all()
    with pytest.raises(InputError, match="a: the image is no longer finite under noise at severity 1e.30"):
        next(items)


# Reproducibility


@pytest.mark.parametrize("name", ARTIFACTS)
def test_severity_0_equals_clean(name):
    clean, none = dataset(*list_conditions([name], 0), cases=CASES[:1])
    assert torch.equal(clean["image"], none["image"])
    assert none["severity"] == "0"


def test_motion_of_10_degrees_equals_moderate_motion():
    by_number = images(dataset(*list_conditions(["motion"], 10)))
    level = images(dataset(*list_conditions(["motion"])))
    assert all(torch.equal(by_number[case, "motion", "10"], level[case, "motion", "moderate"]) for case in "abc")


def test_severities_share_place_and_time():
    data = dataset(*list_conditions(["motion"]), cases=CASES[:1])
    found = []
    for item in data:
        if item["artifact"] == "motion":
            condition = next(c for c in data.conditions if c.severity == item["severity"])
            found.append(condition.transform.parameters)
    mild, moderate, severe = found
    assert mild["times"] == moderate["times"] == severe["times"] and mild["axis"] == severe["axis"]
    assert torch.allclose(2 * torch.tensor(mild["rotations"]), torch.tensor(moderate["rotations"]))
    assert torch.allclose(4 * torch.tensor(mild["translations"]), torch.tensor(severe["translations"]))


def test_order_and_selection_do_not_change_an_image():
    alone = images(dataset(*list_conditions(["noise"], "mild"), cases=CASES[2:]))
    all_of_them = images(dataset(*list_conditions(["spike", "noise", "motion"]), cases=CASES[::-1]))
    key = ("c", "noise", "mild")
    assert torch.equal(alone[key], all_of_them[key])
    again = dataset(*list_conditions(["noise"], "mild"))
    assert all(torch.equal(x["image"], y["image"]) for x, y in zip(again, again, strict=True))


def test_seed_depends_on_seed_case_and_artifact():
    seeds = {condition_seed(*of) for of in [(0, "a", "noise"), (1, "a", "noise"), (0, "b", "noise"), (0, "a", "blur")]}
    assert len(seeds) == 4
    assert condition_seed(0, "a", "noise") == 756_940_616  # the same on every machine
    noise = list_conditions(["noise"], "mild")
    first, second = (images(dataset(*noise, seed=seed))["a", "noise", "mild"] for seed in (0, 1))
    assert not torch.equal(first, second)


@pytest.fixture
def one_thread():
    """Use one thread, as workers do: with several, FFT and matrix products may round differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("cases", [CASES, CASES[:1]], ids=["three", "one"])
def test_number_of_workers_does_not_matter(cases, one_thread):
    data = dataset(*list_conditions(["noise", "motion"], "moderate"), cases=cases)
    alone = list(DataLoader(data, batch_size=1))
    shared = list(DataLoader(data, batch_size=1, num_workers=2))
    assert len(alone) == len(shared) == len(DataLoader(data, batch_size=1, num_workers=2)) == 3 * len(cases)
    for artifact in ("clean", "noise", "motion"):
        one, other = ([item for item in items if item["artifact"] == [artifact]] for items in (alone, shared))
        assert [item["id"] for item in one] == [item["id"] for item in other] == [[case["id"]] for case in cases]
        for x, y in zip(one, other, strict=True):  # another process may round FFT and products differently
            torch.testing.assert_close(x["image"].as_tensor(), y["image"].as_tensor(), rtol=1e-5, atol=1e-5)
