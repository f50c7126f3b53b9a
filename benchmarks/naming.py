"""What an estimator or a problem is called in tables: its option, and what a run changed of it."""

from functools import cache
from typing import Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig


def label(group: str, cfg: DictConfig) -> str:
    """Name of the chosen option, with what differs from its YAML: `score`, `linear_vae(kl=mc)`, `fn`."""
    before, after = _flat(_as_shipped(group)), _flat(cfg[group])
    changed = {name: value for name, value in after.items() if name not in before or before[name] != value}
    target = changed.pop("_target_", None)
    name = str(target).rpartition(".")[2] if target else HydraConfig.get().runtime.choices[group]
    options = {
        option.removesuffix("._target_"): str(value).rpartition(".")[2] if option.endswith("_target_") else value
        for option, value in changed.items()
        if not option.endswith("_partial_")
    }
    return name + (f"({', '.join(f'{option}={value}' for option, value in options.items())})" if options else "")


def _as_shipped(group: str) -> DictConfig:
    """The chosen estimator or problem as its YAML has it, without the overrides of this run."""
    hydra = HydraConfig.get()
    paths = [text for text in hydra.overrides.hydra if text.startswith("hydra.searchpath")]
    return _composed(f"{group}={hydra.runtime.choices[group]}", *paths)[group]


@cache
def _composed(*overrides: str) -> DictConfig:
    """Kept, for a sweep asks for few, and each takes a tenth of a second."""
    return compose("config", list(overrides))


def _flat(cfg: Any, prefix: str = "") -> dict[str, Any]:
    """Nested configuration as dotted names."""
    flat: dict[str, Any] = {}
    for name in cfg:
        value = cfg[name]
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, DictConfig) else {f"{prefix}{name}": value}
    return flat
