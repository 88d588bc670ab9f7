# %% [markdown]
# # Lesson 1: a convolution, forward and back
#
# A network for semantic segmentation answers one question at every pixel: *what is this?* Nearly all of its work
# is one operation, repeated: the convolution. In this lesson you take it apart on an image of 5 x 5 pixels, where
# every number can be seen; write it yourself, with both of its gradients; have them checked; put them into a real
# U-Net; and train that network.
#
# Run the cells one after another (Shift + Enter). Each `assert` is a promise: if a number were wrong, the lesson
# would stop there.

# %%
import inspect
import os

import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

import minisegnet
from minisegnet import functional, reference
from minisegnet.data.loader import Loader
from minisegnet.data.palettes import as_rgb, colourise
from minisegnet.data.shapes import Shapes
from minisegnet.layers import CrossEntropyLoss
from minisegnet.metrics import ConfusionMatrix
from minisegnet.models import unet
from minisegnet.teaching import check_operation, pictures
from minisegnet.training import SGD, Adam, Cosine, WarmUp

# %matplotlib inline

# The last part trains a network for so many steps: about a minute on two cores.
STEPS = int(os.environ.get("MINISEGNET_LESSON_STEPS", "500"))

# %% [markdown]
# ## 1. Forward: a filter slides over the image
#
# Here is an image `x` with one channel: a bright stroke that rises to the right, on dark ground. Beside it a
# filter `w` of 3 x 3 weights, and a bias `b`. In a network, `w` and `b` are what is learnt; here we chose them by
# hand. Look at where the positive weights stand, and guess what the filter is looking for.

# %%
x = np.array([
    [0, 0, 1, 3, 1],
    [0, 1, 3, 2, 0],
    [1, 3, 1, 0, 0],
    [2, 2, 0, 1, 0],
    [3, 0, 0, 0, 1],
], float)
w = np.array([
    [-1, 0, 2],
    [-1, 1, 0],
    [1, 0, -2],
], float)
b = 1.0

pictures.draw_matrices(x=x, w=w, b=b)

# %% [markdown]
# Lay the filter on the image, so that each of its weights covers a pixel. Multiply each pixel by the weight on
# it, add up the nine products, add the bias: that is one number of the output `y`. Move the filter one pixel to
# the right, and you get the next number; at the end of the row, go down by one and begin again on the left. Four
# of the nine places:

# %%
pictures.draw_forward(x, w, b, places=[(0, 0), (0, 1), (1, 0), (2, 2)])

# %% [markdown]
# The output is large where the stroke runs through the window from the lower left to the upper right, and small
# elsewhere. The filter asks "does a stroke rise here?", and `y` is a map of its answers.
#
# In one line, with the place $(i, j)$ of the output and the place $(p, q)$ in the filter:
#
# $$ y[i, j] \;=\; b + \sum_{p,\,q} w[p, q] \; x[i + p,\; j + q] $$
#
# And as a loop, which says the same:

# %%
def convolve(x, w, b):
    height, width = x.shape[0] - w.shape[0] + 1, x.shape[1] - w.shape[1] + 1
    y = np.zeros((height, width))
    for i, j in np.ndindex(height, width):
        window = x[i : i + w.shape[0], j : j + w.shape[1]]
        y[i, j] = (window * w).sum() + b
    return y


y = convolve(x, w, b)
print(y)
assert y[0, 0] == 3 and y[0, 1] == 12  # as in the picture

# %% [markdown]
# Is it right? minisegnet has the same operation, for many images and channels at once: arrays are (N, C, H, W),
# that is images, channels, rows, columns, and filters are (channels out, channels in, rows, columns). So our
# single image and single filter each get two more dimensions of length 1. The forward pass also returns a
# *cache*: whatever the backward pass will need later.

# %%
images, filters, biases = x[None, None], w[None, None], np.array([b])

y_library, cache = functional.conv2d_forward(images, filters, biases)
with minisegnet.backend("reference"):
    y_reference, _ = functional.conv2d_forward(images, filters, biases)

np.testing.assert_allclose(y_library[0, 0], y)
np.testing.assert_allclose(y_reference[0, 0], y)
print("your loop, the library and its reference agree:", y_library.shape)

# %% [markdown]
# There are two implementations behind that one name. The usual one is vectorised NumPy, made to be fast. The one
# called `"reference"` is made to be read: whenever an operation puzzles you, look at its loops.

# %%
print(inspect.getsource(reference.conv2d_forward))

# %% [markdown]
# ### Padding and stride
#
# The output above is smaller than the image, because the filter must fit inside. Two options change that.
# *Padding* puts a border of zeros around the image, so that the filter can stand on edge pixels too. *Stride* is
# how far the filter moves from place to place. The picture shows the first window (solid) and the next one
# (dotted), and which number of the output each of them makes.

# %%
pictures.draw_sizes(x, w, b, settings=[(0, 1), (1, 1), (1, 2)])

# %% [markdown]
# The formula counts the places: an image of size $H$, padded on both sides, leaves the filter of size $k$ so much
# room to move; it takes a step of the stride as often as fits; and there is the place where it begins.
#
# $$ H' \;=\; \left\lfloor \frac{H + 2 \cdot \text{padding} - k}{\text{stride}} \right\rfloor + 1 $$
#
# A 3 x 3 filter with padding 1 and stride 1 keeps the size. That is why you meet it everywhere.

# %%
for padding, stride in [(0, 1), (1, 1), (1, 2)]:
    y_strided, _ = functional.conv2d_forward(images, filters, biases, stride=stride, padding=padding)
    size = (5 + 2 * padding - 3) // stride + 1
    assert y_strided.shape == (1, 1, size, size)
    print(f"padding {padding}, stride {stride}: {size} x {size}")

# %% [markdown]
# ## 2. Backward: what each number did to the loss
#
# In training, the network's output goes into a loss $L$, one number that says how wrong it is. To make it smaller
# we need to know, for every number in the network, how $L$ changes when that number is raised a little: the
# gradient. The layers above have already worked it out for our output. It arrives as `dy`, of the same shape as
# `y`:
#
# $$ dy[i, j] \;=\; \frac{\partial L}{\partial y[i, j]} $$
#
# Our part is to pass it on: to `dx` for the layer below, and to `dw` and `db` for our own weights. Let some `dy`
# arrive.

# %%
dy = np.array([
    [1, 0, -1],
    [2, 1, -2],
    [0, -1, 1],
], float)

pictures.draw_matrices(dy=dy, w=w)

# %% [markdown]
# ### The image's gradient: stamps
#
# Think of one output alone, say `y[1, 2]`. It saw nine pixels, and its slope by each of them is the weight that
# lay on it. So of its own gradient, `dy[1, 2]` = -2, it sends back -2 times the filter, to the very window it had
# looked at: a stamp. Every output stamps, and where stamps overlap they add up, since a pixel that was seen nine
# times has nine ways to change the loss.
#
# Here are the nine stamps, each where it falls. Follow the framed pixel: all nine windows saw it.

# %%
pictures.draw_stamps(dy, w, follow=(2, 2))

# %%
def image_gradient(dy, w):
    dx = np.zeros((dy.shape[0] + w.shape[0] - 1, dy.shape[1] + w.shape[1] - 1))
    for i, j in np.ndindex(dy.shape):
        dx[i : i + w.shape[0], j : j + w.shape[1]] += dy[i, j] * w
    return dx


dx = image_gradient(dy, w)
print(dx)

# %% [markdown]
# ### The filter's gradient: windows
#
# Now turn the thought around. In `y[1, 2]`, the slope by a weight is the pixel that lay under it. So each output
# sends back to the filter the window it saw, times its `dy`. All nine use the same filter, and so all nine are
# summed. The frame follows the weight in the middle, which met the nine inner pixels, one at each place.

# %%
pictures.draw_windows(dy, x, follow=(1, 1))

# %%
def filter_gradient(dy, x):
    dw = np.zeros((x.shape[0] - dy.shape[0] + 1, x.shape[1] - dy.shape[1] + 1))
    for i, j in np.ndindex(dy.shape):
        dw += dy[i, j] * x[i : i + dw.shape[0], j : j + dw.shape[1]]
    return dw


dw = filter_gradient(dy, x)
db = dy.sum()  # the bias was added to every output, with slope 1
print(dw, db, sep="\n\n")

# %% [markdown]
# The library's backward pass takes `dy` and the cache that the forward pass left, and returns the gradients in
# the order of the inputs.

# %%
gradients = functional.conv2d_backward(dy[None, None], cache)

for name, mine, theirs in zip(["dx", "dw", "db"], [dx, dw, db], gradients, strict=True):
    np.testing.assert_allclose(np.squeeze(theirs), mine, err_msg=name)
    print(f"{name} agrees")

# %% [markdown]
# ### Both gradients are convolutions again
#
# Write the two sums with indices, and look at them for a moment:
#
# $$ dx[r, c] = \sum_{i,\,j} dy[i, j] \; w[r - i,\; c - j]
# \qquad\qquad
# dw[p, q] = \sum_{i,\,j} dy[i, j] \; x[p + i,\; q + j] $$
#
# The second is the formula of part 1, with `dy` as the filter: to get `dw`, slide `dy` over the image. The first
# is the same but for two minus signs. They say that `w` is read from its end: slide the filter, turned by 180
# degrees, over `dy` with enough padding. (You can see it in the stamps: from the first stamp to the last, the
# framed pixel lies under `w`'s last weight, its last but one, and so on to the first.)

# %%
np.testing.assert_allclose(convolve(x, dy, 0), dw)
np.testing.assert_allclose(convolve(np.pad(dy, 2), w[::-1, ::-1], 0), dx)

# %% [markdown]
# ## 3. Trust, but check
#
# A wrong gradient does not crash. The network just learns less well, and nobody knows why. But there is a test
# that needs no other implementation, only the definition of a slope: raise one number a little, lower it a
# little, and see how much the loss changes. Take the loss $L = \sum dy \cdot y$, whose gradient by `y` is just
# our `dy`, and move one pixel:

# %%
def loss_of(x):
    return (dy * convolve(x, w, b)).sum()


step = 1e-4
raised, lowered = x.copy(), x.copy()
raised[2, 2] += step
lowered[2, 2] -= step
slope = (loss_of(raised) - loss_of(lowered)) / (2 * step)

print(f"by nudging {slope:.6f}, by stamps {dx[2, 2]:.6f}")
assert abs(slope - dx[2, 2]) < 1e-6

# %% [markdown]
# Doing this for every element of every input is a *gradient check*. minisegnet has one. First, though, let your
# convolution grow up: many images, many channels, padding and stride. The loop over places stays, and each place
# still makes a sum of products, a stamp, and a scaled window; only that `tensordot` now does it for all images
# and channels at once.

# %%
def my_conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1):
    assert dilation == 1, "an exercise for you: see the end of the lesson"
    kernel_h, kernel_w = weight.shape[2:]
    padded = np.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
    height = (padded.shape[2] - kernel_h) // stride + 1
    width = (padded.shape[3] - kernel_w) // stride + 1
    y = np.zeros((len(x), len(weight), height, width), x.dtype)
    for i, j in np.ndindex(height, width):
        window = padded[:, :, i * stride : i * stride + kernel_h, j * stride : j * stride + kernel_w]
        y[:, :, i, j] = np.tensordot(window, weight, ([1, 2, 3], [1, 2, 3]))
    if bias is not None:
        y += bias[:, None, None]
    return y, (padded, weight, bias, stride, padding)


def my_conv2d_backward(dy, cache):
    padded, weight, bias, stride, padding = cache
    kernel_h, kernel_w = weight.shape[2:]
    dpadded, dweight = np.zeros_like(padded), np.zeros_like(weight)
    for i, j in np.ndindex(dy.shape[2:]):
        place = np.s_[:, :, i * stride : i * stride + kernel_h, j * stride : j * stride + kernel_w]
        dpadded[place] += np.tensordot(dy[:, :, i, j], weight, 1)  # a stamp
        dweight += np.tensordot(dy[:, :, i, j].T, padded[place], 1)  # a window
    dx = dpadded[:, :, padding : dpadded.shape[2] - padding, padding : dpadded.shape[3] - padding]
    return dx, dweight, None if bias is None else dy.sum((0, 2, 3))


rng = np.random.default_rng(1)
inputs = rng.normal(size=(2, 3, 5, 6)), rng.normal(size=(4, 3, 3, 3)), rng.normal(size=4)

report = check_operation(my_conv2d_forward, my_conv2d_backward, *inputs, stride=2, padding=1)
print(report)
assert report.ok

# %% [markdown]
# The errors are of the size of rounding. The check draws `dy` at random, and that matters: with a `dy` of all
# ones, plenty of wrong backward passes look right.
#
# ### What a mistake looks like
#
# Let us plant one that everybody makes once: `=` where `+=` belongs. Each stamp then wipes out what it falls on.

# %%
def careless_backward(dy, cache):
    dx, dweight, dbias = my_conv2d_backward(dy, cache)
    padded, weight, _, stride, padding = cache
    kernel_h, kernel_w = weight.shape[2:]
    dpadded = np.zeros_like(padded)
    for i, j in np.ndindex(dy.shape[2:]):
        place = np.s_[:, :, i * stride : i * stride + kernel_h, j * stride : j * stride + kernel_w]
        dpadded[place] = np.tensordot(dy[:, :, i, j], weight, 1)  # the mistake
    return dpadded[:, :, padding : padding + dx.shape[2], padding : padding + dx.shape[3]], dweight, dbias


report = check_operation(my_conv2d_forward, careless_backward, *inputs, stride=2, padding=1)
print(report)
assert report.wrong == ["x"]

# %% [markdown]
# The report tells you where to look: the gradients of `weight` and `bias` are right, that of `x` is wrong, and it
# names the worst element with both of its slopes. Not every element is wrong, either: those that a single stamp
# reaches are right. A picture says it all: with stride 2, the stamps overlap in every other row and in every other
# column, and there (1) the two gradients differ.

# %%
_, cache = my_conv2d_forward(*inputs, stride=2, padding=1)
upstream = rng.normal(size=(2, 4, 3, 3))
right, careless = my_conv2d_backward(upstream, cache)[0], careless_backward(upstream, cache)[0]
differs = ~np.isclose(right, careless)[0, 0]

assert differs.any() and not differs.all()
pictures.draw_matrices(dx=right[0, 0].round(1), careless_dx=careless[0, 0].round(1), differs=differs)

# %% [markdown]
# ## 4. Your convolution in a real network
#
# A U-Net is a few dozen layers, and each of them calls `functional`. Inside a `replace` block, *your* functions
# answer those calls. So let us make one training step of a small U-Net twice from the same start, once with the
# library's convolution and once with yours. Every weight must come out the same.

# %%
cross_entropy = CrossEntropyLoss()
few = next(Loader(Shapes(size=32), batch_size=2).epoch(0))


def one_step():
    network = unet(num_classes=5, width=4, depth=2, seed=1)
    scores = network.forward(few.images)
    loss, cache = cross_entropy.forward(scores, few.labels)
    network.backward(cross_entropy.backward(1.0, cache))
    SGD(network.parameters, lr=0.1).step()
    return loss, network.state_dict()


def largest_difference(weights, others):
    return max(np.abs(weights[name] - others[name]).max() for name in weights)


loss, weights = one_step()
with minisegnet.replace(conv2d_forward=my_conv2d_forward, conv2d_backward=my_conv2d_backward):
    my_loss, my_weights = one_step()
with minisegnet.replace(conv2d_forward=my_conv2d_forward, conv2d_backward=careless_backward):
    careless_loss, careless_weights = one_step()

print(f"loss {loss:.6f}, with your convolution {my_loss:.6f}, with the careless one {careless_loss:.6f}")
assert largest_difference(weights, my_weights) < 1e-5
assert largest_difference(weights, careless_weights) > 1e-3

# %% [markdown]
# Yours makes the same step, to rounding. The careless one shows the same loss, since its forward pass is right,
# and then steps somewhere else; without the check you would hardly have noticed.
#
# ## 5. Train it
#
# You now know what happens in every convolution of a U-Net. Time to see what a stack of them learns. The data are
# made up as we go: circles, squares, triangles and stars, textured and in front of one another, so that colour
# alone gives nothing away. Each image comes with its labels, a class for every pixel.

# %%
shapes = Shapes(size=64, count=8 * STEPS)
held_out = Shapes(size=64, count=60, split="val")


def show(rows, names):
    figure, grid = plt.subplots(len(rows), len(rows[0]), figsize=(9, 1.6 * len(rows)), layout="constrained")
    for axes, name in zip(grid[:, 0], names, strict=True):
        axes.set_ylabel(name)
    for axes, picture in zip(grid.flat, [picture for row in rows for picture in row], strict=True):
        axes.imshow(picture, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
    colours = [plt.Rectangle((0, 0), 1, 1, color=colour / 255) for colour in shapes.palette]
    figure.legend(colours, shapes.classes, loc="outside lower center", ncols=len(colours), frameon=False)


few = [held_out[i] for i in range(6)]
images, truths = [as_rgb(sample.image) for sample in few], [colourise(sample.labels, shapes.palette) for sample in few]
show([images, truths], ["image", "truth"])

# %% [markdown]
# The whole of training is the loop below. Forward through the network; the loss, which is the mean over all
# pixels of $-\log$ of the probability given to the right class; backward, which leaves a gradient in every
# parameter; and a small step downhill. No image is ever seen twice, as drawing new ones costs nothing.

# %%
def centred(images):  # pixels from 0..1 to -2..2, as networks like their inputs around zero
    return 4 * images - 2


network = unet(num_classes=len(shapes.classes), width=12, depth=3)
optimiser = Adam(network.parameters)
learning_rate = WarmUp(20, then=Cosine(0.005, STEPS))  # begin gently, end gently
batches = Loader(shapes, batch_size=8)

losses = []
for step, batch in enumerate(tqdm(batches.epoch(0), total=len(batches))):
    scores = network.forward(centred(batch.images))  # (8, 5, 64, 64): five scores at every pixel
    loss, cache = cross_entropy.forward(scores, batch.labels)
    optimiser.zero_grad()
    network.backward(cross_entropy.backward(1.0, cache))
    optimiser.lr = learning_rate(step)
    optimiser.step()
    losses.append(float(loss))

assert np.mean(losses[-5:]) < np.mean(losses[:5])

# %%
figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.plot(losses, color=pictures.IMAGE, linewidth=0.8)
axes.set(xlabel="step", ylabel="loss", ylim=(0, None))
axes.spines[["top", "right"]].set_visible(False)

# %% [markdown]
# The loss falls in two stages. To tell objects from background is easy, and soon learnt; then, for a long while,
# little seems to happen, until the network begins to tell one shape from another.
#
# A falling loss is a good sign but a poor measure. What counts are images that the network has never seen, and
# the *intersection over union* of each class: of all pixels that are stars, or are called stars, how many are
# both? An answer that calls everything background already gets most pixels right, and yet a mean IoU of next to
# nothing.

# %%
confusion, all_background = ConfusionMatrix(len(shapes.classes)), ConfusionMatrix(len(shapes.classes))
predictions = []
for sample in held_out:
    scores = network.predict(centred(sample.image[None]))
    predictions.append(scores[0].argmax(axis=0))
    confusion.update(predictions[-1], sample.labels)
    all_background.update(np.zeros_like(sample.labels), sample.labels)

print(confusion.table(shapes.classes))
print(f"\nall background: {all_background.pixel_accuracy:.0%} of pixels right, mean IoU {all_background.mean_iou:.2f}")
assert confusion.mean_iou > all_background.mean_iou

# %%
answers = [colourise(labels, shapes.palette) for labels in predictions[:6]]
show([images, truths, answers], ["image", "truth", "prediction"])

# %% [markdown]
# ## What now?
#
# You have written a convolution and both of its gradients, proved them right, and seen a network of them learn to
# name shapes. Some things to try, each a small change above:
#
# 1. Choose `w` so that it finds strokes that *fall* to the right. Before you run it: what will `y` be on this
#    `x`?
# 2. Teach `my_conv2d_forward` and its backward pass `dilation`: the filter's weights stand so many pixels apart.
#    The gradient check will tell you when you are done; pass it `dilation=2`.
# 3. In `my_conv2d_backward`, swap `i` and `j` in `dy[:, :, i, j]` of the window's line. Would a check with a `dy`
#    of all ones find it?
# 4. Train with your own convolution: put the loop of part 5 into a `replace` block and set `STEPS = 20`. How much
#    slower is it, and where does the time go?
