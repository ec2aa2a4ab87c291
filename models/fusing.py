"""A folded network whose convolutions take in the sums and ReLUs that alone read them: fewer operations, the same
function."""
from __future__ import annotations

import operator

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from .folding import LayerTracer
from .layers import FoldedBatchNorm2d
from .replace import conv_as, is_plain_conv, replaced

SUMS = (operator.add, operator.iadd)


def fuse(net: nn.Module, kind: type[nn.Conv2d], is_feat: bool, preact: bool, only_relu: bool = False) -> fx.GraphModule:
    """``net`` (a frozen layers.FeatureNet) for calls with exactly these two arguments.

    kind: the convolutions that can, called with ``residual`` and ``relu``. Each takes in the sum with a shortcut and
    the ReLU that alone read it, where nothing else reads the values between; only_relu: not a sum without a ReLU after
    it.
    The result shares its layers with ``net``.
    """
    graph = LayerTracer().trace(net, concrete_args={"is_feat": is_feat, "preact": preact})
    modules = dict(net.named_modules())
    for node in list(graph.nodes):
        if node.op == "call_module" and isinstance(modules[node.target], FoldedBatchNorm2d):
            _spell_out(graph, node)
    for node in list(graph.nodes):
        if node.op == "call_module" and isinstance(modules[node.target], kind):
            _take_in(graph, modules, node, only_relu)
    graph.lint()
    return fx.GraphModule(net, graph)


def _spell_out(graph: fx.Graph, node: fx.Node) -> None:
    """Put the sum and the ReLU of a folded batch norm in its place, as operations of their own."""
    value, residual = node.args[0], node.kwargs.get("residual")
    with graph.inserting_before(node):
        if residual is not None:
            value = graph.call_function(operator.add, (value, residual))
        if node.kwargs.get("relu"):
            value = graph.call_function(F.relu, (value,), {"inplace": True})
    node.replace_all_uses_with(value)
    graph.erase_node(node)


def _take_in(graph: fx.Graph, modules: dict, conv: fx.Node, only_relu: bool) -> None:
    chain, more = [conv], {}
    reader = _only_reader(conv)
    if reader is not None and reader.target in SUMS and _shortcut(reader, conv) is not None:
        more["residual"] = _shortcut(reader, conv)
        chain.append(reader)
        reader = _only_reader(reader)
    if reader is not None and _is_relu(reader, modules):
        more["relu"] = True
        chain.append(reader)
    if not more or (only_relu and "relu" not in more):
        return
    if any(_writes(node, modules) for node in conv.args[0].users):  # it is read later than before
        return
    with graph.inserting_before(chain[-1]):
        whole = graph.call_module(conv.target, conv.args, more)
    chain[-1].replace_all_uses_with(whole)
    for node in reversed(chain):
        graph.erase_node(node)


def _only_reader(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _shortcut(node: fx.Node, conv: fx.Node) -> fx.Node | None:
    """What a sum adds to the convolution; None where it is the shortcut that is written to."""
    left, right = node.args
    if left is conv and isinstance(right, fx.Node) and right is not conv:
        return right
    return left if right is conv and node.target is operator.add and isinstance(left, fx.Node) else None


def _is_relu(node: fx.Node, modules: dict) -> bool:
    return (node.target in (F.relu, torch.relu) if node.op == "call_function"
            else node.op == "call_module" and isinstance(modules[node.target], nn.ReLU))


def _writes(node: fx.Node, modules: dict) -> bool:
    """Whether it may write to what it reads."""
    if node.op == "call_module":
        return bool(getattr(modules[node.target], "inplace", False))
    return node.target is operator.iadd or bool(node.kwargs.get("inplace", False)) or node.op == "call_method"


# On CUDA ----------------------------------------------------------------------------------------------------------

# One call of cuDNN for what are up to four kernels: the convolution, its bias, the sum, the ReLU. An operator, so that
# it can be counted and tested without a device, where it is torch's own operations one after the other.
_operators = torch.library.Library("mixkd", "FRAGMENT")
_operators.define("convolution_relu(Tensor x, Tensor weight, Tensor bias, Tensor? residual, int[] stride, "
                  "int[] padding, int[] dilation, int groups) -> Tensor")


def _plainly(x, weight, bias, residual, stride, padding, dilation, groups):
    y = F.conv2d(x, weight, bias, stride, padding, dilation, groups)
    return F.relu(y if residual is None else y + residual)


def _by_cudnn(x, weight, bias, residual, stride, padding, dilation, groups):
    if residual is None:
        return torch.cudnn_convolution_relu(x, weight, bias, stride, padding, dilation, groups)
    return torch.cudnn_convolution_add_relu(x, weight, residual, 1.0, bias, stride, padding, dilation, groups)


_operators.impl("convolution_relu", _plainly, "CPU")
_operators.impl("convolution_relu", _by_cudnn, "CUDA")


class FusedConv2d(nn.Conv2d):
    """A frozen convolution with a bias; with ``relu`` one operation, the sum with ``residual`` included."""

    def forward(self, x: Tensor, residual: Tensor | None = None, relu: bool = False) -> Tensor:
        if not relu:
            return super().forward(x)
        x = x.to(self.weight.dtype)  # autocast casts for torch's operators only
        return torch.ops.mixkd.convolution_relu(x, self.weight, self.bias, residual, self.stride, self.padding,
                                                self.dilation, self.groups)


def fused_for_cuda(net: nn.Module, is_feat: bool, preact: bool) -> nn.Module:
    """``net``, folded, with :class:`FusedConv2d` in place of every convolution that has a bias and one group."""
    net = replaced(net, lambda layer: is_plain_conv(layer, bias=True) and layer.groups == 1,
                   lambda conv: conv_as(FusedConv2d, conv))
    return fuse(net, FusedConv2d, is_feat, preact, only_relu=True)


def cudnn_fuses(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether this device's cuDNN has the operation for this type; tested by a small call."""
    x = torch.ones(1, 16, 4, 4, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    weight, bias = x.new_ones(16, 16, 3, 3).to(memory_format=torch.channels_last), x.new_ones(16)
    try:
        torch.ops.mixkd.convolution_relu(x, weight, bias, x, (1, 1), (1, 1), (1, 1), 1)
    except RuntimeError:
        return False
    return True
