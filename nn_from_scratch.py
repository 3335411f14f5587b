# %% [markdown]
"""
# A neural network from scratch

Here a network of 7,960 numbers learns to read handwritten digits, in a few seconds, with NumPy
alone. Nothing is hidden: each formula is derived above the line that computes it, claims are
followed by an example that you can type or by a number that was measured, and the classic mistakes
stand below the right lines, with what they look like from outside.

    $ python nn_from_scratch.py
    ...
    loss before training 2.437, chance level log 10 = 2.303
           training          validation        learning
    epoch  loss    accuracy  loss    accuracy  rate      seconds
        1  0.3280    90.38%  0.2585    92.74%  0.12         0.06
      ...
       25  0.1586    95.54%  0.1540    95.44%  0.0096       1.49
    trained 25 epochs in 1.49 s
    the same image after training:
                                 0   0.0%
          .--:.                  1   0.0%
          +#*#%@%%%%%%%%%-       2   0.0%
                . ....:@@:       3   0.2%
                     :@@:        4   0.0%
                    -@%.         5   0.0%
                   :%%.          6   0.0%
                  +@#.           7  99.8% #############################
                 %@+             8   0.0%
               -@@-              9   0.0%
    test accuracy 94.40%

## How to read this file

Chapters 1 to 8 are the lesson. Read them in order, with a pencil; then derive chapter 5 on an empty
sheet. What follows chapter 8 may be skipped, except for the program itself: the last 60 lines of
the file, which follow the chapters.

You need matrix products, partial derivatives, mean and variance, and Python with NumPy arrays; for
half a page of chapter 5 also complex numbers.

Lines that begin with `>>>` are examples. To type them, start Python in the folder of this file and
say `from nn_from_scratch import *` first. Where the text says *measured*, the program was run with
`--epochs 5`, 5 passes over the training images, and the wrong line that is named. The number that
follows is its accuracy: the share of 5,000 images, none of them used for training, that it reads
correctly. With all lines right that is 94.9%. (It was the seed 0; with 1 and 2 it is 94.7% and
94.1%, so do not take differences below 1% seriously.) `test_nn.py` runs the examples, and measures
again where it finds the data.

## The symbols

    symbol      meaning                                                        shape
    m           number of samples, that is, of images with their labels
    h           number of hidden units (chapter 2); 10 unless you ask for another
    X           the images: one column is one sample, one row is one pixel     (784, m)
    y, Y        the labels, as digits and as columns with a single 1           (m,), (10, m)
    W1, b1      weights and biases of the hidden layer                         (h, 784), (h, 1)
    Z1, A1      the hidden layer before and after ReLU                         (h, m)
    W2, b2      weights and biases of the output layer                         (10, h), (10, 1)
    Z2, A2      the scores, and the probabilities that softmax makes of them   (10, m)
    L, J        the loss of one sample, and the mean of L over the m samples   numbers
    dZ2, dZ1    dL/dZ2 and dL/dZ1: each column belongs to its own sample's L   as Z2, Z1
    dW1, db1    dJ/dW1 and dJ/db1: they belong to J; dW2, db2 likewise         as W1, b1
    alpha       the learning rate, `learning_rate` in the code                 a number
    i, k        a class, 0 to 9;  j: a hidden unit;  p: a pixel;  s: a sample
    @  *  ^T    matrix product (W X in formulas); product element by element; transpose (.T)
    log         the natural logarithm, ln
"""

# %%
import argparse
import contextlib
import hashlib
import io
import math
import os
import queue
import sys
import tempfile
import threading
import warnings
from pathlib import Path
from urllib.request import urlopen

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps  # Pillow, which Matplotlib brings with it

# What training does not learn and you choose instead. All but the seed were chosen by what they do
# for the validation images, which chapter 7 explains. (`fmt: off` tells the code formatter to leave
# the columns alone.)
# fmt: off
HIDDEN = 10           # h: more units read better and take longer to train
EPOCHS = 25           # passes over the training images: more gain little, fewer lose accuracy
BATCH_SIZE = 64       # images per step: few make many noisy steps, many make few better ones
LEARNING_RATE = 0.12  # alpha at the start: a lower one is slower, a higher one kills hidden units
SEED = 0              # of all random numbers: the same seed gives the same run
# fmt: on

# %% [markdown]
# ## 1. The data: from files to the matrix X
#
# MNIST is 70,000 handwritten digits, each an image of 28x28 grey pixels with a **label**, the digit
# that was meant (LeCun, Cortes and Burges, 1998). 60,000 are for training; the program keeps the
# last 5,000 of these out of it, to see how it goes. 10,000 more are for the test at the end.
#
# **The files** are in a format called IDX: a short header, then the values, one byte each. The
# header says 0, 0, 8 ("one byte per value"), the number of axes, and the length of each axis in
# four bytes, the highest first. A file of the three labels 7, 2, 1 would be these 11 bytes:
#
#     >>> read_idx(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
#     array([7, 2, 1], dtype=uint8)
#
# **One column is one sample.** The 28 rows of an image are laid end to end, and these 784 numbers
# become a column of X. X has as many columns as there are images: (784, m). Pixels are scaled from
# 0..255 to 0..1, where 0 is paper and 1 is ink.
#
# Most libraries turn everything on its side: there a row is a sample, X is (m, 784), and where this
# text says W X + b, they say X W^T + b (PyTorch). The mathematics is the same.
#
# **Labels become columns too.** The digit 3 becomes a column of ten numbers, with 1 in row 3 and 0
# elsewhere: it is made *one-hot*. Why not let the network output the number 3 itself? Because that
# would call a 2 nearly right and an 8 very wrong, and to what may be a 3 or a 9 it would answer
# something like 6. Digits are names here, not amounts.


# %%
def read_idx(content):
    """Return the uint8 array in `content`, the bytes of an IDX file.

    Labels come as (m,), images as (m, 28, 28). Raises IndexError or ValueError if it is no IDX.
    """
    n_axes = content[3]
    # ">u4" is a whole number of 4 bytes, the highest first; uint8 is one of 1 byte.
    shape = np.frombuffer(content, dtype=">u4", count=n_axes, offset=4)
    values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * n_axes)
    return values.reshape(shape)


def images_to_columns(images):
    """Return X (784, m), float32 in [0, 1], from images (m, 28, 28), uint8."""
    rows = images.reshape(len(images), -1)  # -1: as many as there are, 784; so (m, 784)
    X = rows.astype(np.float32).T  # (784, m)
    X /= 255
    return X


def load_mnist(folder):
    """Return X_train (784, 60000), y_train (60000,), X_test (784, 10000), y_test (10000,).

    X is float32 in [0, 1], y is int in 0..9. Any data in the same form will do (Fashion-MNIST).
    Raises FileNotFoundError if one of the four files is missing and ValueError if one is broken;
    `file_content` and `check_pair` in appendix B see to that.
    """
    train_images = read_idx(file_content(folder, "train-images-idx3-ubyte"))
    train_labels = read_idx(file_content(folder, "train-labels-idx1-ubyte"))
    test_images = read_idx(file_content(folder, "t10k-images-idx3-ubyte"))
    test_labels = read_idx(file_content(folder, "t10k-labels-idx1-ubyte"))
    check_pair(train_images, train_labels, f"training files in {folder}")
    check_pair(test_images, test_labels, f"test files in {folder}")
    X_train = images_to_columns(train_images)
    X_test = images_to_columns(test_images)
    return X_train, train_labels.astype(int), X_test, test_labels.astype(int)


def one_hot(y, n_classes=10):
    """Return Y (n_classes, m), float32: column s has a 1 in row y[s] and zeros elsewhere.

    >>> print(one_hot(np.array([2, 0, 2]), n_classes=4))
    [[0. 1. 0.]
     [0. 0. 0.]
     [1. 0. 1.]
     [0. 0. 0.]]
    """
    Y = np.zeros((n_classes, len(y)), dtype=np.float32)
    samples = np.arange(len(y))
    Y[y, samples] = 1  # pairs them up: for each s the entry in row y[s], column s
    return Y


# %% [markdown]
# ### Wrong, and how it looks
#
#     X = images.reshape(784, m)    each column is a mixture of images. Measured: 10.4%
#     no X /= 255                   measured: 10.6%, and all ten hidden units dead (chapter 6)
#     Y of y.max() + 1 rows         too few rows, as soon as the y at hand lack the highest class

# %% [markdown]
# ## 2. The network, and where it starts
#
# A **unit** takes the numbers that come in, multiplies each by a **weight**, adds up, and adds one
# more number, its **bias**. Units side by side that take the same input are a **layer**. Write the
# weights of one unit into one row of a matrix W and the biases into a column b; then the whole
# layer is W X + b, for all samples at once. Our network has two layers:
#
#        X     W1 X + b1     Z1    ReLU     A1    W2 A1 + b2     Z2   softmax     A2
#     (784, m) ---------> (h, m) -------> (h, m) ----------> (10, m) --------> (10, m)
#      pixels   (h, 784)    sums        what is  (10, h)     scores       probabilities
#               (h, 1)                  let through (10, 1)
#
# The first layer is called **hidden**, because nobody sees its h numbers: they are whatever helps
# the second layer, the output layer, to give each of the ten digits its **score**. The weights and
# biases of both are the **parameters**, what is learnt: 10 * 784 + 10 + 10 * 10 + 10 = 7,960
# numbers. (Books that number layers in brackets write Z[1] = W[1] X + b[1] for our W1 X + b1.)
#
# W1 X is (h, m) and b1 is (h, 1), a single column. NumPy adds it to each of the m columns. That is
# called **broadcasting**, and is just what we want here:
#
#     >>> print(np.array([[1, 2, 3], [4, 5, 6]]) + np.array([[10], [20]]))
#     [[11 12 13]
#      [24 25 26]]
#
# Broadcasting also hides mistakes. An array of shape (2,) counts as a row, (1, 2), and with a
# column it makes a matrix:
#
#     >>> print(np.array([1, 2]) + np.array([[10], [20]]))
#     [[11 12]
#      [21 22]]
#
# **Why do the weights start at random?** Follow two hidden units that start equal, with the same
# weights and biases coming in and the same weights going out. On every image both compute the same
# number, and the output layer uses both alike. So whatever training does to one, it does to the
# other, and they stay equal: ten such units do the work of one. Measured, with all weights 0.05 and
# the units kept equal: 37.8%. (A computer rounds, and so in the end it tells equal units apart:
# left alone, they come to 69.6%.)
#
# All weights 0 is worse: then no weight ever moves, and only b2 learns. Measured: 10.6%. (You will
# see in chapter 5 why: dW2 is a product with A1, which is 0, and dW1 is one with W2, which is 0.
# With W1 = 0 alone it is the same 10.6%: A1 is 0, and so is the slope that ReLU is given at 0.)
#
# **How large should they be?** Look at one unit, z = w_1 a_1 + ... + w_n a_n, with n inputs a and
# bias 0. Draw its weights independently of each other and of the inputs, all by the same rule, with
# mean 0 and variance v. Over many draws, the mean of w_1^2 is then v, while a product of two
# different weights has mean 0. So when z is squared, the n squares remain and all else vanishes:
#
#     mean(z^2) = v (a_1^2 + ... + a_n^2) = n v mean(a^2)
#
# Now let the inputs come from a layer before, a = ReLU(z') = max(z', 0), where z' is symmetric
# about 0, as it is if its weights are. ReLU sets half of the squares to 0:
# mean(a^2) = mean(z'^2) / 2, and
#
#     mean(z^2) = (n v / 2) mean(z'^2)
#
# With v = 2 / n, sums neither grow nor fade from layer to layer (He et al., 2015). Try n = 1000:
#
#     >>> rng = np.random.default_rng(0)
#     >>> z_before = rng.standard_normal((1000, 500))
#     >>> W = rng.standard_normal((300, 1000)) * np.sqrt(2 / 1000)
#     >>> print(round(np.mean((W @ np.maximum(z_before, 0)) ** 2), 1))
#     1.0
#
# With many layers this decides whether anything is learnt, since the factors multiply. With two it
# only keeps us from starting too large, which does harm; smaller, short of 0, does none. Measured:
# W1 and W2 times 0.1 give 95.2%; W2 times 3 gives 89.2%, with 5 of 10 hidden units dead; W1 times
# 30 gives 77.3%. Biases start at 0: nothing says yet which way to push.


# %%
def init_params(n_hidden, rng, n_in=784, n_classes=10):
    """Return W1 (h, n_in), b1 (h, 1), W2 (n_classes, h), b2 (n_classes, 1), all float32.

    h is n_hidden, `rng` a numpy.random.Generator. Weights are normal with standard deviation
    sqrt(2 / number of inputs) (He et al., 2015), biases zero.
    """
    W1 = rng.standard_normal((n_hidden, n_in), dtype=np.float32)
    W1 *= (2 / n_in) ** 0.5
    b1 = np.zeros((n_hidden, 1), dtype=np.float32)
    W2 = rng.standard_normal((n_classes, n_hidden), dtype=np.float32)
    W2 *= (2 / n_hidden) ** 0.5
    b2 = np.zeros((n_classes, 1), dtype=np.float32)
    return W1, b1, W2, b2


# %% [markdown]
# ## 3. Forward: from pixels to probabilities
#
# **Why a hidden layer?** Without one, each pixel votes for or against each digit, and its vote is
# the same whatever the other pixels show. Trained with the same settings, such a network reads
# 92.4% of the test images, and one with ten hidden units 94.4%. A vote cannot even say "one of
# these two pixels, but not both". Let its score be w_1 x_1 + w_2 x_2 + b, above 0 for yes. No to
# the empty image means b <= 0; yes to either pixel means w_1 + b > 0 and w_2 + b > 0. Add these
# two: w_1 + w_2 + b > -b >= 0, so it says yes to both. Two hidden units mend it. The score
#
#     ReLU(x_1 + x_2) - 2 ReLU(x_1 + x_2 - 1)
#
# is 0 for no pixel, 1 for either one, and 2 - 2 = 0 for both.
#
# **Why ReLU?** Two layers without anything between them are one layer in disguise:
#
#     W2 (W1 X + b1) + b2 = (W2 W1) X + (W2 b1 + b2)
#
# So something must come between that is no straight line. ReLU(z) = max(z, 0) has a single bend,
# and its slope is easy: 0 or 1. We say that a unit is **on** for a sample where z > 0, else
# **off**.
#
# **Softmax** makes probabilities from the scores of a sample. Let Z and A be its columns of Z2 and
# A2. Probabilities must be positive and sum to 1. exp makes any number positive, and keeps a larger
# one larger; dividing by the sum does the rest:
#
#     A_k = exp(Z_k) / total          total = exp(Z_0) + exp(Z_1) + ... + exp(Z_9)
#
# Other functions are positive too. But the logarithm in chapter 4 undoes exp, and leaves the
# simplest of all gradients. And since A_i / A_k = exp(Z_i - Z_k), only differences of scores count:
# the same number may be taken from all scores of a column. We take their maximum. It changes no
# probability, and saves us from overflow: exp(1000) is too large for a float, but now the largest
# term is exp(0) = 1.


# %%
def relu(Z):
    """Return max(Z, 0) element by element: same shape and dtype as Z.

    >>> print(relu(np.array([-2.0, 0.0, 3.0])))
    [0. 0. 3.]
    """
    return np.maximum(Z, 0)


def softmax(Z):
    """Return the probabilities A, shape as Z (10, m): in [0, 1], and each column sums to 1.

    >>> print(softmax(np.log(np.array([[2.0], [3.0], [5.0]]))).round(6).ravel())
    [0.2 0.3 0.5]
    >>> print(softmax(np.array([[1001.0], [1000.0]])).round(3).ravel())
    [0.731 0.269]
    """
    # fmt: off
    E = np.exp(Z - Z.max(axis=0, keepdims=True))    # (10, m)
    return E / E.sum(axis=0, keepdims=True)         # (10, m)
    # fmt: on


def forward_prop(params, X):
    """Return Z1 (h, m), A1 (h, m), Z2 (10, m), A2 (10, m) for the samples X (784, m)."""
    W1, b1, W2, b2 = params
    # fmt: off
    Z1 = W1 @ X + b1                                # (h, m)
    A1 = relu(Z1)                                   # (h, m)
    Z2 = W2 @ A1 + b2                               # (10, m)
    A2 = softmax(Z2)                                # (10, m)
    # fmt: on
    return Z1, A1, Z2, A2


# %% [markdown]
# `axis=0` runs down each column, and `keepdims=True` keeps the result a row: Z.max is (1, m) here,
# one maximum for each sample.
#
# ### In numbers
#
# A network for pencil and paper: 2 pixels, 3 hidden units, 2 classes. It stays with us to the end
# of chapter 6. (These pixels are not in 0..1, so that the numbers stay round.)
#
#     >>> W1 = np.array([[1.0, 0.0], [1.0, -1.0], [-1.0, 1.0]])
#     >>> b1 = np.array([[1.0], [-1.0], [0.0]])
#     >>> W2 = np.array([[1.0, -3.0, 0.0], [0.0, 1.0, 1.0]])
#     >>> b2 = np.array([[0.0], [0.0]])
#     >>> params = W1, b1, W2, b2
#     >>> X = np.array([[1.0, 3.0], [2.0, 1.0]])
#     >>> Z1, A1, Z2, A2 = forward_prop(params, X)
#
# Sample 0 has the pixels 1 and 2. The sum of hidden unit 1 is 1 * 1 - 1 * 2 - 1 = -2, so it is off
# for sample 0. For sample 1 its sum is 1 * 3 - 1 * 1 - 1 = 1, and it is on:
#
#     >>> print(Z1)
#     [[ 2.  4.]
#      [-2.  1.]
#      [ 1. -2.]]
#     >>> print(A1)
#     [[2. 4.]
#      [0. 1.]
#      [1. 0.]]
#
# The score of class 0 for sample 1 is 1 * 4 - 3 * 1 + 0 * 0 = 1:
#
#     >>> print(Z2)
#     [[2. 1.]
#      [1. 1.]]
#
# Sample 0: e^2 / (e^2 + e) = e / (e + 1) = 0.731. Sample 1: equal scores, equal probabilities.
#
#     >>> print(A2.round(3))
#     [[0.731 0.5  ]
#      [0.269 0.5  ]]
#
# ### Wrong, and how it looks
#
#     np.exp(Z)            no maximum taken off: inf / inf = nan once a score is above 88 (float32).
#                          The default run never gets there, and shows nothing
#     Z - Z.max()          one maximum for all columns: those far below it become 0 / 0 = nan
#     E / E.sum()          no axis: all samples share one sum. Measured: nan in the first epoch
#
#     >>> with np.errstate(all="ignore"):
#     ...     print(np.exp(1000.0) / np.exp(1000.0))
#     nan
#
# ### The answer, and how often it is right
#
# The network's answer is the digit with the highest probability. The **accuracy** is the share of
# right answers. For untrained networks it is about 1/10 on average, for a single one 5 to 20%.


# %%
def predict(params, X):
    """Return the (m,) most probable digits for the samples X (784, m).

    Raises ValueError if X is not of that shape.
    """
    W1, b1, W2, b2 = params
    n_in = W1.shape[1]
    if X.ndim != 2 or len(X) != n_in:
        raise ValueError(f"X must be ({n_in}, m), a column per sample, and not {X.shape}")
    Z1, A1, Z2, A2 = forward_prop(params, X)
    return A2.argmax(axis=0)


def accuracy(predictions, y):
    """Return the share of right predictions, a float in [0, 1].

    >>> accuracy(np.array([7, 2, 1, 0]), np.array([7, 2, 1, 6]))
    0.75
    """
    return float(np.mean(predictions == y))


# %% [markdown]
# ### Wrong, and how it looks
#
# `X[:, 0]` is one image, but as (784,), not as the column (784, 1). W1 X[:, 0] is then (h,), which
# counts as a row, and adding the column b1 makes (h, h): h mixtures of sums and biases, h answers
# for one image, and no error. `X[:, :1]` stays a column. So `predict` refuses what is no matrix:
#
#     >>> print(predict(params, X[:, :1]))
#     [0]
#     >>> Z1_bad, A1_bad, Z2_bad, A2_bad = forward_prop(params, X[:, 0])
#     >>> print(A2_bad.argmax(axis=0))
#     [0 0 0]
#     >>> predict(params, X[:, 0])
#     Traceback (most recent call last):
#     ValueError: X must be (2, m), a column per sample, and not (2,)
#
# Labels as a column do the same to the accuracy: (4,) == (4, 1) is (4, 4), and its mean says little
# about the network.
#
#     >>> accuracy(np.array([7, 2, 1, 0]), np.array([[7], [2], [1], [0]]))
#     0.25

# %% [markdown]
# ## 4. Loss: one number for how wrong the network is
#
# Training needs a number to make smaller. Accuracy will not do: nudge one weight a little, and most
# likely not one answer changes, so accuracy says nothing about which way is better. The
# probabilities do change.
#
# The network gives the true digit y of a sample the probability A_y. For m independent samples, the
# probability that it gives to all true digits together is the product of their A_y: the
# **likelihood**. Good parameters make it large. Minus its logarithm is a sum, with a term for each
# sample, and good parameters make that small. Its terms, and their mean, are our loss:
#
#     L = -log A_y                  of one sample: the **cross-entropy**
#     J = 1/m (sum of L over the m samples)
#
#     >>> print(np.log(1 / np.array([1.0, 0.9, 0.5, 0.1, 0.01])).round(3))
#     [0.    0.105 0.693 2.303 4.605]
#
# Sure and right costs nothing, sure and wrong costs a lot. A network that knows nothing gives each
# digit 1/10 and pays log 10 = 2.303: the **chance level**. An untrained network usually pays a
# little more, since it leans to some digits without reason; the default run starts at 2.437. A much
# larger number means that the weights, or the inputs, are too large.
#
# **L is computed from the scores Z2, not from A2.** Write Z and A for the columns of one sample:
#
#     L = -log A_y = -log (exp(Z_y) / sum_k exp(Z_k)) = log (sum_k exp(Z_k)) - Z_y
#
# Here too the maximum may be taken from all scores: that changes both terms by the same amount. The
# sum then has the term exp(0) = 1 in it, so it is at least 1, and its logarithm is a harmless
# number. But A_y, if tiny, is rounded to 0, and log 0 is -inf:
#
#     >>> Z2_sure = np.array([[1000.0], [0.0]])
#     >>> with np.errstate(divide="ignore"):
#     ...     print(np.log(softmax(Z2_sure)).ravel())
#     [  0. -inf]
#     >>> print(cross_entropy(Z2_sure, one_hot(np.array([1]), n_classes=2)))
#     1000.0
#
# In code, the one-hot Y picks Z_y: in the sum over k of Y_k Z_k, all other terms are 0.


# %%
def cross_entropy(Z2, Y):
    """Return J, the mean cross-entropy of the scores Z2 (10, m) for one-hot labels Y (10, m)."""
    # fmt: off
    shifted = Z2 - Z2.max(axis=0, keepdims=True)    # (10, m)
    total = np.exp(shifted).sum(axis=0)             # (m,)
    true_score = (Y * shifted).sum(axis=0)          # (m,)
    L = np.log(total) - true_score                  # (m,)
    # fmt: on
    return np.mean(L)


# %% [markdown]
# In the example of chapter 3, let sample 0 be of class 0 and sample 1 of class 1. The network gave
# these 0.731 and 0.5, so J = (0.313 + 0.693) / 2 = 0.503:
#
#     >>> Y = one_hot(np.array([0, 1]), n_classes=2)
#     >>> print(cross_entropy(Z2, Y).round(3))
#     0.503
#
# ### Wrong, and how it looks
#
#     cross_entropy(A2, Y)     takes softmax twice: the loss seems stuck, never below 1.461, as even
#                              the scores 1, 0, ..., 0 give log (e + 9) - 1 = 1.461
#     -np.log(A2 + 1e-8)       hides the -inf: L cannot exceed 18.4, and A2 - Y of chapter 5 is no
#                              longer its gradient
#     np.sum for np.mean       a loss that grows with the number of samples

# %% [markdown]
# ## 5. Backward: the gradient
#
# **What is asked.** We want to change each weight and bias so that J falls. For that we need its
# slope, dJ/dw: by how much J changes, per unit, when that one number w changes a little. All slopes
# together are the **gradient**. To measure all 7,960 of them takes 7,960 forward passes, one for
# each number that is moved. To compute them takes one walk back through the network.
#
# **Names.** Write dW1 for all the slopes dJ/dW1, arranged as W1 is; db1, dW2, db2 likewise. On the
# way we need dZ2 and dZ1, and these are different: a column of Z2 belongs to one sample and moves
# only that sample's L. So dZ2 is dL/dZ2, each column for its own L, without the 1/m of the mean J.
# That comes in once in each of dW1, db1, dW2 and db2, where the samples are added up. Divide dZ2 by
# m as well, and all four are divided twice.
#
# **The chain rule.** If w moves u, and u moves L, multiply: dL/dw = (dL/du) (du/dw). Here dL/du is
# the whole effect of u on L, however many ways lead on from u. If w moves several numbers u, add up
# these products, one for each path. For example, u_1 = 2 w and u_2 = w^2 and L = u_1 u_2 = 2 w^3.
# The first path gives (dL/du_1) (du_1/dw) = u_2 * 2 = 2 w^2, the second u_1 * 2 w = 4 w^2, together
# 6 w^2: the slope of 2 w^3, as it should be.
#
# In the network, two paths lead from hidden unit 1 of our example to the loss of sample 1. Forward,
# its A1 = 1 goes into both scores, by the weights -3 and 1. Backward, the slopes dZ2 of both
# scores, 0.5 and -0.5 (step 1 will say why), come back along the same paths, multiplied by the same
# weights, and are added where they meet:
#
#     forward                     * (-3)
#                              ----------->  Z2_0 = 1  ---+
#     Z1 = 1 --ReLU--> A1 = 1 <                            >--- softmax, loss --->  L
#                              ----------->  Z2_1 = 1  ---+
#                                 * 1
#
#     backward                  -3 * 0.5
#                              <-----------  dZ2_0 =  0.5  <--+
#     dZ1 = -2 <--ReLU-- sum <                                 <--- A2 - Y
#                              <-----------  dZ2_1 = -0.5  <--+
#                               1 * (-0.5)
#
# Now step by step, from the loss back to the pixels. In each step look at one sample first, so that
# Z2, A2, Y, A1 and Z1 are single columns. With all m columns side by side the formulas stay the
# same, since no sample touches another's L; only in dW and db the samples meet, in a sum.
#
# ### Step 1. Through loss and softmax: dZ2 = A2 - Y
#
# Write Z, A for Z2, A2. Chapter 4 ended with L = log (sum_k exp(Z_k)) - Z_y. Differentiate by one
# of the scores, Z_i. The first term gives exp(Z_i) / sum_k exp(Z_k), which is A_i. The second gives
# -1 if i is the true class y and 0 if not, which is -Y_i. Together:
#
#     dL/dZ_i = A_i - Y_i
#
# What the network said minus what was true: positive for a class that got too much, negative for
# the true class. Over the classes it sums to 1 - 1 = 0. Call it the **blame** of score i; the slope
# dL/dA1_j, soon, is the blame of hidden unit j.
#
# ### Step 1 again, by way of softmax
#
# Examiners ask for the long road, by way of the probabilities. Let total = sum_k exp(Z_k), so that
# A_k = exp(Z_k) / total, and d total/dZ_i = exp(Z_i). A score moves all probabilities, its own and,
# through the total, the others. By the quotient rule, for k = i
#
#     dA_i/dZ_i = (exp(Z_i) total - exp(Z_i) exp(Z_i)) / total^2 = A_i - A_i A_i
#
# and for k != i, where the numerator exp(Z_k) does not depend on Z_i,
#
#     dA_k/dZ_i = (0 - exp(Z_k) exp(Z_i)) / total^2 = -A_k A_i
#
# These derivatives, as a matrix with row k and column i, are the **Jacobian** of softmax. The loss
# is L = -log A_y = -(sum_k Y_k log A_k), so dL/dA_k = -Y_k / A_k. Ten paths lead from Z_i to L, one
# through each A_k. The path k = i gives
#
#     (-Y_i / A_i) (A_i - A_i A_i) = -Y_i + Y_i A_i
#
# and each of the others gives
#
#     (-Y_k / A_k) (-A_k A_i) = Y_k A_i
#
# Add up all ten. Y is one-hot, so Y_0 + ... + Y_9 = 1:
#
#     dL/dZ_i = -Y_i + A_i (Y_0 + ... + Y_9) = A_i - Y_i
#
# ### Step 2. The weights and biases of the output layer: dW2, db2
#
# Z2_i = (sum_j W2_ij A1_j) + b2_i. The weight W2_ij appears in Z2_i only, multiplied by A1_j:
#
#     dL/dW2_ij = dZ2_i A1_j          blame of the score, times what came in by this weight
#     dL/db2_i  = dZ2_i               the same with 1 in place of A1_j
#
# J is the mean of L, so its slope is the mean of these slopes. Let s count the samples, and let dZ2
# and A1 have all their columns again:
#
#     dW2_ij = 1/m (sum_s dZ2_is A1_js)    = 1/m (dZ2 A1^T)_ij
#     db2_i  = 1/m (sum_s dZ2_is)          the sum along row i
#
# Why the transpose? A matrix product sums over the columns of its left factor and the rows of its
# right one. The sum here is over s, which counts columns in dZ2 and in A1. A1^T has it as its rows:
# (10, m) times (m, h) is (10, h), the shape of W2.
#
# ### Step 3. Back through W2
#
# A1_j goes into every score Z2_i, each time multiplied by W2_ij. Ten paths, so ten terms; all that
# lies beyond Z2_i is in dZ2_i already:
#
#     dL/dA1_j = sum_i W2_ij dZ2_i = (W2^T dZ2)_j
#
# Forward, row i of W2 collects from the hidden units for score i. Backward, column j of W2 collects
# from the scores for hidden unit j: hence W2^T. (h, 10) times (10, m) is (h, m).
#
# ### Step 4. Back through ReLU: dZ1
#
# ReLU is a gate. Where Z1 > 0 it lets the number through as it is: slope 1. Where Z1 < 0 the output
# is 0 and stays 0: slope 0. At 0 itself there is a corner and no slope; by convention we take 0.
# So dL/dZ1_j is dL/dA1_j times 1 or 0:
#
#     dZ1 = (W2^T dZ2) * (Z1 > 0)           in NumPy, True counts as 1 and False as 0
#
# Where a unit is off for a sample, no blame gets through.
#
# ### Step 5. The weights and biases of the hidden layer: dW1, db1
#
# Z1_j = (sum_p W1_jp X_p) + b1_j has the form of step 2, with X in place of A1: the weight W1_jp
# appears in Z1_j only, multiplied by the pixel X_p. So dL/dW1_jp = dZ1_j X_p, and as there
#
#     dW1 = 1/m dZ1 X^T                     db1 = 1/m (the sum along each row of dZ1)
#
# Here the walk ends: pixels are given, not learnt. Were there more hidden layers, each would repeat
# steps 3 to 5. Its dZ is (W^T dZ of the next layer, towards the output), times its own gate; its dW
# is 1/m times this dZ times (its own input)^T.
#
# ### The whole network on one card
#
#     forward                               backward, from the bottom up
#     -----------------------------------   ------------------------------------------------------
#     Z1 = W1 X + b1                        dW1 = 1/m dZ1 X^T     db1 = 1/m (row sums of dZ1)
#     A1 = ReLU(Z1)                         dZ1 = (W2^T dZ2) * (Z1 > 0)
#     Z2 = W2 A1 + b2                       dW2 = 1/m dZ2 A1^T    db2 = 1/m (row sums of dZ2)
#     A2 = softmax(Z2), L = -log A_y        dZ2 = A2 - Y
#
# dZ2 needs A2, dW2 needs A1, and dZ1 needs Z1: that is why forward_prop returns them all. They must
# be kept until the walk back has passed, and this is the memory that backpropagation costs.


# %%
def backward_prop(params, X, Y, Z1, A1, A2):
    """Return the gradient dW1, db1, dW2, db2 of J, each of the shape of its parameter.

    X (784, m), Y (10, m); Z1 (h, m), A1 (h, m), A2 (10, m) as forward_prop(params, X) returns them.
    """
    W1, b1, W2, b2 = params
    m = X.shape[1]
    # fmt: off
    dZ2 = A2 - Y                                    # (10, m)
    dW2 = 1 / m * dZ2 @ A1.T                        # (10, h)
    db2 = 1 / m * dZ2.sum(axis=1, keepdims=True)    # (10, 1)
    dZ1 = (W2.T @ dZ2) * (Z1 > 0)                   # (h, m)
    dW1 = 1 / m * dZ1 @ X.T                         # (h, 784)
    db1 = 1 / m * dZ1.sum(axis=1, keepdims=True)    # (h, 1)
    # fmt: on
    return dW1, db1, dW2, db2


# %% [markdown]
# `axis=1` sums along each row, over the samples. `keepdims=True` keeps the sum a column: (10, 1).
#
# ### In numbers
#
# The example again, with the labels of chapter 4. dZ2 is A2 minus Y, and the blame of each column
# sums to 0. The entries of dW2 and db2 are means over both samples. By hand, in the first row: dW2
# for hidden unit 0 is (-0.269 * 2 + 0.5 * 4) / 2 = 0.731, and db2 is (-0.269 + 0.5) / 2 = 0.116.
#
#     >>> dZ2 = A2 - Y
#     >>> print(dZ2.round(3))
#     [[-0.269  0.5  ]
#      [ 0.269 -0.5  ]]
#     >>> dW1, db1, dW2, db2 = backward_prop(params, X, Y, Z1, A1, A2)
#     >>> print(dW2.round(3))
#     [[ 0.731  0.25  -0.134]
#      [-0.731 -0.25   0.134]]
#     >>> print(db2.round(3))
#     [[ 0.116]
#      [-0.116]]
#
# Hidden unit 1 has the weights -3 and 1 on its two paths. Its blame for sample 1 is
# -3 * 0.5 + 1 * (-0.5) = -2; for sample 0, -3 * (-0.269) + 1 * 0.269 = 1.076. But there it is off:
#
#     >>> print((W2.T @ dZ2).round(3))
#     [[-0.269  0.5  ]
#      [ 1.076 -2.   ]
#      [ 0.269 -0.5  ]]
#     >>> dZ1 = (W2.T @ dZ2) * (Z1 > 0)
#     >>> print(dZ1.round(3))
#     [[-0.269  0.5  ]
#      [ 0.    -2.   ]
#      [ 0.269 -0.   ]]
#
# Its weight from pixel 0, which is 1 in sample 0 and 3 in sample 1: (0 * 1 - 2 * 3) / 2 = -3. Its
# bias: (0 - 2) / 2 = -1.
#
#     >>> print(dW1.round(3))
#     [[ 0.616 -0.019]
#      [-3.    -1.   ]
#      [ 0.134  0.269]]
#     >>> print(db1.round(3))
#     [[ 0.116]
#      [-1.   ]
#      [ 0.134]]
#
# ### Is it right? Measure it
#
# A derivation is a claim about slopes, and a slope can be measured: move one number w by a small
# step, and see how much J changes. The **difference quotient** is
#
#     (J(w + step) - J(w)) / step
#
# How small a step? Over a large one J is curved. After a small one the two J are so equal that
# their difference has hardly any correct digits: 0.5030000001 - 0.5030000000 has one. (The first
# page of `test_nn.py` has a table of errors.) There is a way around the difference. Move w by an
# *imaginary* step, 1j step in Python, where 1j 1j = -1. If J can be expanded in a power series, as
# it can wherever no Z1 is exactly 0,
#
#     J(w + 1j step) = J(w) + 1j step J'(w) - step^2 J''(w) / 2 - ...
#
# All derivatives of J are real numbers. So the imaginary part is step J'(w), except for terms with
# step^3 and higher powers. Divide by step: no two nearly equal J were subtracted, no digit was
# lost, and step may be so small that step^3 is nothing. This is the **complex step** (Squire and
# Trapp, 1998). It works because our functions take complex numbers as they are, and `max` and `>`
# compare real parts first.


# %%
def measure_gradient(params, X, Y):
    """Return dW1, db1, dW2, db2, measured one entry at a time by the complex step. Slow."""
    step = 1e-30
    params = [P.astype(complex) for P in params]
    grads = []
    for P in params:
        dP = np.zeros(P.shape)
        for entry in np.ndindex(P.shape):  # (0, 0), (0, 1), ...: every row and column of P
            P[entry] += 1j * step
            Z1, A1, Z2, A2 = forward_prop(params, X)
            J = cross_entropy(Z2, Y)
            dP[entry] = J.imag / step
            P[entry] -= 1j * step
        grads.append(dP)
    return tuple(grads)


def gradient_errors(params, X, Y):
    """Return, for dW1, db1, dW2, db2, the largest difference between derived and measured."""
    Z1, A1, Z2, A2 = forward_prop(params, X)
    derived = backward_prop(params, X, Y, Z1, A1, A2)
    measured = measure_gradient(params, X, Y)
    return [np.abs(dP - M).max() for dP, M in zip(derived, measured)]


# %% [markdown]
# In the example they agree to the last digits of a float64, which has about 16. `test_nn.py` shows
# the same for all 7,960 entries of the real network.
#
#     >>> print(max(gradient_errors(params, X, Y)) < 1e-15)
#     True
#
# ### Wrong, and how it looks
#
# Training hides mistakes. Measured, loss and accuracy on validation images; all right is 0.179 and
# 94.9%:
#
#     the wrong line                          loss   accuracy
#     dW2 = 1 / m * dZ2 @ Z1.T                0.205  94.3%     Z1 for A1: only dW2 is wrong
#     db2 = 1 / m * np.sum(dZ2)               0.180  95.0%     no axis: one number for all. Columns
#                                                              of dZ2 sum to 0: b2 never learns
#     db1 = 1 / m * np.sum(dZ1)               0.179  95.0%     all hidden units share one bias
#     dZ1 = (W2 @ dZ2) * (Z1 > 0)             0.191  94.6%     no .T: with h = 10, W2 is square, and
#                                                              nothing complains
#     dZ1 = (W2.T @ dZ2) * (A1 >= 0)          0.599  81.7%     always true: the gate never closes
#                                                              (A1 > 0 would be right)
#     dZ1 = (W2.T @ dZ2) * (Z1 < 0)           37.0   46.3%     the gate upside down
#     dZ2 = 1 / m * (A2 - Y)                  0.560  86.9%     1/m twice: steps 64 times too short
#     m = 55000                               1.951  30.5%     not the m of the batch: shorter still
#     no 1/m at all                           2.316   9.8%     steps 64 times too long: all ten
#                                                              hidden units dead (chapter 6)
#     dZ2 = Y - A2                            nan       -       uphill
#
# The first four hardly show, and a network of 20 hidden units would reveal only the fourth. Measure
# the gradient, and all are found.
#
# Without keepdims, `1 / m * dZ2.sum(axis=1)` is (10,), a row. Subtracted from the column b2, as
# chapter 6 does with `-=`, it stops with an error. `b2 = b2 - ...` would make a matrix of b2, and
# the error would come much later.
#
#     >>> b2 -= 0.1 * (1 / 2 * dZ2.sum(axis=1))
#     Traceback (most recent call last):
#     ValueError: non-broadcastable output operand with shape (2,1) doesn't match ... shape (2,2)

# %% [markdown]
# ## 6. Update: one step downhill
#
# Change one parameter w by a small step, and J changes by about (dJ/dw) * step. That is what a
# slope means. Change all parameters by small steps, and J changes by about the sum of all these
# products. Now choose each step to be -alpha dJ/dw, with a small **learning rate** alpha > 0. Then
# each product is -alpha (dJ/dw)^2. None of them is positive, so if alpha is small enough, J falls,
# by about
#
#     alpha (sum of the squares of all entries of dW1, db1, dW2 and db2)
#
# This is **gradient descent**: W := W - alpha dW and b := b - alpha db, again and again.


# %%
def update_params(params, grads, learning_rate):
    """Return params after a step downhill, by learning_rate * grads. They are changed in place."""
    W1, b1, W2, b2 = params
    dW1, db1, dW2, db2 = grads
    W1 -= learning_rate * dW1
    b1 -= learning_rate * db1
    W2 -= learning_rate * dW2
    b2 -= learning_rate * db2
    return W1, b1, W2, b2


# %% [markdown]
# ### In numbers
#
# One step of the example, with alpha = 0.001: the fall that is predicted, and the fall that comes.
#
#     >>> J_before = cross_entropy(Z2, Y)
#     >>> grads = backward_prop(params, X, Y, Z1, A1, A2)
#     >>> print((0.001 * sum((dP**2).sum() for dP in grads)).round(4))
#     0.0128
#     >>> params = update_params(params, grads, 0.001)
#     >>> Z1, A1, Z2, A2 = forward_prop(params, X)
#     >>> print((J_before - cross_entropy(Z2, Y)).round(4))
#     0.0126
#
# With too large an alpha the slopes predict nothing. The same gradient once more, with alpha = 1:
# the loss rises from 0.49 to 9.5.
#
#     >>> params = update_params(params, grads, 1.0)
#     >>> Z1, A1, Z2, A2 = forward_prop(params, X)
#     >>> print(cross_entropy(Z2, Y).round(1))
#     9.5
#
# Worse, a jump may carry a hidden unit to where it is off for every training image. Then its gate
# is closed for all of them, its gradient is 0, and it never moves again: it is **dead**. Measured:
# with alpha = 12, a hundred times the default, all 10 hidden units are dead, and accuracy is 9.8%.
# With alpha = 0.012, a tenth, none is, but training is slow: 92.5%.
#
# ### Wrong, and how it looks
#
#     W1 += learning_rate * dW1                            uphill: nan
#     dZ1 = ((W2 - alpha * dW2).T @ dZ2) * (Z1 > 0)        the new W2, the old rest: nan
#
# The second happens if W2 is updated before dZ1 is computed. It looks harmless, but for one sample
# (alpha dW2)^T dZ2 is alpha (sum of dZ2 * dZ2) A1. Subtracted from the blame of A1, that raises
# every A1 in proportion to itself, step by step. So compute all gradients first, then update.
#
# `-=` changes the arrays that were passed in, without making new ones. So keep a copy, P.copy(), of
# what you still need. `train` in the next chapter does so.


# %% [markdown]
# ## 7. Training: many small steps
#
# **A few images at a time.** The gradient of J over all 55,000 training images costs a pass over
# all of them, for a single step. The gradient over a **mini-batch** of 64 random images is the same
# on average, though each single one is off. One pass, called an **epoch**, then makes 860 steps
# (one of them from only 24 images). Validation accuracy after 25 epochs: 69.4% with 25 exact steps,
# and 95.4% with 25 * 860 rough ones.
#
# **In random order.** Files are often sorted. If batches hold one digit each, each step unlearns
# the others. Measured with MNIST sorted by digit and not shuffled: 10.5%.
#
# **With a falling learning rate.** Since each batch is off, with a constant alpha the parameters
# end up wandering about. From half-way on, alpha therefore falls in a straight line; the last epoch
# has 2 / epochs of it, 8% with 25 epochs. That pays for each of the seeds 0, 1 and 2. After 25
# epochs, their mean is 95.1% with a constant alpha, 95.5% with a falling one.
#
# **To one of many solutions.** J is no bowl with one lowest point. Another seed starts elsewhere
# and ends in another network, about as good: the seeds 0 to 4 read 94.40, 94.56, 94.23, 94.41 and
# 93.94% of the test images.
#
# **Three kinds of images.** The network is fitted to the *training* images, so how well it does on
# these says little about others. With 300 hidden units (and alpha = 0.4) it ends with loss 0.001 on
# training images, and 0.067 on images that it has never seen; there it was 0.063 half-way, and has
# been rising since. That is **overfitting**. (It still reads more of them than ten units do; only,
# the last epochs made its loss worse.) So 5,000 images are kept out of training, for *validation*:
# they are a fair judge while you choose HIDDEN, EPOCHS, BATCH_SIZE, LEARNING_RATE. But choosing the
# best of many settings is fitting too, to the validation images this time. Hence a third kind: the
# *test* images, looked at when everything is chosen, and never used to choose.
#
# After each epoch `train` prints loss and accuracy on 5,000 training and on the 5,000 validation
# images. (In MNIST, these 5,000 happen to be easier than the others: at first the network does
# better on them than on those it is trained on.)


# %%
def evaluate(params, X, y):
    """Return the loss J and the accuracy on the images X (784, m) with the labels y (m,)."""
    Z1, A1, Z2, A2 = forward_prop(params, X)
    Y = one_hot(y, n_classes=len(Z2))
    J = cross_entropy(Z2, Y)
    predictions = A2.argmax(axis=0)
    return float(J), accuracy(predictions, y)


def train(params, X, y, X_val, y_val, epochs, batch_size, learning_rate, rng):
    """Return the trained params, and a history: a dict of lists with an entry per epoch, "loss" and
    "accuracy" on training images, "val_loss" and "val_accuracy", "seconds" since the start.

    Trains on X (784, m), y (m,); X_val, y_val only judge. Prints a line per epoch. The caller's
    arrays stay as they are. Raises FloatingPointError if the loss is no longer a number.
    """
    import time  # here, so that this function can be copied with the functions that it names

    W1, b1, W2, b2 = params
    params = W1.copy(), b1.copy(), W2.copy(), b2.copy()
    n_classes = len(b2)
    order = rng.permutation(len(y))
    X = X[:, order]
    y = y[order]
    Y = one_hot(y, n_classes)
    batch_starts = np.arange(0, len(y), batch_size)
    history = {"loss": [], "accuracy": [], "val_loss": [], "val_accuracy": [], "seconds": []}
    print("       training          validation        learning")
    print("epoch  loss    accuracy  loss    accuracy  rate      seconds")
    start_time = time.perf_counter()
    for epoch in range(1, epochs + 1):
        epochs_left = epochs - epoch + 1  # this one included
        rate = learning_rate
        if epochs_left < epochs / 2:
            rate = learning_rate * 2 * epochs_left / epochs

        for start in rng.permutation(batch_starts):
            X_batch = X[:, start : start + batch_size]
            Y_batch = Y[:, start : start + batch_size]
            Z1, A1, Z2, A2 = forward_prop(params, X_batch)
            grads = backward_prop(params, X_batch, Y_batch, Z1, A1, A2)
            params = update_params(params, grads, rate)

        loss, acc = evaluate(params, X[:, :5000], y[:5000])
        val_loss, val_acc = evaluate(params, X_val, y_val)
        seconds = time.perf_counter() - start_time
        if not np.isfinite(loss + val_loss):
            problem = f"the loss is {loss + val_loss} in epoch {epoch}"
            raise FloatingPointError(f"{problem}: lower --learning-rate")
        history["loss"].append(loss)
        history["accuracy"].append(acc)
        history["val_loss"].append(val_loss)
        history["val_accuracy"].append(val_acc)
        history["seconds"].append(seconds)
        print(
            f"{epoch:5}  {loss:.4f}  {acc:8.2%}  {val_loss:.4f}  {val_acc:8.2%}"
            f"  {rate:<8.4g}  {seconds:7.2f}"
        )
    print(f"trained {epochs} epochs in {seconds:.2f} s")
    return params, history


# %% [markdown]
# **A note on speed**, the only one. A batch is a run of neighbouring columns, and in memory the 784
# numbers of a column stand side by side: so a batch is one unbroken piece. That is why the images
# are shuffled once, and each epoch takes the same batches in a new order. And all numbers are
# float32, half as long as float64.
#
# ### Wrong, and how it looks
#
#     X = X[:, order] without         images lose their labels: accuracy 10.6%, and the loss stays
#     y = y[order]                    at chance level
#     batch_size = 4096               87.0%: too few steps

# %% [markdown]
# ## 8. Judging what it has learnt
#
# Accuracy is one number. The **confusion matrix** has a hundred: row 4, column 9 counts how often a
# 4 was read as a 9. Right answers stand on its diagonal.


# %%
def confusion_matrix(predictions, y, n_classes=10):
    """Return counts (n_classes, n_classes), int: row = true class, column = predicted class.

    >>> print(confusion_matrix(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]), n_classes=3))
    [[1 0 0]
     [0 1 0]
     [0 1 1]]
    """
    counts = np.zeros((n_classes, n_classes), dtype=int)
    for true, read_as in zip(y, predictions):
        counts[true, read_as] += 1
    return counts


# %% [markdown]
# **What ten hidden units cannot do.** The default run reads 560 of the 10,000 test images wrongly.
# Most often it takes a 4 for a 9 or a 9 for a 4 (45 times), 3 and 5 (39 times), 2 and 7 (36 times).
# None of its hidden units is dead, and none is idle: switch off any one of them, and the validation
# accuracy falls from 95.4% to between 68.0% and 89.3%. Each has a weight for every pixel, so row j
# of W1 is an image too: it shows which ink turns hidden unit j on. Ten such images must do for ten
# digits in everyone's handwriting. More epochs do not help (with 75, the mean of the seeds 0, 1, 2
# is 95.4% instead of 95.5%); more hidden units do: 300 of them (`--hidden 300 --learning-rate 0.4`)
# bring the validation accuracy from 95.4% to 98.6%.
#
# **What no number of them knows.** Move the test images by 2 pixels to the right, and the default
# network reads 75.0% of them instead of 94.4%; by 4 pixels, 33.6%. It has learnt where ink is, not
# what a digit looks like. Chapter 10 is about that.
#
# ### From the symptom to the mistake
#
#     the loss is nan                     learning rate too high; uphill; softmax without axis or
#                                         maximum; dZ1 computed from the new W2
#     the loss stays at 2.303             X and y not in the same order; units dead (see below); all
#                                         weights 0; images torn apart by reshape
#     the loss stays near 1.5, and yet    cross_entropy(A2, Y) for cross_entropy(Z2, Y)
#     the accuracy is good
#     hidden units are dead: their row    learning rate too high; 1/m forgotten; weights or pixels
#     of Z1 > 0 is False for all images   too large at the start
#     learning is very slow               1/m twice; m of the whole data; learning rate too low
#     good in training, bad elsewhere     too many epochs; images scaled or laid out otherwise
#     too good to be true                 images in training that are used to judge
#     a little worse than it should be    measure the gradient: it may be wrong. Then try more seeds
#
# A good first test of any network: can it learn 20 images by heart? If not, there is a mistake.
#
# ### Three things to try
#
# After `python -i nn_from_scratch.py`, or in the notebook after its last cell, `params`, `history`,
# `X_test` and `y_test` are at hand.
#
# 1. Move the images by 2 pixels: `accuracy(predict(params, np.roll(X_test, 2, axis=0)), y_test)`.
#    How far until half of the answers are wrong?
# 2. Look at hidden unit 4: `plt.imshow(params[0][4].reshape(28, 28)); plt.show()`. Which images
#    turn it on most? `Z1, A1, Z2, A2 = forward_prop(params, X_test)` gives you Z1.
# 3. Switch it off: `params[1][4] = -1000`. Which digits suffer? See `confusion_matrix`.
#
# ### Exercises
#
# Solve 2 to 5 in a copy of this file in another folder, and start Python there to check them.
#
# 1. On paper: a third sample, pixels 0 and 2, class 0, joins the example of chapter 3. Compute its
#    column of Z1, A1, Z2, A2 and dZ2, and the new db2. Check: type the example again with
#    X = np.array([[1.0, 3.0, 0.0], [2.0, 1.0, 2.0]]) and the labels [0, 1, 0].
# 2. Put the wrong lines of chapter 5 into backward_prop, one at a time. Which gradients will be
#    wrong, and why just these? Check: gradient_errors, as below, is large for these and no others
#    (the missing .T stops with an error, as W2 is not square there).
# 3. Let ReLU leak: Z where Z > 0, and Z / 10 elsewhere. What becomes of dZ1?
# 4. Punish large weights: add 0.005 times the sum of all squares of W1 and W2 to J. Which gradients
#    change, and how? In measure_gradient, add it to J (as P**2: np.abs breaks the complex step).
# 5. Give the network a second hidden layer: W1, b1, then W2, b2, and W3, b3 for the output. Derive
#    six gradients. Rewrite init_params, forward_prop, backward_prop and update_params, and take
#    their results apart accordingly in measure_gradient, gradient_errors, predict, evaluate, train.
#
# Check for 2 to 5: gradient_errors gives one number for each gradient, below 1e-12 if it is right.
#
#     >>> rng = np.random.default_rng(1)
#     >>> X = rng.standard_normal((6, 20))
#     >>> Y = one_hot(rng.integers(0, 4, 20), n_classes=4)
#     >>> params = init_params(5, rng, n_in=6, n_classes=4)
#     >>> params = [P + rng.standard_normal(P.shape) / 10 for P in params]  # biases that are not 0
#     >>> print(max(gradient_errors(params, X, Y)) < 1e-12)
#     True
#
# **Here the lesson ends.** What follows draws, reads your own digits, fetches files and reads the
# command line. You may skip it, and go to the program at the end of the file.


# %% [markdown]
# ## 9. The picture
#
# A function for each panel. Each takes an Axes of Matplotlib and the data that it shows, so that
# you can copy the one that you need.


# %%
def plot_images(ax, X, captions, per_row, cell_height, **style):
    """Show the columns of X (784, k) as 28x28 images, `per_row` in a row, captions below.

    Each image has a cell 1 wide and `cell_height` high; `style` goes to ax.imshow.
    """
    n_rows = math.ceil(len(captions) / per_row)
    for number, caption in enumerate(captions):
        left = number % per_row + 0.05
        top = number // per_row * cell_height
        image = X[:, number].reshape(28, 28)
        ax.imshow(image, extent=(left, left + 0.9, top + 0.9, top), **style)
        ax.text(left + 0.45, top + 0.93, caption, ha="center", va="top", fontsize=9)
    middle = min(len(captions), per_row) / 2
    ax.set_xlim(middle - per_row / 2, middle + per_row / 2)
    ax.set_ylim(max(n_rows, 1) * cell_height, 0)
    ax.axis("off")


def plot_curves(ax, training, validation):
    """Show a value after each epoch, on training and on validation images: two lists of numbers."""
    epochs = range(1, len(training) + 1)
    ax.plot(epochs, training, "s--", color="C1", markersize=4, label="training images")
    ax.plot(epochs, validation, "o-", color="C0", markersize=4, label="validation images")
    ax.xaxis.get_major_locator().set_params(integer=True)


def plot_loss(ax, history):
    """Show the loss after each epoch; `history` as train returns it."""
    ax.axhline(np.log(10), color="black", linestyle=":", label="chance level, log 10")
    plot_curves(ax, history["loss"], history["val_loss"])
    lowest = min(history["loss"] + history["val_loss"])
    highest = max(history["loss"] + history["val_loss"] + [np.log(10)])
    bottom = min(lowest / 1.3, 0.1)
    top = highest * 1.7
    ax.set_yscale("log")
    ax.set_ylim(bottom, top)
    ticks = [tick for tick in (0.001, 0.01, 0.1, 0.2, 0.5, 1, 2, 10) if bottom < tick < top]
    ax.set_yticks(ticks)
    ax.set_yticklabels([f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.legend(fontsize=9)
    ax.set_title("Loss after each epoch")


def plot_accuracy(ax, history):
    """Show the accuracy after each epoch; `history` as train returns it."""
    plot_curves(ax, history["accuracy"], history["val_accuracy"])
    ax.yaxis.set_major_formatter("{x:.1%}")
    ax.legend(fontsize=9)
    ax.set_title("Accuracy after each epoch")


def plot_confusion(ax, counts):
    """Show confusion_matrix's counts (10, 10): the darker a mistake, the more frequent it is."""
    mistakes = counts.copy()
    np.fill_diagonal(mistakes, 0)
    ax.imshow(mistakes, cmap="Oranges", vmax=1.5 * mistakes.max() + 1)
    for true in range(10):
        for read_as in range(10):
            if counts[true, read_as] > 0:
                color = "grey" if true == read_as else "black"
                number = str(counts[true, read_as])
                ax.text(read_as, true, number, color=color, ha="center", va="center", fontsize=9)
    ax.set_xticks(range(10))
    ax.set_yticks(range(10))
    ax.set_xlabel("read as")
    ax.set_ylabel("true digit")
    ax.set_title("Confusion matrix")


def most_used_units(W2, limit):
    """Return the numbers of at most `limit` hidden units: those with the largest weights in W2."""
    use = (W2**2).sum(axis=0)
    largest_first = np.argsort(-use)
    return np.sort(largest_first[:limit])


def plot_weights(ax, W1, units, dead, per_row, cell_height):
    """Show the rows of W1 (h, 784) for `units` as images; dead (h,) says which are dead.

    The colours run from dark blue over grey to light yellow: they differ in black and white too.
    """
    captions = []
    for unit in units:
        captions.append(f"unit {unit}: dead" if dead[unit] else f"unit {unit}")
    top = np.quantile(np.abs(W1[units]), 0.998) + 1e-9  # a few extreme weights may be cut off
    style = {"cmap": "cividis", "vmin": -top, "vmax": top}
    plot_images(ax, W1[units].T, captions, per_row, cell_height, **style)
    which = f"The weights of {len(units)} of {len(W1)} hidden units"
    ax.set_title(f"{which}: yellow where ink turns the unit on, blue where it turns it off")


# How the test images and your own digits are laid out.
DIGITS_PER_ROW = 4
DIGIT_CELL = 1.34  # height of a cell 1 wide: the image and two lines of caption


def plain_text(text):
    """Return `text` with ? for what Matplotlib's font lacks or would take for a formula."""
    ascii_only = text.encode("ascii", "replace").decode()
    return ascii_only.replace("$", "?")


def plot_readings(ax, X, y, A2):
    """Show the images X (784, k) with the answer of A2 (10, k); y (k,) are the true digits.

    Wrong answers have a cross in the corner and say both digits.
    """
    predictions = A2.argmax(axis=0)
    captions = []
    for number, digit in enumerate(predictions):
        probability = A2[digit, number]
        if digit == y[number]:
            captions.append(f"{digit}\n{probability:.1%}")
        else:
            captions.append(f"{y[number]}, read as {digit}\n{probability:.1%}")
    plot_images(ax, X, captions, DIGITS_PER_ROW, DIGIT_CELL, cmap="Greys", vmin=0, vmax=1)
    wrong = np.flatnonzero(predictions != y)
    right_edge = wrong % DIGITS_PER_ROW + 0.86
    top_edge = wrong // DIGITS_PER_ROW * DIGIT_CELL + 0.08
    ax.plot(right_edge, top_edge, "x", color="C3", markeredgewidth=2)


def surest_mistakes(A2, y):
    """Return the samples that A2 (10, m) gets wrong, those it is surest of first."""
    wrong = np.flatnonzero(A2.argmax(axis=0) != y)
    probability = A2[:, wrong].max(axis=0)
    return wrong[np.argsort(-probability)]


def draw_figure(title, history, params, X, y, own_digits):
    """Return the figure: curves, confusion matrix, weights, and what params make of X (784, m), y.

    own_digits is a dict, name: x (784, 1). If it is not empty, these take the first images' place.
    """
    W1, b1, W2, b2 = params
    Z1, A1, Z2, A2 = forward_prop(params, X)
    units = most_used_units(W2, limit=20)
    per_row = 5 if len(units) <= 10 else 7
    # All lengths are in inches; the page is 10 wide, which makes 1000 pixels.
    cell_width = 9.6 / per_row
    cell_height = 1 + 0.2 / cell_width  # 0.2 for the caption, in units of the width
    weights_height = math.ceil(len(units) / per_row) * cell_width * cell_height
    height = 6.0 + weights_height + 5.1  # curves and matrix, weights, digits
    fig = plt.figure(figsize=(10, height), dpi=100)

    def panel(left, top, width, panel_height):  # left and top are counted from the upper left
        bottom = height - top - panel_height
        return fig.add_axes([left / 10, bottom / height, width / 10, panel_height / height])

    fig.text(0.5, 1 - 0.15 / height, plain_text(title), ha="center", va="top", fontsize=12)
    plot_loss(panel(0.65, 0.95, 3.85, 1.75), history)
    plot_accuracy(panel(0.65, 3.35, 3.85, 1.75), history)
    plot_confusion(panel(5.4, 0.95, 4.4, 4.15), confusion_matrix(A2.argmax(axis=0), y))

    dead = (Z1 <= 0).all(axis=1)
    weights_panel = panel(0.2, 6.0, 9.6, weights_height)
    plot_weights(weights_panel, W1, units, dead, per_row, cell_height)

    left_panel = panel(0.2, 6.4 + weights_height, 4.7, 4.7)
    right_panel = panel(5.1, 6.4 + weights_height, 4.7, 4.7)
    if own_digits:
        plot_own_digits(left_panel, params, own_digits)
    else:
        plot_readings(left_panel, X[:, :12], y[:12], A2[:, :12])
        left_panel.set_title("The first test images")
    mistakes = surest_mistakes(A2, y)
    shown = mistakes[:12]
    plot_readings(right_panel, X[:, shown], y[shown], A2[:, shown])
    right_panel.set_title(f"The surest of {len(mistakes)} mistakes")
    return fig


# %% [markdown]
# The same for a screen without pictures: an image in characters, beside the ten probabilities.


# %%
def text_picture(x, a):
    """Return ten lines of text: image x (784,), and the probabilities a (10,) as bars."""
    ink = x.reshape(14, 2, 28).mean(axis=1)  # two rows of pixels make one line of text
    ink = ink[2:12]  # without the margin, which is nearly always empty: ten lines are left
    lines = []
    for digit in range(10):
        shades = (9.99 * ink[digit]).astype(int)  # 0 to 9
        picture = "".join(" .:-=+*#%@"[shade] for shade in shades)
        bar = "#" * int(30 * a[digit])
        lines.append(f"{picture} {digit} {a[digit]:6.1%} {bar}".rstrip())
    return "\n".join(lines)


def print_reading(params, x):
    """Print the image x (784, 1) and what the network makes of it."""
    Z1, A1, Z2, A2 = forward_prop(params, x)
    print(text_picture(x[:, 0], A2[:, 0]))


def answer(a):
    """Return in words the two most probable digits of a (10,): "7 (98.2%), then 1 (1.1%)"."""
    first, second = np.argsort(-a)[:2]
    return f"{first} ({a[first]:.1%}), then {second} ({a[second]:.1%})"


def print_surest_mistakes(params, X, y, how_many=3):
    """Print the wrong answers for X (784, m), y (m,) that the network is most sure of."""
    Z1, A1, Z2, A2 = forward_prop(params, X)
    mistakes = surest_mistakes(A2, y)
    print(f"{len(mistakes)} of {len(y)} read wrongly; the surest mistakes:")
    for sample in mistakes[:how_many]:
        print(f"test image {sample}, a {y[sample]}, read as {answer(A2[:, sample])}")


def network_name(params):
    """Return for example "784-10-10 network, 7,960 parameters"."""
    W1, b1, W2, b2 = params
    size = W1.size + b1.size + W2.size + b2.size
    return f"{W1.shape[1]}-{len(W1)}-{len(W2)} network, {size:,} parameters"


def shapes(params):
    """Return in words the shapes of all four parameters."""
    W1, b1, W2, b2 = params
    return f"W1 {W1.shape}, b1 {b1.shape}, W2 {W2.shape}, b2 {b2.shape}"


# %% [markdown]
# ## 10. Your own digits
#
# `--read seven.png photo.jpg` reads pictures of your own after training, and `--draw` opens a
# window to draw in. The oldest complaint about programs like this one is that they fail at just
# that. Here is why. 95 digits that strangers drew were read by three kinds of network: with 10
# hidden units, with 300, and with 10 that had been trained on drawn digits only (appendix A). The
# numbers are means of the seeds 0 to 2, and of seed 0 for 300. Before a network saw them, the
# pictures were
#
#                                                             10 units   300     10, drawn
#     shrunk to 28x28 pixels, as nearly everyone does            35.8%   54.7%       29.8%
#     laid out as MNIST's digits are                             81.4%   92.6%       73.0%
#     and their strokes made as wide as MNIST's                  92.3%   97.9%       88.8%
#
# A network knows only what its training data look like. MNIST's authors fitted each digit into a
# box of 20x20 pixels, averaging, and moved the centre of mass of its ink to the middle of 28x28
# (http://yann.lecun.com/exdb/mnist). Nothing else was ever seen by our network, so a digit that is
# larger, or in a corner, or drawn with a thin pen, is as strange to it as another alphabet.
# `as_mnist` lays a digit out in that way; `read_picture` finds it on the paper first.
#
# What still fails looks like another digit in MNIST, where people wrote as Americans do: a 1 with a
# long flag is often read as a 7, a 0 with a slash as an 8. A 7 with a bar is no problem; they had
# that. Draw them and see.


# %%
def fit(image, size):
    """Return the grey `image` (0 paper, 255 ink) cut to its ink, the longer side `size` pixels."""
    is_ink = image.point(lambda grey: 255 if grey > 2 else 0)
    image = image.crop(is_ink.getbbox())
    scale = size / max(image.size)
    new_size = [max(1, round(scale * side)) for side in image.size]
    if scale < 1:
        return image.resize(new_size, Image.BOX)  # averages: no thin stroke falls through
    return image.resize(new_size, Image.BILINEAR)


def thickened(ink, radius):
    """Return `ink` (height, width) gone over with a round pen, 12 pixels of paper around it."""
    ink = np.pad(ink, 12, mode="constant")
    thick = ink
    reach = int(radius) + 1
    for down in range(-reach, reach + 1):
        for across in range(-reach, reach + 1):
            distance = np.hypot(down, across)
            blot = np.clip(radius + 0.5 - distance, 0, 1)  # 1 inside, 0 outside, a soft edge
            moved = np.roll(ink, (down, across), axis=(0, 1))
            thick = np.maximum(thick, blot * moved)
    return thick


def as_grey_image(ink):
    """Return ink (height, width), from 0 to 1, as a grey image of Pillow's, from 0 to 255."""
    return Image.fromarray((255 * ink).astype(np.uint8))


def with_strokes_of_mnist(image):
    """Return the grey `image` (0 paper, 255 ink) with strokes about as wide as MNIST's."""
    large = np.asarray(fit(image, 80), dtype=np.float32) / 255
    # A stroke w wide and l long has the area w l and an outline about 2 l long. The outline is
    # where ink changes to paper: the sum of all slopes.
    framed = np.pad(large, 1, mode="constant")
    slope_down = np.diff(framed, axis=0)[:, 1:]
    slope_across = np.diff(framed, axis=1)[1:]
    outline = np.hypot(slope_down, slope_across).sum()
    pen = 2 * large.sum() / outline
    # In most of MNIST the pen is 1/8 to 1/6 of the digit's longer side. Thickened by a radius on
    # both sides, pen and digit grow alike: (pen + 2 radius) / (80 + 2 radius) = wanted.
    wanted = np.clip(pen / 80, 1 / 8, 1 / 6)
    radius = (80 * wanted - pen) / (1 - wanted) / 2
    if radius > 0:
        return as_grey_image(thickened(large, radius))
    if radius < 0:  # too thick: thicken the paper instead
        paper = 1 - np.pad(large, 1, mode="constant")
        thick_paper = thickened(paper, -radius)
        thin = 1 - thick_paper[12:-12, 12:-12]
        if thin.max() > 0.5:  # else nothing would be left
            return as_grey_image(thin)
    return image


def as_mnist(ink):
    """Return x (784, 1), float32 in [0, 1], laid out as MNIST's images are.

    `ink` is (height, width), of any size: 0 is paper, larger is more ink. Raises ValueError if
    there is none. The layout is that of MNIST's authors, http://yann.lecun.com/exdb/mnist.
    """
    ink = np.asarray(ink, dtype=np.float32)
    if ink.size == 0 or not ink.max() > 0:
        raise ValueError("there is no ink")
    image = as_grey_image(np.clip(ink / ink.max(), 0, 1))
    box = np.asarray(fit(with_strokes_of_mnist(image), 20), dtype=np.float32)
    height, width = box.shape
    # The centre of mass comes to row 14 and column 14, counted from 0, as in MNIST.
    ink_of_rows = box.sum(axis=1)
    ink_of_columns = box.sum(axis=0)
    top = 14 - np.arange(height) @ ink_of_rows / box.sum()
    left = 14 - np.arange(width) @ ink_of_columns / box.sum()
    top = int(np.clip(np.round(top), 0, 28 - height))
    left = int(np.clip(np.round(left), 0, 28 - width))
    x = np.zeros((28, 28), dtype=np.float32)
    x[top : top + height, left : left + width] = box / box.max()
    return x.reshape(784, 1)


def load_grey(path):
    """Return the picture in the file `path` in grey, at most 800 pixels long, as Pillow has it."""
    with Image.open(path) as image:
        image.draft("L", (800, 800))  # a large JPEG can be read small, which is fast
        image = ImageOps.exif_transpose(image)  # a phone only notes how it was held
    if image.mode.startswith(("I", "F")):  # more than 8 bits per pixel
        values = np.asarray(image).astype(np.float32)
        values -= values.min()
        if values.max() > 0:
            values /= values.max()
        image = as_grey_image(values)
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image.thumbnail((800, 800), Image.BOX)
        opacity = image.getchannel("A")  # 0 where one sees through
        opaque = np.asarray(opacity) > 127
        if opaque.mean() < 0.5:  # what one sees through is the paper, the rest is ink
            return opacity
        grey = image.convert("L")
        paper = int(np.median(np.asarray(grey)[opaque]))
        image = Image.new("L", image.size, paper)
        image.paste(grey, mask=opacity)
    image = image.convert("L")
    image.thumbnail((800, 800), Image.BOX)
    return image


def find_ink(image):
    """Return how much darker each pixel of the grey `image` is than the paper around it.

    (height, width), as a share of the paper: about 0 on paper. Light ink on dark counts as dark.
    """
    small = image.copy()
    small.thumbnail((40, 40), Image.BOX)
    # There is less ink than paper. So the pixels that differ much from what is around them are ink:
    # if they are lighter, the ink is. (The cube makes large differences count, and keeps the sign.)
    around = small.filter(ImageFilter.GaussianBlur(max(small.size) / 6))
    difference = np.asarray(small, dtype=np.float32) - np.asarray(around, dtype=np.float32)
    if np.mean(difference**3) > 0:
        image = ImageOps.invert(image)
        small = ImageOps.invert(small)
    # The paper without the ink: each pixel takes the lightest grey near it, then the darkest of
    # these. Strokes vanish, while shadows, and light that falls off to one side, stay. At its edge
    # the picture is continued first, with the light falling on as it fell.
    near = int(0.3 * max(small.size)) // 2 * 2 + 1  # odd, as the filters want it
    wide = np.pad(np.asarray(small, dtype=int), near, mode="reflect", reflect_type="odd")
    wide = np.clip(wide, 0, np.max(small)).astype(np.uint8)
    paper = Image.fromarray(wide)
    paper = paper.filter(ImageFilter.MaxFilter(near))
    paper = paper.filter(ImageFilter.MinFilter(near))
    paper = paper.filter(ImageFilter.BoxBlur(1))
    paper = ImageOps.crop(paper, near)
    paper = paper.resize(image.size, Image.BILINEAR)
    paper = np.maximum(np.asarray(paper, dtype=np.float32), 16)  # never divide by 0
    return 1 - np.asarray(image, dtype=np.float32) / paper


def keep_digit(ink):
    """Return `ink` (height, width) without noise, ruled lines, specks, and what touches the edge.

    Raises ValueError if nothing stands out from the paper. The numbers below were found by trial:
    MNIST's training digits were put on 21 kinds of paper, as if photographed.
    """
    noise = np.percentile(np.abs(ink), 30)  # most of a picture is paper
    floor = max(16 * noise, 0.04)
    if ink.max() < floor:
        raise ValueError("nothing stands out from the paper")
    darkest = np.percentile(ink[ink > floor], 99.5)
    dark = ink > 0.5 * darkest

    # On a coarse map, what touches the edge is removed, unless that leaves hardly any ink.
    coarse = as_grey_image(dark)
    coarse.thumbnail((100, 100), Image.BOX)
    coarse = coarse.point(lambda grey: 255 if grey > 10 else 0)
    inner = ImageOps.expand(coarse, 1, 255)  # a frame of ink joins all that touches the edge
    ImageDraw.floodfill(inner, (0, 0), 0)
    inner = ImageOps.crop(inner, 1)
    blur = ImageFilter.GaussianBlur(0.08 * max(coarse.size))
    if np.max(inner.filter(blur)) > 0.3 * np.max(coarse.filter(blur)):
        coarse = inner

    # The digit is where most ink is close together, and all that hangs together with it.
    crowded = 1.0 + np.asarray(coarse.filter(blur))  # above 0 wherever there is ink
    crowded[np.asarray(coarse) == 0] = 0
    row, column = np.unravel_index(crowded.argmax(), crowded.shape)
    pieces = coarse.filter(ImageFilter.MaxFilter(5))  # bridges small gaps
    ImageDraw.floodfill(pieces, (int(column), int(row)), 128)
    height, width = ink.shape
    digit = np.asarray(pieces.resize((width, height), Image.NEAREST)) == 128
    black = np.median(ink[digit & dark])
    return np.where(digit & (ink > 0.4 * black), ink, 0)


def read_picture(path):
    """Return x (784, 1), float32 in [0, 1], for the digit in the picture file `path`.

    Raises ValueError, a sentence that names the file, if there is no picture or no digit in it.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path}: there is no such file, check its name")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about odd and about large files
            image = load_grey(path)
    except Exception as error:  # broken files make Pillow raise nearly anything
        reason = type(error).__name__
        raise ValueError(
            f"{path} cannot be read as a picture ({reason}): save it anew, as a PNG"
        ) from None
    try:
        return as_mnist(keep_digit(find_ink(image)))
    except ValueError:
        raise ValueError(f"{path}: no digit found, write one large and dark on paper") from None


def read_pictures(paths):
    """Return a dict, name: x (784, 1), of the pictures in `paths`, and True if all could be read.

    What cannot be read is named on stderr; if nothing is left, the program ends.
    """
    own_digits = {}
    all_read = True
    for path in paths:
        try:
            own_digits[str(path)] = read_picture(path)
        except ValueError as error:
            complain(error)
            all_read = False
    if paths and not own_digits:
        end(all_is_well=False)
    return own_digits, all_read


def print_own_digits(params, own_digits):
    """Print the answer for each of own_digits, name: x (784, 1), and what the network saw."""
    for name, x in own_digits.items():
        Z1, A1, Z2, A2 = forward_prop(params, x)
        print(f"{name}: {answer(A2[:, 0])}")
        print_reading(params, x)


def plot_own_digits(ax, params, own_digits):
    """Show the first 12 of own_digits, name: x (784, 1), with the answers."""
    names = list(own_digits)
    shown = names[:12]
    X = np.hstack([own_digits[name] for name in shown])
    Z1, A1, Z2, A2 = forward_prop(params, X)
    captions = []
    for number, name in enumerate(shown):
        digit = A2[:, number].argmax()
        file_name = plain_text(Path(name).name)
        captions.append(f"{file_name[-14:]}\n{digit} ({A2[digit, number]:.1%})")
    plot_images(ax, X, captions, DIGITS_PER_ROW, DIGIT_CELL, cmap="Greys", vmin=0, vmax=1)
    ax.set_title(f"The first {len(shown)} of {len(own_digits)} pictures of your own")


def draw_window(params):
    """Open a window to draw digits in with the mouse, and return its figure.

    Beside it stand the image that the network with `params` sees, and its ten probabilities. It
    shows up with plt.show(), which is left to the caller.
    """
    with plt.rc_context({"toolbar": "None"}):
        fig, (paper, seen, bars) = plt.subplots(1, 3, figsize=(9.4, 3.8))
    fig.subplots_adjust(left=0.02, right=0.96, bottom=0.16, top=0.9, wspace=0.12)
    # Matplotlib's own keys would save the figure or close the window.
    fig.canvas.mpl_disconnect(fig.canvas.manager.key_press_handler_id)
    sheet = Image.new("L", (280, 280))
    last_place = None  # of the pen, while the left button is down

    paper_image = paper.imshow(sheet, cmap="Greys", vmin=0, vmax=255, extent=(0, 280, 280, 0))
    paper.set_title("draw a digit here")
    paper.set_xlabel("left button: draw\nright button or any key: clear")
    seen_image = seen.imshow(np.zeros((28, 28)), cmap="Greys", vmin=0, vmax=1)
    seen.set_title("what the network sees")
    for panel in (paper, seen):
        panel.set_xticks([])
        panel.set_yticks([])
    probabilities = bars.barh(range(10), np.zeros(10))
    bars.set_xlim(0, 1)
    bars.set_ylim(9.6, -0.6)
    bars.set_yticks(range(10))
    bars.set_xlabel("probability")
    bars.set_box_aspect(1)

    def show():
        x = np.zeros((784, 1))
        a = np.zeros(10)
        bars.set_title("")
        if sheet.getbbox():  # there is ink
            x = as_mnist(np.asarray(sheet))
            Z1, A1, Z2, A2 = forward_prop(params, x)
            a = A2[:, 0]
            bars.set_title(f"{a.argmax()} ({a.max():.1%})")
        paper_image.set_data(sheet)
        seen_image.set_data(x.reshape(28, 28))
        for bar, probability in zip(probabilities, a):
            bar.set_width(probability)
        fig.canvas.draw_idle()

    def place_of(event):  # event.xdata would be None outside the sheet
        across, down = paper.transData.inverted().transform((event.x, event.y))
        return across, down

    def press(event):
        nonlocal last_place
        if event.button == 1:
            last_place = place_of(event)
            move(event)  # a click alone makes a dot
        else:
            clear(event)

    def move(event):
        nonlocal last_place
        if last_place is None:
            return
        across, down = place_of(event)
        pen = ImageDraw.Draw(sheet)  # a line, since the mouse leaps, and a round blot at its end
        pen.line([last_place, (across, down)], fill=255, width=22)
        pen.ellipse([across - 11, down - 11, across + 11, down + 11], fill=255)
        last_place = across, down
        show()

    def release(event):
        nonlocal last_place
        last_place = None

    def clear(event):
        nonlocal last_place
        last_place = None
        sheet.paste(0, (0, 0, 280, 280))
        show()

    fig.canvas.mpl_connect("button_press_event", press)
    fig.canvas.mpl_connect("motion_notify_event", move)
    fig.canvas.mpl_connect("button_release_event", release)
    fig.canvas.mpl_connect("key_press_event", clear)
    return fig


# %% [markdown]
# ## Appendix A. Digits drawn by the script itself
#
# Where MNIST cannot be had, the network trains on these: a table of ways to move a pen, and chance.
# The table was fitted to MNIST's training images, so that what is learnt carries over: after
# training on drawn digits alone, 89.27% of MNIST's test images are read correctly.

# %%
# How to write each digit: a list of ways, since people differ. A way is a list of strokes; between
# two strokes the pen is lifted. A stroke is a list of points that the pen visits in turn. A point
# is (across, down) from the top left corner. The second 1 below, [(3, 0), (3, 9)], is a straight
# line down. Change points or add ways as you like (two points at least): what is drawn is scaled to
# fit the image.
# fmt: off
WAYS = {
    0: [
        [[(3, 0), (0, 4), (0, 9), (1, 9), (7, 9), (9, 3), (6, 0), (2, 0)]],
        [[(4, 0), (1, 2), (0, 6), (1, 9), (5, 9), (8, 6), (8, 4), (7, 0), (3, 0)]],
        [[(4, 0), (0, 4), (0, 9), (1, 9), (6, 9), (9, 5), (6, 0), (4, 0), (2, 2)]],
    ],
    1: [
        [[(4, 0), (2, 9)]],
        [[(3, 0), (3, 9)]],
        [[(2, 2), (4, 0), (3, 9)]],
        [[(1, 2), (3, 0), (3, 4), (3, 9)], [(0, 9), (3, 9), (6, 9)]],
    ],
    2: [
        [[(1, 2), (1, 0), (5, 0), (6, 4), (3, 7), (1, 8), (1, 9), (8, 8)]],
        [[(2, 2), (2, 0), (5, 0), (7, 2), (6, 7), (1, 9), (0, 9), (0, 6), (5, 6), (8, 8)]],
        [[(0, 2), (3, 0), (5, 3), (2, 9), (0, 9), (0, 8), (2, 6), (4, 8), (9, 8)]],
    ],
    3: [
        [[(1, 0), (6, 0), (5, 3), (4, 4)], [(1, 4), (5, 3), (7, 6), (6, 9), (0, 9), (0, 7)]],
        [[(0, 0), (6, 0), (5, 4), (1, 4), (5, 4), (7, 7), (6, 9), (1, 9)]],
        [[(0, 1), (3, 0), (5, 1), (3, 4), (2, 4), (5, 4), (6, 7), (4, 9), (0, 8)]],
    ],
    4: [
        [[(1, 0), (0, 5), (5, 5)], [(6, 0), (5, 3), (5, 9)]],
        [[(2, 1), (0, 5), (6, 5)], [(6, 0), (5, 5), (4, 5), (3, 9)]],
        [[(6, 0), (0, 5), (7, 5)], [(6, 0), (4, 9)]],
        [[(0, 1), (1, 2), (0, 5), (7, 4)], [(6, 0), (4, 9), (3, 9)]],
    ],
    5: [
        [[(2, 2), (0, 4), (4, 4), (7, 6), (6, 9), (1, 9)], [(1, 2), (2, 0), (8, 0)]],
        [[(9, 0), (3, 1), (2, 1), (1, 4), (3, 4), (5, 5), (5, 8), (2, 8), (1, 8)]],
        [[(6, 0), (1, 0), (1, 4), (5, 4), (6, 5), (7, 7), (5, 9), (0, 9), (0, 8)]],
    ],
    6: [
        [[(4, 0), (2, 0), (0, 7), (1, 8), (2, 9), (6, 8), (6, 5), (1, 6), (1, 7)]],
        [[(3, 0), (2, 0), (0, 4), (0, 9), (6, 9), (7, 6), (6, 5), (4, 5), (2, 9)]],
        [[(3, 0), (0, 4), (0, 9), (3, 9), (4, 8), (4, 6), (1, 7)]],
    ],
    7: [
        [[(0, 1), (1, 0), (7, 0), (6, 3), (3, 9)]],
        [[(0, 0), (6, 0), (5, 4), (3, 9)], [(3, 5), (6, 4)]],
        [[(0, 3), (0, 0), (5, 0), (6, 1), (4, 5), (3, 9)]],
        [[(0, 2), (0, 1), (8, 0), (7, 1), (5, 9), (3, 9)]],
    ],
    8: [
        [[(4, 1), (4, 0), (0, 0), (0, 3), (2, 4), (5, 6), (5, 8), (4, 9),
          (1, 9), (0, 7), (2, 4), (5, 2)]],
        [[(4, 0), (1, 0), (0, 2), (3, 5), (5, 3), (7, 0), (4, 0)],
         [(3, 5), (2, 5), (1, 9), (5, 9), (5, 7), (3, 5)]],
        [[(5, 2), (4, 0), (0, 1), (1, 4), (3, 5), (4, 9), (1, 9), (0, 8), (0, 7), (5, 3), (6, 2)]],
    ],
    9: [
        [[(5, 3), (4, 5), (0, 4), (1, 0), (5, 0), (5, 9), (6, 9)]],
        [[(5, 3), (1, 4), (0, 3), (1, 0), (5, 0), (5, 1), (4, 9)]],
        [[(6, 1), (3, 0), (0, 3), (3, 5), (6, 2), (4, 9)]],
        [[(4, 4), (0, 3), (0, 2), (2, 0), (5, 1), (5, 2), (2, 9)]],
    ],
}
# fmt: on


def move_pen(stroke, n, rng):
    """Write one stroke of the table n times, each time a little differently.
    Returns the places where the pen stops, (n, stops, 2): across and down, in units of the table.
    """
    points = np.array(stroke, dtype=np.float32)  # (points, 2)
    # Nobody meets the points exactly: each place strays from its point by about one unit.
    stray = rng.standard_normal((n, len(points), 2), dtype=np.float32)
    places = points + stray  # (n, points, 2)

    # From each place to the next the pen goes straight, and makes about 2.5 stops per unit.
    parts = []
    for i in range(len(points) - 1):
        length = np.linalg.norm(points[i + 1] - points[i])
        stops = int(np.round(2.5 * length))
        # The part stops short of the next place, where the next part starts (endpoint=False).
        part = np.linspace(places[:, i], places[:, i + 1], stops, endpoint=False, axis=1)
        parts.append(part)  # (n, stops, 2)
    last = places[:, -1:]  # (n, 1, 2)
    parts.append(last)
    path = np.concatenate(parts, axis=1)

    # A hand does not turn on the spot: mixing each stop with its neighbours rounds the corners.
    for _ in range(3):
        before = path[:, :-2]
        here = path[:, 1:-1]
        after = path[:, 2:]
        path[:, 1:-1] = (before + 2 * here + after) / 4
    return path


def spread(places, pen):
    """Return how much of the ink of each stop reaches each of 28 rows (or columns) of pixels.
    places (n, stops) and pen (n, 1, 1), the radius of its tip, are in pixels. The result is
    (n, stops, 28), in [0, 1]: 1 where the pen is, less the further away."""
    pixels = np.arange(28, dtype=np.float32)
    distance = places[:, :, np.newaxis] - pixels  # (n, stops, 28)
    share = np.exp(-((distance / pen) ** 2) / 2)
    # Far away the share is tiny, and many processors are slow with numbers below 1e-38, here and
    # in training. Less than half of MNIST's smallest grey, 1/255, nobody sees: make it exactly 0.
    share[share < 0.002] = 0
    return share


def draw_way(way, n, rng):
    """Draw one way of the table as n people would write it: images (n, 28, 28) in [0, 1]."""
    strokes = [move_pen(stroke, n, rng) for stroke in way]
    path = np.concatenate(strokes, axis=1)
    across = path[:, :, 0]  # (n, stops)
    down = path[:, :, 1]  # (n, stops)

    # What differs from one person to the next. In normal(mean, deviation), a row is a person.
    width = rng.normal(1, 0.2, size=(n, 1))  # below 1 the digit is narrow, above 1 wide
    slant = rng.normal(0.15, 0.25, size=(n, 1))  # above 0 it leans to the right, as most do
    tilt = rng.normal(0, 0.15, size=(n, 1))  # above 0 the line that it stands on runs downhill
    pen = 0.72 * np.exp(rng.normal(0, 0.25, size=(n, 1, 1)))  # radius of the tip, never below 0

    slanted = width * across - slant * down  # the further down, the more it is moved to the left
    tilted = down + tilt * across  # the further to the right, the more it is moved down

    # As in MNIST, the digit fills a box of 20 x 20 pixels: 17.8 for the path, the rest for its ink.
    across_size = slanted.max(axis=1, keepdims=True) - slanted.min(axis=1, keepdims=True)
    down_size = tilted.max(axis=1, keepdims=True) - tilted.min(axis=1, keepdims=True)
    scale = 17.8 / np.maximum(across_size, down_size)  # pixels per unit of the table, (n, 1)

    # Also as in MNIST, the mean of the digit lies at pixel (14, 14), the middle of the image.
    across = 14 + scale * (slanted - slanted.mean(axis=1, keepdims=True))
    down = 14 + scale * (tilted - tilted.mean(axis=1, keepdims=True))

    # Each stop leaves a round blot of ink, exp(-(d / pen)^2 / 2) at the distance d. Because d^2 is
    # row_distance^2 + column_distance^2, that is a share for the row times one for the column.
    single = np.float32  # as fine as images need, and faster than the float64 of rng.normal
    row_share = spread(down.astype(single), pen.astype(single))  # (n, stops, 28)
    column_share = spread(across.astype(single), pen.astype(single))  # (n, stops, 28)
    # All blots of an image add up: a sum over its stops, and so a matrix product for each image.
    blots = row_share.transpose(0, 2, 1) @ column_share  # (n, 28, stops) @ (n, stops, 28)
    return np.minimum(0.7 * blots, 1)  # 0.7 per stop, but paper gets no blacker than black


def draw_digits(m, rng):
    """Draw m digits: images X (784, m), float32 in [0, 1], and labels y (m,), integers 0 to 9.
    Each digit comes m / 10 times (rounded up or down), shared out evenly among its ways."""
    y = rng.permutation(np.arange(m) % 10)  # 0, 1, ..., 9, 0, 1, ... in random order
    images = np.empty((m, 784), dtype=np.float32)
    for digit, ways in WAYS.items():
        samples = np.flatnonzero(y == digit)
        for k, way in enumerate(ways):
            mine = samples[k :: len(ways)]  # dealt out like cards: to each way one, in turn
            drawn = draw_way(way, len(mine), rng)
            images[mine] = drawn.reshape(len(mine), 784)
    return images.T, y


# %% [markdown]
# ## Appendix B. Fetching and checking the files
#
# MNIST is downloaded once. What a mirror sends is kept only if its unpacked content has the known
# SHA-256 digest (mirrors pack it anew, so the packed bytes differ). Files that are there already
# are checked when they are read, so that a cut one is named.

# %%
MIRRORS = [
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
]
TIMEOUT = 10  # seconds without an answer, or without progress, after which a mirror is given up
SHA256 = {  # of MNIST's four files, unpacked
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


class BadInput(ValueError):
    """Something that the user can put right; its text says how."""


class BadFlag(BadInput):
    """A flag that the user can put right."""


def find_file(folder, name):
    """Return the path of the IDX file `name` in `folder`, or None if it is not there.

    It may be gzipped or not, and it may be spelt with a dot: train-images.idx3-ubyte.
    """
    import os  # here, like gzip below, so that load_mnist can be copied with the functions it names

    for spelling in name, name.replace("-idx", ".idx"):
        for ending in "", ".gz":
            path = os.path.join(folder, spelling + ending)
            if os.path.isfile(path):  # not a folder: some archives have one of the same name
                return path
    return None


def unpacked(content):
    """Return the bytes `content`, unzipped if they are gzipped. Raises ValueError if not IDX."""
    import gzip
    import zlib

    if content[:2] == b"\x1f\x8b":  # every gzip file begins like this
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"damaged gzip file, {error}") from None
    if content.lstrip()[:1] == b"<":
        raise ValueError("a web page")
    if content[:3] != b"\0\0\x08":
        raise ValueError("not an IDX file")
    return content


def file_content(folder, name):
    """Return the unpacked bytes of the IDX file `name` in `folder`.

    Raises FileNotFoundError if it is missing and ValueError if it is broken.
    """
    path = find_file(folder, name)
    if path is None:
        raise FileNotFoundError(f"{name} is missing in {folder}")
    try:
        with open(path, "rb") as file:
            content = unpacked(file.read())
        read_idx(content)  # fails if the file is cut, or too long
    except (IndexError, ValueError) as error:
        raise ValueError(
            f"{path} is broken ({error}): replace it, or delete it to have MNIST's downloaded"
        ) from None
    return content


def check_pair(images, labels, where):
    """Raise ValueError unless images are (m, 28, 28), labels (m,) and 0 to 9, and m at least 1."""
    fits = labels.ndim == 1 and images.shape == (len(labels), 28, 28)
    if not fits or len(labels) == 0 or labels.max() > 9:
        highest = labels.max() if labels.size > 0 else "none"
        raise ValueError(
            f"{where}: found images of shape {images.shape} and labels of shape {labels.shape},"
            f" the highest label {highest}; wanted are (m, 28, 28) and (m,), labels from 0 to 9"
        )


def has_digest(content, name):
    """True if the unpacked bytes `content` are those of MNIST's file `name`."""
    return hashlib.sha256(content).hexdigest() == SHA256[name]


def open_url(url):
    """Return the open response of `url`. Raises what urlopen raises, or TimeoutError.

    urlopen alone may keep you waiting for minutes where a network swallows everything: looking up a
    name has no time limit, and each of a host's addresses gets the whole timeout. So urlopen works
    in a thread of its own, which is left behind if it takes too long.
    """
    answers = queue.Queue()

    def ask():
        try:
            answers.put(urlopen(url, timeout=TIMEOUT))
        except Exception as error:  # handed over, to be raised where somebody can catch it
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        response = answers.get(timeout=TIMEOUT)
    except queue.Empty:
        raise TimeoutError(f"no answer in {TIMEOUT} s") from None
    if isinstance(response, Exception):
        raise response
    return response


def download(url):
    """Return the bytes at `url`, and print how far it has come. Raises many kinds of Exception."""
    name = url.split("/")[-1]
    content = b""
    with open_url(url) as response:
        size = response.headers["Content-Length"] or "unknown"
        while True:
            chunk = response.read(2**18)
            if not chunk:
                break
            content += chunk
            print(f"\rdownloading {name}: {len(content)} of {size} bytes", end="")
    print()
    return content


def download_from_mirrors(name):
    """Return the packed bytes of MNIST's file `name`. Raises ConnectionError if none has it."""
    problems = []
    for mirror in MIRRORS:
        try:
            packed = download(f"{mirror}{name}.gz")
            if has_digest(unpacked(packed), name):
                return packed
            problems.append(f"{mirror} sent another file")
        except Exception as error:  # whatever ails this mirror, the next may be well
            problems.append(f"{mirror}: {error}")
            if "CERTIFICATE" in str(error):
                problems.append("on macOS run 'Install Certificates.command'")
    raise ConnectionError(f"no mirror gave {name} ({'; '.join(problems)})")


def write_whole(path, content):
    """Write the bytes `content` to `path`: all of them or, if anything goes wrong, nothing.

    Raises OSError, with a sentence that names `path`.
    """
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        if part.exists():
            part.unlink()


def fetch_missing(folder):
    """Download what is missing of MNIST's four files into `folder`.

    Raises ConnectionError if they cannot be had or saved, and BadInput if `folder` is no folder or
    holds files of another data set, which MNIST's must not complete.
    """
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"--data {folder} is a file: name a folder")
    missing = [name for name in SHA256 if find_file(folder, name) is None]
    present = [name for name in SHA256 if name not in missing]
    if not missing:
        return
    for name in present:
        if not has_digest(file_content(folder, name), name):
            raise BadInput(
                f"{folder} lacks {', '.join(missing)}, and its {name} is not MNIST's:"
                " add what is missing of the same data set, or name another folder with --data"
            )
    try:
        for name in missing:
            packed = download_from_mirrors(name)
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / f"{name}.gz", packed)
    except OSError as error:  # ConnectionError is one kind of it
        addresses = " ".join(f"{MIRRORS[0]}{name}.gz" for name in missing)
        raise ConnectionError(
            f"{error}; fetch what is missing by hand and put it into {folder}, or name another"
            f" folder with --data, or use --dataset drawn: {addresses}"
        ) from None


def load_data(dataset, folder, rng):
    """Return X (784, m), y (m,), X_test, y_test and the name of the data.

    `dataset` is "mnist", "drawn", or "auto": drawn digits where MNIST cannot be had. Raises
    ConnectionError for "mnist" where it cannot be had, and BadInput if a file is broken.
    """
    if dataset != "drawn":
        try:
            fetch_missing(folder)
            X, y, X_test, y_test = load_mnist(folder)
            labels_name = "t10k-labels-idx1-ubyte"
            is_mnist = has_digest(file_content(folder, labels_name), labels_name)
            data_name = "MNIST" if is_mnist else f"{folder.resolve().name} (not MNIST)"
            return X, y, X_test, y_test, data_name
        except ValueError as error:
            raise BadInput(str(error)) from None
        except ConnectionError as error:
            if dataset == "mnist":
                raise
            print(f"no MNIST: {error}")
            print("training on digits drawn by the script: accuracy not comparable with MNIST's")
    X, y = draw_digits(30_000, rng)
    return X[:, 5000:], y[5000:], X[:, :5000], y[:5000], "drawn digits"


# %% [markdown]
# ## Appendix C. The command line


# %%
def runs_as_script():
    """False in a notebook: it has no __file__, and its sys.argv belongs to the kernel."""
    this_file = globals().get("__file__", "")
    return Path(sys.argv[0]).name == Path(this_file).name


def complain(sentence):
    """Print `sentence` on stderr."""
    print(f"nn_from_scratch: {sentence}", file=sys.stderr)


def stop(status, sentence):
    """End the program with `sentence` on stderr and the exit status `status`."""
    complain(sentence)
    sys.exit(status)


def end(all_is_well):
    """End the program with status 1 unless all is well; what is not has been said already."""
    if not all_is_well and runs_as_script():
        sys.exit(1)


class PatientOutput:
    """Standard output on which print never fails.

    A character that the console does not know becomes "?". When the output leads nowhere any more,
    as after `| head -1`, the rest is thrown away, and the program goes on and saves its picture.
    """

    def __init__(self, stream):
        self.stream = stream

    def write(self, text):
        encoding = self.stream.encoding or "ascii"
        try:
            self.stream.write(text.encode(encoding, "replace").decode(encoding))
            self.stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())

    def flush(self):
        pass


@contextlib.contextmanager
def as_a_program():
    """In the block below `with as_a_program():` what the user can put right ends in one sentence.

    All other errors are mistakes in the code, and keep their traceback, to show where. In a
    notebook all errors do.
    """
    if not runs_as_script():
        yield
        return
    output = None if sys.stdout is None else PatientOutput(sys.stdout)
    try:
        # A loss that overflows is reported by train, in a sentence; NumPy need not warn as well.
        with contextlib.redirect_stdout(output), np.errstate(over="ignore", invalid="ignore"):
            yield
    except KeyboardInterrupt:
        stop(130, "stopped by Ctrl-C")
    except MemoryError as error:
        stop(1, f"not enough memory ({error}): try a smaller --hidden or --batch-size")
    except OSError as error:
        advice = "" if error.errno is None else "; try another --data or --figure"
        stop(1, f"{error}{advice}")
    except BadFlag as error:
        stop(2, f"{error} (see --help)")
    except (BadInput, FloatingPointError) as error:
        stop(1, error)


class OneLineParser(argparse.ArgumentParser):
    """The standard parser, but a wrong flag is answered in one sentence."""

    def error(self, message):
        raise BadFlag(message)


def at_least_1(text):
    """Return the whole number in `text`, for a flag. Raises ArgumentTypeError."""
    if not text.isdecimal() or not 1 <= int(text) <= 10**9:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to 10**9, not {text}")
    return int(text)


def at_least_0(text):
    """Return the whole number in `text`, for a flag. Raises ArgumentTypeError."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, at least 0, not {text}")
    return int(text)


def finite_above_0(text):
    """Return the number in `text`, for a flag. Raises ArgumentTypeError."""
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, and finite, not {text}")
    return number


def read_flags():
    """Return the settings: the constants at the top of this file, or what the flags say instead.

    Makes sure, before the work begins, that the picture can be saved and a window opened.
    """
    data = Path(globals().get("__file__", "")).parent / "data"
    parser = OneLineParser(
        prog="nn_from_scratch.py",
        description="Train a neural network to read handwritten digits, and show what it learnt.",
    )
    flag = parser.add_argument
    default = " (default: %(default)s)"
    flag(
        "--data",
        metavar="FOLDER",
        type=Path,
        default=data,
        help="where the IDX files are, or go" + default,
    )
    flag(
        "--dataset",
        choices=["auto", "mnist", "drawn"],
        default="auto",
        help="data to use: mnist, drawn, or auto, MNIST if it can be had, else digits drawn by the"
        " script" + default,
    )
    flag("--hidden", type=at_least_1, default=HIDDEN, help="units in the hidden layer" + default)
    flag("--epochs", type=at_least_1, default=EPOCHS, help="passes over the images" + default)
    flag("--batch-size", type=at_least_1, default=BATCH_SIZE, help="images per step" + default)
    flag(
        "--learning-rate",
        type=finite_above_0,
        default=LEARNING_RATE,
        help="alpha at the start; from half-way on it falls" + default,
    )
    flag("--seed", type=at_least_0, default=SEED, help="of all random numbers" + default)
    flag(
        "--figure",
        metavar="FILE",
        type=Path,
        default=Path("nn_from_scratch.png"),
        help="where the picture is saved" + default,
    )
    flag("--no-show", action="store_true", help="save the picture, but open no window")
    flag(
        "--read",
        metavar="FILE",
        type=Path,
        nargs="+",
        default=[],
        help="pictures of digits of your own, to be read after training",
    )
    flag("--draw", action="store_true", help="open a window to draw digits in, after training")
    if not runs_as_script():
        return parser.parse_args([])

    args = parser.parse_args()
    if args.draw and args.no_show:
        parser.error("--draw opens a window: leave out --no-show")
    check_figure_path(args.figure)
    choose_backend(args.no_show)
    if args.draw and not windows_can_open():
        raise BadInput("--draw needs a display, and there is none: leave it out, or use --read")
    return args


def check_figure_path(path):
    """Raise BadInput if no figure can be saved as `path`."""
    if path.suffix.lower() not in (".png", ".pdf", ".svg", ".jpg"):
        raise BadInput(f"--figure {path}: the name must end in .png, .pdf, .svg or .jpg")
    if path.is_dir() or not path.parent.is_dir():
        raise BadInput(f"--figure {path}: name a file in a folder that exists")
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise BadInput(
            f"--figure {path} cannot be written ({error.strerror}): name a file in another folder"
        ) from None


def check_batch_size(batch_size, n_training):
    """Raise BadFlag if there are fewer training images than a batch is to have."""
    if batch_size > n_training:
        raise BadFlag(f"--batch-size {batch_size} is above {n_training}, the training images")


def choose_backend(no_show):
    """Make Matplotlib open windows if it may and can, and else draw for files only."""
    try:
        plt.switch_backend("agg" if no_show else plt.get_backend())
    except Exception:  # whatever keeps the window shut, a file can be drawn
        plt.switch_backend("agg")


def windows_can_open():
    """True if Matplotlib shows figures, in windows or a notebook; False if it only saves them."""
    return plt.get_backend().lower() not in ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")


def save_figure(fig, path):
    """Save the figure as `path`: all of it or nothing. Raises OSError."""
    file = io.BytesIO()
    fig.savefig(file, format=path.suffix[1:].lower())
    write_whole(path, file.getvalue())
    print(f"figure saved as {path}")


def has_learnt(params, history, X_val):
    """True; or, if training failed, False after a sentence on stderr."""
    Z1, A1, Z2, A2 = forward_prop(params, X_val)
    problem = None
    if (Z1 <= 0).all():
        problem = "all hidden units are dead"
    elif history["val_loss"][-1] > np.log(len(Z2)):
        problem = "after training, the loss is above chance level"
    if problem is None:
        return True
    complain(f"{problem}: try another --learning-rate")
    return False


def show_windows(params, draw):
    """Show the figures where windows can open, with `draw` also the one to draw in, and wait."""
    if draw:
        draw_window(params)
    if windows_can_open():
        plt.show()


# %% [markdown]
# ## The program
#
# The chapters, one after the other.

# %%
if __name__ == "__main__":
    with as_a_program():
        args = read_flags()
        rng = np.random.default_rng(args.seed)
        own_digits, all_read = read_pictures(args.read)

        # Chapter 1, the data. Of MNIST's 60,000 images the last 5,000 are kept for validation.
        X, y, X_test, y_test, data_name = load_data(args.dataset, args.data, rng)
        n = len(y) * 11 // 12
        X_train, y_train, X_val, y_val = X[:, :n], y[:n], X[:, n:], y[n:]
        check_batch_size(args.batch_size, n)
        print(f"{data_name}: X_train {X_train.shape}, X_val {X_val.shape}, X_test {X_test.shape}")

        # Chapter 2, the network.
        params = init_params(args.hidden, rng)
        print(f"{network_name(params)}: {shapes(params)}")

        # Chapter 3, forward: the first test image, and what the untrained network makes of it.
        print(f"the first test image, a {y_test[0]}, before training:")
        print_reading(params, X_test[:, :1])

        # Chapter 4, the loss.
        loss, share = evaluate(params, X_val, y_val)
        print(f"loss before training {loss:.3f}, chance level log 10 = {np.log(10):.3f}")

        # Chapters 5 to 7, training.
        params, history = train(
            params, X_train, y_train, X_val, y_val,
            args.epochs, args.batch_size, args.learning_rate, rng,
        )  # fmt: skip

        # Chapter 8, judging.
        print("the same image after training:")
        print_reading(params, X_test[:, :1])
        result = f"test accuracy {accuracy(predict(params, X_test), y_test):.2%}"
        print(result if data_name == "MNIST" else f"{result} on {data_name}")
        print_surest_mistakes(params, X_test, y_test)

        # Chapters 9 and 10, the picture, and digits of your own.
        print_own_digits(params, own_digits)
        title = f"{data_name}: {network_name(params)}\n{result}, seed {args.seed}"
        fig = draw_figure(title, history, params, X_test, y_test, own_digits)
        save_figure(fig, args.figure)
        show_windows(params, args.draw)
        learnt = has_learnt(params, history, X_val)
        end(all_is_well=all_read and learnt)

# For `uv run`, which installs the packages by itself (PEP 723):
# /// script
# requires-python = ">=3.8"
# dependencies = ["numpy>=1.18", "matplotlib>=3.5", "pytest>=7"]
# ///
