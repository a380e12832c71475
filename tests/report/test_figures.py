"""Saving of figures."""

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from heartseg.errors import InputError
from heartseg.metrics.table import TABLE
from heartseg.report.figures import check_picture, save
from heartseg.report.planes import draw_planes, ras_case
from heartseg.report.training_curves import draw_curves


def test_only_the_picture_is_written(tmp_path):
    save(Figure(), tmp_path / "curves.png")
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]
    assert matplotlib.image.imread(tmp_path / "curves.png").ndim == 3


def test_a_folder_and_an_unknown_format_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "a.txt"):
        with pytest.raises(InputError, match="is not the name of a picture; give one that ends in .avif, .eps, "):
            check_picture(path)


def test_pyplot_is_not_used():
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    draw_curves([], TABLE["dice"])
    draw_planes(ras_case(np.ones((4, 4, 4)), {}, (1, 1, 1)))
    assert plt.get_fignums() == before
