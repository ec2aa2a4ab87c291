"""Where a run computes, as far as it shows without a device."""
import pytest
import torch

from helper.device import pick_device
from helper.util import UserError


@pytest.mark.parametrize("name, numbered", [("auto", []), ("cuda", []), ("cuda:1", [1])])
def test_a_cuda_device_with_and_without_a_number(name, numbered, monkeypatch):
    """torch's own set_device refuses a device without one, so only its last call is replaced."""
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch._C, "_cuda_setDevice", chosen.append, raising=False)
    assert pick_device(name).type == "cuda" and chosen == numbered
    with pytest.raises(UserError, match="--device cuda:2: there are 2"):
        pick_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "mps", "cuda:x", "cpu,cpu"])
def test_other_devices_are_refused(name):
    with pytest.raises(UserError, match=f"--device {name}: .*use auto, cpu, cuda or cuda:N"):
        pick_device(name)
