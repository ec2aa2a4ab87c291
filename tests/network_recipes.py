"""RepDistiller's networks once more, as plain loops over names, shapes and torch functions: what tests compare with.

A recipe takes a Recipe and images and returns ``(stage features, the same before their ReLU, pooled vector, name of
the linear layer)``.
"""
import torch
import torch.nn.functional as F

relu = F.relu


class Recipe:
    """Draws each layer's weights when the layer is met, and computes with them."""

    def __init__(self, dtype):
        self.state = {}
        self.dtype = dtype
        self.gen = torch.Generator().manual_seed(5)

    def draw(self, key, *shape, scale=1.0, shift=0.0):
        self.state[key] = torch.randn(*shape, generator=self.gen, dtype=self.dtype) * scale + shift
        return self.state[key]

    def conv(self, key, x, c_out, size, stride=1, groups=1, bias=False):
        c_in = x.shape[1] // groups
        weight = self.draw(f"{key}.weight", c_out, c_in, size, size, scale=(c_in * size * size) ** -0.5)
        return F.conv2d(x, weight, self.draw(f"{key}.bias", c_out) if bias else None, stride, size // 2, 1, groups)

    def bn(self, key, x):
        c = (x.shape[1],)
        weight, bias = self.draw(f"{key}.weight", *c, scale=0.2, shift=1), self.draw(f"{key}.bias", *c, scale=0.2)
        mean = self.draw(f"{key}.running_mean", *c, scale=0.2)
        var = self.state[f"{key}.running_var"] = torch.rand(c, generator=self.gen, dtype=self.dtype) + 0.5
        self.state[f"{key}.num_batches_tracked"] = torch.tensor(187680)
        mean, var, weight, bias = (t[:, None, None] for t in (mean, var, weight, bias))
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def conv_bn(self, conv, bn, x, *args, **kw):
        return self.bn(bn, self.conv(conv, x, *args, **kw))

    def linear(self, key, x, classes=100):
        weight = self.draw(f"{key}.weight", classes, x.shape[1], scale=0.1)
        return x @ weight.T + self.draw(f"{key}.bias", classes)


def shuffled(x, groups):
    n = x.shape[1] // groups
    return x[:, [i * n + j for j in range(n) for i in range(groups)]]


def resnet(r, x, depth, widths):
    x = relu(r.conv_bn("conv1", "bn1", x, widths[0], 3))
    post, pre = [x], [x]
    for s, c in enumerate(widths[1:], 1):
        for b in range((depth - 2) // 6):
            k, stride = f"layer{s}.{b}", 2 if s > 1 and b == 0 else 1
            out = relu(r.conv_bn(f"{k}.conv1", f"{k}.bn1", x, c, 3, stride))
            out = r.conv_bn(f"{k}.conv2", f"{k}.bn2", out, c, 3)
            if stride == 2 or x.shape[1] != c:
                x = r.conv_bn(f"{k}.downsample.0", f"{k}.downsample.1", x, c, 1, stride)
            total = out + x
            x = relu(total)
        post.append(x)
        pre.append(total)
    return post, pre, x.mean((2, 3)), "fc"


def resnet50(r, x):
    x = relu(r.conv_bn("conv1", "bn1", x, 64, 3))
    post, pre = [x], [x]
    for s, (c, blocks) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], 1):
        for b in range(blocks):
            k, stride = f"layer{s}.{b}", 2 if s > 1 and b == 0 else 1
            out = relu(r.conv_bn(f"{k}.conv1", f"{k}.bn1", x, c, 1))
            out = relu(r.conv_bn(f"{k}.conv2", f"{k}.bn2", out, c, 3, stride))
            out = r.conv_bn(f"{k}.conv3", f"{k}.bn3", out, 4 * c, 1)
            if b == 0:
                x = r.conv_bn(f"{k}.shortcut.0", f"{k}.shortcut.1", x, 4 * c, 1, stride)
            total = out + x
            x = relu(total)
        post.append(x)
        pre.append(total)
    return post, pre, x.mean((2, 3)), "linear"


def wrn(r, x, depth, k):
    x = r.conv("conv1", x, 16, 3)
    post, pre = [x], [x]
    for s, c in enumerate([16 * k, 32 * k, 64 * k], 1):
        for b in range((depth - 4) // 6):
            key, stride = f"block{s}.layer.{b}", 2 if s > 1 and b == 0 else 1
            normed = r.bn(f"{key}.bn1", x)
            if b == 0 and s > 1:
                pre.append(normed)
            out = relu(r.conv_bn(f"{key}.conv1", f"{key}.bn2", relu(normed), c, 3, stride))
            out = r.conv(f"{key}.conv2", out, c, 3)
            x = out + (x if x.shape[1] == c else r.conv(f"{key}.convShortcut", relu(normed), c, 1, stride))
        post.append(x)
    pre.append(r.bn("bn1", x))
    return post, pre, relu(pre[-1]).mean((2, 3)), "fc"


def vgg(r, x, depths):
    post, pre = [], []
    for s, (depth, c) in enumerate(zip(depths, [64, 128, 256, 512, 512], strict=True)):
        if 0 < s < 4:
            x = F.max_pool2d(x, 2)
        for i in range(depth):
            total = r.conv_bn(f"block{s}.{3 * i}", f"block{s}.{3 * i + 1}", x, c, 3, bias=True)
            x = relu(total)
        post.append(x)
        pre.append(total if s else x)
    return post, pre, x.mean((2, 3)), "classifier"


def mobile(r, x):
    x = relu(r.conv_bn("conv1.0", "conv1.1", x, 16, 3, 2))
    post = [x]
    settings = [(1, 8, 1, 1), (6, 12, 2, 1), (6, 16, 3, 2), (6, 32, 4, 2), (6, 48, 3, 1), (6, 80, 3, 2), (6, 160, 1, 1)]
    for s, (t, c, n, stride) in enumerate(settings):
        for b in range(n):
            k, step, hidden = f"blocks.{s}.{b}.conv", stride if b == 0 else 1, t * x.shape[1]
            out = relu(r.conv_bn(f"{k}.0", f"{k}.1", x, hidden, 1))
            out = relu(r.conv_bn(f"{k}.3", f"{k}.4", out, hidden, 3, step, hidden))
            out = r.conv_bn(f"{k}.6", f"{k}.7", out, c, 1)
            x = out + x if step == 1 and x.shape[1] == c else out
        if s in (1, 2, 4, 6):
            post.append(x)
    return post, post, relu(r.conv_bn("conv2.0", "conv2.1", x, 1280, 1)).mean((2, 3)), "classifier.0"


def shuffle_v1(r, x):
    x = relu(r.conv_bn("conv1", "bn1", x, 24, 1))
    post, pre = [x], [x]
    for s, (c, n) in enumerate([(240, 4), (480, 8), (960, 4)], 1):
        for b in range(n):
            k, stride, new = f"layer{s}.{b}", 1 if b else 2, c if b else c - x.shape[1]
            g = 1 if x.shape[1] == 24 else 3
            out = shuffled(relu(r.conv_bn(f"{k}.conv1", f"{k}.bn1", x, new // 4, 1, 1, g)), g)
            out = relu(r.conv_bn(f"{k}.conv2", f"{k}.bn2", out, new // 4, 3, stride, new // 4))
            out = r.conv_bn(f"{k}.conv3", f"{k}.bn3", out, new, 1, 1, 3)
            total = out + x if b else torch.cat([out, F.avg_pool2d(x, 3, 2, 1)], 1)
            x = relu(total)
        post.append(x)
        pre.append(total)
    return post, pre, x.mean((2, 3)), "linear"


def shuffle_v2(r, x):
    x = relu(r.conv_bn("conv1", "bn1", x, 24, 1))
    post, pre = [x], [x]
    for s, (c, n) in enumerate([(116, 3), (232, 7), (464, 3)], 1):
        k, h, c_in = f"layer{s}.0", c // 2, x.shape[1]
        left = r.conv_bn(f"{k}.conv1", f"{k}.bn1", x, c_in, 3, 2, c_in)
        left = relu(r.conv_bn(f"{k}.conv2", f"{k}.bn2", left, h, 1))
        right = relu(r.conv_bn(f"{k}.conv3", f"{k}.bn3", x, h, 1))
        right = r.conv_bn(f"{k}.conv4", f"{k}.bn4", right, h, 3, 2, h)
        x = shuffled(torch.cat([left, relu(r.conv_bn(f"{k}.conv5", f"{k}.bn5", right, h, 1))], 1), 2)
        for b in range(1, n + 1):
            k, passed = f"layer{s}.{b}", x[:, :h]
            out = relu(r.conv_bn(f"{k}.conv1", f"{k}.bn1", x[:, h:], h, 1))
            out = r.conv_bn(f"{k}.conv2", f"{k}.bn2", out, h, 3, 1, h)
            out = r.conv_bn(f"{k}.conv3", f"{k}.bn3", out, h, 1)
            x = shuffled(torch.cat([passed, relu(out)], 1), 2)
        post.append(x)
        pre.append(torch.cat([passed, out], 1))
    return post, pre, relu(r.conv_bn("conv2", "bn2", x, 1024, 1)).mean((2, 3)), "linear"


VGG_DEPTHS = {8: (1, 1, 1, 1, 1), 11: (1, 1, 2, 2, 2), 13: (2,) * 5, 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
RECIPES = {
    **{f"resnet{d}": (resnet, d, (16, 16, 32, 64)) for d in (8, 14, 20, 32, 44, 56, 110)},
    **{f"resnet{d}x4": (resnet, d, (32, 64, 128, 256)) for d in (8, 32)},
    **{f"wrn_{d}_{k}": (wrn, d, k) for d in (16, 40) for k in (1, 2)},
    **{f"vgg{d}": (vgg, depths) for d, depths in VGG_DEPTHS.items()},
    "ResNet50": (resnet50,), "MobileNetV2": (mobile,), "ShuffleV1": (shuffle_v1,), "ShuffleV2": (shuffle_v2,),
}
