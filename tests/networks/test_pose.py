"""The 48 poses of a volume, and the network that recognises them."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform

from heartseg.data.anatomy import pose_matrix, recognise_pose
from heartseg.data.scans import read_scan, to_tensor
from heartseg.errors import InputError
from heartseg.networks.pose import (
    POSES,
    SIZE,
    PoseNet,
    _composition,
    apply_pose,
    axcodes_pose,
    centre_cube,
    load_pose_network,
    pose_axcodes,
    pose_probabilities,
    shrink,
    unit_range,
)
from heartseg.phantoms.writing import atrium_phantom

SHIPPED = sorted(Path(__file__).parents[2].glob("bundles/*/models/pose.pt"))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return PoseNet(channels=2).eval()


def cube(seed=0):
    return torch.rand(1, SIZE, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def test_there_are_48_poses_and_the_first_is_the_identity():
    assert len(POSES) == len(set(POSES)) == 48
    assert POSES[0] == ((0, 1, 2), (False, False, False))
    assert pose_axcodes(0) == "RAS"
    assert torch.equal(apply_pose(cube(), 0), cube())


def test_axcodes_by_hand():
    assert POSES[axcodes_pose("ASR")] == ((1, 2, 0), (False, False, False))
    assert POSES[axcodes_pose("LPS")] == ((0, 1, 2), (True, True, False))
    assert POSES[axcodes_pose("SLP")] == ((2, 0, 1), (False, True, True))
    assert axcodes_pose("asr") == axcodes_pose("ASR")


def test_axcodes_and_poses_are_one_to_one():
    codes = [pose_axcodes(pose) for pose in range(48)]
    assert len(set(codes)) == 48
    assert [axcodes_pose(code) for code in codes] == list(range(48))


@pytest.mark.parametrize("codes", ["RA", "RASL", "RRS", "RLS", "XYZ", ""])
def test_invalid_axcodes(codes):
    with pytest.raises(ValueError, match="does not name three axes, such as RAS or ASR"):
        axcodes_pose(codes)


def test_apply_pose_by_hand():
    volume = torch.arange(6).reshape(1, 1, 2, 3)  # x of length 1, y of length 2, z of length 3
    assert apply_pose(volume, axcodes_pose("ASR")).tolist() == [[[[0], [1], [2]], [[3], [4], [5]]]]
    assert apply_pose(volume, axcodes_pose("RPI")).tolist() == [[[[5, 4, 3], [2, 1, 0]]]]
    assert apply_pose(volume, axcodes_pose("SPR")).tolist() == [[[[3], [0]], [[4], [1]], [[5], [2]]]]
    assert apply_pose(volume[0], axcodes_pose("ASR")).shape == (2, 3, 1)  # leading axes are free


@pytest.mark.parametrize("pose", range(48))
def test_apply_pose_is_the_reorientation_of_nibabel(pose):
    """An RAS image that nibabel stores with other axis codes has the same voxels, and `pose_matrix` the same axes."""
    voxels = np.random.default_rng(0).random((3, 4, 5))
    image = nib.Nifti1Image(voxels, np.eye(4))
    ornt = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(pose_axcodes(pose)))
    stored = image.as_reoriented(ornt)
    assert "".join(nib.aff2axcodes(stored.affine)) == pose_axcodes(pose)
    np.testing.assert_array_equal(apply_pose(torch.from_numpy(voxels), pose).numpy(), stored.get_fdata())
    np.testing.assert_array_equal(pose_matrix(pose)[:3, :3].numpy(), inv_ornt_aff(ornt, voxels.shape)[:3, :3])


def test_composition_of_all_poses():
    """Pose k followed by pose h is pose table[h, k], on a cube that looks different in every pose."""
    table = _composition()
    volume = torch.arange(27).reshape(3, 3, 3)
    assert len({tuple(apply_pose(volume, pose).flatten().tolist()) for pose in range(48)}) == 48
    for h in range(48):
        assert sorted(table[h].tolist()) == list(range(48))
        for k in range(48):
            assert torch.equal(apply_pose(apply_pose(volume, k), h), apply_pose(volume, int(table[h, k])))


@pytest.mark.parametrize("codes", ["ASR", "LPS", "SLP", "IRA"])
def test_the_result_rotates_with_the_volume(network, codes):
    """For any weights: pose k becomes pose table[h, k] after the volume is put into pose h."""
    h = axcodes_pose(codes)
    before, after = pose_probabilities(network, cube()), pose_probabilities(network, apply_pose(cube(), h))
    torch.testing.assert_close(after[_composition()[h]], before, rtol=1e-4, atol=1e-7)
    assert before.shape == (48,)
    assert before.sum().item() == pytest.approx(1, abs=1e-5)
    assert before.max() - before.min() > 1e-4  # else any permutation would do


def test_one_mistaken_view_does_not_decide():
    """The mean of log probabilities over 48 views, by hand: 47 say pose 0, one says pose 1 with the same force."""
    table = _composition()

    class Witness(torch.nn.Module):
        def forward(self, views):
            says = table[:, 0].clone()
            says[5] = table[5, 1]
            return 10.0 * torch.nn.functional.one_hot(says, 48)

    probabilities = pose_probabilities(Witness(), cube())
    # Differences of log probabilities are the mean votes: 10 * 47 / 48, 10 * 1 / 48, and 0 elsewhere.
    weights = np.exp(10 * np.array([47 / 48, 1 / 48] + [0] * 46))
    np.testing.assert_allclose(probabilities.numpy(), weights / weights.sum(), rtol=1e-4)


def test_probabilities_do_not_depend_on_dropout(network):
    network.train()
    assert torch.equal(pose_probabilities(network, cube()), pose_probabilities(network, cube()))


def test_batch_of_two():
    logits = PoseNet()(torch.stack([cube(0), cube(1)]))
    assert logits.shape == (2, 48)


def test_shrink_averages_onto_4_5_mm():
    volume = torch.arange(8.0).reshape(1, 2, 2, 2).repeat_interleave(3, 1).repeat_interleave(3, 2)
    small = shrink(volume + torch.tensor([0.5, -0.5]), (1.5, 1.5, 4.5))
    expected = torch.arange(8.0).reshape(1, 2, 2, 2) + torch.tensor([0.5, -0.5])
    torch.testing.assert_close(small, expected, rtol=1e-6, atol=1e-6)  # a mean of nine equal numbers may round
    assert shrink(torch.zeros(1, 10, 20, 1), (9, 0.9, 1)).shape == (1, 20, 4, 1)


def test_unit_range_clips_the_tails():
    values = torch.arange(101.0).reshape(1, 101, 1, 1)
    expected = ((torch.arange(101.0) - 1) / 98).clamp(0, 1)  # the 1 and 99 % quantiles of 0..100
    torch.testing.assert_close(unit_range(values).flatten(), expected)
    assert unit_range(torch.full((1, 4, 4, 4), 7.0)).unique().tolist() == [0]


def test_centre_cube_takes_the_middle():
    volume = torch.zeros(1, 40, SIZE, 20)
    volume[:, 20, 10, 8] = 1000  # the brightest of 40 x 28 x 20 voxels: cut to the 99 % quantile
    volume += torch.linspace(0, 1, 20)
    found = centre_cube(volume, (4.5, 4.5, 4.5))
    assert found.shape == (1, SIZE, SIZE, SIZE)
    assert found.min() == 0 and found.max() == 1
    # 6 voxels are cut off on either side of axis 1, 4 of air are put on either side of axis 3
    assert found[0, 14, 10, 12] == 1
    assert not found[..., :4].any() and not found[..., 24:].any()
    torch.testing.assert_close(found[0, 0, 0, 4:24], unit_range(volume[:, 6:34])[0, 0, 0])


@pytest.mark.parametrize(
    ("shape", "spacing"), [((3, 3, 3), (1, 1, 1)), ((90, 17, 41), (0.8, 12, 3)), ((1, 1, 2), (2, 2, 2))]
)
def test_centre_cube_of_any_scan(shape, spacing):
    found = centre_cube(torch.rand(1, *shape), spacing)
    assert found.shape == (1, SIZE, SIZE, SIZE)
    assert found.isfinite().all() and found.min() >= 0 and found.max() <= 1


def test_loaded_network_equals_the_saved_one(tmp_path):
    torch.manual_seed(1)
    saved = PoseNet()
    torch.save(saved.state_dict(), tmp_path / "pose.pt")
    loaded = load_pose_network(tmp_path / "pose.pt")
    assert not loaded.training
    assert torch.equal(pose_probabilities(loaded, cube()), pose_probabilities(saved, cube()))
    assert load_pose_network(tmp_path / "pose.pt") is loaded  # not read again for every scan


def test_damaged_weights_give_one_line(tmp_path):
    (tmp_path / "pose.pt").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(InputError, match=r"pose.pt: cannot be read as weights"):
        load_pose_network(tmp_path / "pose.pt")


@pytest.mark.parametrize("weights", SHIPPED, ids=lambda path: path.parts[-3])
@pytest.mark.parametrize("seed", [0, 2])
def test_shipped_weights_recognise_phantoms(weights, seed):
    """A phantom with a true header is RAS for any storage; rotated under the same header it is not."""
    image, _, affine = atrium_phantom(np.random.default_rng(seed), size="small")
    true = to_tensor(*read_scan(nib.Nifti1Image(image, affine)))
    pose, probability, warning = recognise_pose(true, weights)
    assert (pose, warning) == (0, None)
    assert probability > 0.8
    for codes in ("ASR", "LPS", "SLP"):
        mislabelled = true.clone()  # its anatomy stays; the header calls that other names
        mislabelled.affine = pose_matrix(axcodes_pose(codes)).inverse() @ true.affine
        pose, probability, warning = recognise_pose(mislabelled, weights)
        assert pose_axcodes(pose) == codes
        assert probability > 0.8
        assert warning is not None and f"seems to be {', '.join(codes)} (probability" in warning


def test_a_bundle_ships_pose_weights():
    assert SHIPPED, "otherwise the test above tests nothing"
