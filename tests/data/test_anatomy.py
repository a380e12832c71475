"""Wrong headers: the anatomy is declared or recognised, and the mask is still on the file's own grid."""

import logging
import math

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Orientationd
from nibabel.affines import voxel_sizes

import heartseg.data.anatomy as anatomy_module
from heartseg.data import AnatomicalAxesd, LoadScand
from heartseg.data.anatomy import anatomical_affine, check_poses, recognise_pose
from heartseg.data.dataset_checks import CaseCheck
from heartseg.errors import InputError
from heartseg.networks.pose import axcodes_pose, pose_axcodes
from heartseg.phantoms.writing import atrium_phantom

# A header that calls the axes R, A, S, 2 x 3 x 4 mm, and one that is oblique and left-handed.
PLAIN = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0], dtype=torch.float64))
PLAIN[:3, 3] = torch.tensor([-10.0, 20.0, 30.0])
OBLIQUE = torch.tensor(
    [[-1.9, 0.1, 0.6, 12.3], [0.2, 3.1, 0.2, -45.6], [0.5, -0.3, 3.9, 7.8], [0, 0, 0, 1]], dtype=torch.float64
)


def scan(affine=PLAIN, name="la_001.nii.gz", shape=(5, 6, 7)):
    voxels = torch.arange(math.prod(shape)).reshape(1, *shape).float()
    return MetaTensor(voxels, affine=affine.clone(), meta={"filename_or_obj": f"somewhere/{name}"})


def lines(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "heartseg"]


@pytest.fixture
def network_says(monkeypatch, tmp_path):
    """Make the pose network return these probabilities, the rest spread evenly; return its file of weights."""

    def patch(**shares):
        weights = tmp_path / "pose.pt"
        weights.touch()
        probabilities = torch.full((48,), (1 - sum(shares.values())) / (48 - len(shares)))
        for codes, share in shares.items():
            probabilities[axcodes_pose(codes)] = share
        monkeypatch.setattr(anatomy_module, "load_pose_network", lambda path: None)
        monkeypatch.setattr(anatomy_module, "pose_probabilities", lambda network, cube: probabilities)
        return weights

    return patch


@pytest.fixture
def warned(caplog):
    caplog.set_level(logging.WARNING, logger="heartseg")
    return caplog


@pytest.mark.parametrize("affine", [PLAIN, OBLIQUE], ids=["plain", "oblique"])
def test_the_header_is_trusted_on_request(affine, network_says, warned):
    weights = network_says(ASR=0.99)
    image = AnatomicalAxesd("image", anatomy="header", weights=weights)({"image": scan(affine)})["image"]
    assert torch.equal(image.affine, affine)
    assert image.meta["anatomy"] == "RAS"
    assert math.isnan(image.meta["anatomy_probability"])
    assert not lines(warned)


def test_declared_axes_by_hand():
    """ASR: what the header calls R points forwards, its A upwards, its S to the right."""
    image = AnatomicalAxesd("image", anatomy="ASR")({"image": scan()})["image"]
    expected = [[0, 0, 4, 30], [2, 0, 0, -10], [0, 3, 0, 20], [0, 0, 0, 1]]
    assert image.affine.tolist() == expected
    assert nib.aff2axcodes(image.affine.numpy()) == ("A", "S", "R")
    assert image.meta["anatomy"] == "ASR"
    assert math.isnan(image.meta["anatomy_probability"])
    assert torch.equal(image.as_tensor(), scan().as_tensor())  # no voxel is moved


def test_declared_flips_by_hand():
    image = AnatomicalAxesd("image", anatomy="lps")({"image": scan()})["image"]
    assert image.affine.tolist() == [[-2, 0, 0, 10], [0, -3, 0, -20], [0, 0, 4, 30], [0, 0, 0, 1]]
    assert image.meta["anatomy"] == "LPS"


def test_declared_axes_of_an_oblique_header_by_hand():
    """World coordinates are rotated as a whole: the rows of the affine are permuted, its tilt stays."""
    image = AnatomicalAxesd("image", anatomy="ASL")({"image": scan(OBLIQUE)})["image"]
    right, front, up, last = OBLIQUE.tolist()
    assert image.affine.tolist() == [[-value for value in up], right, front, last]


def test_a_declared_anatomy_needs_no_network(network_says, warned):
    weights = network_says(LPS=0.99)
    image = AnatomicalAxesd("image", anatomy="ASR", weights=weights)({"image": scan()})["image"]
    assert image.meta["anatomy"] == "ASR"
    assert not lines(warned)


@pytest.mark.parametrize("codes", [pose_axcodes(pose) for pose in range(48)])
def test_inverse_restores_the_header_exactly(codes):
    pipeline = Compose([AnatomicalAxesd("image", anatomy=codes), Orientationd("image", axcodes="RAS", labels=None)])
    turned = pipeline({"image": scan(OBLIQUE)})
    assert nib.aff2axcodes(turned["image"].affine.numpy()) == ("R", "A", "S")
    back = pipeline.inverse(turned)["image"]
    assert torch.equal(back.affine, OBLIQUE)
    assert torch.equal(back.as_tensor(), scan().as_tensor())
    assert back.applied_operations == []


def test_a_predicted_mask_is_restored_to_the_header_s_grid(network_says):
    weights = network_says(SLP=0.97)
    pipeline = Compose([AnatomicalAxesd("image", weights=weights), Orientationd("image", axcodes="RAS", labels=None)])
    data = pipeline({"image": scan(OBLIQUE)})
    data["pred"] = MetaTensor((data["image"].as_tensor() > 77).float(), meta=data["image"].meta)
    mask = Invertd("pred", transform=pipeline, orig_keys="image", nearest_interp=False)(data)["pred"]
    assert torch.equal(mask.affine, OBLIQUE)
    assert torch.equal(mask.as_tensor(), (scan().as_tensor() > 77).float())


def test_the_label_follows_its_image(network_says):
    weights = network_says(ASR=0.95)
    transform = AnatomicalAxesd(["image", "label"], weights=weights)
    data = transform({"image": scan(OBLIQUE), "label": scan(OBLIQUE), "id": "la_001"})
    assert data["id"] == "la_001"
    assert data["label"].meta["anatomy"] == "ASR"
    assert not torch.equal(data["label"].affine, OBLIQUE)
    assert torch.equal(data["label"].affine, data["image"].affine)
    back = transform.inverse(data)
    assert torch.equal(back["image"].affine, OBLIQUE) and torch.equal(back["label"].affine, OBLIQUE)


def test_a_missing_key_is_an_error_unless_allowed():
    with pytest.raises(KeyError, match="label"):
        AnatomicalAxesd(["image", "label"], anatomy="header")({"image": scan()})
    data = AnatomicalAxesd(["image", "label"], anatomy="ASR", allow_missing_keys=True)({"image": scan()})
    assert data["image"].meta["anatomy"] == "ASR"


def test_a_contradicted_header_is_overruled_with_a_warning(network_says, warned):
    weights = network_says(ASR=0.9, RAS=0.05)
    image = AnatomicalAxesd("image", weights=str(weights))({"image": scan()})["image"]
    assert nib.aff2axcodes(image.affine.numpy()) == ("A", "S", "R")
    assert image.meta["anatomy"] == "ASR"
    assert image.meta["anatomy_probability"] == pytest.approx(0.9)
    assert lines(warned) == [
        "la_001.nii.gz: the header contradicts the anatomy: "
        "what it calls R, A, S seems to be A, S, R (probability 0.90); the scan is read that way"
    ]


def test_a_doubtful_header_is_trusted_with_a_warning(network_says, warned):
    weights = network_says(LPS=0.75, RAS=0.2)
    image = AnatomicalAxesd("image", weights=weights)({"image": scan()})["image"]
    assert torch.equal(image.affine, PLAIN)
    assert image.meta["anatomy"] == "RAS"
    assert image.meta["anatomy_probability"] == pytest.approx(0.2)
    assert lines(warned) == [
        "la_001.nii.gz: the header may contradict the anatomy: "
        "what it calls R, A, S seems to be L, P, S (probability 0.75); the header is used, check the scan"
    ]


@pytest.mark.parametrize(("share", "codes"), [(0.79, "RAS"), (0.81, "ASR")])
def test_the_header_is_overruled_from_a_probability_of_0_8(network_says, share, codes):
    image = AnatomicalAxesd("image", weights=network_says(ASR=share))({"image": scan()})["image"]
    assert image.meta["anatomy"] == codes


@pytest.mark.parametrize("share", [0.3, 0.99])
def test_a_confirmed_header_is_trusted_without_a_warning(network_says, warned, share):
    image = AnatomicalAxesd("image", weights=network_says(RAS=share))({"image": scan(OBLIQUE)})["image"]
    assert torch.equal(image.affine, OBLIQUE)
    assert image.meta["anatomy"] == "RAS"
    assert image.meta["anatomy_probability"] == pytest.approx(share)
    assert not lines(warned)


@pytest.mark.parametrize("weights", [None, "gone.pt"])
def test_without_the_network_the_header_is_trusted(tmp_path, weights, warned):
    weights = weights and tmp_path / weights
    image = AnatomicalAxesd("image", weights=weights)({"image": scan()})["image"]
    assert torch.equal(image.affine, PLAIN)
    assert image.meta["anatomy"] == "RAS"
    assert math.isnan(image.meta["anatomy_probability"])


@pytest.mark.parametrize("knob", ["atuo", "RAR", "ASRL", "", None, 5])
def test_invalid_knob(knob):
    with pytest.raises(InputError, match=r"^anatomy: .* does not name three axes.*; use auto, header or axis codes$"):
        AnatomicalAxesd("image", anatomy=knob)


def test_the_network_sees_the_header_s_ras_at_4_5_mm(monkeypatch, tmp_path):
    """The cube is cropped after reorienting to the header's RAS, and the scan itself is not changed."""
    seen = []
    monkeypatch.setattr(anatomy_module, "load_pose_network", lambda path: None)
    monkeypatch.setattr(
        anatomy_module, "pose_probabilities", lambda network, cube: seen.append(cube) or torch.eye(48)[0]
    )
    # Stored as P, S, L: axis 0 points backwards, 1 upwards, 2 to the left; 9 mm per voxel, 4.5 mm upwards.
    affine = torch.tensor([[0, 0, -9, 0], [-9, 0, 0, 0], [0, 4.5, 0, 0], [0, 0, 0, 1.0]], dtype=torch.float64)
    image = scan(affine, shape=(14, 28, 14))
    before = (image.affine.clone(), list(image.applied_operations), dict(image.meta))
    recognise_pose(image, tmp_path)
    ras = image.as_tensor().permute(0, 3, 1, 2).flip(1, 2)  # x from axis 2 backwards, y from axis 0 backwards
    low, high = torch.quantile(ras, torch.tensor([0.01, 0.99]))
    expected = ((ras - low) / (high - low)).clamp(0, 1).repeat_interleave(2, 1).repeat_interleave(2, 2)
    torch.testing.assert_close(seen[0], expected, rtol=0, atol=5e-3)
    assert torch.equal(image.affine, before[0]) and image.applied_operations == before[1]
    assert image.meta.keys() == before[2].keys()


def test_a_wrong_header_with_declared_axes_equals_the_correct_scan(tmp_path):
    """A phantom stored as A, S, R with a header that says so, and with one that says R, A, S."""
    image, label, affine = atrium_phantom(
        np.random.default_rng(1), spacing=(5, 6, 7), shape=(30, 26, 22), axcodes="ASR"
    )
    for name, header in (("true", affine), ("wrong", np.diag([*voxel_sizes(affine), 1.0]))):
        for key, voxels in (("image", image), ("label", label)):
            nib.save(nib.Nifti1Image(voxels, header), tmp_path / f"{name}-{key}.nii")
    assert nib.aff2axcodes(nib.load(tmp_path / "wrong-image.nii").affine) == ("R", "A", "S")

    def load(name, anatomy):
        keys = ["image", "label"]
        pipeline = Compose(
            [LoadScand(keys), AnatomicalAxesd(keys, anatomy=anatomy), Orientationd(keys, axcodes="RAS", labels=None)]
        )
        return pipeline({key: tmp_path / f"{name}-{key}.nii" for key in keys})

    true, declared, trusted = load("true", "header"), load("wrong", "ASR"), load("wrong", "header")
    assert true["image"].shape == (1, 30, 26, 22)
    for key in ("image", "label"):
        assert torch.equal(declared[key].as_tensor(), true[key].as_tensor())
        assert declared[key].pixdim.tolist() == pytest.approx([5, 6, 7], rel=1e-5)
    assert trusted["image"].shape == (1, 26, 22, 30)


def test_anatomical_affine_equals_that_of_the_transformed_image():
    image = AnatomicalAxesd("image", anatomy="SLP")({"image": scan(OBLIQUE)})["image"]
    np.testing.assert_array_equal(anatomical_affine(OBLIQUE.numpy(), image.meta), image.affine.numpy())
    np.testing.assert_array_equal(anatomical_affine(OBLIQUE.numpy(), {}), OBLIQUE.numpy())


def test_check_poses_reports_contradictions(network_says, tmp_path):
    voxels = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "la_001.nii")
    case = CaseCheck(id="la_001", patient="la_001", image=str(tmp_path / "la_001.nii"), label=None)
    assert list(check_poses([case], network_says(RAS=0.9))) == []
    [(found, line)] = check_poses([case], network_says(ASR=0.9))
    assert found is case
    assert line.startswith("la_001.nii: the header contradicts the anatomy: ")
    with pytest.raises(InputError, match=r"gone.pt: no such file; this bundle has no pose network"):
        list(check_poses([case], tmp_path / "gone.pt"))
