"""All bundles and their configurations, for the tests that each of them must pass.

A bundle says in the section ``test`` of its ``configs/metadata.json`` what such tests need to know of it:
``{"phantom": the kind of phantoms that it reads, "small": ["ID=VALUE", ...], which make its runs small}``.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
BUNDLES = sorted(path.parents[1] for path in ROOT.glob("bundles/*/configs/metadata.json"))
NAMES = [bundle.name for bundle in BUNDLES]
YAMLS = sorted(path for bundle in BUNDLES for path in bundle.glob("configs/*.yaml"))


def name(path: Path) -> str:
    return path.name if path in BUNDLES else f"{path.parents[1].name}-{path.stem}"


each_bundle = pytest.mark.parametrize("bundle", BUNDLES, ids=name)
each_name = pytest.mark.parametrize("bundle", NAMES)
each_yaml = pytest.mark.parametrize("path", YAMLS, ids=name)


def ids(path: Path) -> dict[str, object]:
    """Return the top-level ids and values of a YAML file; macros are not resolved."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict), f"{path} holds no ids"
    return content


def configuration(bundle: Path, *names: str) -> Path:
    path = bundle / "configs" / f"{names[-1]}.yaml"
    if not path.is_file():
        pytest.skip(f"{bundle.name} has no {path.name}")
    return path


def metadata(bundle: Path) -> dict[str, Any]:
    """Return the content of a bundle's ``metadata.json``."""
    content: dict[str, Any] = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    return content


def phantom(bundle: str) -> str:
    """Return the kind of phantoms that a bundle reads."""
    return str(metadata(ROOT / "bundles" / bundle)["test"]["phantom"])


def small(bundle: str, config: str = "inference") -> dict[str, Any]:
    """Return the settings that make a run of a bundle small, as far as ``config`` (or ``train``) has such knobs."""
    folder = ROOT / "bundles" / bundle
    known = ids(folder / "configs" / f"{config}.yaml")
    pairs = [setting.split("=", 1) for setting in metadata(folder)["test"]["small"]]
    return {key: yaml.safe_load(value) for key, value in pairs if key in known}


def options(settings: dict[str, Any]) -> list[str]:
    """Return settings as options of the command line."""
    return [word for key, value in settings.items() for word in ("--set", f"{key}={json.dumps(value)}")]
