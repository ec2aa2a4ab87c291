"""A network's layers replaced by others that hold the same parameters and buffers."""
from __future__ import annotations

from collections.abc import Callable

from torch import nn


def replaced(net: nn.Module, serves: Callable[[nn.Module], bool], make: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """``net`` with ``make(layer)`` in place of each layer that ``serves`` accepts, wherever it is registered.

    What ``make`` returns takes over the layer's parameters, buffers and mode. Where ``net`` itself is such a layer its
    replacement is returned.
    """
    made: dict[nn.Module, nn.Module] = {}
    for layer in list(net.modules()):
        if serves(layer):
            made[layer] = _taking_over(layer, make(layer))
    for parent in list(net.modules()):
        for name, child in parent._modules.items():  # not named_children(), which skips a child's second name
            if child in made:
                parent._modules[name] = made[child]
    return made.get(net, net)


def is_plain_conv(layer: nn.Module, bias: bool) -> bool:
    """Whether it is exactly torch's convolution, padded with zeros, with or without a bias."""
    return (type(layer) is nn.Conv2d and (layer.bias is not None) == bias and layer.padding_mode == "zeros"
            and not isinstance(layer.padding, str))


def conv_as(kind: type[nn.Conv2d], conv: nn.Conv2d) -> nn.Conv2d:
    """A ``kind`` of the sizes of ``conv``, to take over its parameters."""
    return kind(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation,
                conv.groups, conv.bias is not None, device="meta")


def _taking_over(layer: nn.Module, new: nn.Module) -> nn.Module:
    for name, parameter in layer._parameters.items():
        new.register_parameter(name, parameter)
    for name, buffer in layer._buffers.items():
        new.register_buffer(name, buffer)
    return new.train(layer.training)
