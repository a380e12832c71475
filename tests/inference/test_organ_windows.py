"""Windows around one organ give what all windows give, and are fewer."""

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from scipy import ndimage

from heartseg.errors import InputError
from heartseg.inference.organ_windows import OrganWindowInferer

ROI = (16, 16, 16)
# Sums of the same terms in another order: float32 rounding of logits of the size 1.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


class Threshold(torch.nn.Module):
    """Foreground where the image is bright, shifted by what else the window shows, so that windows disagree."""

    def __init__(self, classes=2):
        super().__init__()
        self.classes = classes
        self.calls = []

    def forward(self, window):
        self.calls.append(len(window))
        light = window[:, :1] - 0.5 + 0.1 * window.std(dim=(2, 3, 4), keepdim=True)
        others = [light - 0.25 * k for k in range(self.classes - 1)]
        return torch.cat([-light, *others], dim=1)


@pytest.fixture
def network():
    return Threshold()


def volume(*boxes, shape=(48, 48, 48)):
    """Noise about 0 with boxes ``(start, stop)`` about 1."""
    image = 0.1 * torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(0))
    for start, stop in boxes:
        image[(0, 0, *(slice(a, b) for a, b in zip(start, stop, strict=True)))] += 1
    return image


def plain(image, network, roi=ROI, overlap=0.5):
    return SlidingWindowInferer(roi, sw_batch_size=4, overlap=overlap, mode="gaussian")(image, network)


def organ(logits):
    """The largest component of the foreground ``[x, y, z]``, grown by the two voxels that are promised."""
    labels, _ = ndimage.label((logits.argmax(0) > 0).numpy(), structure=torch.ones(3, 3, 3).numpy())
    largest = torch.from_numpy(labels == torch.bincount(torch.from_numpy(labels).flatten())[1:].argmax().item() + 1)
    grown = torch.nn.functional.max_pool3d(largest[None].float(), 5, stride=1, padding=2)[0] > 0
    return largest, grown


def assert_same_organ(result, expected):
    for mine, theirs in zip(result, expected, strict=True):
        component, grown = organ(theirs)
        assert torch.equal(organ(mine)[0], component)
        torch.testing.assert_close(mine[:, grown], theirs[:, grown], **CLOSE)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.7])
@pytest.mark.parametrize("shape", [(48, 48, 48), (40, 33, 51)])
def test_exhaustive_is_plain_sliding_window_inference(network, shape, overlap):
    image = volume(((4, 5, 6), (20, 14, 19)), shape=shape)
    inferer = OrganWindowInferer(ROI, overlap, exhaustive=True)
    result = inferer(image, network)
    torch.testing.assert_close(result, plain(image, network, overlap=overlap), **CLOSE)
    assert inferer.visited == inferer.windows


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_organ_is_that_of_plain_inference_in_fewer_windows(network, overlap, batch):
    image = volume(((20, 18, 22), (31, 30, 33)))
    inferer = OrganWindowInferer(ROI, overlap, sw_batch_size=batch, min_volume=200)
    result = inferer(image, network)
    assert sum(network.calls) == inferer.visited  # what is counted is what was computed
    assert max(network.calls) <= batch
    assert inferer.visited < inferer.windows
    assert_same_organ(result, plain(image, network, overlap=overlap))


def test_windows_are_counted_by_hand(network):
    """48 voxels in windows of 16 without overlap: 27; an organ inside the middle one, over 2 voxels off its edge."""
    image = volume(((20, 20, 20), (28, 28, 28)))
    inferer = OrganWindowInferer(ROI, 0.0, sw_batch_size=1, min_volume=200)
    inferer(image, network)
    assert (inferer.visited, inferer.windows) == (1, 27)
    nearer = volume(((18, 20, 20), (28, 28, 28)))  # voxels 16, 17 are the margin: still one window
    inferer(nearer, network)
    assert inferer.visited == 1
    touching = volume(((17, 20, 20), (28, 28, 28)))  # voxel 15, of the next window, is within the margin
    inferer(touching, network)
    assert inferer.visited == 2


def test_no_window_leaves_out_background(network):
    image = volume(((20, 20, 20), (28, 28, 28)))
    result = OrganWindowInferer(ROI, 0.0, sw_batch_size=1, min_volume=200)(image, network)
    unseen = torch.ones(48, 48, 48, dtype=torch.bool)
    unseen[16:32, 16:32, 16:32] = False
    assert result[0, 0][unseen].unique().tolist() == [0]
    assert result[0, 1][unseen].unique().tolist() == [-20]


def test_an_organ_far_from_the_centre_is_found(network):
    image = volume(((1, 35, 2), (10, 46, 12)))
    inferer = OrganWindowInferer(ROI, 0.5, min_volume=200)
    assert_same_organ(inferer(image, network), plain(image, network))


def test_an_organ_across_many_windows_is_followed_to_its_ends(network):
    image = volume(*(((i, i, i), (i + 5, i + 5, i + 5)) for i in range(1, 43)))
    inferer = OrganWindowInferer(ROI, 0.5, min_volume=200)
    result = inferer(image, network)
    assert_same_organ(result, plain(image, network))
    mask = result[0].argmax(0)
    assert mask[2, 2, 2] and mask[45, 45, 45]
    assert inferer.visited < inferer.windows


def test_a_voxel_touched_by_a_corner_belongs_to_the_organ(network):
    """As in the largest component that is kept at the end: 26 neighbours."""
    image = volume(((8, 8, 8), (24, 24, 24)), ((24, 24, 24), (40, 40, 40)))
    result = OrganWindowInferer(ROI, 0.0, sw_batch_size=1, min_volume=200)(image, network)
    assert_same_organ(result, plain(image, network, overlap=0.0))
    assert result[0].argmax(0)[38, 38, 38] == 1 and result[0].argmax(0)[9, 9, 9] == 1


def test_a_speck_near_the_centre_does_not_end_the_search(network):
    speck = ((23, 23, 23), (26, 26, 26))  # 27 voxels
    image = volume(speck, ((0, 3, 30), (8, 15, 44)))  # no window over the speck sees the organ
    result = OrganWindowInferer(ROI, 0.5, min_volume=200)(image, network)
    assert_same_organ(result, plain(image, network))
    content = OrganWindowInferer(ROI, 0.5, min_volume=20)
    assert content(image, network)[0].argmax(0)[4, 8, 36] == 0  # a lower bound takes the speck for the organ
    assert content.visited < content.windows


def test_where_nothing_is_found_every_window_is_visited(network):
    image = volume()
    inferer = OrganWindowInferer(ROI, 0.5, min_volume=200)
    result = inferer(image, network)
    assert inferer.visited == inferer.windows == 125  # steps of 8 in 48: starts 0, 8, ..., 32
    assert not result.argmax(1).any()
    torch.testing.assert_close(result, plain(image, network), **CLOSE)


@pytest.mark.parametrize("shape", [(9, 20, 13), (15, 16, 17), (40, 11, 16)])
def test_a_volume_smaller_than_the_window_keeps_shape_and_place(network, shape):
    image = volume(((2, 3, 4), (8, 9, 11)), shape=shape)
    result = OrganWindowInferer(ROI, 0.5, min_volume=50)(image, network)
    assert result.shape == (1, 2, *shape)
    assert_same_organ(result, plain(image, network))
    assert (result[0].argmax(0).nonzero().amin(0)).tolist() == [2, 3, 4]
    torch.testing.assert_close(
        OrganWindowInferer(ROI, 0.5, exhaustive=True)(image, network), plain(image, network), **CLOSE
    )


def test_a_window_of_minus_one_is_the_whole_axis(network):
    image = volume(((4, 5, 6), (20, 14, 19)), shape=(32, 24, 40))
    inferer = OrganWindowInferer((-1, 24, 40), 0.5)
    torch.testing.assert_close(inferer(image, network), network(image), **CLOSE)
    assert inferer.windows == 1


def test_images_of_a_batch_are_evaluated_one_by_one(network):
    first, second = volume(((20, 18, 22), (31, 30, 33))), volume(((1, 35, 2), (10, 46, 12)))
    inferer = OrganWindowInferer(ROI, 0.5, min_volume=200)
    alone, visited = [], 0
    for image in (first, second):
        alone.append(inferer(image, network))
        visited += inferer.visited
    together = inferer(torch.cat([first, second]), network)
    torch.testing.assert_close(together, torch.cat(alone), **CLOSE)  # a batch may be computed otherwise
    assert (inferer.visited, inferer.windows) == (visited, 250)


def test_several_classes_are_one_organ():
    threshold = Threshold(classes=3)

    def network(window):  # the second class wins in the brighter half of the organ's voxels
        logits = threshold(window)
        logits[:, 2] += (window[:, 0] > 1) * 0.4
        return logits

    image = volume(((20, 18, 22), (31, 30, 33)))
    inferer = OrganWindowInferer(ROI, 0.5, min_volume=200)
    result, expected = inferer(image, network), plain(image, network)
    assert result.shape == (1, 3, 48, 48, 48)
    assert result.argmax(1).unique().tolist() == [0, 1, 2]
    assert inferer.visited < inferer.windows
    assert_same_organ(result, expected)


def test_flat_images_work_too():
    image = torch.zeros(1, 1, 48, 48)
    image[..., 20:30, 22:34] = 1

    def network(window):
        return torch.cat([0.5 - window, window - 0.5], dim=1)

    inferer = OrganWindowInferer((16, 16), 0.5, min_volume=50)
    result = inferer(image, network)
    assert torch.equal(result.argmax(1), image[:, 0].long())
    assert inferer.visited < inferer.windows


def test_a_metatensor_keeps_its_meta(network):
    image = volume(((20, 18, 22), (31, 30, 33)))
    affine = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0], dtype=torch.float64))
    scan = MetaTensor(image, affine=affine, meta={"filename_or_obj": "la_001.nii.gz"})
    inferer = OrganWindowInferer(ROI, 0.5, min_volume=200)
    result = inferer(scan, network)
    assert isinstance(result, MetaTensor)
    assert torch.equal(result.affine, affine)
    assert result.meta["filename_or_obj"] == "la_001.nii.gz"
    bare = inferer(image, network)
    assert not isinstance(bare, MetaTensor)
    assert torch.equal(result.as_tensor(), bare)


def test_further_arguments_reach_the_network():
    seen = []

    def network(window, first, key):
        seen.append((first, key))
        return torch.cat([-window, window], dim=1)

    OrganWindowInferer(ROI, 0.0)(volume(shape=(16, 16, 16)), network, 1, key="two")
    assert seen == [(1, "two")]


@pytest.mark.parametrize("overlap", [-0.1, 1.0, 1.5, float("nan")])
def test_an_overlap_that_cannot_be_is_refused(overlap):
    with pytest.raises(InputError, match=r"overlap: .* is not in \[0, 1\)"):
        OrganWindowInferer(ROI, overlap)
