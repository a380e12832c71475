"""Readers of files give a result or a one-line error, whatever the files contain."""

import json
from pathlib import Path

import pytest
from corpus import dataset
from fuzz import JSON, TEXT, few, objects
from hypothesis import example, given
from hypothesis import strategies as st

from heartseg.cli.segmentation import _records
from heartseg.config.yaml_files import read_yaml
from heartseg.data.acdc import read_info
from heartseg.data.cases import find_cases, select_cases
from heartseg.data.dataset_checks import check_dataset
from heartseg.data.files import read_cases_of
from heartseg.data.layout import declared_labels, read_properties, scan
from heartseg.errors import InputError
from heartseg.metrics.patients import check_ventricles
from heartseg.networks.weights import licence_of, read_notes
from heartseg.results.comparison import compare_evaluations, print_comparison, write_comparison
from heartseg.results.evaluation_files import RESULTS, read_evaluation
from heartseg.results.patient_tables import summarise_patients

BYTES = st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace"))
DEEP = b"[" * 100_000


def answer(function, *args):
    """Return what a reader returns, or None if it refuses in one line; any other error fails the test."""
    try:
        return function(*args)
    except InputError as error:
        assert len(str(error).splitlines()) == 1 and ";" in str(error), str(error)
        return None


def as_json(content) -> bytes:
    return json.dumps(content).encode("utf-8", "replace")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return dataset(tmp_path_factory.mktemp("fuzz") / "data", 2)


# Case lists

ENTRIES = st.lists(objects(image=TEXT | st.just("./imagesTr/case_0.nii.gz"), label=TEXT | st.lists(TEXT)), max_size=3)
LABELS = st.dictionaries(TEXT | st.integers(0, 9).map(str), JSON, max_size=3)
PROPERTIES = objects(training=ENTRIES, test=ENTRIES, labels=LABELS).map(as_json)


@few(60)
@given(PROPERTIES | JSON.map(as_json) | BYTES)
@example(DEEP)
@example(b'{"labels": {"la": Infinity}}')
@example(b'{"labels": {"la": [1e999]}}')
@example(b'{"training": [{"image": "a\\u0000b"}]}')
@example(b'{"test": "/"}')
def test_dataset_json(data, content):
    (data / "dataset.json").write_bytes(content)
    properties = answer(read_properties, data)
    labels = answer(declared_labels, data)
    assert properties is None or isinstance(properties, dict)
    assert labels is None or all(type(key) is int and isinstance(name, str) for key, name in labels.items())
    for labelled in (None, True, False):
        for case in answer(find_cases, data, labelled) or []:
            assert case["id"] and (labelled is not True or "label" in case)
    if (parts := answer(scan, data)) is not None:
        names = [case["id"] for part in parts[:1] for case in part.cases]
        assert names == sorted(set(names))


@few(12)
@given(PROPERTIES)
def test_check_of_any_dataset_json(data, content):
    (data / "dataset.json").write_bytes(content)
    if (report := answer(check_dataset, data)) is not None:
        assert all(len(line.splitlines()) == 1 for line in report.all_errors)


SIDES = st.lists(TEXT | st.sampled_from(["case_0", "case_1"]) | JSON, max_size=3)


@few(60)
@given(
    objects(train=SIDES, val=SIDES).map(as_json) | JSON.map(as_json) | BYTES, st.sampled_from(["json", "yaml", "txt"])
)
@example(DEEP, "json")
@example(DEEP, "yaml")
@example(b"train: &a [*a]\nval: [case_1]", "yaml")
@example(b"? [a]\n: 1", "yaml")
def test_split_files(data, content, suffix):
    (data / "dataset.json").unlink(missing_ok=True)
    path = data.parent / f"split.{suffix}"
    path.write_bytes(content)
    train = answer(select_cases, data, "train", 0, 2, 0, path)
    assert train is None or {case["id"] for case in train} in ({"case_0"}, {"case_1"})


# Metadata

LINES = st.lists(st.sampled_from(["ED: 1", "ES: 7", "ED: 0x1", "ES: ", "Group: DCM", ":", "ED:1:2"]) | TEXT, max_size=5)


@few(80)
@given(LINES.map(lambda lines: "\n".join(lines).encode("utf-8", "replace")) | BYTES)
@example(b"ED: 1\nES: \xd9\xa7")  # a digit of another script
def test_info_cfg(data, content):
    (data / "Info.cfg").write_bytes(content)
    info = read_info(data)
    assert info.fault is None or (len(info.fault.splitlines()) == 1 and not info.phases)
    assert sorted(info.phases.values()) == ([] if info.fault else ["ED", "ES"])
    (data / "Info.cfg").unlink()


LICENCES = objects(name=TEXT, commercial=st.booleans(), file=TEXT)


@few(80)
@given(objects(licence=LICENCES, train=st.lists(TEXT), val=JSON).map(as_json) | JSON.map(as_json) | BYTES)
@example(DEEP)
def test_notes_on_weights(data, content):
    (data.parent / "model.json").write_bytes(content)
    weights = data.parent / "model.pt"
    assert isinstance(read_notes(weights), dict)
    assert all(isinstance(identity, str) for ids in read_cases_of(weights).values() for identity in ids)
    licence = answer(licence_of, weights)
    assert licence is None or (licence["name"].strip() and isinstance(licence["commercial"], bool))


@few(60)
@given(BYTES | JSON.map(as_json))
@example(DEEP)
@example(b"? [a]\n: 1")
@example(b"a: 2026-13-45")
@example(b"a: !!python/object/apply:os.system ['true']")
def test_yaml(data, content):
    (data.parent / "config.yaml").write_bytes(content)
    assert isinstance(answer(read_yaml, data.parent / "config.yaml"), dict | None)


# Results

NUMBER = st.none() | st.floats(0, 1) | st.integers(0, 99)
CASE = objects(
    id=st.sampled_from("ab"), seen=st.none() | st.booleans(), dice=NUMBER, hd95=NUMBER, assd=NUMBER, nsd=NUMBER
)
FULL = st.fixed_dictionaries({"id": st.sampled_from("ab")} | dict.fromkeys(("dice", "hd95", "assd", "nsd"), NUMBER))
PART = objects(cases=st.lists(FULL | CASE, min_size=1, max_size=3), severities=JSON, strengths=JSON, settings=JSON)
RESULT = objects(clean=PART, motion=PART, provenance=objects(tolerance_mm=NUMBER)).map(as_json)


@few(80)
@given(RESULT | JSON.map(as_json) | BYTES)
@example(DEEP)
def test_evaluation_results(data, content):
    (data.parent / RESULTS).write_bytes(content)
    if (read := answer(read_evaluation, data.parent)) is not None:
        comparison = answer(compare_evaluations, read, read)
        assert comparison["cases"]["common"] and comparison["cases"]["only_a"] == []


@few(3)
@given(st.lists(FULL, min_size=2, max_size=2, unique_by=lambda case: case["id"]))
def test_what_is_read_can_be_printed_and_written(data, cases):
    (data.parent / RESULTS).write_bytes(as_json({"clean": {"cases": cases}}))
    read = read_evaluation(data.parent)
    comparison = compare_evaluations(read, read)
    print_comparison(comparison, "dice")
    write_comparison(comparison, data.parent / "compared")
    assert json.loads((data.parent / "compared" / "comparison.json").read_text())["cases"]["common"]


PARTS = {"left": "lv", "right": "rv", "myocardium": "myo"}
VOLUMES = st.fixed_dictionaries(dict.fromkeys(PARTS.values(), st.floats(0, 300))) | JSON
RECORD = objects(millilitres=VOLUMES, phase=st.sampled_from(["ED", "ES", None]), nominal=st.booleans(), scan=TEXT)
NAME = st.sampled_from(["p1_frame01.nii.gz", "p1_frame07.nii.gz", "p2.nii.gz"]) | TEXT


@few(60)
@given(st.dictionaries(NAME, RECORD, max_size=4).map(as_json) | JSON.map(as_json) | BYTES)
@example(DEEP)
def test_records_of_masks(data, content):
    (data.parent / "segmentation.json").write_bytes(content)
    records = _records(data.parent)
    ventricles = check_ventricles(PARTS, {"rv": 1, "myo": 2, "lv": 3})
    lines = summarise_patients(records, ventricles, list(records), data.parent)
    assert all(isinstance(line, str) for line in lines)
