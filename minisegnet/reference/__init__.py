"""Every operation as textbook loops: read this first; slow, obviously right, any float type.

Each file holds one family, each operation as its two halves; what they compute is in `minisegnet.functional`:

    output, saved = conv2d_forward(x, weight, bias, stride, padding, dilation)
    gradients     = conv2d_backward(dy, saved)
"""

from minisegnet.reference.activation import (
    relu_backward,
    relu_forward,
    sigmoid_backward,
    sigmoid_forward,
    softmax_backward,
    softmax_forward,
)
from minisegnet.reference.arrangement import (
    add_backward,
    add_forward,
    concat_backward,
    concat_forward,
    crop_backward,
    crop_forward,
    reflection_pad2d_backward,
    reflection_pad2d_forward,
)
from minisegnet.reference.convolution import (
    conv2d_backward,
    conv2d_forward,
    conv_transpose2d_backward,
    conv_transpose2d_forward,
)
from minisegnet.reference.dropout import dropout_backward, dropout_forward
from minisegnet.reference.linear import linear_backward, linear_forward
from minisegnet.reference.loss import (
    binary_cross_entropy_with_logits_backward,
    binary_cross_entropy_with_logits_forward,
    dice_backward,
    dice_forward,
    smooth_l1_backward,
    smooth_l1_forward,
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
)
from minisegnet.reference.normalisation import batch_norm2d_backward, batch_norm2d_forward
from minisegnet.reference.pooling import (
    avg_pool2d_backward,
    avg_pool2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
)
from minisegnet.reference.roi import roi_align_backward, roi_align_forward, roi_pool_backward, roi_pool_forward
from minisegnet.reference.suppression import nms
from minisegnet.reference.unpool import (
    bed_of_nails2d_backward,
    bed_of_nails2d_forward,
    max_unpool2d_backward,
    max_unpool2d_forward,
    nearest_unpool2d_backward,
    nearest_unpool2d_forward,
)
from minisegnet.reference.upsample import upsample_bilinear2d_backward, upsample_bilinear2d_forward

__all__ = [
    "add_backward",
    "add_forward",
    "avg_pool2d_backward",
    "avg_pool2d_forward",
    "batch_norm2d_backward",
    "batch_norm2d_forward",
    "bed_of_nails2d_backward",
    "bed_of_nails2d_forward",
    "binary_cross_entropy_with_logits_backward",
    "binary_cross_entropy_with_logits_forward",
    "concat_backward",
    "concat_forward",
    "conv2d_backward",
    "conv2d_forward",
    "conv_transpose2d_backward",
    "conv_transpose2d_forward",
    "crop_backward",
    "crop_forward",
    "dice_backward",
    "dice_forward",
    "dropout_backward",
    "dropout_forward",
    "linear_backward",
    "linear_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "max_unpool2d_backward",
    "max_unpool2d_forward",
    "nearest_unpool2d_backward",
    "nearest_unpool2d_forward",
    "nms",
    "reflection_pad2d_backward",
    "reflection_pad2d_forward",
    "relu_backward",
    "relu_forward",
    "roi_align_backward",
    "roi_align_forward",
    "roi_pool_backward",
    "roi_pool_forward",
    "sigmoid_backward",
    "sigmoid_forward",
    "smooth_l1_backward",
    "smooth_l1_forward",
    "softmax_backward",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
    "softmax_forward",
    "upsample_bilinear2d_backward",
    "upsample_bilinear2d_forward",
]
