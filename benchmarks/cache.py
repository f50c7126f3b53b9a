"""Tensors that are dear to compute, kept on disk under a hash of everything that decides them."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
import torch

from benchmarks.store import content_key, write_atomically


def cached(parts: Any, compute: Callable[[], Any]) -> Any:
    """What compute() returns, read from the user's cache folder if it was computed before.

    parts: JSON-able description of everything that decides the result (torch's version is added).
    The folder is `GRADIOMETER_CACHE` if set, else the platform's own; it may be deleted at any time.
    """
    folder = Path(os.environ.get("GRADIOMETER_CACHE") or platformdirs.user_cache_dir("gradiometer"))
    path = folder / f"{content_key([parts, torch.__version__])}.pt"
    if path.exists():
        return torch.load(path, weights_only=True)
    result = compute()
    buffer = io.BytesIO()
    torch.save(result, buffer)
    write_atomically(path, buffer.getvalue())
    return result
