"""The CPU's compiled kernels, put to use in a network by :func:`accelerate`. Networks know nothing of them."""
from __future__ import annotations

import operator

import torch
import torch.nn.functional as F
from torch import fx, nn

from ..folding import LayerTracer
from ..layers import FoldedBatchNorm2d
from . import native, norm, winograd
from .native import Unavailable

__all__ = ["Unavailable", "accelerate", "fused", "load"]

SUMS = (operator.add, operator.iadd)


def load() -> None:
    """Compile what isn't yet. Raises :class:`Unavailable` with the reason."""
    native.library()


def accelerate(net: nn.Module) -> nn.Module:
    """Replace every layer of ``net`` that can use a kernel by one that does; returns ``net`` (or what replaces it).

    The same parameters, buffers and names; a layer shared by several parents stays shared. Hooks are not carried over.
    """
    return norm.replace_norms(winograd.replace_convolutions(net))


def fused(net: nn.Module, is_feat: bool, preact: bool) -> fx.GraphModule:
    """``net`` (a layers.FeatureNet, accelerated, that only looks) for calls with these two arguments and no others.

    Its 3x3 convolutions take in the sum with a shortcut and the ReLU that alone read them, where nobody sees what is in
    between. It shares its layers with ``net``.
    """
    arguments = {"is_feat": is_feat, "preact": preact}
    graph = LayerTracer().trace(net, concrete_args=arguments)
    modules = dict(net.named_modules())
    for node in list(graph.nodes):
        if node.op == "call_module" and isinstance(modules[node.target], FoldedBatchNorm2d):
            _spell_out(graph, node)
    for node in list(graph.nodes):
        if node.op == "call_module" and isinstance(modules[node.target], winograd.WinogradConv2d):
            _take_in(graph, modules, node)
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


def _take_in(graph: fx.Graph, modules: dict, conv: fx.Node) -> None:
    chain, more = [conv], {}
    reader = _only_reader(conv)
    if reader is not None and reader.target in SUMS and _shortcut(reader, conv) is not None:
        more["residual"] = _shortcut(reader, conv)
        chain.append(reader)
        reader = _only_reader(reader)
    if reader is not None and _is_relu(reader, modules):
        more["relu"] = True
        chain.append(reader)
    if not more or any(_writes(node, modules) for node in conv.args[0].users):  # it is read later than before
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
