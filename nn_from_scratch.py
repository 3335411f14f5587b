# %% [markdown]
"""
# A neural network from scratch

A 784-10-10 network learns to read handwritten digits in a few seconds, with NumPy alone. Training
repeats four steps: run the network forward (chapter 3), measure its loss (4), find how each weight
and bias moves the loss, the gradient (5), and move them all a little downhill (6). Every formula is
derived before the line that computes it, and the classic mistakes stand beside the right lines.
Read it once from top to bottom; then derive it on paper.

This is a lesson, not a library. You need matrix multiplication, partial derivatives, mean and
variance, and basic Python. Run it with `python nn_from_scratch.py`, or open it as a notebook: each
`# %%` starts a cell. Its companion `test_nn.py` checks every gradient.

    symbol      meaning                                                          shape
    m           number of samples at hand, at most 64 in a training step
    X           images: a column is a sample, a row is a pixel; 0 paper, 1 ink   (784, m)
    y, Y        labels as digits, and one-hot: 1 in row y of the column, else 0  (m,), (10, m)
    W1, b1      weights and biases of the hidden layer                           (10, 784), (10, 1)
    Z1, A1      the hidden layer before and after ReLU                           (10, m)
    W2, b2      weights and biases of the output layer                           (10, 10), (10, 1)
    Z2, A2      the scores, and the probabilities that softmax makes of them     (10, m)
    L, J        the loss of one sample, and the mean of L over the m samples
    dZ2, dZ1    dL/dZ, each column for its own sample's L                        (10, m)
    dW1, db1    dJ/dW1 and dJ/db1, the gradient; dW2 and db2 likewise            as W1, b1
    alpha       the learning rate, `learning_rate` in the code
    @  *  ^T    matrix product, product element by element, transpose (.T in the code)
    log         the natural logarithm, ln

The hidden layer has 10 units; with `--hidden 300` each 10 that counts hidden units becomes 300.
"""

# %%
import argparse
import hashlib
import sys
import tempfile
import time
import zlib
from multiprocessing.pool import ThreadPool
from pathlib import Path
from urllib.request import urlopen

import matplotlib.pyplot as plt
import numpy as np

# What training does not learn but you choose, on the validation images (chapters 6 and 7).
# fmt: off
HIDDEN = 10           # units in the hidden layer: more read better and take longer to train
EPOCHS = 25           # passes over all training images: more gain little, fewer lose accuracy
BATCH_SIZE = 64       # images per step: few make many noisy steps, many make few smooth ones
LEARNING_RATE = 0.12  # alpha at the start: lower is slower, higher can kill hidden units
SEED = 0              # of all random numbers: the same seed gives the same run
# fmt: on

# %% [markdown]
# ## 1. The data: from image files to the matrix X
# MNIST is 70,000 scanned digits of 28x28 grey pixels (LeCun, Cortes and Burges, 1998). Row by row,
# an image becomes 784 numbers, scaled from 0..255 to 0..1: one **column** of X. One column is one
# sample, here and in Y, Z and A, so a layer is W X + b, as in the books.
#
# In memory the 784 numbers of a column stand side by side (X is the transpose of an array with an
# image per row). Some neighbouring columns, a batch, are then one unbroken run, and fast to read.


# %%
def read_idx(folder, name):
    """Return the uint8 array in the IDX file `name`: (m, 28, 28) images or (m,) labels.
    IDX is two zero bytes, 8 for "unsigned bytes", the number of axes, the length of each axis as a
    big-endian 32-bit number, the values. Raises FileNotFoundError, and ValueError if broken."""
    path = find_idx(folder, name)
    try:
        data = unpack(path.read_bytes())
        shape = np.frombuffer(data, ">u4", count=data[3], offset=4)
        return np.frombuffer(data, np.uint8, offset=4 + shape.nbytes).reshape(shape)
    except (IndexError, ValueError, zlib.error) as error:
        raise ValueError(f"{path} is broken ({error}): delete it and start again") from None


def load_mnist(folder):
    """Return X_train (784, 60000), y_train (60000,), X_test (784, 10000), y_test (10000,).
    X is float32 in [0, 1], y is int in 0..9. Other data in the same form load too (Fashion-MNIST).
    Raises FileNotFoundError if `folder` lacks one of the four files, ValueError if one is bad."""
    arrays = []
    for part in "train", "t10k":
        images = read_idx(folder, f"{part}-images-idx3-ubyte")
        labels = read_idx(folder, f"{part}-labels-idx1-ubyte")
        if images.shape != (*labels.shape, 28, 28) or labels.max(initial=0) > 9:
            raise ValueError(f"{part} images and labels 0-9 in {folder} do not match: delete both")
        arrays += [np.divide(images.reshape(-1, 784), 255, dtype=np.float32).T, labels.astype(int)]
    return tuple(arrays)


def one_hot(y, n_classes=10):
    """Return Y (n_classes, m) float32: in column s a 1 in row y[s], zeros elsewhere."""
    # Wrong: y.max() + 1 rows. Without a 9 in y they are too few: A2 - Y fails, or broadcasts.
    return np.eye(n_classes, dtype=np.float32)[:, y]


# %% [markdown]
# ## 2. The network, and where it starts
#
#        X       W1 X + b1      Z1     ReLU     A1      W2 A1 + b2     Z2    softmax    A2
#     (784, m) ------------> (10, m) -------> (10, m) ------------> (10, m) -------> (10, m)
#      pixels    (10, 784)    sums           features   (10, 10)    scores      probabilities
#                (10, 1)                                (10, 1)
#
# A **layer** is weighted sums of its inputs, one sum per unit (a row of W), each plus a constant of
# its own, its bias. Layer 1 is **hidden** between pixels and scores; row k of layer 2 gives digit k
# its score. Books number the layers in brackets, Z[1] = W[1] X + b[1]; in code Z1 = W1 @ X + b1. b1
# is one column and W1 X has m: NumPy **broadcasts**, that is, it adds the same b1 to every column.
#
# **Why not start at zero?** Units that start equal stay equal: equal weights, in and out, get equal
# gradients, so ten units would do the work of one. Random weights break the symmetry.
#
# **How large?** A unit sums z = w_1 a_1 + ... + w_n a_n over its n = n_in inputs. Let the w be
# symmetric about 0, and independent of each other and of the a. Then the products w a have mean 0
# and are uncorrelated, so Var(z) is the sum of their mean squares. Each a is ReLU(z') = max(z', 0)
# of a sum z' one layer below, symmetric about 0 too: half of its mean square Var(z') is cut off.
#
#     Var(z) = n Var(w) mean(a^2) = n Var(w) Var(z') / 2
#
# Signals neither grow nor fade from layer to layer if Var(w) = 2 / n_in (He et al., 2015). Pixels
# are not ReLU outputs, but a scale that is off in one layer alone does no harm. Biases start at
# zero: nothing tells yet which way to push.


# %%
def init_params(n_hidden, rng):
    """Return W1 (n_hidden, 784), b1 (n_hidden, 1), W2 (10, n_hidden), b2 (10, 1), all float32.
    `rng` is a numpy.random.Generator. Weights have standard deviation sqrt(2 / n_in)."""
    # `** 0.5` gives a Python float. np.sqrt would give a np.float64, to which NumPy 2 promotes the
    # weights, and with them everything below, at half the speed.
    W1 = rng.standard_normal((n_hidden, 784), dtype=np.float32) * (2 / 784) ** 0.5
    b1 = np.zeros((n_hidden, 1), dtype=np.float32)
    W2 = rng.standard_normal((10, n_hidden), dtype=np.float32) * (2 / n_hidden) ** 0.5
    b2 = np.zeros((10, 1), dtype=np.float32)
    return W1, b1, W2, b2


# %% [markdown]
# ## 3. Forward: from pixels to probabilities
# **Why two layers, and why ReLU?** In one layer each pixel votes by itself, whatever the others
# show. And without something non-linear between them, two layers are one:
#
#     W2 (W1 X + b1) + b2 = (W2 W1) X + (W2 b1 + b2)
#
# ReLU(z) = max(z, 0) is about the simplest bend. A unit is *on* where z > 0 and *off* elsewhere.
#
# **Softmax** turns a column Z of scores into probabilities A, positive and summing to 1:
#
#     A_k = exp(Z_k) / sum_j exp(Z_j)
#
# Subtracting any number c from all scores of a column changes nothing, since exp(Z_k - c) is
# exp(Z_k) exp(-c), and exp(-c) cancels. exp overflows easily, but not if c is the column's maximum:
# the largest term is then exp(0) = 1, and the sum at least 1.


# %%
def relu(Z):
    """Return max(Z, 0), element by element: same shape and dtype as Z."""
    return np.maximum(Z, 0)


def softmax(Z):
    """Return the softmax of each column of Z (10, m): entries in [0, 1], each column sums to 1."""
    # Wrong: exp(Z) without the maximum. In float32 exp(89) is inf, and inf / inf is nan.
    # Wrong: Z.max(), one maximum for the batch. A column 104 below it becomes 0 / 0, nan as well.
    # axis=0 runs down the columns: one maximum each, (m,), which acts as a row.
    E = np.exp(Z - Z.max(axis=0))
    return E / E.sum(axis=0)


def forward_prop(params, X):
    """Return Z1, A1, Z2, A2 for the samples in the columns of X. backward_prop needs all but Z2."""
    W1, b1, W2, b2 = params
    # fmt: off
    Z1 = W1 @ X + b1                              # (10, m)
    A1 = relu(Z1)                                 # (10, m)
    Z2 = W2 @ A1 + b2                             # (10, m)
    A2 = softmax(Z2)                              # (10, m)
    # fmt: on
    return Z1, A1, Z2, A2


# %% [markdown]
# ### In numbers
# A network for pencil and paper: 2 pixels, 2 hidden units, 3 classes, and one sample of class 1
# (classes count from 0). Chapter 5 runs the same example backward.
#
#     X  = [[1], [2]]
#     W1 = [[-1, 1], [1, -1]]          b1 = [[0], [0]]
#     W2 = [[1, 0], [2, 1], [3, 0]]    b2 = [[0], [0], [0]]
#
#     Z1 = [[1], [-1]]                 -1*1 + 1*2 = 1 and 1*1 - 1*2 = -1
#     A1 = [[1], [0]]                  the first unit is on, the second is off
#     Z2 = [[1], [2], [3]]
#     A2 = [[0.090], [0.245], [0.665]] e, e^2 and e^3, divided by their sum 30.193
#
# ## 4. Loss: one number for how wrong the network is
# If t is the true class of a sample, the network gives the truth the probability A_t. For m
# independent samples the probability of all true labels (the **likelihood**) is a product of m such
# factors. To maximise it is to minimise minus its logarithm, which is a sum, or its mean:
#
#     L = -log A_t = -(sum over k of Y_k log A_k)       J = 1/m (sum over the samples of L)
#
# This is the **cross-entropy**; the sum only picks row t, where Y is 1. A network that knows
# nothing gives each digit about 1/10, so training starts near log 10 = 2.303, chance level; a bit
# above it, since leaning to one digit at random loses more than it gains. Far above: a bad start.
#
# **Why is L computed from Z2, not from A2?** A small A_t underflows to 0, and log 0 is -inf. But
#
#     L = -log (exp(Z_t) / sum_j exp(Z_j)) = log (sum_j exp(Z_j)) - Z_t
#
# never takes the log of less than 1, once the maximum is subtracted from every Z, which again
# changes nothing: it cancels between the two terms. In the example, where t = 1:
#
#     L = log (e + e^2 + e^3) - 2 = 1.408 = -log 0.2447


# %%
def cross_entropy(Z2, Y):
    """Return the mean cross-entropy J of the scores Z2 (10, m) for one-hot labels Y (10, m)."""
    # Wrong: -log(A2 + 1e-8). It hides the -inf, caps the loss at 18.4 and no longer matches dZ2.
    S = Z2 - Z2.max(axis=0)
    return np.mean(np.log(np.exp(S).sum(axis=0)) - (Y * S).sum(axis=0))


# %% [markdown]
# ## 5. Backward: the gradient
# How does J change with each weight and bias? Walk back from the loss, a step of forward_prop at a
# time, by the **chain rule**: if x moves L by way of u_1, u_2, ..., dL/dx = sum_k dL/du_k du_k/dx.
# A sample's L depends on its own column alone: take one column, until step 2 sums over all m.
#
# ### Step 1. Loss and softmax together: dZ2 = A2 - Y
# Write Z, A for Z2, A2. A_k = exp(Z_k) / T with T = sum_j exp(Z_j), so dT/dZ_i = exp(Z_i). Let
# delta_ki be 1 if k = i and 0 otherwise. The quotient rule says
#
#     dA_k/dZ_i = (delta_ki exp(Z_k) T - exp(Z_k) exp(Z_i)) / T^2 = A_k (delta_ki - A_i)
#
# Each score changes every probability, because they share the sum T. So L feels Z_i by way of
# every A_k, and from L = -sum_k Y_k log A_k:
#
#     dL/dA_k = -Y_k / A_k
#     dL/dZ_i = sum_k dL/dA_k dA_k/dZ_i = -sum_k Y_k (delta_ki - A_i) = -Y_i + A_i sum_k Y_k
#             = A_i - Y_i                           because a one-hot column sums to 1
#
# Probability given minus probability due: the **blame** of each score. A column sums to 1 - 1 = 0.
#
# ### Step 2. The output layer: dW2 and db2
# Z2_i = sum_j W2_ij A1_j + b2_i, so the weight W2_ij moves only Z2_i, at the rate A1_j:
#
#     dL/dW2_ij = dZ2_i A1_j            dL/db2_i = dZ2_i
#
# and J is the mean of L over the m samples. With s for the sample, that is, the column:
#
#     dJ/dW2_ij = 1/m sum_s dZ2_is A1_js    = 1/m (dZ2 A1^T)_ij
#     dJ/db2_i  = 1/m sum_s dZ2_is          a sum along each row: axis=1
#
# A matrix product sums over the last index of its left and the first of its right factor. The
# sample s comes last in both dZ2 and A1, so A1 must be transposed: (10, m) (m, 10) = (10, 10).
# 1/m is there because J is a mean: without it, twice the batch would take steps twice as long.
#
# ### Step 3. Back through the weights: W2^T dZ2
# A1_j enters every Z2_i, with weight W2_ij, and so collects from all of them:
#
#     dL/dA1_j = sum_i dZ2_i W2_ij = (W2^T dZ2)_j
#
# W2 carries hidden units to scores; W2^T carries blame for the scores back to the hidden units.
#
# ### Step 4. Back through ReLU: dZ1
# ReLU is a switch, or gate. Where Z1 > 0 it passes Z1 on (slope 1), so it passes blame back; where
# Z1 < 0 it passes nothing (slope 0). At 0 there is no slope; by convention the gate is closed.
#
#     dZ1 = (W2^T dZ2) * (Z1 > 0)            True counts as 1, False as 0
#
# ### Step 5. The hidden layer: dW1 and db1
# Z1 = W1 X + b1 has the form of step 2, with X in place of A1: dW1 = 1/m dZ1 X^T, and db1 = 1/m
# times the row sums of dZ1. Any deeper network repeats steps 2 to 4, layer by layer.


# %%
def backward_prop(params, X, Y, Z1, A1, A2):
    """Return the gradient dW1, db1, dW2, db2 of J, each of the shape of its parameter.
    X (784, m), Y (10, m); Z1, A1, A2 (10, m) from forward_prop with the same params and X."""
    _, _, W2, _ = params
    m = X.shape[1]  # of this batch. Wrong: of the whole data set. Steps get far too small.
    # fmt: off
    dZ2 = A2 - Y                                  # (10, m)

    # Wrong: dZ2 @ A1.T without 1/m. It is m times too large: training jumps about or diverges.
    # Wrong: Z1 in place of A1. Only dW2 is off, and training still improves: nobody notices.
    dW2 = (dZ2 / m) @ A1.T                        # (10, 10)

    # Wrong: np.sum(dZ2) / m, no axis. Columns of A2 - Y sum to 0, so b2 stays 0 and never learns.
    # keepdims=True keeps a column. A bare sum, (10,), acts as a row: b2 would become (10, 10).
    db2 = dZ2.sum(axis=1, keepdims=True) / m      # (10, 1)

    # Wrong: (A1 >= 0), always true: the gate never closes. (A1 > 0) would do: it means Z1 > 0.
    # Wrong: W2 @ dZ2, without .T. With 10 units W2 is square, and nothing complains.
    dZ1 = (W2.T @ dZ2) * (Z1 > 0)                 # (10, m)

    # dZ1 @ X.T / m is the same, but would divide 12 times as many numbers.
    dW1 = (dZ1 / m) @ X.T                         # (10, 784)
    db1 = dZ1.sum(axis=1, keepdims=True) / m      # (10, 1)
    # fmt: on
    return dW1, db1, dW2, db2


# %% [markdown]
# ### The example, backward
#     Y   = [[0], [1], [0]]
#     dZ2 = [[0.090], [-0.755], [0.665]]           class 1 should score more, the others less
#     dW2 = [[0.090, 0], [-0.755, 0], [0.665, 0]]  for weights from the unit that is off, 0
#     db2 = [[0.090], [-0.755], [0.665]]
#     dZ1 = [[0.575], [0]]                         0.090*1 - 0.755*2 + 0.665*3; the gate is closed
#     dW1 = [[0.575, 1.150], [0, 0]]               0.575 times the pixels 1 and 2
#     db1 = [[0.575], [0]]
#
# ## 6. Update: one step downhill
# Let W stand for all parameters, and move them a little, by D. To first order (Taylor) J changes
# by the sum of dW * D. Among all D of one length this is lowest for the D that points against dW
# (Cauchy-Schwarz), so take D = -alpha dW:
#
#     J(W - alpha dW) = J(W) - alpha (sum of dW * dW) + terms of order alpha^2
#
# A small alpha is safe and slow. With a large one the terms of order alpha^2 win and J grows, or a
# jump carries a hidden unit to where it is off for every image: its gradient is 0, it is **dead**.


# %%
def update_params(params, grads, learning_rate):
    """Return new params after one step downhill: W := W - alpha dW, b := b - alpha db."""
    # Wrong: updating W2 on the way back, before dZ1 has used it. Here all gradients come first.
    # The same as P - learning_rate * dP, but a sum can reuse the memory of a large product.
    return tuple(P + -learning_rate * dP for P, dP in zip(params, grads))


# %% [markdown]
# ## 7. Training: many small steps
# A **mini-batch** of m random images estimates the gradient over all images: right on average, off
# by noise that shrinks like 1 / sqrt(m). With m = 64, one pass over the data (an **epoch**) buys
# 860 such steps, and they get much further than the single exact step that it would buy otherwise.
#
# The images are shuffled once, since files are often sorted. A batch is then a run of neighbouring
# columns, used where it lies in memory, and each epoch takes the batches in a new order. Gathering
# 64 columns anew would cost half as much as the matrix products of a step.
#
# The noise never ends, so at a constant rate the steps end up wandering around a minimum. From
# half-way on, the learning rate therefore falls in a straight line to nearly 0: the steps settle.
#
# Parameters are fitted to the training images, so the loss there flatters them. The 5,000
# **validation** images take part in no step, and judge fairly while you choose the constants above.
# (MNIST's happen to be easy: the loss on them is even lower.) Choosing wears them out too. Hence
# the test images: every run reports on them at its end, but choose nothing by that number.


# %%
def evaluate(params, X, y):
    """Return the mean loss and the accuracy on the images X (784, m) with labels y (m,)."""
    Z2 = forward_prop(params, X)[-2]
    return float(cross_entropy(Z2, one_hot(y))), accuracy(Z2.argmax(axis=0), y)


@np.errstate(over="ignore", invalid="ignore")  # a diverging loss is an error, below
def train(params, X, y, X_val, y_val, epochs, batch_size, learning_rate, rng, report=print):
    """Return the trained params and a row per epoch: training and validation loss, accuracy, time.
    X (784, m) and y (m,) are trained on, X_val and y_val only judge. Time is in seconds since the
    start. Each epoch calls report(text). Raises FloatingPointError if the loss diverges."""
    # Wrong: shuffling X but not y. One list of columns for both keeps each image with its label.
    order = rng.permutation(len(y))
    X, y = X[:, order], y[order]
    Y, history = one_hot(y), []
    report("epoch  training loss  validation loss  accuracy  learning rate  seconds")
    start = time.perf_counter()
    for epoch in range(1, epochs + 1):
        rate = learning_rate * min(1, 2 - 2 * (epoch - 1) / epochs)
        for i in rng.permutation(range(0, len(y), batch_size)):
            X_batch, Y_batch = X[:, i : i + batch_size], Y[:, i : i + batch_size]
            Z1, A1, _, A2 = forward_prop(params, X_batch)
            grads = backward_prop(params, X_batch, Y_batch, Z1, A1, A2)
            params = update_params(params, grads, rate)
        loss, _ = evaluate(params, X[:, :1000], y[:1000])  # 1,000 will do
        val_loss, score = evaluate(params, X_val, y_val)
        if not np.isfinite(loss + val_loss):
            raise FloatingPointError(f"the loss is {loss} in epoch {epoch}: lower --learning-rate")
        seconds = time.perf_counter() - start
        history.append((loss, val_loss, score, seconds))
        report(f"{epoch:5}{loss:15.4f}{val_loss:17.4f}{score:10.2%}{rate:15.3f}{seconds:9.2f}")
    return params, history


# %% [markdown]
# ## 8. Judging what it has learnt
# **Accuracy** is the share of right answers. The **confusion matrix** says more: its row t, column
# p counts how often a t was read as p; right answers stand on the diagonal. And a row of W1 has a
# weight for each pixel, so it is an image too: the ink that turns this unit on, or keeps it off.
#
# **What ten hidden units cannot do.** The default run reads 560 of the 10,000 test images wrongly.
# Most often it mixes up 4 and 9 (45 times), 3 and 5 (39) and 2 and 7 (36): pairs that share much of
# their ink. None of its units is dead, but each is one template for the whole image, and ten leave
# none to spare for a detail, such as the gap at the top of a 4. More epochs hardly help. More units
# do: `--hidden 300 --learning-rate 0.4` reads 98.33%.


# %%
def predict(params, X):
    """Return the (m,) most probable digits for the columns of X (784, m)."""
    return forward_prop(params, X)[-2].argmax(axis=0)  # softmax keeps the order of the scores


def accuracy(predictions, y):
    """Return the share of right predictions, in [0, 1]."""
    return float(np.mean(predictions == y))


# %% [markdown]
# ## 9. The picture
# One function per panel: each takes an Axes and data, so that you can copy the one you need.


# %%
def plot_images(ax, title, X, captions, per_row, **style):
    """Show the columns of X (784, k) as 28x28 pictures, `per_row` to a row, captions below."""
    for i, caption in enumerate(captions):
        x, y = i % per_row + 0.1, 1.3 * (i // per_row)
        ax.imshow(X[:, i].reshape(28, 28), extent=(x, x + 0.8, y + 0.8, y), **style)
        ax.text(x + 0.4, y + 0.85, caption, ha="center", va="top", fontsize=8)
    ax.set(title=title, xlim=(0, per_row), ylim=(-1.3 * (-len(captions) // per_row), -0.1))
    ax.axis("off")


def plot_loss(ax, history):
    """Show training and validation loss per epoch; `history` as train returns it."""
    epochs, losses = range(1, len(history) + 1), np.array(history)[:, :2]
    ax.semilogy(epochs, losses, "o-", base=2, label=["training", "validation"])
    ax.axhline(np.log(10), color="black", linestyle=":", label="chance level, ln 10")
    ax.yaxis.set_major_formatter("{x:.2g}")
    ax.set(title="Loss after each epoch", xticks=epochs[:: 1 + len(epochs) // 12])
    ax.legend()


def plot_accuracy(ax, history):
    """Show the validation accuracy per epoch; `history` as train returns it."""
    epochs = range(1, len(history) + 1)
    ax.plot(epochs, [100 * row[2] for row in history], "o-", color="C1")
    ax.set(title="Validation accuracy in percent", xticks=epochs[:: 1 + len(epochs) // 12])


def plot_weights(ax, W1, W2, dead):
    """Show W1 row by row as images; of more than 20 units those with the largest weights in W2."""
    units = np.sort(np.argsort(-np.linalg.norm(W2, axis=0))[:20])
    captions = [f"unit {u}: dead" if dead[u] else f"unit {u}" for u in units]
    title = f"What {len(units)} of {len(W1)} hidden units look for: red for ink, blue for paper"
    top = np.abs(W1[units]).max()
    plot_images(ax, title, W1[units].T, captions, 10, cmap="RdBu_r", vmin=-top, vmax=top)


def plot_confusion(ax, predictions, y):
    """Show how often a true digit (row) was read as which (column): mistakes in colour."""
    counts = np.bincount(10 * y + predictions, minlength=100).reshape(10, 10)
    ax.imshow(counts * (1 - np.eye(10)), cmap="Oranges", alpha=0.6)
    for (t, p), n in np.ndenumerate(counts):
        ax.text(p, t, n or "", ha="center", va="center", color="grey" if t == p else "black")
    ax.set(title="Confusion matrix: a row is a true digit", xticks=range(10), yticks=range(10))


def plot_predictions(ax, title, X, y, A2):
    """Show the columns of X (784, k) with predictions and probabilities from A2 (10, k)."""
    marks = np.where(A2.argmax(axis=0) == y, "", [f"\nWRONG: is {truth}" for truth in y])
    captions = [f"{a.argmax()}  {a.max():.1%}{mark}" for a, mark in zip(A2.T, marks)]
    plot_images(ax, title, X, captions, 5, cmap="Greys", vmin=0, vmax=1)


def draw_figure(title, history, params, X, y):
    """Return the figure: training curves, weights, and what the network makes of X (784, m), y."""
    Z1, *_, A2 = forward_prop(params, X)
    wrong = np.flatnonzero(A2.argmax(axis=0) != y)
    top = wrong[np.argsort(-A2.max(axis=0)[wrong])][:15]
    rows = {"height_ratios": [3, 2, 1.6 if len(Z1) <= 10 else 3, 4.7]}
    fig, ax = plt.subplot_mosaic("LC;AC;WW;SM", figsize=(10, 12), dpi=100, gridspec_kw=rows)
    fig.subplots_adjust(left=0.05, right=0.98, bottom=0.02, top=0.92, wspace=0.12, hspace=0.25)
    fig.suptitle(title)
    plot_loss(ax["L"], history)
    plot_accuracy(ax["A"], history)
    plot_confusion(ax["C"], A2.argmax(axis=0), y)
    plot_weights(ax["W"], params[0], params[2], dead=(Z1 <= 0).all(axis=1))
    plot_predictions(ax["S"], "The first test images", X[:, :15], y[:15], A2[:, :15])
    plot_predictions(ax["M"], f"The surest of {len(wrong)} mistakes", X[:, top], y[top], A2[:, top])
    return fig


def text_picture(x, a):
    """Return image x (784,) as ten lines of characters, with probabilities a (10,) as bars."""
    rows = x.reshape(14, 2, 28).mean(axis=1)[2:12]  # two rows of pixels to a line of text
    lines = ["".join(" .:-=+*#%@"[int(9.99 * ink)] for ink in row) for row in rows]
    return "\n".join(f"{lines[k]} {k} {a[k]:6.1%} {'#' * int(30 * a[k])}" for k in range(10))


# %% [markdown]
# ## Appendix A. Digits drawn by the script itself
# Where MNIST cannot be had, the network trains on these: a table of ways to move a pen, and chance.
# The table was fitted to MNIST's training images, so that what is learnt carries over: after
# training on drawn digits alone, 88.62% of MNIST's test images are read correctly.

# %%
# fmt: off
# Some ways to write 0, 1, ... 9: the points that the pen visits, by x from the left and y from the
# top. At a comma it is lifted.
WAYS = [
    ["30 04 09 19 79 93 60 20", "40 12 06 19 59 86 84 70 30", "40 04 09 19 69 95 60 40 22"],
    ["40 29", "30 39", "22 40 39", "12 30 34 39, 09 39 69"],
    ["12 10 50 64 37 18 19 88", "22 20 50 72 67 19 09 06 56 88", "02 30 53 29 09 08 26 48 98"],
    ["10 60 53 44, 14 53 76 69 09 07", "00 60 54 14 54 77 69 19", "01 30 51 34 24 54 67 49 08"],
    ["10 05 55, 60 53 59", "21 05 65, 60 55 45 39", "60 05 75, 60 49", "01 12 05 74, 60 49 39"],
    ["22 04 44 76 69 19, 12 20 80", "90 31 21 14 34 55 58 28 18", "60 10 14 54 65 77 59 09 08"],
    ["40 20 07 18 29 68 65 16 17", "30 20 04 09 69 76 65 45 29", "30 04 09 39 48 46 17"],
    ["01 10 70 63 39", "00 60 54 39, 35 64", "03 00 50 61 45 39", "02 01 80 71 59 39"],
    ["41 40 00 03 24 56 58 49 19 07 24 52", "40 10 02 35 53 70 40, 35 25 19 59 57 35",
     "52 40 01 14 35 49 19 08 07 53 62"],
    ["53 45 04 10 50 59 69", "53 14 03 10 50 51 49", "61 30 03 35 62 49", "44 03 02 20 51 52 29"]]
# fmt: on


def move_pen(stroke, n, rng):
    """Write one stroke n times, each time a little differently: pen positions (n, steps, 2)."""
    points = np.array([[int(x), int(y)] for x, y in stroke.split()], np.float32)
    at = np.append(0, np.cumsum(np.hypot(*np.diff(points, axis=0).T)))  # distance along the stroke
    steps = np.linspace(0, at[-1], int(2.5 * at[-1]) + 1)  # the pen's stops, evenly spaced
    # A stop is a mix of the two points around it; mixing neighbouring stops rounds the corners.
    mix = np.array([np.interp(steps, at, unit) for unit in np.eye(len(at))], np.float32)
    for _ in range(3):
        mix[:, 1:-1] = (mix[:, :-2] + 2 * mix[:, 1:-1] + mix[:, 2:]) / 4
    # Every point strays from its place in the table, by about one unit of the grid.
    return mix.T @ (points + rng.standard_normal((n, len(at), 2), np.float32))


def draw_digits(m, rng):
    """Draw m digits: images X (784, m), float32 in [0, 1], and labels y (m,), integers 0 to 9."""
    number = rng.permutation(m)  # its last digit is the one to draw: all ten are as frequent
    X = np.empty((m, 784), np.float32)
    for digit, ways in enumerate(WAYS):
        for k, way in enumerate(ways):
            mine = np.flatnonzero((number % 10 == digit) & (number // 10 % len(ways) == k))
            n = len(mine)
            path = np.concatenate([move_pen(stroke, n, rng) for stroke in way.split(",")], axis=1)
            # Width, tilt and slant vary, and most writers lean to the right: mean, then deviation.
            path += path @ rng.normal([[0, 0], [-0.15, 0]], [[0.2, 0.15], [0.25, 0]], (n, 2, 2))
            # As in MNIST: fit path and ink (17.8 + 2) into a 20 x 20 box, and centre the mean.
            path -= path.min(axis=1, keepdims=True)
            path *= 17.8 / path.max(axis=(1, 2), keepdims=True)
            path += 14 - path.mean(axis=1, keepdims=True)
            # A stop of the pen leaves a round blot, exp(-(dx^2 + dy^2) / 2 pen^2). That is a row
            # factor times a column factor, so one matrix product adds up all blots of an image.
            pen = 0.72 * np.exp(0.25 * rng.standard_normal((n, 1, 1, 1), np.float32))  # its radius
            blot = np.exp(-(((path[..., None] - np.arange(28, dtype=np.float32)) / pen) ** 2) / 2)
            ink = 0.7 * blot[:, :, 1].transpose(0, 2, 1) @ blot[:, :, 0]
            X[mine] = np.minimum(ink, 1).reshape(n, 784)  # paper gets no blacker than black
    return X.T, number % 10


# %% [markdown]
# ## Appendix B. Fetching the files
# Nothing below is about networks. Files from a mirror are kept only if their unpacked content has
# the known SHA-256: mirrors compress anew, so the packed bytes differ.

# %%
# fmt: off
MIRRORS = ["https://ossci-datasets.s3.amazonaws.com/mnist/",
           "https://storage.googleapis.com/cvdf-datasets/mnist/"]
TIMEOUT = 10  # seconds without progress after which a mirror is given up
SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"}
# fmt: on


def find_idx(folder, name):
    """Return the path of file `name`, with "-idx" or ".idx", gzipped or not; `name` if missing."""
    # Not min: some archives bring a folder called `name` as well, and it sorts before the file.
    return max(Path(folder).glob(name.replace("-idx", "?idx") + "*"), default=Path(folder, name))


def unpack(data):
    """Return the bytes `data`, gunzipped if need be. Raises zlib.error, ValueError if not IDX."""
    data = zlib.decompress(data, wbits=31) if data[:2] == b"\x1f\x8b" else data
    if data[:3] != b"\0\0\x08":
        raise ValueError("a web page" if data.lstrip()[:1] == b"<" else "not an IDX file")
    return data


def save(path, write, *args):
    """Let write(file, *args) write to `path`: all of it, or, if anything goes wrong, nothing."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        write(Path(folder, path.name), *args)
        Path(folder, path.name).replace(path)


def fetch(name, report=print):
    """Return MNIST's file `name` as bytes. Raises ConnectionError if no mirror has it."""
    problems = ""
    for mirror in MIRRORS:
        url, data = f"{mirror}{name}.gz", b""
        try:
            # urlopen counts its timeout anew for each address of a host, and not at all while it
            # looks up the name. In a thread that can be left behind, all this gets TIMEOUT seconds.
            with ThreadPool(1) as pool:
                response = pool.apply_async(urlopen, (url,), {"timeout": TIMEOUT}).get(TIMEOUT)
            while chunk := response.read(1 << 17):
                data += chunk
                report(f"downloading {url}: {len(data)} bytes, {response.length} to go", end="\r")
            report("")
            if hashlib.sha256(unpack(data)).hexdigest() == SHA256[name]:
                return data
            problems += f"; {mirror}: not MNIST's file"
        except Exception as error:  # noqa: BLE001 - whatever ails this mirror, try the next
            problems += f"; {mirror}: {str(error) or f'no answer in {TIMEOUT} s'}"
    problems += "; on macOS run 'Install Certificates.command'" * ("CERTIFICATE" in problems)
    raise ConnectionError(f"no mirror gave {name}: get it by hand or use --dataset drawn{problems}")


def load_data(dataset, folder, rng, report=print):
    """Return X (784, m), y, X_test, y_test and the data's name. Raises ConnectionError if `dataset`
    is "mnist" and cannot be had; "auto" then draws digits. Raises what load_mnist raises."""
    try:
        if dataset != "drawn":
            for name in [name for name in SHA256 if not find_idx(folder, name).exists()]:
                folder.mkdir(parents=True, exist_ok=True)
                save(folder / f"{name}.gz", Path.write_bytes, fetch(name, report))
            arrays = load_mnist(folder)
            known = zlib.crc32(arrays[3].astype(np.uint8)) == 0xEE8604D9  # MNIST's own test labels?
            return (*arrays, "MNIST" if known else folder.name)
    except ConnectionError as error:
        if dataset == "mnist":
            raise
        report(f"no MNIST: {error}\ntraining on drawn digits: accuracy not comparable with MNIST's")
    X, y = draw_digits(30_000, rng)
    return X[:, 5000:], y[5000:], X[:, :5000], y[:5000], "drawn digits"


# %% [markdown]
# ## Appendix C. The command line, and the run


# %%
def say(text, end="\n"):
    """Print `text` in ASCII, at once; if nobody listens any more (`| head`), go on in silence."""
    try:
        print(str(text).encode("ascii", "replace").decode(), end=end, flush=True)
    except OSError:
        sys.stdout = None


def run(args, usage_error):
    """Load, train, judge, print and plot, as `args` from main say; usage_error(text) ends it."""
    if not (args.figure.suffix and args.figure.parent.is_dir()):
        raise ValueError(f"--figure {args.figure}: name a .png file in a folder that exists")
    rng = np.random.default_rng(args.seed)
    X, y, X_test, y_test, name = load_data(args.dataset, args.data, rng, say)
    n = len(y) * 11 // 12  # the last 5,000 of MNIST's 60,000 are for validation
    X, y, X_val, y_val = X[:, :n], y[:n], X[:, n:], y[n:]
    if args.batch_size > n:
        usage_error(f"--batch-size {args.batch_size} is above {n}, the training images")
    say(f"{name}: {n} training, {len(y_val)} validation and {len(y_test)} test images")
    params = init_params(args.hidden, rng)
    network = f"784-{args.hidden}-10 network, {sum(P.size for P in params):,} parameters"
    say(f"{network}, seed {args.seed}")
    say(f"loss before training {evaluate(params, X_val, y_val)[0]:.3f}, chance level ln 10 = 2.303")
    settings = args.epochs, args.batch_size, args.learning_rate
    params, history = train(params, X, y, X_val, y_val, *settings, rng, say)
    say(f"trained {args.epochs} epoch{'s' * (args.epochs > 1)} in {history[-1][3]:.2f} s")

    score = f"test accuracy {accuracy(predict(params, X_test), y_test):.2%}"
    say(score + f" on {name}" * (name != "MNIST"))
    for x, label, a in zip(X_test.T, y_test, forward_prop(params, X_test[:, :3])[-1].T):
        say(f"label {label}, predicted {a.argmax()} ({a.max():.1%})\n{text_picture(x, a)}")

    try:
        plt.switch_backend("agg" if args.no_show else plt.get_backend())
    except Exception:  # noqa: BLE001 - whatever keeps the window shut, a file can be drawn
        plt.switch_backend("agg")
    title = f"{name}: {network}\n{score}, seed {args.seed}"
    save(args.figure, draw_figure(title, history, params, X_test, y_test).savefig)
    say(f"figure saved as {args.figure}")
    if plt.get_backend().lower() != "agg":
        plt.show()


def main(argv):
    """Do what the flags `argv` say. Bad input ends in one sentence on stderr and status 1 or 2."""
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.error = lambda text: parser.exit(2, f"{parser.prog}: {text} (see --help)\n")
    flag, here = parser.add_argument, Path(globals().get("__file__", "")).parent
    flag("--data", type=Path, default=here / "data", help="folder of the IDX files")
    flag("--dataset", choices=["auto", "mnist", "drawn"], default="auto", help="data to use")
    flag("--hidden", type=int, default=HIDDEN, help="units in the hidden layer")
    flag("--epochs", type=int, default=EPOCHS, help="passes over the training images")
    flag("--batch-size", type=int, default=BATCH_SIZE, help="images per step")
    flag("--learning-rate", type=float, default=LEARNING_RATE, help="alpha at the start")
    flag("--seed", type=int, default=SEED, help="of all random numbers")
    flag("--figure", type=Path, default="nn_from_scratch.png", help="file to save the picture in")
    flag("--no-show", action="store_true", help="save the picture, but open no window")
    args = parser.parse_args(argv)
    for name in "hidden", "epochs", "batch_size", "learning_rate", "seed":
        if not (0 < vars(args)[name] < np.inf or name == "seed" and args.seed == 0):
            parser.error(f"--{name.replace('_', '-')} must be above 0, and finite")
    try:
        run(args, parser.error)
    except KeyboardInterrupt:
        parser.exit(130, f"{parser.prog}: stopped by Ctrl-C\n")
    except (OSError, ValueError, FloatingPointError, MemoryError) as error:
        advice = "; try another --data or --figure" if getattr(error, "errno", None) else ""
        parser.exit(1, f"{parser.prog}: {error}{advice}\n")


if __name__ == "__main__":
    # A notebook has no __file__, and its sys.argv belongs to the kernel.
    main(sys.argv[1:] if Path(sys.argv[0]).name == Path(globals().get("__file__", "")).name else [])

# For `uv run`, which installs the packages by itself (PEP 723):
# /// script
# requires-python = ">=3.8"
# dependencies = ["numpy>=1.18", "matplotlib>=3.5", "pytest>=7"]
# ///

# %% [markdown]
# ## What a run prints
#     $ python nn_from_scratch.py
#     MNIST: 55000 training, 5000 validation and 10000 test images
#     784-10-10 network, 7,960 parameters, seed 0
#     loss before training 2.437, chance level ln 10 = 2.303
#     epoch  training loss  validation loss  accuracy  learning rate  seconds
#         1         0.3206           0.2585    92.74%          0.120     0.12
#       ...
#        25         0.1568           0.1540    95.44%          0.010     3.64
#     trained 25 epochs in 3.64 s
#     test accuracy 94.40%
#     label 7, predicted 7 (99.8%)
#     (this image in characters, with the ten probabilities as bars, and two more)
#     figure saved as nn_from_scratch.png
#
# ## Exercises
# 1. Put the wrong versions of chapter 5 into backward_prop, one at a time. Which gradients will
#    be off, and will the loss still fall? Check: run it; `python -m pytest` names the gradients.
# 2. Give the worked example a second sample, X = (2, 1) of class 2, and redo it by hand, 1/m
#    included. Check: write it into the comments; test_worked_example recomputes every number.
# 3. Let ReLU leak: Z where Z > 0, 0.1 Z elsewhere. What becomes of dZ1? Check: the tests named by
#    `python -m pytest -k gradient_by` pass. Which of the others fail, and why must they?
# 4. Punish large weights: add c/2 times the sum of their squares to J. Which gradients change?
#    Check: add the same term to `loss` in test_nn.py, and the tests of exercise 3 must pass.
# 5. Put a second hidden layer between the two, with W3 and b3 for the output. Derive its gradients
#    by repeating steps 2 to 4. Check: extend NAMES and `problem` in test_nn.py; complex_step takes
#    any number of parameters.
