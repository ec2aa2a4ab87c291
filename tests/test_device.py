"""Choice of the device, its step and its precision, as far as it can be tested without a GPU."""
import pytest
import torch

from helper.device import pick_device, resolve_device, set_precision
from helper.errors import UserError
from tests.support.training import options


@pytest.mark.parametrize("name, numbered", [("auto", []), ("cuda", []), ("cuda:1", [1])])
def test_a_cuda_device_with_and_without_a_number(name, numbered, monkeypatch):
    """torch's set_device refuses a device without a number, so only the call within it is replaced."""
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


@pytest.fixture
def arithmetic():
    """torch's precision switches, which are global; restored after the test."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    switches = [cudnn, cudnn.conv, cudnn.rnn, matmul] if hasattr(cudnn, "conv") else []
    kept = [(switch, switch.fp32_precision) for switch in switches]
    benchmark, old = cudnn.benchmark, None if switches else (cudnn.allow_tf32, matmul.allow_tf32)
    yield switches
    cudnn.benchmark = benchmark
    for switch, value in kept:
        switch.fp32_precision = value
    if old:
        cudnn.allow_tf32, matmul.allow_tf32 = old


@pytest.mark.parametrize("why, step", [("", "graph"), ("its loss reads the host", "eager")])
def test_a_step_that_cannot_be_captured_is_eager_and_the_reason_is_printed(why, step, monkeypatch, capsys, arithmetic):
    monkeypatch.setattr("helper.device.pick_device", lambda name: torch.device("cuda"))
    opt = options(device="cuda", step=None, precision="fp32", resume_every=None, threads=0)
    resolve_device(opt, why)
    assert opt.step == step
    assert capsys.readouterr().out == (f"==> --step eager in place of graph: {why}\n" if why else "")


@pytest.mark.parametrize("precision, convolutions", [("fp32", "ieee"), ("tf32", "tf32"), ("bf16", "tf32")])
def test_every_switch_of_cudnn_is_set(precision, convolutions, arithmetic):
    set_precision(precision, torch.device("cuda"))
    if arithmetic:
        assert [switch.fp32_precision for switch in arithmetic] == [convolutions] * 3 + ["ieee"]
    else:
        assert torch.backends.cudnn.allow_tf32 == (convolutions == "tf32") and not torch.backends.cuda.matmul.allow_tf32
