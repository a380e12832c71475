"""Exact resume of a small training whose files are damaged, removed or of a future that was lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from toy import FILES, Killed, Killer, Toy, files, kill_at_step, killed, same

from heartseg.data.files import sha256
from heartseg.errors import InputError
from heartseg.training.checkpoints import load_checkpoint


def break_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def test_of_a_damaged_checkpoint_the_one_before_is_taken(
    whole: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert killed(Toy(tmp_path, act=kill_at_step(14)))
    break_bit(tmp_path / "checkpoint.pt")
    Toy(tmp_path).run()
    assert capsys.readouterr().out == f"{tmp_path}: resumes after epoch 2 of 5\n"
    assert [line for line in caplog.messages if "is damaged" in line]
    assert same(tmp_path, whole["chained"])


def test_a_damaged_checkpoint_never_takes_the_place_of_the_good_one(
    whole: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at every write behind it, too."""
    for at in range(1, 6):
        folder = tmp_path / str(at)
        folder.mkdir()
        assert killed(Toy(folder, act=kill_at_step(14)))
        break_bit(folder / "checkpoint.pt")
        with monkeypatch.context() as patch:
            patch.setattr("os.replace", Killer(at))
            assert killed(Toy(folder))
        Toy(folder).run()
        assert same(folder, whole["chained"]), at


def test_two_damaged_checkpoints_are_reported_in_one_line(tmp_path: Path) -> None:
    assert killed(Toy(tmp_path, act=kill_at_step(14)))
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-100])
    before = files(tmp_path)
    with pytest.raises(InputError, match="checkpoint.pt: is damaged, or not a checkpoint of heartseg; ") as caught:
        Toy(tmp_path).run()
    assert "\n" not in str(caught.value) and files(tmp_path) == before


def test_weights_of_a_future_that_was_lost_are_not_the_best(tmp_path: Path) -> None:
    """Killed between the weights and the checkpoint of epoch 4, it goes on with rarer validations."""
    settings: dict[str, Any] = {"epochs": 5, "scores": [0.1, 0.2, 0.3, 0.4, 0.1]}
    toy = Toy(tmp_path, interval=2, **settings)
    epochs = []

    def save(trainer: Any, keep: str | None = None) -> None:
        epochs.append(trainer.state.epoch)
        if trainer.state.epoch == 4:
            raise Killed
        type(toy.resume).save(toy.resume, trainer)

    toy.resume.save = save  # type: ignore[method-assign]
    assert killed(toy) and epochs == [1, 2, 3, 4]
    assert (tmp_path / ".best.pt").exists()
    best = sha256(tmp_path / "model.pt")
    Toy(tmp_path, interval=5, **settings).run()
    saved = load_checkpoint(tmp_path / "checkpoint.pt")
    assert saved["best"]["epoch"] == 2 and sha256(tmp_path / "model.pt") == best == saved["best"]["sha256"]
    assert set(files(tmp_path)) == FILES


def test_a_best_file_that_was_removed_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert killed(Toy(tmp_path, act=kill_at_step(14), scores=[0.1] * 5))
    os.remove(tmp_path / "model.pt")
    Toy(tmp_path, scores=[0.1] * 5).run()
    told = f"{tmp_path / 'model.pt'}: is not the file that epoch 2 wrote; better weights will replace it"
    assert told in caplog.messages
