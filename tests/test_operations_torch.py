"""Every operation against PyTorch 2.13, forward and (by its autograd) backward, in both float types."""

import numpy as np
import pytest
import torch_regions
from cases import cases
from conftest import assert_close
from torch_regions import as_pair

pytestmark = pytest.mark.torch

BOUNDS = {"float32": 1e-5, "float64": 1e-12}

# Dropout's random numbers are not PyTorch's; its mask is tested in test_operations_dropout.py.
COMPARED = [case for case in cases(torch=True) if case.values[0].operation != "dropout"]


@pytest.mark.parametrize("case", COMPARED)
def test_operation_agrees_with_torch(backend, case):
    import torch

    arrays, options = case.draw()
    outputs, saved = case.forward(backend, arrays, options)
    dy = case.draw_upstream(outputs[0].shape)
    gradients = case.backward(backend, dy, saved)

    tensors = [to_torch(array) for array in arrays]
    inputs = [tensors[i].requires_grad_() for i in case.differentiable]
    wanted = ORACLES[case.operation](tensors, {name: to_torch(value) for name, value in options.items()})
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    wanted_gradients = torch.autograd.grad(wanted[0], inputs, to_torch(dy))

    bound = BOUNDS[case.dtype]
    for i, (result, tensor) in enumerate(zip(outputs, wanted, strict=True)):
        assert_close(result, tensor.detach().numpy().astype(result.dtype), bound, f"output {i}")
    for i, tensor in zip(case.differentiable, wanted_gradients, strict=True):
        assert_close(gradients[i], tensor.numpy(), bound, f"gradient {i}")


def to_torch(value):
    import torch

    return torch.from_numpy(np.array(value, order="C")) if isinstance(value, np.ndarray) else value


def conv2d(tensors, options):
    return functions().conv2d(*tensors, **options)


def conv_transpose2d(tensors, options):
    return functions().conv_transpose2d(*tensors, **options)


def linear(tensors, options):
    return functions().linear(*tensors)


def max_pool2d(tensors, options):
    return functions().max_pool2d(*tensors, **options, return_indices=True)


def avg_pool2d(tensors, options):
    return functions().avg_pool2d(*tensors, **options)


def max_unpool2d(tensors, options):
    x, indices = tensors
    H, W = as_pair(options["output_size"])
    kernel = max(1, H // max(1, x.shape[2])), max(1, W // max(1, x.shape[3]))  # PyTorch wants a size within a stride
    return functions().max_unpool2d(x, indices.long(), kernel, output_size=(H, W))


def nearest_unpool2d(tensors, options):
    return functions().interpolate(*tensors, size=as_pair(options["output_size"]), mode="nearest")


def bed_of_nails2d(tensors, options):
    [x] = tensors
    stride = as_pair(options.get("stride", 2))
    size = options.get("output_size") or [n * s for n, s in zip(x.shape[2:], stride, strict=True)]
    y = x.new_zeros(*x.shape[:2], *size)
    y[:, :, : x.shape[2] * stride[0] : stride[0], : x.shape[3] * stride[1] : stride[1]] = x
    return y


def upsample_bilinear2d(tensors, options):
    size, align_corners = as_pair(options["output_size"]), options.get("align_corners", False)
    return functions().interpolate(*tensors, size=size, mode="bilinear", align_corners=align_corners)


def reflection_pad2d(tensors, options):
    padding = options["padding"]
    return functions().pad(*tensors, (padding,) * 4 if isinstance(padding, int) else padding, mode="reflect")


def concat(tensors, options):
    import torch

    return torch.cat(tensors, options.get("dim", 1))


def crop(tensors, options):
    top, left, height, width = (options[name] for name in ("top", "left", "height", "width"))
    return tensors[0][:, :, top : top + height, left : left + width] * 1


def add(tensors, options):
    return tensors[0] + tensors[1]


def batch_norm2d(tensors, options):
    x, weight, bias = tensors
    mean, var, eps = options.get("mean"), options.get("var"), options.get("eps", 1e-5)
    y = functions().batch_norm(x, mean, var, weight, bias, training=mean is None, eps=eps)
    return (y, x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)) if mean is None else (y, mean, var)


def relu(tensors, options):
    return functions().relu(*tensors)


def sigmoid(tensors, options):
    return functions().sigmoid(*tensors)


def softmax(tensors, options):
    return functions().softmax(*tensors, dim=options.get("dim", 1))


def softmax_cross_entropy(tensors, options):
    logits, labels = tensors
    labels, ignored = labels.long(), options.get("ignore_index")
    class_weight, pixel_weight = options.get("class_weight"), options.get("pixel_weight")
    reduction = options.get("reduction", "mean")
    arguments = {"weight": class_weight, "ignore_index": -100 if ignored is None else ignored}
    if pixel_weight is None:
        return functions().cross_entropy(logits, labels, **arguments, reduction=reduction)
    loss = functions().cross_entropy(logits, labels, **arguments, reduction="none") * pixel_weight
    if reduction != "mean":
        return loss if reduction == "none" else loss.sum()
    used = pixel_weight * (labels != ignored)
    if class_weight is not None:
        used = used * class_weight[labels.clamp(max=len(class_weight) - 1)]
    return loss.sum() / used.sum()


def binary_cross_entropy_with_logits(tensors, options):
    return functions().binary_cross_entropy_with_logits(*tensors, **options)


def smooth_l1(tensors, options):
    return functions().smooth_l1_loss(*tensors, **options)


def dice(tensors, options):
    """The formula of the docstring, in PyTorch's own operations; 0 / 0 counts 0."""
    import torch

    logits, labels = tensors
    classes, smooth = logits.shape[1], options.get("smooth", 1.0)
    ignored = options.get("ignore_index")
    counted = (torch.ones_like(labels) if ignored is None else labels != ignored).flatten().to(logits)
    p = functions().softmax(logits, 1).movedim(1, -1).reshape(-1, classes) * counted[:, None]
    truth = functions().one_hot(labels.long().flatten().clamp(max=classes - 1), classes) * counted[:, None]
    above, below = 2 * (p * truth).sum(0) + smooth, p.sum(0) + truth.sum(0) + smooth
    return 1 - torch.where(below > 0, above / torch.where(below > 0, below, 1), 0).mean()


def roi_align(tensors, options):
    return torch_regions.roi_align(*tensors, **{"sampling_ratio": 0, "aligned": True} | options)


def roi_pool(tensors, options):
    return torch_regions.roi_pool(*tensors, **options)


def functions():
    """torch.nn.functional, imported where it is used, so that the tests are collected without PyTorch."""
    import torch

    return torch.nn.functional


ORACLES = {
    function.__name__: function
    for function in (
        conv2d, conv_transpose2d, linear, max_pool2d, avg_pool2d, max_unpool2d, nearest_unpool2d, bed_of_nails2d,
        upsample_bilinear2d, reflection_pad2d, concat, crop, add, batch_norm2d, relu, sigmoid, softmax,
        softmax_cross_entropy, binary_cross_entropy_with_logits, smooth_l1, dice, roi_align, roi_pool,
    )
}  # fmt: skip
