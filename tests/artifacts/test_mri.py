"""The transform for training: choice of artifacts, probability, strength, and use in a MONAI pipeline."""

import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from images import NAMES, scan, texture
from monai.bundle import ConfigParser
from monai.transforms import Compose, RandCropByPosNegLabeld, RandFlipd

from heartseg.artifacts import ARTIFACTS, RandMRIArtifacts, RandMRIArtifactsd, RandNoise
from heartseg.errors import InputError

TOSSES = 900


def choices(transform, tosses=TOSSES):
    """Return how often each artifact was drawn; None counts the images without one."""
    image, counts = texture(1, 3, 3, 3), Counter()
    for _ in range(tosses):
        transform.randomize(image)
        counts[type(transform.drawn).function.__name__ if transform._do_transform else None] += 1
    return counts


def likely(count, share, tosses=TOSSES):
    """Within 4.5 standard deviations."""
    return abs(count - tosses * share) < 4.5 * (tosses * share * (1 - share)) ** 0.5


def test_all_are_drawn_uniformly():
    counts = choices(RandMRIArtifacts(prob=0.6).set_random_state(0))
    assert set(counts) == {None, *NAMES}
    assert likely(counts[None], 0.4)
    assert all(likely(counts[name], 0.6 / 9) for name in NAMES)


def test_only_chosen_artifacts_are_drawn():
    for chosen in (["motion", "gamma"], ("motion", "gamma"), {"motion": None, "gamma": {"log_gamma": 0.1}}):
        counts = choices(RandMRIArtifacts(prob=1, artifacts=chosen).set_random_state(1))
        assert set(counts) == {"motion", "gamma"}
        assert likely(counts["motion"], 0.5)


@pytest.mark.parametrize("prob", [0.0, 0.1, 1.0])
def test_probability(prob):
    """Counted from the images, in the dictionary form."""
    chosen = {"gamma": {"log_gamma": (0.3, 0.3)}, "spike": {"intensity": (1, 1)}}
    transform = RandMRIArtifactsd("image", prob=prob, artifacts=chosen).set_random_state(0)
    image = texture(1, 4, 5, 6)
    acted = sum(not torch.equal(transform({"image": image})["image"], image) for _ in range(300))
    assert likely(acted, prob, 300) or (prob in (0, 1) and acted == 300 * prob)


def test_strengths_range_from_0_to_severe():
    for strength in (0, 0.5, 1.0, 2):
        for transform in RandMRIArtifacts(strength=strength).transforms:
            assert transform.prob == 1
            for key, levels in transform.severities.items():
                assert getattr(transform, key) == (0, strength * levels[-1])


def test_given_strengths_are_not_scaled():
    chosen = {"motion": {"degrees": 15, "moves": 3}, "noise": {"std": [0.01, 0.03]}, "blur": None}
    motion, noise, blur = RandMRIArtifacts(artifacts=chosen, strength=0.5).transforms
    assert (motion.degrees, motion.moves, motion.translation) == ((0, 15), 3, (0, 5))
    assert noise.std == (0.01, 0.03)
    assert blur.std == (0, 1)


@pytest.mark.parametrize("name", NAMES)
def test_strength_0_is_the_identity(name):
    transform = RandMRIArtifacts(prob=1, artifacts=[name], strength=0).set_random_state(0)
    for image in (scan(2, 6, 7, 8), scan(2, 6, 7)):
        found = transform(image)
        assert torch.equal(found, image) and found.data_ptr() != image.data_ptr()


@pytest.mark.parametrize("name", NAMES)
def test_each_artifact_equals_its_own_transform(name):
    """After the draws of whether and which, the artifact's transform draws from the same state."""
    image, state = scan(1, 6, 7, 8), np.random.RandomState(5)
    state.rand(), state.randint(1)
    severe = {key: values[-1] for key, values in ARTIFACTS[name].severities.items()}
    expected = ARTIFACTS[name](prob=1, **severe).set_random_state(state=state)(image)
    found = RandMRIArtifacts(prob=1, artifacts=[name]).set_random_state(5)(image)
    assert torch.equal(found, expected)
    assert torch.equal(found.affine, image.affine) and found.applied_operations == image.applied_operations


def test_the_same_seed_gives_the_same_images():
    images = [scan(1, 6, 7, 8, seed=seed) for seed in range(8)]

    def run(transform):
        return torch.stack([transform(image).as_tensor() for image in images])

    transform = RandMRIArtifacts(prob=0.8).set_random_state(3)
    twin = pickle.loads(pickle.dumps(transform))
    found = run(transform)
    assert torch.equal(run(twin), found)
    assert torch.equal(run(RandMRIArtifacts(prob=0.8).set_random_state(3)), found)
    assert not torch.equal(run(transform), found)
    assert torch.equal(run(transform.set_random_state(3)), found)
    dictionary = RandMRIArtifactsd("image", prob=0.8).set_random_state(3)
    assert torch.equal(torch.stack([dictionary({"image": image})["image"].as_tensor() for image in images]), found)


def test_two_keys_and_a_label():
    label = scan(1, 6, 7, 8, seed=4)
    data = {"image": scan(1, 6, 7, 8), "late": scan(1, 6, 7, 8), "label": label}
    transform = RandMRIArtifactsd(["image", "late"], prob=1).set_random_state(0)
    for _ in range(20):
        found = transform(data)
        assert torch.equal(found["image"], found["late"]) and found["label"] is label
    assert torch.equal(label, scan(1, 6, 7, 8, seed=4))


@pytest.mark.parametrize("lazy", [True, False])
def test_after_a_crop_in_a_lazy_pipeline(lazy):
    """Pending operations are applied before the artifact, and the patches of a scan differ."""
    label = torch.zeros(1, 16, 17, 18)
    label[:, 6:10, 6:10, 6:10] = 1
    data = {"image": scan(1, 16, 17, 18), "label": scan(1, 16, 17, 18) * 0 + label}
    before = [
        RandCropByPosNegLabeld(["image", "label"], "label", (8, 9, 10), num_samples=3),
        RandFlipd(["image", "label"], prob=0.5, spatial_axis=0),
    ]
    artifact = RandMRIArtifactsd("image", prob=1, artifacts={"noise": {"std": (0.1, 0.1)}})
    found = Compose([*before, artifact], lazy=lazy).set_random_state(2)(data)
    plain = Compose(before).set_random_state(2)(data)
    assert len(found) == 3
    for patch, crop in zip(found, plain, strict=True):
        assert patch["image"].shape == (1, 8, 9, 10) and not patch["image"].pending_operations
        torch.testing.assert_close(patch["image"].affine, crop["image"].affine)
        # If lazy, crop and flip may be done by one interpolation: 0 and 1 are rounded.
        torch.testing.assert_close(patch["label"].as_tensor(), crop["label"].as_tensor(), rtol=0, atol=1e-5)
        change = (patch["image"] - crop["image"]).as_tensor()
        assert change.std() == pytest.approx(0.1 * 0.98, rel=0.1)  # of a uniform distribution from 0 to 1
    assert not torch.equal(found[0]["image"] - plain[0]["image"], found[1]["image"] - plain[1]["image"])


def test_a_lazy_pipeline_gives_the_same_images():
    def run(lazy):
        crop = RandCropByPosNegLabeld(["image", "label"], "label", (8, 9, 10), num_samples=2)
        chain = Compose([crop, RandMRIArtifactsd("image", prob=1)], lazy=lazy).set_random_state(6)
        label = (scan(1, 16, 17, 18) > 0.5).float()
        return torch.stack(
            [patch["image"].as_tensor() for patch in chain({"image": scan(1, 16, 17, 18), "label": label})]
        )

    torch.testing.assert_close(run(True), run(False), rtol=0, atol=1e-5)


YAML = """
chance: 1.0
knob: 0.5
transform:
  _target_: heartseg.artifacts.RandMRIArtifactsd
  keys: image
  prob: "@chance"
  artifacts:
    motion: {degrees: 15, moves: 3, in_plane: 2}
    noise: {std: [0.01, 0.03]}
    blur:
  strength: "@knob"
all:
  _target_: heartseg.artifacts.RandMRIArtifactsd
  keys: [image]
  artifacts: null
some:
  _target_: heartseg.artifacts.RandMRIArtifacts
  artifacts: [rician, slice_dropout]
one:
  _target_: heartseg.artifacts.RandNoised
  keys: image
  std: [0.01, 0.02]
"""


def test_in_yaml(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text(YAML, encoding="utf-8")
    parser = ConfigParser()
    parser.read_config(path)
    transform = parser.get_parsed_content("transform")
    motion, noise, blur = transform.transform.transforms
    assert (motion.degrees, motion.translation, motion.moves, motion.in_plane) == ((0, 15), (0, 5), 3, 2)
    assert noise.std == (0.01, 0.03) and blur.std == (0, 1)
    assert transform({"image": scan(1, 6, 7, 8)})["image"].shape == (1, 6, 7, 8)
    assert [type(t) for t in parser.get_parsed_content("all").transform.transforms] == list(ARTIFACTS.values())
    assert [type(t).function.__name__ for t in parser.get_parsed_content("some").transforms] == [
        "rician",
        "slice_dropout",
    ]
    one = parser.get_parsed_content("one").transform
    assert isinstance(one, RandNoise) and one.std == (0.01, 0.02)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"artifacts": ["noise", "moton"]}, "artifact moton: unknown; did you mean motion"),
        ({"artifacts": {"Noise": {}}}, "artifact Noise: unknown; did you mean noise"),
        ({"artifacts": "motion"}, r"artifacts 'motion' is not a list of names; give one such as \[motion, noise\]"),
        ({"artifacts": []}, r"artifacts \[\] is not a list of names"),
        ({"artifacts": {}}, "artifacts {} is not a list of names"),
        ({"artifacts": 3}, "artifacts 3 is not a list of names"),
        ({"artifacts": [{"motion": {"moves": 3}}]}, "is not a list of names"),
        ({"artifacts": {"motion": 3}}, "motion 3 is not a mapping; give settings"),
        ({"artifacts": {"motion": {"move": 3}}}, "motion: move: unknown setting; did you mean moves"),
        (
            {"artifacts": {"motion": {"prob": 0.3}}},
            "motion: prob: unknown setting; there are: degrees, translation, moves",
        ),
        ({"artifacts": {"motion": {"degrees": -3}}}, "RandMotion: degrees -3 is not a strength"),
        ({"strength": -1}, "RandMRIArtifacts: strength -1 is not a strength; give 0 or more \\(1: severe\\)"),
        ({"strength": True}, "strength True is not a strength"),
        ({"strength": "mild"}, "strength 'mild' is not a strength"),
        ({"strength": float("inf")}, "strength inf is not a strength"),
        ({"strength": 6}, "RandSliceDropout: share .* is more than all slices"),
    ],
)
def test_invalid_arguments(arguments, words):
    for build in (RandMRIArtifacts, lambda **more: RandMRIArtifactsd("image", **more)):
        with pytest.raises(InputError, match=words) as caught:
            build(**arguments)
        assert "\n" not in str(caught.value)
