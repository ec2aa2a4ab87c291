"""Batch norm folded into convolutions: the same function with fewer layers, for a frozen teacher (inference only)."""
import copy

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .layers import FoldedBatchNorm2d


class LayerTracer(fx.Tracer):
    """Looks into blocks, not into layers, subclasses of torch's among them."""

    def is_leaf_module(self, module, name):
        kinds = (nn.Conv2d, nn.BatchNorm2d, FoldedBatchNorm2d)
        return isinstance(module, kinds) or super().is_leaf_module(module, name)


def folded(model):
    """Return a copy of ``model`` (a layers.FeatureNet) for inference; ``model`` itself is left as it is.

    Every batch norm that alone reads a convolution is folded into it: with g, b, m, v the norm's weight, bias, mean
    and variance, the weight becomes w * g / sqrt(v + eps) and the bias (c - m) * g / sqrt(v + eps) + b, computed in
    float64 and rounded once. A convolution whose raw output is also a feature or a shortcut keeps its norm; in a wide
    ResNet, which normalises before it convolves, only each block's inner norm is folded.

    The copy is called as the model is and gives the outputs of ``model.eval()`` up to rounding, in any signature. It
    stays in evaluation mode: the statistics are gone. Its parameters need no gradient (one flows to the input still)
    and are channels_last, which its features follow; it can be copied, moved, saved and compiled.
    """
    net = copy.deepcopy(model).eval()
    for conv_name, bn_name in _foldable(net):
        conv, bn = net.get_submodule(conv_name), net.get_submodule(bn_name)
        dtype = conv.weight.dtype
        net.set_submodule(conv_name, fuse_conv_bn_eval(conv.double(), bn.double()).to(dtype))
        net.set_submodule(bn_name, FoldedBatchNorm2d())
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def _foldable(net):
    """Names of (convolution, batch norm) where nothing else reads the convolution, whatever the signature.

    The trace with all features shown is the strictest: with fewer outputs a convolution only loses readers.
    """
    graph = LayerTracer().trace(net, concrete_args={"is_feat": True, "preact": True})
    modules = dict(net.named_modules())
    calls = [node for node in graph.nodes if node.op == "call_module"]
    for node in calls:
        source = node.args[0]
        if (
            isinstance(modules[node.target], nn.BatchNorm2d)
            and source.op == "call_module"
            and isinstance(modules[source.target], nn.Conv2d)
            and len(source.users) == 1
            and all(sum(call.target == name for call in calls) == 1 for name in (node.target, source.target))
        ):
            yield source.target, node.target
