"""PyTorch twins of the encoders' classifiers: torchvision's keys, and a module for every node, named as the node.

Torchvision calls one ReLU module several times and joins by operators; here each step has a module of its own, so that
a forward hook sees what each node of the graph should have made.
"""

import torch
from torch import nn


class Sum(nn.Module):
    def forward(self, a, b):
        return a + b


class Cat(nn.Module):
    def forward(self, a, b):
        return torch.cat([a, b], 1)


# ---------------------------------------------------------------------------------------------------------------- VGG


class VGG16(nn.Module):
    def __init__(self, num_classes, in_channels, width, batch_norm, size):
        super().__init__()
        layers, given = [], in_channels
        for multiple in (1, 1, "M", 2, 2, "M", 4, 4, 4, "M", 8, 8, 8, "M", 8, 8, 8, "M"):
            if multiple == "M":
                layers.append(nn.MaxPool2d(2, 2))
                continue
            layers.append(nn.Conv2d(given, multiple * width, 3, padding=1))
            given = multiple * width
            layers += [nn.BatchNorm2d(given), nn.ReLU()] if batch_norm else [nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.flatten = nn.Flatten()
        hidden = 64 * width
        self.classifier = nn.Sequential(
            nn.Linear(given * (size[0] // 32) * (size[1] // 32), hidden), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(hidden, num_classes),
        )  # fmt: skip

    def forward(self, x):
        return self.classifier(self.flatten(self.features(x)))


# ------------------------------------------------------------------------------------------------------------- ResNet


class Block(nn.Module):
    """`plan`: (kernel, stride, out_channels) of each convolution."""

    def __init__(self, given, plan):
        super().__init__()
        channels, steps = given, len(plan)
        for i, (kernel, stride, made) in enumerate(plan, 1):
            self.add_module(f"conv{i}", nn.Conv2d(channels, made, kernel, stride, kernel // 2, bias=False))
            self.add_module(f"bn{i}", nn.BatchNorm2d(made))
            if i < steps:
                self.add_module(f"relu{i}", nn.ReLU())
            channels = made
        stride = max(stride for _, stride, _ in plan)
        self.downsample = None
        if stride > 1 or channels != given:
            self.downsample = nn.Sequential(nn.Conv2d(given, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
        self.add, self.relu, self.steps = Sum(), nn.ReLU(), steps

    def forward(self, x):
        y = x
        for i in range(1, self.steps + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            if i < self.steps:
                y = getattr(self, f"relu{i}")(y)
        return self.relu(self.add(y, x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self, num_classes, in_channels, width, blocks, bottleneck):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 7, 2, 3, bias=False)
        self.bn1, self.relu, self.maxpool = nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        given = width
        for level, count in enumerate(blocks):
            layer, channels = [], width * 2**level
            for i in range(count):
                stride = 2 if i == 0 and level else 1
                if bottleneck:
                    plan = [(1, 1, channels), (3, stride, channels), (1, 1, 4 * channels)]
                else:
                    plan = [(3, stride, channels), (3, 1, channels)]
                layer.append(Block(given, plan))
                given = plan[-1][2]
            self.add_module(f"layer{level + 1}", nn.Sequential(*layer))
        self.avgpool, self.flatten, self.fc = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(given, num_classes)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.flatten(self.avgpool(x)))


# --------------------------------------------------------------------------------------------------------- SqueezeNet


class Fire(nn.Module):
    def __init__(self, given, squeeze, expand):
        super().__init__()
        self.squeeze, self.squeeze_activation = nn.Conv2d(given, squeeze, 1), nn.ReLU()
        self.expand1x1, self.expand1x1_activation = nn.Conv2d(squeeze, expand, 1), nn.ReLU()
        self.expand3x3, self.expand3x3_activation = nn.Conv2d(squeeze, expand, 3, padding=1), nn.ReLU()
        self.concat = Cat()

    def forward(self, x):
        x = self.squeeze_activation(self.squeeze(x))
        small, large = self.expand1x1_activation(self.expand1x1(x)), self.expand3x3_activation(self.expand3x3(x))
        return self.concat(small, large)


class SqueezeNet(nn.Module):
    def __init__(self, num_classes, in_channels, width):
        super().__init__()
        layers = [nn.Conv2d(in_channels, width, 3, 2), nn.ReLU()]
        given, quarter = width, width // 4
        for squeeze in ("M", 1, 1, "M", 2, 2, "M", 3, 3, 4, 4):
            if squeeze == "M":
                layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
                continue
            layers.append(Fire(given, squeeze * quarter, squeeze * width))
            given = 2 * squeeze * width
        self.features = nn.Sequential(*layers)
        pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(given, num_classes, 1), nn.ReLU(), pool)
        self.flatten = nn.Flatten()

    def forward(self, x):
        return self.flatten(self.classifier(self.features(x)))


TWINS = {
    "vgg16": lambda classes, channels, width, size: VGG16(classes, channels, width, False, size),
    "vgg16_bn": lambda classes, channels, width, size: VGG16(classes, channels, width, True, size),
    "resnet18": lambda classes, channels, width, size: ResNet(classes, channels, width, (2, 2, 2, 2), False),
    "resnet34": lambda classes, channels, width, size: ResNet(classes, channels, width, (3, 4, 6, 3), False),
    "resnet50": lambda classes, channels, width, size: ResNet(classes, channels, width, (3, 4, 6, 3), True),
    "squeezenet1_1": lambda classes, channels, width, size: SqueezeNet(classes, channels, width),
}


def twin_of(name, num_classes, in_channels, width, size, seed):
    """A twin in float64 with weights of PyTorch's making, and statistics as after some training."""
    torch.manual_seed(seed)
    twin = TWINS[name](num_classes, in_channels, width, size).double()
    for module in twin.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.uniform_(module.bias, 0, 0.5)  # so that no narrow layer is dark behind its ReLU
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return twin


def activations(twin, x):
    """What every module without parts of its own made of x, by name."""
    made = {}

    def keep(name):
        return lambda module, inputs, output: made.__setitem__(name, output.detach().numpy().copy())

    hooks = [
        module.register_forward_hook(keep(name)) for name, module in twin.named_modules() if not list(module.children())
    ]
    try:
        with torch.no_grad():
            twin(x)
    finally:
        for hook in hooks:
            hook.remove()
    return made
