"""Measures of patients and agreement, by hand."""

import math

import numpy as np
import pytest
from scipy.stats import pearsonr

from heartseg.errors import InputError
from heartseg.metrics.patients import (
    FRAME_MEASURES,
    MEASURES,
    Frame,
    agreement,
    check_ventricles,
    find_phases,
    patient_rows,
)

VENTRICLES = {"left": "cavity", "right": "crescent", "myocardium": "wall"}


def frame(identity, left, right=0.0, wall=0.0, phase=None):
    volumes = {"cavity": left, "crescent": right, "wall": wall}
    return Frame(identity, identity.partition("_")[0], volumes, phase)


def test_numbers_by_hand():
    """LV 150 to 60 mL: 90 mL and 60 %. RV 160 to 80 mL: 80 mL and 50 %. A wall of 100 mL has 105 g."""
    [row] = patient_rows([frame("a_2", 60, 80, 110), frame("a_1", 150, 160, 100)], VENTRICLES)
    assert row == {
        "patient": "a",
        "frames": 2,
        "ed": "a_1",
        "es": "a_2",
        "phases_by": "larger left ventricle",
        "lv_edv_ml": 150,
        "lv_esv_ml": 60,
        "lv_sv_ml": 90,
        "lv_ef_percent": 60,
        "rv_edv_ml": 160,
        "rv_esv_ml": 80,
        "rv_sv_ml": 80,
        "rv_ef_percent": 50,
        "lv_mass_g": 105,
        "lv_ml": None,
        "rv_ml": None,
        "myocardium_ml": None,
    }
    assert {*MEASURES, *FRAME_MEASURES} <= set(row)


def test_given_phases_take_precedence_over_volumes():
    [row] = patient_rows([frame("a_1", 50, 40, 100, "ED"), frame("a_2", 100, 60, 120, "ES")], VENTRICLES)
    assert (row["ed"], row["es"], row["phases_by"]) == ("a_1", "a_2", "Info.cfg")
    assert (row["lv_sv_ml"], row["lv_ef_percent"], row["rv_ef_percent"], row["lv_mass_g"]) == (-50, -100, -50, 105)


def test_a_frame_without_a_given_phase_has_none_if_another_has():
    frames = [frame("a_1", 100, phase="ED"), frame("a_2", 20), frame("a_3", 150)]
    assert find_phases(frames, "cavity") == {"a_1": "ED"}
    [row] = patient_rows(frames, VENTRICLES)
    assert (row["lv_edv_ml"], row["lv_esv_ml"], row["lv_ef_percent"]) == (100, None, None)
    assert (row["frames"], row["lv_ml"]) == (3, None)


def test_largest_and_smallest_frame_of_a_whole_cine():
    frames = [frame(f"a_{number}", left) for number, left in enumerate((90, 120, 70, 40, 60))]
    assert find_phases(frames, "cavity") == {"a_1": "ED", "a_3": "ES"}


@pytest.mark.parametrize("order", [1, -1])
def test_equal_volumes_are_ordered_by_id(order):
    assert find_phases([frame("a_1", 50), frame("a_2", 50)][::order], "cavity") == {"a_1": "ED", "a_2": "ES"}


def test_a_single_frame_has_volumes_but_no_ejection_fraction():
    [row] = patient_rows([frame("a_1", 50, 60, 70)], VENTRICLES)
    assert (row["frames"], row["ed"], row["es"], row["phases_by"]) == (1, None, None, None)
    assert {row[measure] for measure in MEASURES} == {None}
    assert [row[name] for name in FRAME_MEASURES] == [50, 60, 70]


def test_a_single_frame_with_a_given_phase():
    [row] = patient_rows([frame("a_1", 50, 60, 70, "ED")], VENTRICLES)
    assert (row["ed"], row["es"], row["phases_by"]) == ("a_1", None, "Info.cfg")
    assert (row["lv_edv_ml"], row["lv_mass_g"], row["lv_ef_percent"], row["lv_ml"]) == (50, 73.5, None, 50)
    [row] = patient_rows([frame("a_1", 50, 60, 70, "ES")], VENTRICLES)
    assert (row["rv_esv_ml"], row["lv_edv_ml"], row["lv_mass_g"]) == (60, None, None)


def test_patients_do_not_mix():
    frames = [frame("b_1", 10), frame("a_1", 100), frame("b_2", 40), frame("a_2", 25)]
    found = {row["patient"]: row for row in patient_rows(frames, VENTRICLES)}
    assert list(found) == ["a", "b"]
    assert (found["a"]["lv_ef_percent"], found["b"]["lv_ef_percent"]) == (75, 75)
    assert (found["b"]["ed"], found["b"]["es"]) == ("b_2", "b_1")


def test_no_ejection_fraction_without_a_cavity():
    [row] = patient_rows([frame("a_1", 0, 10), frame("a_2", 0, 5)], VENTRICLES)
    assert (row["lv_edv_ml"], row["lv_sv_ml"], row["lv_ef_percent"], row["rv_ef_percent"]) == (0, 0, None, 50)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"left": "cavity"}, "^parts: names left; give a class for left, right, myocardium$"),
        ({}, "^parts: names nothing; give"),
        ({**VENTRICLES, "atrium": "wall"}, "^parts: names left, right, myocardium, atrium; give"),
        ({**VENTRICLES, "right": "rv"}, "^parts: right: 'rv' is not a class; there are: cavity, crescent, wall$"),
    ],
)
def test_invalid_ventricles(given, fault):
    classes = {"cavity": 1, "crescent": 2, "wall": 3}
    assert check_ventricles(VENTRICLES, classes) == VENTRICLES
    with pytest.raises(InputError, match=fault):
        check_ventricles(given, classes)


def test_agreement_by_hand():
    """Differences 2, -1 and 5: bias 2, sd sqrt((0 + 9 + 9) / 2) = 3. r: 168 / sqrt(384 * 114), in ninths."""
    found = agreement([3, 3, 11], [1, 4, 6])
    assert found == {
        "n": 3,
        "bias": pytest.approx(2),
        "sd": pytest.approx(3),
        "lower": pytest.approx(2 - 1.96 * 3),
        "upper": pytest.approx(2 + 1.96 * 3),
        "mae": pytest.approx(8 / 3),
        "r": pytest.approx(168 / math.sqrt(384 * 114)),
    }


def test_incomplete_pairs_are_left_out():
    assert agreement([3, None, 3, 7, 11], [1, 5, 4, None, 6]) == agreement([3, 3, 11], [1, 4, 6])


def test_few_pairs():
    nothing = dict.fromkeys(("bias", "sd", "lower", "upper", "mae", "r"))
    assert agreement([], []) == agreement([None], [1.0]) == {"n": 0, **nothing}
    assert agreement([3], [5]) == {**nothing, "n": 1, "bias": -2, "mae": 2}
    two = agreement([3, 6], [5, 6])
    assert (two["n"], two["bias"], two["r"]) == (2, -1, None) and two["sd"] == pytest.approx(math.sqrt(2))


def test_a_constant_has_no_correlation():
    assert agreement([50, 50, 50], [40, 50, 60])["r"] is agreement([40, 50, 60], [50, 50, 50])["r"] is None
    assert agreement([50, 50, 50], [50, 50, 50])["sd"] == 0


def test_correlation_is_pearsons():
    one, other = np.random.default_rng(0).normal(size=(2, 30))
    assert agreement(list(one), list(other))["r"] == pytest.approx(pearsonr(one, other)[0])
    assert agreement(list(one), list(2 * one + 1))["r"] == pytest.approx(1)


def test_series_of_different_length():
    with pytest.raises(InputError, match="^pairs: 2 and 1 numbers; give one of each for every case$"):
        agreement([1, 2], [1])
