"""What all tests share: float64, seeds, a cache of their own."""

import pytest
import torch

torch.set_num_threads(1)  # small tensors gain nothing from more, and lose much beside another process


@pytest.fixture(autouse=True)
def _float64_and_seeded():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIOMETER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
