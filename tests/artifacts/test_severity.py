"""Severities: their strengths, how settings override them, and that 0 is the identity."""

import pytest
import torch
from images import NAMES, SPACING, TURNED, blobs, scan, texture
from monai.data import MetaTensor

from heartseg.artifacts import ARTIFACTS, LEVELS, RandMotion, at_severity, strengths
from heartseg.artifacts.severity import find_artifact, make_transform
from heartseg.errors import InputError

TABLE = {
    "noise": {"std": (0.015, 0.03, 0.06)},
    "rician": {"std": (0.015, 0.03, 0.06)},
    "motion": {"degrees": (5, 10, 20), "translation": (2.5, 5, 10)},
    "ghosting": {"intensity": (0.25, 0.5, 1)},
    "spike": {"intensity": (0.4, 0.8, 1.2)},
    "bias_field": {"coefficient": (0.1, 0.3, 0.5)},
    "slice_dropout": {"share": (0.05, 0.1, 0.2)},
    "blur": {"std": (0.5, 1, 2)},
    "gamma": {"log_gamma": (0.1, 0.2, 0.3)},
}


def test_strengths_of_every_artifact():
    assert LEVELS == ("mild", "moderate", "severe")
    assert list(ARTIFACTS) == list(TABLE)
    for name, numbers in TABLE.items():
        for i, level in enumerate(LEVELS):
            expected = {key: values[i] for key, values in numbers.items()}
            assert strengths(name, level) == expected
            transform = at_severity(name, level)
            assert type(transform) is ARTIFACTS[name] and transform.prob == 1
            assert all(getattr(transform, key) == (value, value) for key, value in expected.items())
        assert strengths(name) == strengths(name, "moderate")
    assert at_severity("motion").moves == 2
    assert at_severity("spike").count == (5, 5)


def drawn(name, severity, seed=0):
    transform = at_severity(name, severity).set_random_state(seed)
    transform.randomize(scan(1, 30, 31, 32))
    return transform.parameters


def test_strengths_reach_the_function():
    """Arguments of the functions at severe."""
    motion = drawn("motion", "severe")
    assert torch.tensor(motion["rotations"]).norm(dim=-1).tolist() == pytest.approx([20, 20])
    assert torch.tensor(motion["translations"]).norm(dim=-1).tolist() == pytest.approx([10, 10])
    assert drawn("noise", "severe")["std"] == drawn("rician", "severe")["std"] == 0.06
    assert drawn("ghosting", "severe")["intensity"] == 1
    assert drawn("spike", "severe")["intensity"] == 1.2 and len(drawn("spike", "severe")["frequencies"]) == 5
    assert 0.35 < torch.tensor(drawn("bias_field", "severe")["coefficients"]).abs().max() <= 0.5
    assert len(drawn("slice_dropout", "severe")["slices"]) == 6  # 20 % of 32, along 4 mm
    assert drawn("slice_dropout", "severe")["axis"] == 2
    assert drawn("blur", "severe")["std"] == 2
    assert abs(drawn("gamma", "severe")["log_gamma"]) == pytest.approx(0.3)


def test_severities_share_place_and_time():
    """With the same seed only the strength differs, so that severities can be compared image by image."""
    for name, key in (("noise", "seed"), ("rician", "seed"), ("motion", "times"), ("spike", "frequencies")):
        assert drawn(name, "mild")[key] == drawn(name, "severe")[key]
    mild, severe = (torch.tensor(drawn("motion", level)["rotations"]) for level in ("mild", "severe"))
    torch.testing.assert_close(severe, 4 * mild)
    mild, severe = (torch.tensor(drawn("bias_field", level)["coefficients"]) for level in ("mild", "severe"))
    torch.testing.assert_close(severe, 5 * mild)
    assert drawn("ghosting", "mild")["count"] == drawn("ghosting", "severe")["count"]
    assert drawn("gamma", "severe")["log_gamma"] == pytest.approx(3 * drawn("gamma", "mild")["log_gamma"])


@pytest.mark.parametrize("name", NAMES)
def test_more_severe_is_further_from_the_image(name):
    image = MetaTensor(blobs((32, 34, 20), SPACING)[None], affine=TURNED)
    errors = []
    for level in (0, *LEVELS):
        found = [at_severity(name, level).set_random_state(seed)(image) for seed in range(4)]
        errors.append(sum(float((one - image).square().mean()) for one in found))
    assert errors[0] == 0 and errors == sorted(set(errors))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", NAMES)
def test_severity_0_is_the_identity(name, dtype):
    transform = at_severity(name, 0).set_random_state(0)
    for shape in ((2, 6, 7, 8), (2, 6, 7), (1, 1, 1, 1)):
        image = texture(*shape, dtype=dtype) - 0.3
        found = transform(image)
        assert found.dtype == dtype and found.data_ptr() != image.data_ptr()
        assert torch.equal(found.as_tensor().view(torch.uint8), image.view(torch.uint8))
    assert set(strengths(name, 0).values()) == {0}
    more = {"motion": {"moves": 4, "degrees": 30}, "slice_dropout": {"remaining": 0.5}, "spike": {"count": 9}}.get(name)
    assert torch.equal(at_severity(name, 0.0, more)(scan(1, 6, 7, 8)), scan(1, 6, 7, 8))


def test_a_number_sets_the_first_strength():
    assert strengths("motion", 7) == {"degrees": 7, "translation": 5}
    assert strengths("noise", 0.2) == {"std": 0.2}
    assert strengths("motion", 7, {"translation": (1, 2, 3)}) == {"degrees": 7, "translation": 2}


def test_settings_override_strengths():
    assert strengths("motion", "severe", {"degrees": (1, 2, 3)}) == {"degrees": 3, "translation": 10}
    assert strengths("motion", "mild", {"translation": 4}) == {"degrees": 5, "translation": 4}
    transform = at_severity("motion", "mild", {"degrees": [1, 2, 3], "moves": 4, "in_plane": 2})
    assert isinstance(transform, RandMotion)
    assert (transform.degrees, transform.moves, transform.in_plane) == ((1, 1), 4, 2)
    assert strengths("motion", "mild", {"moves": 4}) == strengths("motion", "mild")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("moton",), "artifact moton: unknown; did you mean motion"),
        (("zzz",), "artifact zzz: unknown; there are: noise, rician, motion"),
        ((None,), "artifact None: unknown"),
        (
            ("noise", "extreme"),
            "severity extreme: is not a strength; give 0 .* or more, or one of mild, moderate, severe$",
        ),
        (("noise", "2"), "severity 2: is not a strength"),
        (("noise", -1), "severity -1: is not a strength"),
        (("noise", True), "severity True: is not a strength"),
        (("noise", None), "severity None: is not a strength"),
        (("noise", float("nan")), "severity nan: is not a strength"),
        (("noise", float("inf")), "severity inf: is not a strength"),
        (("noise", "mild", {"std": -1}), "noise: std -1: is not a strength"),
        (("noise", "mild", {"std": (1, 2)}), r"noise: std \(1, 2\): is not a strength"),
        (("noise", "mild", {"std": (1, 2, -3)}), "noise: std .* is not a strength"),
        (("noise", "mild", {"std": "abc"}), "noise: std 'abc': is not a strength"),
        (("noise", "mild", {"std": None}), "noise: std None: is not a strength"),
        (("noise", "mild", {"std": True}), "noise: std True: is not a strength"),
        (("motion", "mild", {"degree": 3}), "motion: degree: unknown setting; did you mean degrees"),
        (("motion", 0, {"degree": 3}), "motion: degree: unknown setting"),
        (("motion", "mild", {"prob": 0.5}), "motion: prob: unknown setting; there are: degrees, translation, moves"),
    ],
)
def test_invalid_arguments(arguments, words):
    for function in (strengths, at_severity):
        with pytest.raises(InputError, match=words) as caught:
            function(*arguments)
        assert "\n" not in str(caught.value)


def test_make_transform():
    transform = make_transform("blur", {"std": (1, 2)})
    assert transform.prob == 1 and transform.std == (1, 2)
    assert find_artifact("blur") is type(transform)
    with pytest.raises(InputError, match="RandMotion: moves 0 is not a count"):
        make_transform("motion", {"moves": 0})
    with pytest.raises(InputError, match="blur: width: unknown setting; there are: std"):
        make_transform("blur", {"width": 3})
