"""All bundles and their configurations, for the tests that each of them must pass."""

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
BUNDLES = sorted(path.parents[1] for path in ROOT.glob("bundles/*/configs/metadata.json"))
YAMLS = sorted(path for bundle in BUNDLES for path in bundle.glob("configs/*.yaml"))


def name(path: Path) -> str:
    return path.name if path in BUNDLES else f"{path.parents[1].name}-{path.stem}"


each_bundle = pytest.mark.parametrize("bundle", BUNDLES, ids=name)
each_yaml = pytest.mark.parametrize("path", YAMLS, ids=name)


def ids(path: Path) -> dict[str, object]:
    """Top-level ids and values of a YAML file, macros unread."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict), f"{path} holds no ids"
    return content


def configuration(bundle: Path, *names: str) -> Path:
    path = bundle / "configs" / f"{names[-1]}.yaml"
    if not path.is_file():
        pytest.skip(f"{bundle.name} has no {path.name}")
    return path
