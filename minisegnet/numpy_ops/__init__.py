"""Every operation in plain vectorised NumPy, under the contract of `minisegnet.functional`."""

from minisegnet.numpy_ops.activation import (
    relu_backward,
    relu_forward,
    sigmoid_backward,
    sigmoid_forward,
    softmax_backward,
    softmax_forward,
)
from minisegnet.numpy_ops.arrangement import (
    add_backward,
    add_forward,
    concat_backward,
    concat_forward,
    crop_backward,
    crop_forward,
    reflection_pad2d_backward,
    reflection_pad2d_forward,
)
from minisegnet.numpy_ops.convolution import (
    conv2d_backward,
    conv2d_forward,
    conv_transpose2d_backward,
    conv_transpose2d_forward,
)
from minisegnet.numpy_ops.dropout import dropout_backward, dropout_forward
from minisegnet.numpy_ops.linear import linear_backward, linear_forward
from minisegnet.numpy_ops.loss import (
    binary_cross_entropy_with_logits_backward,
    binary_cross_entropy_with_logits_forward,
    dice_backward,
    dice_forward,
    smooth_l1_backward,
    smooth_l1_forward,
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
)
from minisegnet.numpy_ops.normalisation import batch_norm2d_backward, batch_norm2d_forward
from minisegnet.numpy_ops.pooling import (
    avg_pool2d_backward,
    avg_pool2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
)
from minisegnet.numpy_ops.roi import roi_align_backward, roi_align_forward, roi_pool_backward, roi_pool_forward
from minisegnet.numpy_ops.suppression import nms
from minisegnet.numpy_ops.unpool import (
    bed_of_nails2d_backward,
    bed_of_nails2d_forward,
    max_unpool2d_backward,
    max_unpool2d_forward,
    nearest_unpool2d_backward,
    nearest_unpool2d_forward,
)
from minisegnet.numpy_ops.upsample import upsample_bilinear2d_backward, upsample_bilinear2d_forward

__all__ = [name for name in dir() if name == "nms" or name.endswith(("_forward", "_backward"))]
