"""Operations that make a step cheaper don't change its results."""
import copy

import pytest
import torch
from torch import nn

from helper.checkpoint import copied_together, cpu_state_dict
from helper.graphs import norms_counted_at_once
from models import model_dict
from models.half_weights import weights_cast_at_once
from scripts.bench.operations import OperationCount


def test_norms_counted_at_once_have_the_usual_counts():
    torch.manual_seed(0)
    one = model_dict["resnet8"](num_classes=5).train()
    other, x = copy.deepcopy(one), torch.randn(4, 3, 8, 8)
    for _ in range(2):
        expected = one(x)
        with norms_counted_at_once(other):
            found = other(x)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    for name, value in one.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    assert other.bn1.num_batches_tracked.item() == 2
    with norms_counted_at_once(other.eval()):
        other(x)
    assert other.bn1.num_batches_tracked.item() == 2


def test_an_error_restores_the_counting_of_norms():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3, momentum=None))
    with pytest.raises(ValueError, match="4D"), norms_counted_at_once(net):
        net(torch.randn(2, 3))
    assert [norm.num_batches_tracked.item() for norm in net] == [0, 0]
    with norms_counted_at_once(net):  # a norm without momentum averages over its count, so it counts by itself
        net(torch.randn(2, 3, 4, 4))
    assert [norm.num_batches_tracked.item() for norm in net] == [1, 1]


def test_weights_copied_together_equal_each_copied_alone():
    net = model_dict["resnet8"](num_classes=5).to(memory_format=torch.channels_last)
    state = {name: value.detach() for name, value in net.state_dict().items()}
    found = copied_together(state)
    assert list(found) == list(state)
    for name, value in cpu_state_dict(net).items():
        assert torch.equal(found[name], value) and found[name].dtype == value.dtype, name
        assert found[name].is_contiguous()
        assert found[name].untyped_storage().nbytes() == value.numel() * value.element_size(), name
        assert found[name].data_ptr() != state[name].data_ptr()


def test_weights_cast_at_once_match_autocast_in_fewer_operations():
    torch.manual_seed(0)
    plain, x = model_dict["resnet8"](num_classes=5).train(), torch.randn(4, 3, 8, 8)
    counts, found = [], []
    for net in (plain, weights_cast_at_once(copy.deepcopy(plain))):
        with torch.no_grad():
            net.conv1.weight.mul_(2)  # as a step does
        with OperationCount() as count:
            with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
                logits = net(x)
            logits.float().logsumexp(1).sum().backward()
        counts.append(count.calls)
        found.append([logits, *(p.grad for p in net.parameters())])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other) and one.dtype == other.dtype
    assert counts[1]["aten::_to_copy"] == counts[0]["aten::_to_copy"] - 9  # of nine convolutions
    assert counts[1]["aten::_foreach_copy_"] == 1
