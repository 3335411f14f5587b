# %% [markdown]
"""
# A neural network from scratch

With this file you train a network to read handwritten digits, in seconds; then you draw a digit
with the mouse, and watch the network read it (`python nn_from_scratch.py --draw`). The network
needs NumPy alone. Formulas are derived, claims shown by examples or measured numbers. A run:

    $ python nn_from_scratch.py
    ...
    loss before training 2.415, chance level log 10 = 2.303
           training          validation        learning
    epoch  loss    accuracy  loss    accuracy  rate      seconds
        1  0.3063    90.98%  0.3300    90.44%  0.15         0.06
      ...
       30  0.1528    95.46%  0.2444    92.82%  0.01         1.80
    trained 30 epochs in 1.80 s
    the same image after training:
                                 0   0.0%
          .--:.                  1   0.0%
          +#*#%@%%%%%%%%%-       2   0.6%
                . ....:@@:       3   0.1%
                     :@@:        4   0.0%
                    -@%.         5   0.0%
                   :%%.          6   0.0%
                  +@#.           7  99.3% #############################
                 %@+             8   0.0%
               -@@-              9   0.0%
    test accuracy 94.38%

## How to read this file

The lesson goes the same road twice, with a pencil. Round one, chapters 1 to 4, takes an evening,
and leads from pixels to learning with a very simple model. Round two, chapters 5 to 8, takes two,
and puts a hidden layer into it: then it is a neural network. Chapter 9 is for courses that write
things otherwise. You may skip what comes after the questions at its end.

You need matrix products, derivatives, logarithms and NumPy's arrays, and a little statistics. Lines
that begin with `>>>` are examples. To type them, start Python in the folder of this file and say
`from nn_from_scratch import *` first. In a round, each needs those before it.

## A program that learns

Run this script once, with NumPy and Matplotlib installed: it fetches the images, and ends with a
window to close. Then copy the lines below into a file `first.py` beside it, and run that.

```python
import gzip
import numpy as np

def read(name, header):
    with gzip.open("data/" + name + "-ubyte.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=header)

rng = np.random.default_rng(0)
order = rng.permutation(60000)
X = read("train-images-idx3", 16).reshape(60000, 784)[order].T
X = X.astype(np.float32) / 255
y = read("train-labels-idx1", 8)[order]
Y = np.eye(10, dtype=np.float32)[:, y]

W = np.zeros((10, 784), dtype=np.float32)
b = np.zeros((10, 1), dtype=np.float32)
alpha = 0.15

for epoch in range(10):
    for start in rng.permutation(np.arange(5000, 60000, 64)):
        X_batch = X[:, start : start + 64]
        Y_batch = Y[:, start : start + 64]
        m = X_batch.shape[1]

        Z = W @ X_batch + b
        E = np.exp(Z - Z.max(axis=0))
        A = E / E.sum(axis=0)

        dZ = A - Y_batch
        dW = dZ @ X_batch.T / m
        db = dZ.sum(axis=1, keepdims=True) / m
        W = W - alpha * dW
        b = b - alpha * db

    predictions = (W @ X[:, :5000] + b).argmax(axis=0)
    print(epoch + 1, np.mean(predictions == y[:5000]))
```

In two seconds it goes ten times through 55,000 images of digits with their names, and learns. Each
time it prints which share of 5,000 other images it reads correctly: first 0.905, at the end 0.92.
Nobody wrote down what a 3 looks like. Round one explains how.
"""

# %%
import gzip

import numpy as np

# %% [markdown]
# # Round one: ten weighted votes
#
# ## 1. The data
#
# **The goal: a matrix X that holds the images, and the labels y that say what they show.**
#
# MNIST is 70,000 handwritten digits (LeCun, Bottou, Bengio and Haffner, 1998); the 7 at the top of
# this file is one of them. Each is an image of 28x28 grey pixels with a **label**, the digit that
# was meant: one of ten **classes**. An image with its label is a **sample**.
#
# **One column is one sample.** The 28 rows of an image are laid end to end: 784 bytes, which are
# divided by 255, so that paper is 0 and ink is 1. They become a column of X, and m images make X
# (784, m). Why a column? For one image x, the product with a matrix is W x, as in any course of
# algebra, and for m images the formula stays the same: the columns of W X are W times the columns
# of X. In Python, @ is the matrix product, and X[:, 1] is column 1 of X; we count from 0.
#
#     >>> W = np.array([[1, 2], [3, 4]])
#     >>> X = np.array([[5, 7], [6, 8]])
#     >>> print(W @ X)
#     [[17 23]
#      [39 53]]
#     >>> print(W @ X[:, 1])
#     [23 53]
#
# **Labels become columns too.** The digit 3 becomes ten numbers, with a 1 in row 3 and zeros
# elsewhere; this is called **one-hot**. Why not answer with the number 3 itself? Then a 2 would be
# nearly right and an 8 very wrong. Digits are names here, not amounts. In the program y holds the
# labels as digits, and column s of Y is column y[s] of the identity matrix `np.eye(10)`.
#
# **Three kinds of images.** A program may know by heart the images that it has learnt from, and so
# it is judged on others. Of MNIST's 60,000 training images, the program takes 5,000, columns 0 to
# 4999 of X, out of **training** for **validation**. They judge while you choose, such as between
# two models. But whoever takes the best of a hundred has fitted that choice to the validation
# images. Hence a third kind, 10,000 **test** images. They judge what was chosen.
#
# **Chance.** `default_rng(0)` makes random numbers; 0 is its **seed**, and the same seed makes the
# same ones. They pick the images for validation and shuffle the others. Now skip the functions.


# %%
def read_idx(path):
    """Return the array in the gzipped IDX file `path`, uint8.

    The bytes 0, 0, 8 and the number of axes; the length of each axis in four bytes, the highest
    first (">u4"); then one byte for each value.
    """
    with gzip.open(path) as file:
        content = file.read()
    n_axes = content[3]
    shape = np.frombuffer(content, dtype=">u4", count=n_axes, offset=4)
    values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * n_axes)
    return values.reshape(shape)


def load_part(folder, part):
    """Return X (784, m), float32 in [0, 1], and y (m,), int, of the part "train" or "t10k"."""
    images = read_idx(f"{folder}/{part}-images-idx3-ubyte.gz")  # (m, 28, 28)
    labels = read_idx(f"{folder}/{part}-labels-idx1-ubyte.gz")  # (m,)
    X = images.reshape(len(images), 784).T.astype(np.float32)
    X /= 255
    return X, labels.astype(int)


def load_mnist(folder):
    """Return X_train (784, 60000), y_train (60000,), X_test (784, 10000), y_test (10000,)."""
    X_train, y_train = load_part(folder, "train")
    X_test, y_test = load_part(folder, "t10k")
    return X_train, y_train, X_test, y_test


def split(X, y, rng):
    """Return X_train, y_train, X_val, y_val, in random order, of X (784, m) and y (m,).

    One twelfth is for validation: 5,000 of MNIST's 60,000. `rng` is a numpy.random.Generator.
    """
    order = rng.permutation(len(y))  # 0 to m-1, shuffled: one order for X and y
    n_val = len(y) // 12
    in_val = order[:n_val]
    in_train = order[n_val:]
    return X[:, in_train], y[in_train], X[:, in_val], y[in_val]


def one_hot(y, n_classes=10):
    """Return Y (n_classes, m), float32: column s has a 1 in row y[s] and zeros elsewhere."""
    Y = np.zeros((n_classes, len(y)), dtype=np.float32)
    samples = np.arange(len(y))
    Y[y, samples] = 1  # pairs them up: for each s the entry in row y[s], column s
    return Y


# %% [markdown]
# ### Exercises
#
# 1. (On paper.) D = np.arange(12).reshape(3, 2, 2) are three images of 2x2. Write down D.reshape(4,
#    3) and D.reshape(3, 4).T. Which has an image in each column? Try the wrong one in the program,
#    `.reshape(784, 60000)[:, order]` for `.reshape(60000, 784)[order].T`.

# %% [markdown]
# ## 2. Scores and probabilities
#
# **The goal: ten probabilities for each image.**
#
# Begin with one class, say 3. Each of the 784 pixels gets a number, its **weight** for this class.
# Multiply each pixel by its weight, add up, and add one more number, the **bias** of the class. The
# sum is the **score** of the 3 for this image; for a blank page it is the bias, or 0 without one.
# So each pixel votes: where ink is, a positive weight speaks for a 3, a negative one against it.
#
# Ten classes need ten such lists of weights. Write them into the rows of a matrix W (10, 784), and
# the biases into a column b (10, 1). Then all scores of all images are
#
#     Z = W X + b                 Z[k, s] is the score of class k for sample s;  Z (10, m)
#
# The 7,850 numbers in W and b are the **parameters**: to be learnt. A map of the form W X + b is
# called a **fully connected** or **linear layer**. Scores are also called **logits**.
#
# W X is (10, m), and b is a single column. NumPy adds it to each of the m columns. That is called
# **broadcasting**, and it hides mistakes: an array of shape (10,) counts as a row. A column plus it
# is (10, 10), and can be added to W X of ten samples: no error. Write (10, 1).
#
# ### In numbers
#
# This example stays with us through both rounds: three inputs in place of 784 pixels, two classes,
# two samples. Its numbers are small, and not in 0..1, so that you can follow them.
#
#     >>> X = np.array([[5.0, 1.0], [3.0, 0.0], [0.0, 3.0]])
#     >>> W = np.array([[1.0, 2.0, 1.0], [2.0, -1.0, -1.0]])
#     >>> b = np.array([[-1.0], [1.0]])
#     >>> Z = W @ X + b
#     >>> print(Z)
#     [[10.  3.]
#      [ 8.  0.]]
#
# Sample 0, the first column of X, has the inputs 5, 3 and 0. Class 0 gets 1 * 5 + 2 * 3 + 1 * 0,
# and with its bias -1 that is 10. Class 1 gets 2 * 5 - 1 * 3 - 1 * 0 + 1 = 8.
#
# ### Softmax
#
# The small x, z and a are about one sample, its columns of X, Z and A, and z_k is its score of
# class k. Probabilities are positive and sum to 1. **Softmax** makes them, as A:
#
#     a_k = exp(z_k) / total         total = exp(z_0) + exp(z_1) + ... + exp(z_9)
#
# Why exp? It makes any number positive, and keeps the order. Squares would not: the score -3 would
# get 9, and beat the score 1. And it turns differences into ratios, a_i / a_k = exp(z_i - z_k): a
# class that is ahead by 1 is e = 2.718 times as probable, whatever the other scores are.
#
# So only differences of scores count. Subtract the same number from all scores of a sample, and a
# stays the same. We subtract the largest, because exp can overflow: in float32, exp(89) is inf, and
# inf / inf is nan, NumPy's "not a number". Now the largest term is exp(0) = 1. It must be the
# largest *of that sample*. With one maximum for all, the terms of a sample with much lower scores
# all round to 0, and 0 / 0 is nan too. Softmax cannot say "none of these": the ten sum to 1 for a
# blank page too, and since only differences count, one may be 99% though all scores are low.


# %%
def softmax(Z):
    """Return the probabilities A (10, m) of the scores Z (10, m); each column sums to 1."""
    # axis=0 runs down each column; keepdims=True keeps the result a row, (1, m).
    E = np.exp(Z - Z.max(axis=0, keepdims=True))  # (10, m)
    return E / E.sum(axis=0, keepdims=True)  # (10, m)


def accuracy(predictions, y):
    """Return the share of right predictions, a float in [0, 1]. Both are (m,).

    Raises ValueError where the shapes differ: == of (m,) and (m, 1) compares each with all.
    """
    if predictions.shape != y.shape:
        raise ValueError(f"predictions {predictions.shape} and labels {y.shape} differ in shape")
    return float(np.mean(predictions == y))


# %% [markdown]
# In sample 0 of the example, class 0 gets exp(10) / (exp(10) + exp(8)) = 0.881:
#
#     >>> A = softmax(Z)
#     >>> print(A.round(3))
#     [[0.881 0.953]
#      [0.119 0.047]]
#
# The **prediction** is the class with the highest probability, and so with the highest score. The
# **accuracy** is the share of right predictions. If the labels are 1 and 0, it is a half:
#
#     >>> accuracy(A.argmax(axis=0), np.array([1, 0]))
#     0.5
#
# ### Exercises
#
# 2. (On paper.) A third sample, with the inputs 1, 0 and 1, joins the example. Compute its z and a.
# 3. (Prove.) For two classes, softmax is the **sigmoid**: a_0 = 1 / (1 + exp(-(z_0 - z_1))).

# %% [markdown]
# ## 3. Loss: one number for how wrong it is
#
# **The goal: a number that learning can make smaller.**
#
# Accuracy will not do. Nudge one weight a little, and most likely not a single prediction changes,
# so accuracy does not say which way is better. The probabilities do change.
#
# Each sample's true class gets some probability; we call that class t, and so write a_t. If samples
# are independent, the probability of all m true labels together is the product of their a_t, called
# the **likelihood**, and good parameters make it large (**maximum likelihood**). The product rounds
# to 0. The logarithm makes it a sum, and keeps the order; times -1, good parameters make it small:
# the **negative log-likelihood**. It is our **loss**, as terms and as mean:
#
#     L = -log a_t        of one sample
#     J = 1/m (sum of L over the m samples)        the mean, which does not grow with m
#
# Here log is the natural logarithm, ln. For one sample, Y_k is entry k of its one-hot column: Y_t
# is 1, the others are 0. So L is also -(sum_k Y_k log a_k), the **cross-entropy**.
#
#     >>> print(-np.log(np.array([0.9, 0.5, 0.1, 0.01])).round(3))
#     [0.105 0.693 2.303 4.605]
#
# To be sure and right costs next to nothing, to be sure and wrong costs a lot. To know nothing, and
# give each of ten classes 1/10, costs log 10 = 2.303: this is the **chance level**. Round one
# begins just there, since with W and b at 0 all scores are equal.
#
# **L is computed from the scores.** Put the softmax into the logarithm:
#
#     L = -log a_t = -log (exp(z_t) / sum_k exp(z_k)) = log (sum_k exp(z_k)) - z_t
#
# Why not from A, which we have? Because a tiny a_t is rounded to 0, and log 0 is -inf. Some write
# log(A + 1e-8) against that, but then no L can exceed -log 1e-8 = 18.42. With scores there is no
# such trouble. Subtract the largest from all of them first, z_t included: L stays the same, one
# term of the sum is exp(0) = 1, and so the sum is at least 1 (the **log-sum-exp trick**).


# %%
def cross_entropy(Z, Y):
    """Return J, the mean cross-entropy of the scores Z (10, m) for one-hot labels Y (10, m)."""
    shifted = Z - Z.max(axis=0, keepdims=True)  # (10, m)
    total = np.exp(shifted).sum(axis=0)  # (m,)
    true_score = (Y * shifted).sum(axis=0)  # (m,); * is entry by entry, and Y picks z_t
    L = np.log(total) - true_score  # (m,)
    return np.mean(L)


# %% [markdown]
# In the example the labels were 1 and 0, and these classes got 0.119 and 0.953. So L is 2.127 and
# 0.049, and J is the mean, above the chance level of two classes, log 2 = 0.693:
#
#     >>> Y = one_hot(np.array([1, 0]), n_classes=2)
#     >>> print(cross_entropy(Z, Y).round(4))
#     1.0878
#
# ### Exercises
#
# 4. (Prove.) Of many images that look exactly alike, 70% are labelled 3 and 30% are labelled 8. All
#    of them must be given the same a. Which a makes their mean L smallest?

# %% [markdown]
# ## 4. Learning
#
# **The goal: to change W and b so that J falls.**
#
# ### A slope, measured
#
# Take one weight of the example, W[0, 0] = 1. Move it a little, down and up, and look at J:
#
#     >>> for w in 0.99, 1.0, 1.01:
#     ...     moved = W.copy()
#     ...     moved[0, 0] = w
#     ...     print(w, cross_entropy(moved @ X + b, Y).round(4))
#     0.99 1.066
#     1.0 1.0878
#     1.01 1.1096
#
# A step of 0.01 moves J by 0.0218 either way. So the **slope** of J by this weight is about 2.18.
# To lower J, make the weight smaller. Books call it the **partial derivative** of J, and write it
# with a round d; we write dJ/dw. The slopes of all parameters together are the **gradient**.
#
# To measure all 7,850 slopes of the program would take two computations of J for each. It is
# quicker to derive them. Follow the nudge up: it moves Z[0, 0] by 0.05, since the weight is
# multiplied by the input 5, and so L of sample 0 from 2.1269 to 2.1711, by 0.0442. In sample 1 the
# input is 1, so Z[0, 1] moves by 0.01, and L by -0.0005. The mean of both is 0.0218.
#
# The **chain rule** says how such slopes go together. If w moves z, and z moves L, then
#
#     dL/dw = (dL/dz) (dz/dw)
#
# Slopes obey it exactly; small steps **to first order**, with an error of the size of step^2. A
# weight moves a score by the input. By how much does a score move L?
#
# ### From the loss to the scores: dZ = A - Y
#
# For one sample, chapter 3 has L = log (sum_k exp(z_k)) - z_t. Take the derivative by a score z_i.
# The slope of log v is v' / v, and only one term of the sum contains z_i: so the first part gives
# exp(z_i) / sum_k exp(z_k), which is a_i. The second gives -Y_i: -1 for class t, else 0. Together
#
#     dL/dz_i = a_i - Y_i
#
# It is what was said minus what was true: positive for a class that got too much, negative for the
# true class. The column of these slopes is named dz, short for dL/dz; in books, **error signal** or
# **delta**. Its entries sum to 1 - 1 = 0. Side by side, the columns of all samples are dZ = A - Y:
#
#     >>> dZ = A - Y
#     >>> print(dZ.round(4))
#     [[ 0.8808 -0.0474]
#      [-0.8808  0.0474]]
#
# So the nudge of 0.05 should move L of sample 0 by 0.05 * 0.8808 = 0.0440; the 0.0442 has a part of
# the size of step^2 in it. Sample 0, which is read wrongly, has most of the error signal.
#
# ### From the scores to the weights: dW and db
#
# The weight W[k, p] takes part in one score, z_k, where it is multiplied by x_p. By the chain rule
#
#     dL/dW[k, p] = dz_k x_p          error signal of the score, times the input of this weight
#     dL/db[k]    = dz_k              the same, with 1 for the input
#
# J is the mean of L over the m samples, so its slope is the mean of these. Row 0 of the example:
#
#                           sample 0                 sample 1
#     dz_0                   0.8808                  -0.0474             about L of this sample
#     inputs x               5, 3, 0                  1, 0, 3
#     dz_0 times x           4.404, 2.642, 0         -0.047, 0, -0.142   about L of this sample
#                                   \                     /
#     the mean, row 0 of dW         2.178, 1.321, -0.071                 about J
#
# The names hide a difference. **dZ is dL/dZ**: each column is about the loss of its own sample,
# without 1/m. **dW is dJ/dW, and db is dJ/db**: all samples, added up and divided by m.
#
#     dW[k, p] = 1/m (sum_s dZ[k, s] X[p, s])     so     dW = 1/m dZ X^T
#     db[k]    = 1/m (sum_s dZ[k, s])             so     db = 1/m (row sums of dZ)
#
# Why X^T, X turned? In a product of matrices (B C)[k, p] = sum_s B[k, s] C[s, p], and s counts
# columns of B and rows of C. Here it counts columns in both, so X must be turned. In shapes: (10,
# m) times (m, 784) is (10, 784), the shape of W. For one sample, dz x^T is the **outer product**.
#
#     >>> dW = dZ @ X.T / 2
#     >>> db = dZ.sum(axis=1, keepdims=True) / 2
#     >>> print(dW.round(3))
#     [[ 2.178  1.321 -0.071]
#      [-2.178 -1.321  0.071]]
#
# The first entry is the 2.18 that was measured. In Python `X.T` is X^T, `sum(axis=1)` sums along
# each row, and `keepdims=True` keeps the result a column.
#
# ### The step
#
# Move a parameter w by a small step, and J moves by about (dJ/dw) step; that is what a slope is.
# Choose the step -alpha (dJ/dw), with a small positive number alpha, the **learning rate**. Then J
# moves by about -alpha (dJ/dw)^2, which is never positive. Do it with all parameters at once. To
# first order the changes add up, and J falls by about
#
#     alpha (sum of the squares of all entries of dW and db)
#
# This is **gradient descent** (Cauchy, 1847): W := W - alpha dW and b := b - alpha db,
# where := says "becomes", again and again. For three alphas, the predicted fall and the real one:
#
#     >>> squares = (dW**2).sum() + (db**2).sum()
#     >>> for alpha in 0.001, 0.01, 0.1:
#     ...     J_after = cross_entropy((W - alpha * dW) @ X + (b - alpha * db), Y)
#     ...     print(alpha, (alpha * squares).round(4), (cross_entropy(Z, Y) - J_after).round(4))
#     0.001 0.0133 0.0133
#     0.01 0.1334 0.1307
#     0.1 1.3338 0.8997
#
# With 0.1 the prediction leads from 1.0878 to below 0, where J cannot be: slopes promise nothing
# about long steps. A step needs the slopes of J, not its value, which the program never computes.
# Descent rests where all slopes are 0. Here J is lowest there, being **convex** (answer 7). In
# round two that may be a **local minimum**, lowest nearby, or a **saddle point**: u^2 - v^2 at 0.
#
# The program takes 64 images, a **mini-batch**, makes a step, takes the next 64, and so on. A pass
# over all 55,000 is an **epoch**: 860 steps, one of them with the last 24. Chapter 7 says why the
# gradient of a batch will do. This is **stochastic gradient descent** (Robbins and Monro, 1951).
#
# ### Read the program again
#
# Each line after `read` is known now. `order` shuffles images and labels alike; the first 5,000 are
# for validation. In each epoch the batches come in another order. All together is **softmax
# regression**, or multinomial logistic regression. What does it learn? Write `range(1)` for
# `range(10)`, and add these lines at the end. They print the rows 0 and 3 of W after one epoch
# (here they stand side by side): "+" is above 0.05, "-" below -0.05; a line is two rows of pixels.
#
#     for k in 0, 3:
#         rows = W[k].reshape(14, 2, 28).mean(axis=1)
#         marks = np.where(rows > 0.05, "+", np.where(rows < -0.05, "-", "."))
#         print("\n".join("".join(line) for line in marks))
#
#     ............................        ............................
#     ............................        ............................
#     ...............++...........        ......++++++++++....----....
#     ........-....++++++++.......        ....+++++++++++++++...---...
#     .......-......++++++++++....        ....+++.-----.++++++++.--...
#     ..............----+++++++...        ......-------.+++++++..-....
#     ......++..++.------..++++...        .....------.+++++++.---.....
#     .....++++++.-------..++++...        ......-----.++..............
#     .....++++++.------...+++....        ....+.----------.++++++.....
#     .....++++++.----............        ...++++.-------.+++++++.....
#     ......+++++++...............        ...++++++..---..+++++.......
#     ........++++++++..---.......        ....+++++++.................
#     ...............---..........        ......+++++++++.............
#     ............................        ............................
#
# Ink on a ring speaks for a 0, ink inside against it; the 3 must be open on the left. The corners
# stay 0: no image has ink there, so x_p is 0, and so is every slope.
#
# How good is it? With the seeds 0 to 9, between 91.4 and 92.9% are read after ten epochs; the mean
# is 92.1%, the standard deviation 0.5. So one run says little. An image is right or wrong, 1 or 0,
# with the variance share (1 - share). So by the choice of m images alone, their share is off by
# about sqrt(share (1 - share) / m), its **standard error**: here 0.4.
#
# ### Exercises
#
# 5. (Prove.) What becomes of J, dW and db if each sample is in X twice? And what, if J were the sum
#    of all L and not their mean?
# 6. (Prove.) Let J(w) = w^2, with a single parameter w. For which alpha does gradient descent come
#    ever closer to the lowest point? For which does it reach it in one step?

# %% [markdown]
# # Round two: a hidden layer
#
# ## 5. The network
#
# **The goal: a model that can do what ten weighted votes cannot.**
#
# In round one no pixel's vote depends on another. Such a model cannot say yes to "one of two
# pixels, but not both": **XOR** is not **linearly separable**, no line parts yes from no. Let x_0
# and x_1 be 1 for ink, else 0. The difference of two scores, a weighted sum, decides: yes where w_0
# x_0 + w_1 x_1 + b > 0. No ink gives a no, so b <= 0. One pixel gives a yes: w_0 + b > 0 and
# w_1 + b > 0. Add them: w_0 + w_1 + 2 b > 0. Subtract b <= 0: w_0 + w_1 + b > 0, a yes to both.
#
# A **hidden layer** does it. It computes h numbers from the pixels, and these vote. Each comes from
# a **unit**, or neuron: a weighted sum, sent through **ReLU**, the **rectified linear unit**:
# max(z, 0), which is z where z is positive, and else 0 (Fukushima, 1969; Nair and Hinton, 2010). A
# unit is **on** for a sample where its z is positive, and else **off**. Two units can do XOR:
#
#     2 ReLU(x_0 + x_1) - 4 ReLU(x_0 + x_1 - 1) - 1
#
# is -1 for no ink, 1 for either pixel, and 4 - 4 - 1 = -1 for both. With enough units, one hidden
# layer comes arbitrarily near any continuous function of pixels in 0..1 (Leshno and others, 1993;
# for sigmoids Cybenko, 1989): units add bends. How many, and if training finds them, is left open.
#
# **Why ReLU?** Two layers with nothing between them are one layer in disguise:
# W2 (W1 X + b1) + b2 = (W2 W1) X + (W2 b1 + b2). Something **non-linear** must come between, the
# **activation function**. ReLU is a line with one bend, which the bias moves. Others: chapter 9.
#
# **The names.** All that round one computed is still right. It now stands above the hidden layer,
# and gets a 2; what the hidden layer puts out, A1, is what round one had for its X.
#
#     round one   round two       meaning                                          shape
#                 X               the pixels: one column is one sample             (784, m)
#                 W1, b1          weights and biases of the hidden layer           (h, 784), (h, 1)
#                 Z1, A1          the hidden layer before and after ReLU           (h, m)
#     X           A1              what goes into the output layer                  (h, m)
#     W, b        W2, b2          weights and biases of the output layer           (10, h), (10, 1)
#     Z, A        Z2, A2          scores and probabilities                         (10, m)
#     dZ          dZ2, dZ1        dL/dZ2, dL/dZ1: each column about its sample     as Z2, Z1
#     dW, db      dW2 to db1      dJ/dW2, dJ/db2, dJ/dW1, dJ/db1                   as W2 to b1
#     y, Y        y, Y            the labels, as digits and one-hot                (m,), (10, m)
#
# h is 10 unless you ask for another number; k is a class, j a hidden unit, p a pixel, s a sample.
# In formulas W X is a matrix product, * a product entry by entry, and ^T turns a matrix.
#
#        X     W1 X + b1     Z1     ReLU     A1    W2 A1 + b2     Z2    softmax     A2
#     (784, m) ---------> (h, m) --------> (h, m) ----------> (10, m) ---------> (10, m)
#      pixels               sums           hidden               scores         probabilities
#
# Going through this **multilayer perceptron** from left to right is the **forward pass**. Its
# parameters are 10 * 784 + 10 + 10 * 10 + 10 = 7,960 numbers.
#
# **The start.** In round one all weights began at 0, and the rows of W became different, since each
# has a row of Y of its own. W2 could begin so too: the first step changes it, since A1 is not 0. W1
# may not: all units would be off, and chapter 7 shows that such units never learn. Equal units will
# not do either. Two hidden units with the same weights coming in and the same going out compute the
# same number on every image. Whatever training does to one, it does to the other; but for rounding
# they stay equal, and do the work of one. Random weights make them different: this is **symmetry
# breaking**. Biases start at 0. With random scores, loss begins a little above log 10.


# %%
def init_params(n_hidden, rng, n_in=784, n_classes=10):
    """Return W1 (h, n_in), b1 (h, 1), W2 (n_classes, h), b2 (n_classes, 1), all float32.

    h is n_hidden. Weights are normal with mean 0 and standard deviation sqrt(2 / number of inputs)
    (He et al., 2015; chapter 9 says why). Biases are 0.
    """
    W1 = rng.standard_normal((n_hidden, n_in), dtype=np.float32)
    W1 = W1 * (2 / n_in) ** 0.5
    b1 = np.zeros((n_hidden, 1), dtype=np.float32)
    W2 = rng.standard_normal((n_classes, n_hidden), dtype=np.float32)
    W2 = W2 * (2 / n_hidden) ** 0.5
    b2 = np.zeros((n_classes, 1), dtype=np.float32)
    return W1, b1, W2, b2


def relu(Z):
    """Return max(Z, 0) entry by entry: same shape and dtype as Z."""
    return np.maximum(Z, 0)


def forward_prop(params, X):
    """Return Z1 (h, m), A1 (h, m), Z2 (10, m), A2 (10, m) for the samples X (784, m)."""
    W1, b1, W2, b2 = params
    Z1 = W1 @ X + b1  # (h, m)
    A1 = relu(Z1)  # (h, m)
    Z2 = W2 @ A1 + b2  # (10, m)
    A2 = softmax(Z2)  # (10, m)
    return Z1, A1, Z2, A2


def probabilities(params, X):
    """Return A2 (10, m), the probabilities of the classes for the samples X (784, m).

    Raises ValueError for an X that is no matrix, such as X[:, 0]: with b1 it would make h answers.
    """
    if X.ndim != 2:
        raise ValueError(f"X must have a column per sample, and not the shape {X.shape}")
    cache = forward_prop(params, X)
    return cache[-1]  # A2 comes last


def predict(params, X):
    """Return the most probable classes (m,) for the samples X (784, m)."""
    return probabilities(params, X).argmax(axis=0)


# %% [markdown]
# ### In numbers
#
# Now three hidden units compute the inputs of round one, from two pixels. W2, b2 are its W and b.
#
#     >>> X = np.array([[2.0, 5.0], [3.0, 1.0]])
#     >>> W1 = np.array([[0.0, 2.0], [-1.0, 2.0], [1.0, -2.0]])
#     >>> b1 = np.array([[-1.0], [-1.0], [0.0]])
#     >>> W2 = np.array([[1.0, 2.0, 1.0], [2.0, -1.0, -1.0]])
#     >>> b2 = np.array([[-1.0], [1.0]])
#     >>> params = W1, b1, W2, b2
#     >>> Z1, A1, Z2, A2 = forward_prop(params, X)
#
# Sample 0 has the pixels 2 and 3. Hidden unit 1 makes -1 * 2 + 2 * 3 - 1 = 3 of them, so it is on.
# For sample 1 it makes -1 * 5 + 2 * 1 - 1 = -4, and is off. A1 is the X of round one:
#
#     >>> print(A1)
#     [[5. 1.]
#      [3. 0.]
#      [0. 3.]]
#
# What does a hidden layer gain? After 30 epochs, as chapter 7 will do it, 92.3% of the validation
# images are read without one, 93.8% with 10 hidden units and 96.7% with 30: means over the seeds 0
# to 9, with standard deviations of 0.4, 0.6 and 0.3. We use 10, so that each can be looked at.
#
# ### Exercises
#
# 7. (Prove.) Swap two hidden units, that is, two rows of W1, two of b1, and two columns of W2. The
#    network computes what it did before. In how many orders can ten different units stand?
# 8. (On paper.) A third sample has the pixels 3, 1. Find its Z1, A1, Z2, A2. Which units are on?

# %% [markdown]
# ## 6. Backward: the gradient of all layers
#
# **The goal: for each of the 7,960 parameters, by how much J changes when it changes.**
#
# For W2 and b2 the answer is that of round one, with new names. For W1 and b1 we go one layer
# further back. This walk is called **backpropagation** (Linnainmaa, 1970; Rumelhart, Hinton and
# Williams, 1986), or the **backward pass**. It gives all slopes at once, for at most twice the work
# of the forward pass: two matrix products in each layer instead of one, and one in the first.
#
# ### When paths meet, their slopes are added
#
# In round one a single path led from a weight to the L of a sample. Now w may move L through
# several numbers u, none of which moves another. Each u moves by (du/dw) step, and that alone would
# move L by (dL/du) (du/dw) step. When all move, to first order the changes add up:
#
#     dL/dw = the sum over all u of (dL/du) (du/dw)          one product for each path from w to L
#
# In our example, two paths lead from hidden unit 1 to the loss of sample 0. Forward, A1[1, 0] = 3
# goes into both scores, by the weights 2 and -1; the rest of each score comes from the other units
# and the bias. Backward, both slopes dZ2 come back by the same weights, and are added:
#
#     forward                            2 * 3 = 6, the rest is 4
#                                      --------------------------->  Z2[0, 0] = 10  --+
#     Z1[1, 0] = 3 --ReLU--> A1[1, 0] <                                                >---> L
#                              = 3     --------------------------->  Z2[1, 0] = 8   --+
#                                       -1 * 3 = -3, the rest is 11
#
#     backward                           2 * 0.8808 = 1.7616
#                                      <---------------------------  dZ2[0, 0] = 0.8808   <--+
#     dZ1[1, 0]   <--ReLU--     sum   <                                                       <--- L
#       = 2.6424              = 2.6424 <---------------------------  dZ2[1, 0] = -0.8808  <--+
#                                       -1 * -0.8808 = 0.8808
#
# Now step by step, from the loss back to the pixels. Small letters are again about one sample: x,
# z1, a1, z2, a2, dz2, and a1_j is entry j of a1. A column moves only its own L.
#
# ### Step 1. Through loss and softmax: dZ2 = A2 - Y
#
# This is chapter 4's result. Examiners like to ask for the long road to it, by way of the
# probabilities a_k = exp(z_k) / total, where total = sum_k exp(z_k) and z, a are short for z2, a2.
# One score moves all probabilities: its own, and through the total the others too. The quotient
# rule gives for its own class i, and for another k, whose numerator has no z_i in it,
#
#     da_i/dz_i = (exp(z_i) total - exp(z_i) exp(z_i)) / total^2 = a_i - a_i a_i
#     da_k/dz_i = (0 - exp(z_k) exp(z_i)) / total^2              = -a_k a_i
#
# As a matrix, this is the **Jacobian** of softmax: a on its diagonal and 0 elsewhere, minus a a^T.
# Since L = -(sum_k Y_k log a_k), the slope dL/da_k is -Y_k / a_k. Ten paths lead from z_i to L, one
# through each probability. The path through a_i, and each path through another a_k, give
#
#     (-Y_i / a_i) (a_i - a_i a_i) = -Y_i + Y_i a_i
#     (-Y_k / a_k) (-a_k a_i)      = Y_k a_i
#
# Add up all ten. Y is one-hot, so Y_0 + ... + Y_9 = 1:
#
#     dL/dz_i = -Y_i + a_i (Y_0 + ... + Y_9) = a_i - Y_i
#
# In code, the long road divides by a_k, which may have rounded to 0. The short one subtracts.
#
# ### Step 2. The weights and biases of the output layer: dW2, db2
#
# As in round one: error signal of the score times input of the weight, and the mean over the
# samples. The inputs are now A1, so dW2 = 1/m dZ2 A1^T and db2 = 1/m (row sums of dZ2).
#
# ### Step 3. Back through W2
#
# a1_j, what hidden unit j puts out, goes into all ten scores, multiplied by W2[k, j] in z2_k. Ten
# paths, so ten terms; what lies beyond z2_k is in dz2_k already:
#
#     dL/da1_j = sum_k W2[k, j] dz2_k = (W2^T dz2)_j
#
# Forward, row k of W2 collects from the hidden units for score k. Backward, column j of W2 collects
# from the scores for hidden unit j: hence W2^T. For all samples, (h, 10) times (10, m) is (h, m).
#
# ### Step 4. Back through ReLU: dZ1
#
# ReLU is a gate. Where z1_j > 0 it lets the number through as it is: slope 1. Where z1_j < 0 it
# puts out 0, whatever comes: slope 0. At 0, which is rare, is a corner and no slope; by convention
# we take 0. z1_j moves a1_j alone: one path, so the slope of step 3 is multiplied by 1 or 0:
#
#     dZ1 = (W2^T dZ2) * (Z1 > 0)           * is entry by entry; True counts as 1, False as 0
#
# Where a unit is off for a sample, no error signal gets through. A1 > 0 would do as well, since A1
# is positive exactly where Z1 is. A1 >= 0 would not: it is always true.
#
# ### Step 5. The weights and biases of the hidden layer: dW1, db1
#
# z1_j = (sum_p W1[j, p] x_p) + b1[j] is a weighted sum as in step 2, with pixels for inputs. So
# dW1 = 1/m dZ1 X^T, and db1 = 1/m (row sums of dZ1). The whole chain for one weight: dL/dW1[j, p]
# is (sum_k dz2_k W2[k, j]) times 1 or 0 times x_p.
#
# ### The whole network on one card
#
#     forward                               backward, from the bottom up
#     -----------------------------------   ------------------------------------------------------
#     Z1 = W1 X + b1                        dW1 = 1/m dZ1 X^T     db1 = 1/m (row sums of dZ1)
#     A1 = ReLU(Z1)                         dZ1 = (W2^T dZ2) * (Z1 > 0)
#     Z2 = W2 A1 + b2                       dW2 = 1/m dZ2 A1^T    db2 = 1/m (row sums of dZ2)
#     A2 = softmax(Z2), L = -log a2_t       dZ2 = A2 - Y
#
# **What must be kept for the way back?** Look at the right side: X, A1 and A2, besides W2 and Y;
# the gate is open where A1 > 0. What is kept is called the **cache**. It has a column for each
# sample, and in large networks it takes most of the memory. forward_prop returns more.


# %%
def backward_prop(params, X, Y, cache):
    """Return the gradient dW1, db1, dW2, db2 of J, each of the shape of its parameter.

    X (784, m), Y (10, m); `cache` is what forward_prop(params, X) returned.
    """
    W1, b1, W2, b2 = params
    Z1, A1, Z2, A2 = cache
    m = X.shape[1]
    dZ2 = A2 - Y  # (10, m)
    dW2 = dZ2 @ A1.T / m  # (10, h)
    db2 = dZ2.sum(axis=1, keepdims=True) / m  # (10, 1)
    dZ1 = (W2.T @ dZ2) * (Z1 > 0)  # (h, m)
    dW1 = dZ1 @ X.T / m  # (h, 784)
    db1 = dZ1.sum(axis=1, keepdims=True) / m  # (h, 1)
    return dW1, db1, dW2, db2


# %% [markdown]
# ### In numbers
#
#     >>> Y = one_hot(np.array([1, 0]), n_classes=2)
#     >>> cache = forward_prop(params, X)
#     >>> dW1, db1, dW2, db2 = backward_prop(params, X, Y, cache)
#     >>> dZ1 = (W2.T @ (A2 - Y)) * (Z1 > 0)
#     >>> print(dZ1.round(3))
#     [[-0.881  0.047]
#      [ 2.642 -0.   ]
#      [ 0.    -0.095]]
#     >>> print(dW1[0, 1].round(3))
#     -1.297
#
# dW2 and db2 are those of round one. In row 1 of dZ1 stands the 2.642 of the drawing; for sample 1,
# where unit 1 is off, the gate lets nothing through. The weight from pixel 1, which is 3 in sample
# 0 and 1 in sample 1, to hidden unit 0 gets (-0.8808 * 3 + 0.0474 * 1) / 2 = -1.297.
#
# ### Is it right? The gradient check
#
# A derivation is a claim about slopes, and a slope can be measured, as in chapter 4: move one
# parameter w up and down by a small step, and look at J. This is the **central difference**:
#
#     dJ/dw is nearly (J(w + step) - J(w - step)) / (2 step)
#
# A step to one side only would be off by about step J'' / 2, by Taylor's series in w; here the J''
# cancel, and step^2 J''' / 6 is left. With too small a step, the two J agree in nearly all digits,
# and few correct ones are left in their difference. 1e-5 suits the 16 digits of float64; with the 7
# of float32 often none is left. Where the step carries some Z1 across the corner of ReLU, the
# measured number mixes two slopes, and is off with a right derivation. `test_nn.py` tells more.


# %%
def mean_loss(params, X, Y):
    """Return J of the network with `params` for the samples X (784, m), Y (10, m)."""
    cache = forward_prop(params, X)
    Z2 = cache[-2]  # the last but one
    return cross_entropy(Z2, Y)


def measure_gradient(params, X, Y):
    """Return dW1, db1, dW2, db2, measured by central differences in float64. Slow."""
    step = 1e-5
    params = [P.astype(np.float64) for P in params]
    measured = []
    for P in params:
        dP = np.zeros(P.shape)
        for entry in np.ndindex(P.shape):  # (0, 0), (0, 1), ...: every row and column of P
            here = P[entry]
            P[entry] = here + step
            J_above = mean_loss(params, X, Y)
            P[entry] = here - step
            J_below = mean_loss(params, X, Y)
            P[entry] = here
            dP[entry] = (J_above - J_below) / (2 * step)
        measured.append(dP)
    return measured


def gradient_errors(params, X, Y):
    """Return, for each parameter, the largest difference between derived and measured slope."""
    params = [P.astype(np.float64) for P in params]
    derived = backward_prop(params, X, Y, forward_prop(params, X))
    measured = measure_gradient(params, X, Y)
    errors = []
    for i, M in enumerate(measured):
        errors.append(np.abs(derived[i] - M).max())
    return errors


def check_gradient():
    """Print the gradient_errors of a small network; return whether all are below 1e-8."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((6, 20))
    Y = one_hot(rng.integers(0, 4, 20), n_classes=4)
    params = init_params(5, rng, n_in=6, n_classes=4)
    params = [P + rng.standard_normal(P.shape) / 10 for P in params]  # so that no bias is 0
    errors = gradient_errors(params, X, Y)
    print(np.round(errors, 6))
    return bool(np.max(errors) < 1e-8)  # False for nan, too


# %% [markdown]
# Derived and measured slopes agree to eight decimals. `test_nn.py` shows it for all 7,960 of ours.
#
#     >>> check_gradient()
#     [0. 0. 0. 0.]
#     True
#
# **What the check cannot find.** It compares backward_prop with the J that you wrote. A wrong J
# with its right gradient passes, and so do data that make no sense. What comes after the gradient
# it does not see at all: how the parameters are changed, in which order the data come, how the
# result is judged. And a unit that is always off hides its mistakes: its slopes are 0.
#
# ### Exercises
#
# 9. (On paper.) Exercise 8's sample is of class 0. Compute its dZ2 and dZ1, and db2 of all three.
# 10. (Prove.) Let c be positive. Multiply row j of W1 and b1[j] by c, and divide column j of W2 by
#     c. The network computes what it did before. What becomes of the gradients of all these?
# 11. (Code.) Weight decay: add 0.0005 times the sum of the squares of all entries of W1 and W2 to
#     the J that mean_loss returns, in a copy of this file. Which gradients change, and how? Start
#     Python in the folder of the copy, and let check_gradient() say whether you are right.

# %% [markdown]
# ## 7. Training
#
# **The goal: from one gradient to a trained network.**
#
# A step changes each parameter by -alpha times its slope; an epoch takes a step for each batch.


# %%
def update_params(params, grads, learning_rate):
    """Return the params after one step downhill: each minus learning_rate times its gradient."""
    W1, b1, W2, b2 = params
    dW1, db1, dW2, db2 = grads
    W1 = W1 - learning_rate * dW1
    b1 = b1 - learning_rate * db1
    W2 = W2 - learning_rate * dW2
    b2 = b2 - learning_rate * db2
    return W1, b1, W2, b2


def train_epoch(params, X, Y, batch_size, learning_rate, rng):
    """Return the params after an epoch of SGD on X (784, m), Y (10, m), batches in random order."""
    batch_starts = np.arange(0, X.shape[1], batch_size)
    for start in rng.permutation(batch_starts):
        X_batch = X[:, start : start + batch_size]
        Y_batch = Y[:, start : start + batch_size]
        cache = forward_prop(params, X_batch)
        grads = backward_prop(params, X_batch, Y_batch, cache)
        params = update_params(params, grads, learning_rate)
    return params


# %% [markdown]
# **All gradients first, then the step.** All slopes belong to the parameters with which the forward
# pass ran. So step 3 of chapter 6 needs the W2 of before, not the updated one.
#
# **Why steepest?** To first order J changes by the scalar product of step u and gradient v. Of all
# steps of one length, it is lowest, -|u| |v|, for the u that points against v (Cauchy-Schwarz).
#
# **Dead units.** In the example, the squares of all slopes now sum to 40.27; 13.34 of that was
# there in round one. With alpha = 0.01, J should fall from 1.088 by 0.403 to 0.685. It falls to
# 0.714. With alpha = 0.5 it climbs to 3.419, and hidden unit 1 is off for both samples:
#
#     >>> for alpha in 0.01, 0.5:
#     ...     stepped = update_params(params, (dW1, db1, dW2, db2), alpha)
#     ...     print(mean_loss(stepped, X, Y).round(3))
#     0.714
#     3.419
#     >>> Z1, A1, Z2, A2 = forward_prop(stepped, X)
#     >>> print(A1.round(2))
#     [[7.92 3.76]
#      [0.   0.  ]
#      [0.   3.64]]
#
# A unit that is off for all training images is **dead**. Its gate is closed, so its rows of dW1 and
# db1 are 0; its row of A1 is 0, so its column of dW2 is 0 too. In this network no further step
# moves it; a smaller alpha in time prevents it. Above a hidden layer, new inputs might wake it.
#
# **Why batches will do.** A run shuffles its images. At given parameters, over all shuffles, each
# is equally likely in a given batch, and so its gradient is on average that of all: off by chance,
# but not to one side (**unbiased**). The variance of a mean of m independent terms is 1/m of that
# of one, so the error falls like 1 / sqrt(m). Before training, with seed 0, the gradient of 64
# images is off by 85% of the true length, that of 1,024 by 21%. That is 16 times the work for a
# quarter of the error. One image has 8 times the error and, as small products are slow, takes over
# 20 times as long. And batches must be random: after thousands of one digit, others are unlearnt.
#
# **How large a step?** Let J be q w^2, with w the way in one direction (its **curvature** is 2 q):
# a step multiplies w by 1 - 2 q alpha, as in exercise 6. So the largest q limits alpha, and other
# directions go slowly. Each batch is off too, so with a constant alpha the parameters end up
# wandering. With a **learning-rate schedule** they settle: alpha falls linearly from half-way on.

# %%
import time

HIDDEN = 10  # h: more units read better and take longer to train
EPOCHS = 30  # passes over the training images: more gain nothing
BATCH_SIZE = 64  # images per step: with few, many noisy steps; with many, few better ones
LEARNING_RATE = 0.15  # alpha at the start: a lower one is slower, a higher one kills more units
SEED = 0  # it fixes the split, the first weights and the order of the batches


def dead_units(params, X):
    """Return which hidden units are off for all samples X (784, m): h times True or False."""
    cache = forward_prop(params, X)
    A1 = cache[1]
    return (A1 == 0).all(axis=1)


def evaluate(params, X, y):
    """Return the loss J and the accuracy on the samples X (784, m) with the labels y (m,)."""
    cache = forward_prop(params, X)
    Z2, A2 = cache[-2:]
    Y = one_hot(y, n_classes=len(Z2))
    predictions = A2.argmax(axis=0)
    return float(cross_entropy(Z2, Y)), accuracy(predictions, y)


def train(params, X, y, X_val, y_val, epochs, batch_size, learning_rate, rng):
    """Return the trained params, and a history with a row for each epoch: loss and accuracy on
    5,000 training images, loss and accuracy on the validation images.

    Trains on X (784, m), y (m,), which should be in random order; X_val, y_val only judge. Prints a
    line per epoch, and how many units are dead. Raises FloatingPointError if the loss is no number.
    """
    Y = one_hot(y, n_classes=len(params[-1]))
    history = []
    print("       training          validation        learning")
    print("epoch  loss    accuracy  loss    accuracy  rate      seconds")
    start = time.perf_counter()
    for epoch in range(epochs):
        alpha = learning_rate * min(1, 2 * (epochs - epoch) / epochs)  # falls from half-way on
        params = train_epoch(params, X, Y, batch_size, alpha, rng)
        loss, share = evaluate(params, X[:, :5000], y[:5000])
        val_loss, val_share = evaluate(params, X_val, y_val)
        history.append((loss, share, val_loss, val_share))
        print(
            f"{epoch + 1:5}  {loss:.4f}  {share:8.2%}  {val_loss:.4f}  {val_share:8.2%}"
            f"  {alpha:<8.4g}  {time.perf_counter() - start:7.2f}"
        )
        if not np.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss} after epoch {epoch + 1}")
    print(f"trained {epochs} epochs in {time.perf_counter() - start:.2f} s")
    dead = dead_units(params, X)
    if dead.any():
        print(f"{dead.sum()} of {len(dead)} hidden units are dead")
    return params, history


# %% [markdown]
"""
### The whole program again

This is round one's program with a hidden layer. Lines marked `# new` are new, those marked `#
changed` differ; the others do so at most by a 2 in the names. It computes the same weights as the
functions above. Only at its end it reads the test images.

```python
import gzip
import numpy as np

def read(name, header):
    with gzip.open("data/" + name + "-ubyte.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=header)

rng = np.random.default_rng(0)
order = rng.permutation(60000)
X = read("train-images-idx3", 16).reshape(60000, 784)[order].T
X = X.astype(np.float32) / 255
y = read("train-labels-idx1", 8)[order]
Y = np.eye(10, dtype=np.float32)[:, y]

W1 = rng.standard_normal((10, 784), dtype=np.float32) * (2 / 784) ** 0.5  # new
b1 = np.zeros((10, 1), dtype=np.float32)  # new
W2 = rng.standard_normal((10, 10), dtype=np.float32) * (2 / 10) ** 0.5  # changed
b2 = np.zeros((10, 1), dtype=np.float32)

for epoch in range(30):  # changed
    alpha = 0.15 * min(1, 2 * (30 - epoch) / 30)  # changed
    for start in rng.permutation(np.arange(5000, 60000, 64)):
        X_batch = X[:, start : start + 64]
        Y_batch = Y[:, start : start + 64]
        m = X_batch.shape[1]

        Z1 = W1 @ X_batch + b1  # new
        A1 = np.maximum(Z1, 0)  # new
        Z2 = W2 @ A1 + b2  # changed: A1 for X_batch
        E = np.exp(Z2 - Z2.max(axis=0))
        A2 = E / E.sum(axis=0)

        dZ2 = A2 - Y_batch
        dW2 = dZ2 @ A1.T / m  # changed: A1 for X_batch
        db2 = dZ2.sum(axis=1, keepdims=True) / m
        dZ1 = (W2.T @ dZ2) * (Z1 > 0)  # new
        dW1 = dZ1 @ X_batch.T / m  # new
        db1 = dZ1.sum(axis=1, keepdims=True) / m  # new
        W1 = W1 - alpha * dW1  # new
        b1 = b1 - alpha * db1  # new
        W2 = W2 - alpha * dW2
        b2 = b2 - alpha * db2

    A1 = np.maximum(W1 @ X[:, :5000] + b1, 0)  # new
    predictions = (W2 @ A1 + b2).argmax(axis=0)  # changed: A1 for X
    print(epoch + 1, np.mean(predictions == y[:5000]))

X = read("t10k-images-idx3", 16).reshape(10000, 784).T.astype(np.float32) / 255  # new
y = read("t10k-labels-idx1", 8)  # new
predictions = (W2 @ np.maximum(W1 @ X + b1, 0) + b2).argmax(axis=0)  # new
print("test accuracy", np.mean(predictions == y))  # new
```

It prints 0.9282 after the last epoch, and "test accuracy 0.9438", as the run at the top of this
file. With the seeds 0 to 9, 94.2% of the test images are read, with a standard deviation of 0.3.
Another processor or NumPy may round otherwise, and end in another network.
"""

# %% [markdown]
# ## 8. Judging and mending
#
# **The goal: to see how good the network is, which mistakes it makes, and which you made.**
#
# ### One change at a time
#
# A single run says little. So here, and wherever training is **measured**, the program was run with
# its default settings but for what is named, for the seeds 0 to 9. The accuracies are means, on
# validation images; without a change, the standard deviation is 0.6. A change is compared in pairs
# of the same seed: both have the same images and, with the same h, the same start. Luck in these
# cancels in part. Given are the mean of the ten differences, and its standard error, their standard
# deviation / sqrt(10). Below twice that, it may be chance.
#
#     the change                                      accuracy    difference, in pairs
#     none                                            93.8%
#     30 hidden units                                 96.7%       2.97 +- 0.17
#     alpha constant                                  93.2%       -0.55 +- 0.14
#     60 epochs                                       93.7%       -0.07 +- 0.05
#     one step, of all images, per epoch; alpha 0.3   72%         the best of four alphas
#     alpha = 1.5                                     18%         nearly all units are dead
#     all weights at the start times 0.1              93.9%       0.16 +- 0.17
#     pixels in 0..255                                11%         all units are dead
#
# Why not pixels in 0..255? W1 (255 x) is V x with V = 255 W1: weights 255 times too large. By the
# chain rule dJ/dW1 = 255 dJ/dV, and V moves 255 times as far: 255^2 in all.
#
# How well a network does on images that it was not trained on is called **generalisation**. It is
# nearly always better on its training images: on average 95.4%. Such a gap is normal. The harm
# begins where the validation loss climbs. Measured with 30 hidden units and alpha = 0.4, it is
# lowest, 0.13, after about nine epochs, and ends at 0.15, while the training loss ends at 0.02. The
# network learns images by heart and is too sure, though accuracy holds: **overfitting**.
# **Underfitting** is a high loss in training too: too small a model, or too few epochs.
#
# Means against overfitting are called **regularisation**. **Early stopping** keeps the parameters
# of the epoch with the lowest validation loss. **Data augmentation** adds moved copies of the
# images, which are harder to learn by heart. **Weight decay** (L2 regularisation) adds the squares
# of the weights, times a small number, to the loss, so that weights which do not lower it shrink,
# and answers change less from one image to the next. **Dropout** switches off random units in each
# step, so none can rely on another, and divides the rest by the share that is on: in use all are.
#
# **Hyperparameters** are what you choose: h, the number of epochs, the batch size, alpha. Ours, but
# for h, were chosen by validation accuracy, over 20 seeds. The seed was not: by validation, 0 is
# one of the two worst of 0 to 9. The test images are for the end. Of the first half of their file
# 92.5% are read, of the second 96.0%: MNIST is not in random order, so we shuffle.
#
# ### The confusion matrix
#
# Accuracy is one number. The **confusion matrix** has a hundred: row 4, column 9 counts how often a
# 4 was read as a 9. Right answers stand on its diagonal.


# %%
def confusion_matrix(predictions, y, n_classes=10):
    """Return counts (n_classes, n_classes), int: row = true class, column = predicted class."""
    counts = np.zeros((n_classes, n_classes), dtype=int)
    for true, read_as in zip(y, predictions):
        counts[true, read_as] += 1
    return counts


# %% [markdown]
# An entry of the diagonal, divided by the sum of its row, is the **recall** of that digit: the
# share of true 8s that were read as 8. Divided by the sum of its column it is the **precision**:
# the share of what was read as 8 that was an 8. They matter where classes differ in size: if 99 of
# 100 images were zeros, a program that always says 0 would have an accuracy of 99%.
#
# **What ten hidden units cannot do.** The run at the top of this file reads 562 of the 10,000 test
# images wrongly, and 48 times it takes a 4 for a 9 or a 9 for a 4, more often than any other two.
# Row j of W1 is an image too, of the ink that turns unit j on. Ten must do for all handwriting.
#
# **Why such networks fail on your own digits.** Move the validation images by 2 pixels to the
# right, and the same networks read 69% of them; by 4 pixels, 29%. They have learnt where ink is,
# not what a digit looks like. MNIST's authors fitted each digit into a box of 20x20 pixels, and
# moved the centre of mass of its ink to the middle of 28x28. So pictures to be read must be
# prepared in the same way. Chapter 11 does that for `--read` and `--draw`.
#
# ### Wrong lines, and what one sees of them
#
# Training hides mistakes. Each line below took the place of the line of backward_prop with the same
# left side, and validation loss and accuracy were measured. All lines right: 0.22 and 93.8%.
#
#     the wrong line                                loss    accuracy
#     dW2 = dZ2 @ Z1.T / m                          0.30    92.3%   Z1 for A1; 9 seeds, the 10th 11%
#     db2 = np.sum(dZ2) / m                         0.23    93.5%   no axis: 0, but for rounding
#     db1 = np.sum(dZ1) / m                         0.22    93.8%   no axis: one bias for all units
#     dZ1 = (W2 @ dZ2) * (Z1 > 0)                   0.25    93.2%   no .T; W2 is square if h is 10
#     dZ1 = (W2.T @ dZ2) * (A1 >= 0)                > 100   < 60%   the gate never closes
#     dZ1 = (W2.T @ dZ2) * (Z1 < 0)                 > 100   < 60%   the gate upside down
#     dZ1 = ((W2 - 0.15 * dW2).T @ dZ2) * (Z1 > 0)  nan     -       the W2 after the step
#     dZ2 = Y - A2                                  nan     -       uphill
#     dZ2 = (A2 - Y) / m                            0.35    90.2%   1/m twice: steps too short
#     m = 55000                                     1.31    63.4%   not the m of X: much too short
#     m = 1                                         2.30    10.8%   no 1/m: all units dead
#
# To learn, a step need only lead downhill: few suspect the first four. The check finds all eleven.
#
# ### From the symptom to the mistake
#
# This table is for the day when your program misbehaves: look things up, do not read it now. Begin
# at the top. Each symptom was measured, in the default run with that one mistake.
#
#     first, the loss before training: 2.3 to 2.6 is right
#       15 and more                 weights without their scale: 33; pixels in 0..255: 190
#       about 2.303                 W1 is 0; pixels divided by 255 twice; softmax twice
#     second, the loss while it trains
#       becomes nan                 + for -; Y - A2; the W2 after the step; softmax without its axis
#       stays at 2.3                W1 = 0; all units dead; X and y shuffled apart
#       stays above 1.46            cross_entropy(A2, Y): softmax twice, log (e + 9) - 1 at best
#       falls slowly                1/m twice; m of all data; small alpha; few steps; / 255 twice
#       falls, then climbs          alpha too large; relu forgotten, but not its gate
#       climbs in validation only   overfitting; columns of X that are mixtures of images
#     third, the accuracy
#       10%, and the loss is fine   a bare == of labels (m,) with (m, 1), or with one-hot labels
#       90%, and the loss is 58     validation images not divided by 255, as those of training were
#       1%, and the loss is 14      labels one off, in one of the sets
#       11%, one answer for all     dead units: alpha too large; 1/m forgotten; bright images
#       41%; 39 to 63%              images sorted by digit; units equal, until rounding parts them
#       82%, but 98% in training    too few images: 500
#       92%                         no relu, and no gate: two layers are one
#       90% before training         np.round(A2) == Y counts the zeros of the one-hot labels
#     fourth, nothing to see, or a little worse than expected: perhaps chance, so try other seeds
#       check_gradient() is False   a wrong gradient, or a wrong J
#       check_gradient() is True    a wrong step? Compare the fall of J that is predicted, as in
#                                   chapter 4, with the one that comes
#     an error with "shape"         a sum without keepdims; argmax along the wrong axis
#
# A program that never changes its biases, say, reads 93.6%: nothing to see. But in our example,
# with alpha = 0.001, a fall by 0.0403 is predicted, and 0.0378 comes instead of 0.0400.
#
# ### Exercises
#
# 12. (Code.) A good first test of any network: can it learn 20 images by heart? Call train_epoch
#     with the first 20 columns of X_train, until evaluate gives accuracy 1.0 on them. If that takes
#     a thousand epochs, something is wrong. For the functions of this file, the data are
#
#     X, y, X_test, y_test = load_mnist("data")
#     X_train, y_train, X_val, y_val = split(X, y, np.random.default_rng(0))
#
# Three things to try after `python -i nn_from_scratch.py`, when the window is closed, or in the
# notebook after its last cell: `params`, `history`, `X_test` and `y_test` are at hand.
#
# - `accuracy(predict(params, np.roll(X_test, 2, axis=0)), y_test)` moves the images 2 pixels to the
#   right. How far until half of them are read wrongly? And up or down, by 28 * 2?
# - `plt.figure(); plt.imshow(params[0][4].reshape(28, 28)); plt.show()` shows hidden unit 4. Which
#   images turn it on most? `Z1, A1, Z2, A2 = forward_prop(params, X_test)` gives you A1.
# - `W1, b1, W2, b2 = params; b1 = b1.copy(); b1[4] = -1000` switches it off, in a copy. Which
#   digits suffer? `confusion_matrix(predict((W1, b1, W2, b2), X_test), y_test)` shows them.

# %% [markdown]
# ## 9. If your course differs
#
# **Samples in rows.** X is (m, 784), W1 (784, h), and b1 a row (1, h). As (B C)^T = C^T B^T,
#
#     Z1 = X W1 + b1                        dW1 = 1/m X^T dZ1     db1 = 1/m (column sums of dZ1)
#     A1 = ReLU(Z1)                         dZ1 = (dZ2 W2^T) * (Z1 > 0)
#     Z2 = A1 W2 + b2                       dW2 = 1/m A1^T dZ2    db2 = 1/m (column sums of dZ2)
#     A2 = softmax of each row of Z2        dZ2 = A2 - Y
#
# Some courses write dZ2 = 1/m (A2 - Y), and have no 1/m in dW and db: the same gradients.
#
# **Sigmoid with squared error.** The **sigmoid** is a = 1 / (1 + exp(-z)). Its slope is
# exp(-z) / (1 + exp(-z))^2 = a (1 - a). With sigmoid outputs and half the squared error, L = 1/2
# sum_k (a2_k - Y_k)^2, the last line of the card becomes
#
#     A2 = 1 / (1 + exp(-Z2))               dZ2 = (A2 - Y) * A2 * (1 - A2)
#
# For an output that is sure and wrong, 0.99 instead of 0, this is 0.0098, while cross-entropy has
# 0.99: little is learnt just where there is most to learn. In the hidden layer, sigmoids change
# (Z1 > 0) to A1 * (1 - A1), and tanh changes it to 1 - A1 * A1. The sigmoid's slope is at most 1/4,
# and so the error signal may fade on its way through many such layers. ReLU lets it through whole
# where the unit is on, which is about half of the time; hence the 2 in the variance 2 / n.
#
# **A single sigmoid output**, with L = -Y log a - (1 - Y) log (1 - a), is softmax for two classes
# (exercise 3), and dZ = (-Y / A + (1 - Y) / (1 - A)) A (1 - A) = A - Y again.
#
# **Any depth.** Let A(0) = X, and for the layers l = 1, 2, ... let Z(l) = W(l) A(l-1) + b(l) and
# A(l) = g(Z(l)), with any function g that works entry by entry, and its slope g'; for ReLU, g'(Z)
# is Z > 0. The last A is softmax, its dZ A - Y. Steps 3 and 4 make line one, step 2 line two:
#
#     dZ(l) = (W(l+1)^T dZ(l+1)) * g'(Z(l))
#     dW(l) = 1/m dZ(l) A(l-1)^T                db(l) = 1/m (row sums of dZ(l))
#
# **How large at the start?** Take one unit with n inputs x and bias 0, and write z for the sum of
# all w_p x_p. Draw its weights independently, with mean 0 and variance v. Then z^2 is the sum of
# w_p x_p w_q x_q over all p and q. Over many draws, with the same x, w_p^2 has the mean v, and
# w_p w_q, for two different weights, the mean 0. So only the squares remain:
#
#     mean of z^2 over the draws = v (sum of the x_p^2) = n v (mean of x^2 over the inputs)
#
# Let the inputs come out of a hidden layer: x = max(r, 0), with r the sums of that layer, symmetric
# about 0 as their weights are. ReLU makes half of the squares 0, and the mean of x^2 is half that
# of r^2. So from one layer's sums to the next one's, the mean square is multiplied by n v / 2. With
# v = 2 / n it stays the same (He et al., 2015); with half that v, 1 / 2^10 of it is left after ten
# layers. On the way back, the error signal's mean square is multiplied by v / 2 times the width of
# the layer above: the same if layers are equally wide. In deep networks both may fade or blow up:
# the **vanishing** or **exploding gradient**. In ours, with two layers, it matters less.
#
# **Other symbols.** The partial derivative dL/dw has a round d. Its vector is often written with a
# nabla, an upside-down delta: nabla_W J is our dW. delta(l) is our dZ(l), and eta our alpha.
#
# **PyTorch next week.** It does the backward pass by itself. While it goes forward it notes each
# operation in a **computational graph**, and loss.backward() walks that graph back, step by step as
# in chapter 6: **automatic differentiation**, in its **reverse mode**. Beside ours:
# CrossEntropyLoss takes scores and labels as digits, and is our cross_entropy, softmax and mean
# included. So Z2.grad, kept after Z2.retain_grad(), is (A2 - Y) / m, while our dZ2 has no 1/m;
# W2.grad is dW2. nn.Linear keeps its weight as (h, 784), like our W1. Both want samples in rows.
# Gradients add up in .grad until optimizer.zero_grad() clears them; optimizer.step() updates.
#
# ### Exercises
#
# 13. (On paper, then code.) Give the network a second hidden layer, as large as the first: W1, b1,
#     then W2, b2, and W3, b3 for the output. Derive six gradients, and rewrite init_params,
#     forward_prop, backward_prop and update_params. Nothing else need change: check_gradient() and
#     the program go on working.
#
# ### Answers
#
# 1. [[0 1 2] [3 4 5] [6 7 8] [9 10 11]] and [[0 4 8] [1 5 9] [2 6 10] [3 7 11]]. Image 0 is 0, 1,
#    2, 3: column 0 of the second. With the first, the program ends with 0.0942: chance.
# 2. z is 1 * 1 + 1 * 1 - 1 = 1 and 2 * 1 - 1 * 1 + 1 = 2. a is 1 / (1 + e) = 0.2689 and 0.7311.
# 3. exp(z_0) / (exp(z_0) + exp(z_1)). Divide both parts by exp(z_0): 1 / (1 + exp(z_1 - z_0)).
# 4. What other classes get is wasted: a_8 = 1 - a_3. The mean L is -0.7 log a_3 - 0.3 log
#    (1 - a_3). Its slope -0.7 / a_3 + 0.3 / (1 - a_3) grows with a_3, and is 0 where a_3 = 0.7:
#    there L is smallest. The best one can say is how often each is true.
# 5. The same: the sum has each term twice, and 1/m becomes 1/(2m). A sum of all L would double, and
#    so would the gradient: the step would grow with the batch.
# 6. dJ/dw = 2 w, so w becomes (1 - 2 alpha) w. It shrinks if -1 < 1 - 2 alpha < 1, which is
#    0 < alpha < 1, and is 0 after one step if alpha = 0.5. With alpha above 1 it grows.
# 7. z2_k = sum_j W2[k, j] ReLU(sum_p W1[j, p] x_p + b1[j]) + b2[k]. The sum over j has the same
#    terms in another order. Ten units can stand in 10! = 3,628,800 orders, and all these networks
#    have the same J. J is **convex** if J of a mean of parameters is at most the mean of their Js.
#    So this is not: the mean of all has equal units, which do the work of one, and, once trained, a
#    larger J. J of round one is, since log (sum exp) is (not proved here), and scores are linear in
#    W and b. A convex J has slopes of 0 only where it is lowest.
# 8. Z1: 1, -2, 1. A1: 1, 0, 1, the inputs of exercise 2. Units 0 and 2 are on. Z2 and A2 are the z
#    and a of exercise 2.
# 9. dZ2: 0.2689 - 1 = -0.7311 and 0.7311. dZ1: unit 0 gets 1 * (-0.7311) + 2 * 0.7311 = 0.7311,
#    unit 1 is off and gets 0, unit 2 gets 1 * (-0.7311) - 1 * 0.7311 = -1.462. db2:
#    (0.8808 - 0.0474 - 0.7311) / 3 = 0.0341, and -0.0341.
# 10. ReLU(c z) = c ReLU(z) for positive c, so row j of A1 is c times as large, and the product with
#     column j of W2 stays the same. Row j of dZ1 is divided by c, and with it row j of dW1 and db1;
#     column j of dW2 is multiplied by c. So the same network learns otherwise.
# 11. The slope of 0.0005 w^2 is 0.001 w: dW1 and dW2 get + 0.001 * W1 and + 0.001 * W2.
# 12. With chapter 7's h and alpha, and all 20 in a batch, it takes some tens of epochs.
# 13. A3 = softmax(Z3), dZ3 = A3 - Y, dW3 = 1/m dZ3 A2^T, dZ2 = (W3^T dZ3) * (Z2 > 0), dW2 = 1/m dZ2
#     A1^T; db3 and db2 are row sums, dZ1, dW1 and db1 as before.
#
# ### Can you say why? The chapter that answers comes first
#
# - 1: Why are samples columns? Why labels one-hot? Why are there three kinds of images?
# - 2: Why exp? Why minus the maximum, and why the maximum of each sample?
# - 3: Why a loss, and not accuracy? Why the logarithm? Why is it computed from the scores?
# - 4: Why has dZ no 1/m, and dW one? Why is X turned? Why does J fall, and when not?
# - 5: Why a hidden layer? Why ReLU in it? Why may W1 not start at 0, nor units equal?
# - 6: Why are paths added? Why is W2 turned? Why does no error signal pass a unit that is off, and
#   when is it dead? What must be kept, and why? What can the gradient check not find?
# - 7: Why all gradients before any step? Why 64 images, in random order? And 9: Why sqrt(2 / n)?
# - 8: When is a gap between training and validation harmful? Why do your own digits fail?
#
# **Here the lesson ends.** What follows draws, reads your own digits, fetches files and reads the
# command line. The program itself is the last cell of the file.

# %% [markdown]
# ## 10. The page
#
# From here on the program needs more than NumPy. The page is one figure, drawn with Matplotlib:
# curves, confusion matrix, weights, and digits with what the network made of them. For each kind of
# panel there is a function. It takes an Axes, as Matplotlib calls a panel, and the data to show.

# %%
import argparse
import http.client
import io
import os
import sys
import tempfile
import zlib
from pathlib import Path
from urllib.request import urlopen

import matplotlib.pyplot as plt
from PIL import Image, ImageDraw, ImageFilter, ImageOps  # Pillow, which Matplotlib brings with it


# %%
def plot_curves(ax, title, training, validation):
    """Show a value after each epoch, on training and on validation images: two lists of numbers."""
    epochs = range(1, len(training) + 1)
    ax.plot(epochs, training, "s--", color="C1", markersize=3, label="training images")
    ax.plot(epochs, validation, "o-", color="C0", markersize=3, label="validation images")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_title(title)


def plot_confusion(ax, counts):
    """Show confusion_matrix's counts: the darker a mistake, the more frequent it is."""
    mistakes = counts - np.diag(counts.diagonal())
    # The darkest colour would hide black numbers: 1.5 keeps clear of it.
    ax.imshow(mistakes, cmap="Oranges", vmax=1.5 * mistakes.max() + 1)
    for (true, read_as), count in np.ndenumerate(counts):
        if count > 0:
            color = "grey" if true == read_as else "black"
            ax.text(read_as, true, count, color=color, ha="center", va="center", fontsize=7)
    classes = range(len(counts))
    ax.set(title="Confusion matrix", xlabel="read as", ylabel="true digit")
    ax.set(xticks=classes, yticks=classes)


def plot_images(ax, title, X, captions, **style):
    """Show the columns of X (784, k) as images in two rows, with captions of up to three lines.

    `style` goes to ax.imshow. All images share one Axes: with one for each, drawing the page takes
    three times as long.
    """
    per_row = max(5, (len(captions) + 1) // 2)  # up to five stand in one row
    for number, caption in enumerate(captions):
        row, column = divmod(number, per_row)
        left = 1.1 * column  # an image is 1 wide and 1 high
        top = 1.6 * row  # three lines of caption are 0.6 high
        # extent is left, right, bottom and top. The y axis runs downwards: see ylim below.
        ax.imshow(X[:, number].reshape(28, 28), extent=(left, left + 1, top + 1, top), **style)
        ax.text(left + 0.5, top + 1, caption, ha="center", va="top", size=7, parse_math=False)
    ax.set(title=title, xlim=(0, 1.1 * per_row), ylim=(3.2, 0))
    ax.axis("off")


def plot_readings(ax, title, X, names, A2):
    """Show the first 12 images of X (784, k), with their names and the answers of A2 (10, k)."""
    captions = []
    for name, a in zip(names[:12], A2.T):
        captions.append(f"{name}\nread as {a.argmax()}\n{a.max():.1%}")
    plot_images(ax, title, X, captions, cmap="Greys", vmin=0, vmax=1)


# %%
def plot_page(title, history, W1, dead, X, y, A2, readings):
    """Return the figure: curves, confusion matrix, weights, readings and the surest mistakes.

    `history` is what train returns, `dead` (h,) what dead_units returns, A2 (10, m) are the
    probabilities of the images X (784, m) with the labels y (m,), and `readings` is what
    plot_readings takes after ax.
    """
    window = "what the network learnt (close this window to go on)"
    ratios = {"width_ratios": [3, 4, 5], "height_ratios": [5, 4]}
    # 1200x600 pixels: with its frame, the window fits a screen of 1280x720.
    fig, axes = plt.subplots(2, 3, num=window, figsize=(12, 6), clear=True, gridspec_kw=ratios)
    fig.subplots_adjust(left=0.06, right=0.99, bottom=0.05, top=0.88, wspace=0.12, hspace=0.35)
    (ax_loss, ax_confusion, ax_digits), (ax_accuracy, ax_weights, ax_mistakes) = axes
    fig.suptitle(title, parse_math=False)

    losses, accuracies, val_losses, val_accuracies = np.transpose(history)  # its columns
    ax_loss.axhline(np.log(10), color="black", linestyle=":", label="chance level, log 10")
    plot_curves(ax_loss, "Loss after each epoch", losses, val_losses)
    ax_loss.set_yscale("log")  # with ticks at 0.1, 0.2, 0.5, 1, 2, 5
    ax_loss.yaxis.get_major_locator().set_params(subs=[1, 2, 5])
    ax_loss.yaxis.set_major_formatter("{x:g}")
    ax_loss.minorticks_off()
    ax_loss.legend(fontsize=8)  # it holds for both panels of curves
    plot_curves(ax_accuracy, "Accuracy after each epoch", accuracies, val_accuracies)
    ax_accuracy.yaxis.set_major_formatter("{x:.1%}")
    ax_accuracy.set_ylim(top=min(1, ax_accuracy.get_ylim()[1]))  # no ticks above 100%

    plot_confusion(ax_confusion, confusion_matrix(A2.argmax(axis=0), y))

    # The colours run from dark blue over grey to light yellow: printed in grey they differ too.
    rows = W1[:12]
    largest = np.abs(rows).max()
    units = [f"{unit}, dead" if dead[unit] else unit for unit in range(len(rows))]
    words = f"W1, {len(rows)} of {len(W1)} rows (yellow: ink turns it on)"
    plot_images(ax_weights, words, rows.T, units, cmap="cividis", vmin=-largest, vmax=largest)

    plot_readings(ax_digits, *readings)
    # The mistakes that it is surest of are worth a look: network or label is badly wrong.
    wrong = np.flatnonzero(A2.argmax(axis=0) != y)
    mistakes = wrong[np.argsort(-A2[:, wrong].max(axis=0))]
    words = f"The surest of {len(mistakes)} mistakes"
    plot_readings(ax_mistakes, words, X[:, mistakes], y[mistakes], A2[:, mistakes])
    return fig


# %% [markdown]
# For the terminal there is text instead: an image in characters, beside the ten probabilities.


# %%
def text_picture(x, a):
    """Return ten lines of text: image x (784,), and beside it the probabilities a (10,) as bars."""
    # Two rows of pixels make one line of text; without most of the margin, ten lines are left.
    ink = x.reshape(14, 2, 28).mean(axis=1)[2:12]
    lines = []
    for i in range(10):  # line i of the picture stands beside class i
        shades = (9.99 * ink[i]).astype(int)  # 0 to 9, also where the ink is 1
        picture = "".join(" .:-=+*#%@"[shade] for shade in shades)
        lines.append(f"{picture} {i} {a[i]:6.1%} {'#' * int(30 * a[i])}".rstrip())
    return "\n".join(lines)


def answer(a):
    """Return in words the most probable digit of a (10,): "7 (98.2%)"."""
    return f"{a.argmax()} ({a.max():.1%})"


# %% [markdown]
# ## 11. Your own digits
#
# Chapter 8 said how MNIST's digits are prepared: fitted into a box of 20x20 pixels, with the centre
# of mass in the middle of 28x28. `--read` does that for pictures in files, and `--draw` for what
# you draw. A picture goes through four functions. open_grey makes it grey; find_ink subtracts the
# paper; keep_digit chooses one piece of ink as the digit; as_mnist prepares it. What is drawn in
# the window is ink and nothing else, and needs only the last.
#
# So many of 95 digits that strangers drew with other programs are read (with 10 units the mean of
# the seeds 0 to 2; with 300 units and a learning rate of 0.4, seed 0):
#
#     what is done to the picture         10 units   300 units   10, trained on digits of appendix A
#     shrunk to 28x28, no more               30          53                 28
#     prepared as MNIST's digits are         79          88                 75
#     and thin strokes made wider            89          91                 86
#
# The last row is what this script does. The constants of these functions were tried out on the same
# 95 digits, so its numbers are a little too good.


# %%
class UserError(SystemExit):
    """Something that the user can put right: its text goes to stderr, and the status is 1."""


def open_grey(path):
    """Return the picture in the file `path` in grey, its longer side 400 pixels long.

    Raises UserError if it cannot be opened.
    """
    try:
        with Image.open(path) as image:
            # A phone only notes in the file how the picture is turned: exif_transpose turns it.
            image = ImageOps.exif_transpose(image).convert("RGBA")
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises all three for damaged files
        raise UserError(f"{path} cannot be opened as a picture ({error})") from None
    # Behind what is transparent comes grey: black ink is darker than that, and white ink lighter.
    behind = Image.new("RGBA", image.size, "grey")
    image = Image.alpha_composite(behind, image).convert("L")
    return ImageOps.contain(image, (400, 400))


# %%
def has_light_ink(image):
    """Return whether the ink on the grey `image` is lighter than the paper."""
    # Shadows are wide. A wide blur keeps them and loses the strokes, so it is subtracted.
    shadows = image.filter(ImageFilter.GaussianBlur(100))
    flat = np.asarray(image, dtype=np.float32) - np.asarray(shadows, dtype=np.float32)
    # At the edges there may be something beside the sheet. In the middle, most pixels are paper.
    height, width = flat.shape
    middle = flat[height // 10 : height - height // 10, width // 10 : width - width // 10]
    paper = np.median(middle)
    # Ink is what differs most from the paper.
    return middle.max() - paper > paper - middle.min()


def find_ink(image):
    """Return how much darker each pixel of the grey `image` is than the paper around it.

    The result is (height, width), 0 to 1. If the ink is light, the picture is inverted first.
    `image` is as open_grey returns it: the sizes below are for its 400 pixels.
    """
    image = image.filter(ImageFilter.GaussianBlur(1))  # removes the grain of paper and sensor
    if has_light_ink(image):
        image = ImageOps.invert(image)
    # The paper without the ink is found on a copy an eighth as wide and high, to which 20 pixels
    # are added on each side, of the grey at its edge, so that filters work there as inside.
    small = Image.fromarray(np.pad(np.asarray(image.reduce(8)), 20, mode="edge"))
    # What is light grows by 10 pixels to each side, so that strokes vanish.
    small = small.filter(ImageFilter.MaxFilter(21))
    # What is dark grows by 10: a dark table beside the sheet gets its outline back (together this
    # is a closing; Serra, 1982). It grows by 2 more, or the edge of the table would count as ink.
    small = small.filter(ImageFilter.MinFilter(25))
    paper = ImageOps.crop(small, 20).resize(image.size, Image.BILINEAR)
    ink = np.asarray(paper, dtype=np.float32) - np.asarray(image, dtype=np.float32)
    return np.maximum(ink, 0) / 255


def number_pieces(dark):
    """Return an array of the shape of `dark` with a number for each piece of ink, and 0 for paper.

    `dark` is True where there is ink. All its pixels begin with numbers of their own, and take the
    largest of their neighbours' until nothing changes. So the numbers are large, with gaps. This is
    connected-component labelling (Rosenfeld and Pfaltz, 1966) in its simplest form.
    """
    numbers = np.arange(1, dark.size + 1, dtype=np.int32).reshape(dark.shape) * dark
    while True:
        spread = np.asarray(Image.fromarray(numbers).filter(ImageFilter.MaxFilter(3)))
        spread = spread * dark  # numbers do not go over paper
        if np.array_equal(spread, numbers):
            return numbers
        numbers = spread


def keep_digit(ink, path):
    """Return `ink` (height, width) with one piece of it, the digit, and 0 elsewhere.

    Raises UserError if there is no ink, or if there are several pieces of like size. `path` is
    where the picture comes from.
    """
    if ink.max() < 0.1:  # an empty sheet has up to 0.07, a pale pencil 0.15
        raise UserError(f"{path}: nothing stands out from the paper; write larger or darker")
    dark = ink > ink.max() / 3  # any share from a quarter to a half does
    # Pieces are told apart on a map a quarter as wide and high, which is quicker. There ink grows
    # by two pixels to each side, to close small gaps in strokes.
    ink_map = Image.fromarray((255 * ink * dark).astype(np.uint8)).reduce(4)
    numbers = number_pieces(np.asarray(ink_map.filter(ImageFilter.MaxFilter(5))) > 0)
    # Entry k of amounts is the ink of all pixels with the number k.
    amounts = np.bincount(numbers.ravel(), weights=np.asarray(ink_map).ravel())
    # What touches the edge is something beside the sheet, a finger, or a ruled line. It is left
    # out, unless nearly all ink touches the edge: then the digit itself does.
    on_edge = np.concatenate([numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]])
    inside = amounts.copy()
    inside[on_edge] = 0
    if inside.max() > 0.03 * amounts.max():
        amounts = inside
    second, first = np.sort(amounts)[-2:]  # the largest comes last
    if second > first / 4:  # the bar of a 5, drawn apart, is less than a quarter of the rest
        raise UserError(f"{path}: there is more than one thing on it; write one digit on paper")
    mask = Image.fromarray(numbers == amounts.argmax()).resize(ink.shape[::-1])  # width, height
    digit = ink * np.asarray(mask)
    # MNIST's strokes are evenly black, with soft edges. So what is darker than the median of the
    # strokes gets that grey, and soft edges are kept down to 0.4 of it; below that is paper.
    black = np.median(digit[dark & (digit > 0)])
    return np.where(digit > 0.4 * black, np.minimum(digit, black), 0)


# %%
def stroke_width(ink):
    """Return how wide the strokes of `ink` (height, width) are, in pixels.

    A stroke w wide and l long has the area w l and an outline about 2 l long. So w is 2 area /
    outline. The area is the sum of the ink, the outline the sum of its steepness at all pixels,
    down and across by Pythagoras (hypot).
    """
    down, across = np.gradient(np.pad(ink, 1))
    return 2 * ink.sum() / np.hypot(down, across).sum()


def as_mnist(ink):
    """Return x (784, 1), float32 in [0, 1], laid out as MNIST's images are.

    `ink` is (height, width), of any size: 0 is paper, larger is more ink, and there is some.
    """
    image = Image.fromarray((255 * (ink / ink.max())).astype(np.uint8))  # bytes times 255 overflow
    image = ImageOps.contain(image.crop(image.getbbox()), (100, 100), Image.BILINEAR)
    # The median width of MNIST's strokes is 0.12 of the digit's longer side. Thinner ones are made
    # wider: a blur spreads the ink, and doubled (255 at most) it is black again. The border of 2
    # pixels is room for that.
    while stroke_width(np.asarray(image, dtype=np.float32)) < 0.12 * max(image.size):
        blurred = ImageOps.expand(image, 2).filter(ImageFilter.GaussianBlur(1))
        image = blurred.point(lambda value: 2 * value)
    # As MNIST's authors did (LeCun et al., 1998), fit the digit into 20x20 pixels, and bring its
    # centre of mass to row 14 and column 14, counted from 0.
    box = ImageOps.pad(image.crop(image.getbbox()), (20, 20), Image.BILINEAR)  # resizes, then pads
    x = np.pad(np.asarray(box, dtype=np.float32), 4)  # (28, 28)
    rows, columns = np.indices(x.shape)
    down = 14 - np.average(rows, weights=x)
    across = 14 - np.average(columns, weights=x)
    shift = np.clip(np.round([down, across]), -4, 4).astype(int)  # or np.roll would wrap around
    x = np.roll(x, shift, axis=(0, 1))
    return x.reshape(784, 1) / x.max()


def read_picture(path):
    """Return x (784, 1), float32 in [0, 1], for the digit in the picture file `path`.

    Raises UserError, a sentence that names the file, if there is no picture or no single digit.
    """
    return as_mnist(keep_digit(find_ink(open_grey(path)), path))


# %%
def draw_window(params):
    """Prepare a window to draw digits in with the mouse, and return its figure.

    Beside the sheet stand the image that the network with `params` sees, and its ten probabilities.
    plt.show(), which is left to the caller, opens the window.
    """
    title = "draw a digit (close this window to go on)"
    fig, axes = plt.subplots(1, 3, num=title, figsize=(9.4, 3.8), clear=True)
    ax_sheet, ax_seen, ax_bars = axes
    fig.subplots_adjust(left=0.02, right=0.96, bottom=0.16, top=0.9, wspace=0.12)
    sheet = Image.new("L", (280, 280))  # 0 is paper, 255 ink
    pen = ImageDraw.Draw(sheet)
    stroke = []  # where the pen has been since it came down on the sheet

    sheet_shown = ax_sheet.imshow(sheet, cmap="Greys", vmin=0, vmax=255)
    ax_sheet.set(xlabel="left button: draw\nright button or Escape: clear", xticks=[], yticks=[])
    x_shown = ax_seen.imshow(np.zeros((28, 28)), cmap="Greys", vmin=0, vmax=1)
    ax_seen.set(title="what the network sees", xticks=[], yticks=[])
    a_shown = ax_bars.barh(range(10), np.zeros(10))
    ax_bars.set(xlim=(0, 1), ylim=(9.6, -0.6), yticks=range(10), xlabel="probability")
    ax_bars.set_box_aspect(1)

    def show():
        x = np.zeros((784, 1))
        a = np.zeros(10)
        words = ""
        if sheet.getbbox():  # there is ink
            x = as_mnist(np.asarray(sheet))
            a = probabilities(params, x).ravel()
            words = answer(a)
        sheet_shown.set_data(sheet)
        x_shown.set_data(x.reshape(28, 28))
        for bar, probability in zip(a_shown, a):
            bar.set_width(probability)
        ax_bars.set_title(words)
        fig.canvas.draw_idle()

    def use_mouse(event):
        if event.button == 3:
            sheet.paste(0, (0, 0, 280, 280))
        elif event.button == 1 and event.inaxes is ax_sheet:
            across, down = event.xdata, event.ydata
            stroke.append((across, down))
            # The pen is thin, since as_mnist can widen strokes, but not thin them. The mouse leaps,
            # so a line joins the last two places.
            pen.line(stroke[-2:], fill=255, width=10)
            pen.ellipse([across - 5, down - 5, across + 5, down + 5], fill=255)
        else:  # no button, or beside the sheet: the stroke ends
            stroke.clear()
            return
        show()

    def press(event):
        stroke.clear()
        use_mouse(event)  # a click alone makes a dot

    def press_key(event):
        if event.key == "escape":
            sheet.paste(0, (0, 0, 280, 280))
            show()

    # Matplotlib calls these functions when something happens in the window.
    fig.canvas.mpl_connect("button_press_event", press)
    fig.canvas.mpl_connect("motion_notify_event", use_mouse)
    fig.canvas.mpl_connect("key_press_event", press_key)
    return fig


# %% [markdown]
# ## Appendix A. Digits drawn by the script itself
#
# Where MNIST cannot be had, the network trains on these. A table says how to move a pen, and chance
# makes each digit different. The table came from a search: points were moved at random, and a
# change was kept if the drawn digits came closer to the first 20,000 training images of MNIST. So
# it has seen MNIST, though no test image. Trained on drawn digits alone, networks read 88.6% of
# MNIST's test images (the mean of the seeds 0, 1 and 2).

# %%
# How to write each digit: a list of ways, since people differ. Each way is a text of points that
# the pen visits in turn; at a comma it is lifted. The point "30" is 3 across and 0 down from the
# top left corner, so the second 1 below, "30 39", is a straight line down. Change points or add
# ways as you like, with two points at least between commas: what is drawn is scaled to fit the
# image.
WAYS = {
    0: ["30 04 09 19 79 93 60 20", "40 12 06 19 59 86 84 70 30", "40 04 09 19 69 95 60 40 22"],
    1: ["40 29", "30 39", "22 40 39", "12 30 34 39, 09 39 69"],
    2: ["12 10 50 64 37 18 19 88", "22 20 50 72 67 19 09 06 56 88", "02 30 53 29 09 08 26 48 98"],
    3: ["10 60 53 44, 14 53 76 69 09 07", "00 60 54 14 54 77 69 19", "01 30 51 34 24 54 67 49 08"],
    4: ["10 05 55, 60 53 59", "21 05 65, 60 55 45 39", "60 05 75, 60 49", "01 12 05 74, 60 49 39"],
    5: ["22 04 44 76 69 19, 12 20 80", "90 31 21 14 34 55 58 28 18", "60 10 14 54 65 77 59 09 08"],
    6: ["40 20 07 18 29 68 65 16 17", "30 20 04 09 69 76 65 45 29", "30 04 09 39 48 46 17"],
    7: ["01 10 70 63 39", "00 60 54 39, 35 64", "03 00 50 61 45 39", "02 01 80 71 59 39"],
    8: [
        "41 40 00 03 24 56 58 49 19 07 24 52",
        "40 10 02 35 53 70 40, 35 25 19 59 57 35",
        "52 40 01 14 35 49 19 08 07 53 62",
    ],
    9: [
        "53 45 04 10 50 59 69",
        "53 14 03 10 50 51 49",
        "61 30 03 35 62 49",
        "44 03 02 20 51 52 29",
    ],
}


# %%
def move_pen(stroke, n, rng):
    """Write one stroke of the table, such as "30 39", n times, each time a little differently.

    Returns the places where the pen stops, (n, stops, 2): across and down, in units of the table.
    """
    points = np.array([[int(across), int(down)] for across, down in stroke.split()])  # (points, 2)
    # Nobody meets the points exactly: each place strays from its point by about one unit.
    places = points + rng.standard_normal((n, len(points), 2), dtype=np.float32)

    # From each place to the next the pen goes straight, and makes about 2.5 stops per unit.
    parts = []
    for i in range(len(points) - 1):
        stops = int(np.round(2.5 * np.linalg.norm(points[i + 1] - points[i])))  # for all n alike
        # All n people at once: linspace takes arrays, and makes (n, stops, 2). With endpoint=False
        # a part stops short of the next place, where the next part starts.
        parts.append(np.linspace(places[:, i], places[:, i + 1], stops, endpoint=False, axis=1))
    parts.append(places[:, -1:])
    path = np.concatenate(parts, axis=1)

    # A hand does not turn on the spot: mixing each stop with its neighbours rounds the corners.
    for _ in range(3):
        path[:, 1:-1] = (path[:, :-2] + 2 * path[:, 1:-1] + path[:, 2:]) / 4
    return path


def draw_way(way, n, rng):
    """Draw one way of the table as n people would write it: images (n, 28, 28) in [0, 1]."""
    strokes = [move_pen(stroke, n, rng) for stroke in way.split(",")]
    path = np.concatenate(strokes, axis=1)  # (n, stops, 2): across, down

    # What differs from one person to the next is a 2x2 matrix, by which the rows (across, down) of
    # the path are multiplied. Its first row says where one unit across leads: how wide it is, and
    # how far downhill. Its second row says where one unit down leads: a little to the left, so that
    # digits lean to the right, as most people's do.
    mean = [[1, 0], [-0.15, 1]]
    deviation = [[0.2, 0.15], [0.25, 0]]
    hands = rng.normal(mean, deviation, size=(n, 2, 2))
    path = path @ hands

    # As in MNIST, the digit fills a box of 20x20 pixels (17.8 for the path, the rest for its ink),
    # and its mean lies at (14, 14), the middle of the image.
    sizes = np.ptp(path, axis=1)  # largest minus smallest, (n, 2): width and height
    path *= 17.8 / sizes.max(axis=1).reshape(n, 1, 1)
    path += 14 - path.mean(axis=1, keepdims=True)

    # Each stop leaves a round blot of ink, exp(-(d / pen)^2 / 2) at the distance d. Because d^2 is
    # row_distance^2 + column_distance^2, and exp of a sum is a product, that is a share for the row
    # times one for the column.
    pen = 0.72 * np.exp(rng.normal(0, 0.25, size=(n, 1, 1, 1)))  # radius of the tip, never below 0
    distance = (path[..., np.newaxis] - np.arange(28)) / pen  # (n, stops, 2, 28)
    share = np.exp(-(distance.astype(np.float32) ** 2) / 2)
    # Far away the share is tiny, and many processors are slow with numbers below 1e-38, here and in
    # training. So what would not be seen, below half of MNIST's smallest grey 1/255, becomes 0.
    share[share < 0.002] = 0
    # All blots of an image add up. Pixel [r, c] gets the sum over the stops s of
    # row_share[s, r] * column_share[s, c], which is a matrix product for each image.
    column_share = share[:, :, 0]  # (n, stops, 28)
    row_share = share[:, :, 1]
    blots = row_share.transpose(0, 2, 1) @ column_share  # (n, 28, stops) @ (n, stops, 28)
    return np.minimum(0.7 * blots, 1)  # 0.7 per stop, but paper gets no blacker than black


def draw_digits(m, rng):
    """Draw m digits: images X (784, m), float32 in [0, 1], and labels y (m,), integers 0 to 9.

    Each digit comes m / 10 times (rounded up or down), shared out evenly among its ways.
    """
    y = rng.permutation(np.arange(m) % 10)  # 0, 1, ..., 9, 0, 1, ... in random order
    images = np.empty((m, 28, 28), dtype=np.float32)
    for digit, ways in WAYS.items():
        samples = np.flatnonzero(y == digit)
        for k, way in enumerate(ways):
            mine = samples[k :: len(ways)]  # dealt out like cards: to each way one, in turn
            images[mine] = draw_way(way, len(mine), rng)
    return images.reshape(m, 784).T, y


# %% [markdown]
# ## Appendix B. Fetching the files
#
# This part makes sure that the four files are there before `load_mnist` opens them. MNIST is
# downloaded once. Its files are known by the CRC-32 of their unpacked content, the check sum with
# which gzip itself finds damage. (Check sums of the packed files would not do: mirrors pack them
# anew.) Other data with the same file names, such as Fashion-MNIST, can be put into a folder too.
#
# Packed means gzipped. load_mnist opens only packed files, so unpacked ones are packed here, once.

# %%
MIRRORS = [
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
]
CRC32 = {  # of MNIST's four files, unpacked
    "train-images-idx3-ubyte": 0xE9F4D8B3,
    "train-labels-idx1-ubyte": 0xE0CB4AD2,
    "t10k-images-idx3-ubyte": 0x91373BDF,
    "t10k-labels-idx1-ubyte": 0x4AB9EFF9,
}


def is_mnist(name, packed):
    """Return whether the bytes `packed` are MNIST's file `name`.

    A packed file states the CRC-32 of its content at its end, before the length (RFC 1952, 1996).
    Whether that is right, gzip checks when it unpacks the file.
    """
    return int.from_bytes(packed[-8:-4], "little") == CRC32[name]


def download(name):
    """Return the packed bytes of MNIST's file `name`. Raises ConnectionError if no mirror can."""
    for mirror in MIRRORS:
        print(f"downloading {mirror}{name}.gz", flush=True)
        try:
            # After 10 seconds without an answer it is the next mirror's turn.
            with urlopen(f"{mirror}{name}.gz", timeout=10) as response:
                packed = response.read()
            gzip.decompress(packed)  # raises an error if something is damaged
            if is_mnist(name, packed):
                return packed
            print("this mirror sent another file")
        except (OSError, EOFError, zlib.error, http.client.HTTPException) as error:
            print(f"this mirror does not help: {error}")
    raise ConnectionError(f"{name}.gz cannot be downloaded")


def save_file(path, content):
    """Write the bytes `content` to the file `path`: all of them or nothing."""
    # Another run may be writing the same file. So each writes one of its own, on the same disk, and
    # gives it the right name when it is whole.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        own_file = Path(folder) / path.name
        own_file.write_bytes(content)
        own_file.replace(path)


def fetch(folder):
    """Make sure that `folder` holds four packed files; return "MNIST", or the folder's name.

    Unpacked files are packed, also under the names of a well-known copy, with a dot
    (train-images.idx3-ubyte). Missing files are downloaded, but not beside other data. Raises
    ConnectionError if no mirror helps, another OSError if files cannot be read or saved, and
    UserError if other data lack a file.
    """
    folder.mkdir(exist_ok=True)
    missing = []
    others = []
    for name in CRC32:
        path = folder / f"{name}.gz"
        for unpacked in folder / name, folder / name.replace("-idx", ".idx"):
            if unpacked.is_file() and not path.exists():  # some archives have folders of that name
                save_file(path, gzip.compress(unpacked.read_bytes(), 1))  # 1 is fast
        if not path.exists():
            missing.append(name)
        elif not is_mnist(name, path.read_bytes()):
            others.append(name)
    if missing and others:
        raise UserError(
            f"{folder}: add {' and '.join(missing)}, "
            f"or, to fetch MNIST, delete {' and '.join(others)}"
        )
    for name in missing:
        save_file(folder / f"{name}.gz", download(name))
    return folder.resolve().name if others else "MNIST"


# %%
def get_data(dataset, folder, rng):
    """Return X (784, m), y (m,), X_test, y_test and the name of the data.

    `dataset` is "mnist", "drawn", or "auto". Raises UserError if files cannot be used or, for
    "mnist", cannot be had.
    """
    if dataset != "drawn":
        try:
            data_name = fetch(folder)
            X, y, X_test, y_test = load_mnist(folder)
            matched = X.shape[1] == len(y) and X_test.shape[1] == len(y_test)
            if not matched or max(y.max(), y_test.max()) > 9:
                raise ValueError("each image needs one label from 0 to 9")
            return X, y, X_test, y_test, data_name
        except ConnectionError as error:  # no mirror helped; this one is an OSError too
            if dataset == "mnist":
                raise UserError(f"{error}: put the four files into {folder} by hand") from None
            print(f"{error}: training on digits drawn by the script, not comparable with MNIST")
        except (OSError, EOFError, zlib.error, ValueError, IndexError) as error:  # damaged files
            advice = "delete its four files, to fetch MNIST anew, or name another folder"
            raise UserError(f"{folder} cannot be used ({error}): {advice}") from None
    # MNIST cannot be had, or is not wanted. Of the drawn digits, the first 5,000 are for testing.
    X, y = draw_digits(30_000, rng)
    return X[:, 5000:], y[5000:], X[:, :5000], y[:5000], "drawn digits"


# %% [markdown]
# ## Appendix C. The command line

# %%
# Where it can open no window, Matplotlib falls back to "agg", which draws for files only.
NO_WINDOW = "a window needs a display, and tkinter in this Python (install python3-tk)"


def read_flags():
    """Return the settings: the constants of chapter 7, or what the flags say instead.

    What is known to fail is refused before the training, with the status 2.
    """
    this_file = globals().get("__file__", "")  # a notebook has none
    parser = argparse.ArgumentParser(
        description="Train a neural network to read handwritten digits, and show what it learnt.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    data = Path(this_file).parent / "data"
    names = ["auto", "mnist", "drawn"]
    flag = parser.add_argument
    flag("--data", type=Path, default=data, help="folder where the four files are, or go")
    flag("--dataset", choices=names, default="auto", help="auto: drawn if MNIST cannot be had")
    flag("--hidden", type=int, default=HIDDEN, help="units in the hidden layer")
    flag("--epochs", type=int, default=EPOCHS, help="passes over the images")
    flag("--batch-size", type=int, default=BATCH_SIZE, help="images per step")
    flag("--learning-rate", type=float, default=LEARNING_RATE, help="falls from half-way on")
    flag("--seed", type=int, default=SEED, help="of all random numbers")
    flag("--figure", type=Path, default="nn_from_scratch.png", help="file for the page")
    flag("--read", type=Path, nargs="+", action="extend", default=[], help="digits of your own")
    windows = parser.add_mutually_exclusive_group()
    windows.add_argument("--draw", action="store_true", help="draw digits after training")
    windows.add_argument("--no-show", action="store_true", help="save the page, open no window")
    # In a notebook sys.argv belongs to the notebook's program, whose name is another.
    run_as_script = Path(sys.argv[0]).name == Path(this_file).name
    args = parser.parse_args(None if run_as_script else [])
    if min(args.hidden, args.epochs, args.batch_size) < 1 or args.seed < 0:
        parser.error("--hidden, --epochs, --batch-size must be at least 1, --seed at least 0")
    if not 0 < args.learning_rate < float("inf"):
        parser.error("--learning-rate must be above 0, and finite")
    if args.data != data and not args.data.is_dir():
        parser.error(f"--data {args.data}: there is no such folder")
    if args.figure.suffix.lower() not in (".png", ".pdf", ".svg", ".jpg"):
        parser.error("--figure must end in .png, .pdf, .svg or .jpg")
    if args.figure.is_dir() or not os.access(args.figure.parent, os.W_OK):
        parser.error(f"--figure {args.figure}: no file can be written there")
    if args.draw and plt.get_backend().lower() == "agg":
        parser.error(f"--draw: {NO_WINDOW}")
    return args


# %% [markdown]
# ## The program
#
# The chapters, one after the other.

# %%
if __name__ == "__main__":
    args = read_flags()
    rng = np.random.default_rng(args.seed)
    if args.no_show:
        plt.switch_backend("agg")  # draws for files only

    # Chapter 11, your own digits: first of all, so that a bad picture is named at once.
    pictures = [read_picture(path) for path in args.read]

    # Chapter 1, the data.
    X, y, X_test, y_test, data_name = get_data(args.dataset, args.data, rng)
    X_train, y_train, X_val, y_val = split(X, y, rng)
    print(f"{data_name}: X_train {X_train.shape}, X_val {X_val.shape}, X_test {X_test.shape}")

    # Chapter 5, the network.
    params = init_params(args.hidden, rng)
    shapes = ", ".join(str(P.shape) for P in params)
    print(f"{sum(P.size for P in params):,} parameters: {shapes}")
    print(f"the first test image, a {y_test[0]}, before training:")
    A2 = probabilities(params, X_test[:, :1])
    print(text_picture(X_test[:, 0], A2[:, 0]))
    val_loss, val_accuracy = evaluate(params, X_val, y_val)
    print(f"loss before training {val_loss:.3f}, chance level log 10 = {np.log(10):.3f}")

    # Chapters 6 and 7, training.
    settings = args.epochs, args.batch_size, args.learning_rate
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # no warnings: train says it by itself
            params, history = train(params, X_train, y_train, X_val, y_val, *settings, rng)
    except FloatingPointError as error:
        raise UserError(f"{error}: use a lower --learning-rate than {args.learning_rate}") from None
    dead = dead_units(params, X_train)
    if dead.any() and X_train.mean() > 0.5:  # MNIST's mean is 0.13
        print("the likely cause: the images are mostly bright; train on inverted ones, 1 - X")
    elif dead.any():
        print("the likely cause: steps are too long; use a lower --learning-rate")

    # Chapter 8, judging.
    A2 = probabilities(params, X_test)
    print("the same image after training:")
    print(text_picture(X_test[:, 0], A2[:, 0]))
    result = f"test accuracy {accuracy(A2.argmax(axis=0), y_test):.2%}"
    print(result)

    # Chapters 10 and 11, the page, and digits of your own.
    readings = "The first test images", X_test, y_test, A2
    if pictures:
        own_X = np.hstack(pictures)
        own_A2 = probabilities(params, own_X)
        for path, x, a in zip(args.read, own_X.T, own_A2.T):
            print(f"{path}: {answer(a)}")
            print(text_picture(x, a))
        names = [path.name[-12:] for path in args.read]  # as much as fits below an image
        readings = "Pictures of your own", own_X, names, own_A2
    title = f"{data_name}: {args.hidden} hidden units, {result}, seed {args.seed}"
    page = plot_page(title, history, params[0], dead, X_test, y_test, A2, readings)
    content = io.BytesIO()  # in memory, since save_file takes bytes
    page.savefig(content, format=args.figure.suffix[1:])
    try:
        save_file(args.figure, content.getvalue())
    except OSError as error:
        raise UserError(f"{args.figure} cannot be written ({error}): name another file") from None
    print(f"figure saved as {args.figure}")
    if args.draw:
        plt.close(page)  # or it would open too, and hide the window to draw in
        draw_window(params)
    if plt.get_backend().lower() != "agg":
        plt.show()
    elif not args.no_show:
        print(NO_WINDOW)

# For `uv run`, which installs the packages by itself (PEP 723):
# /// script
# requires-python = ">=3.8"
# dependencies = ["numpy>=1.18", "matplotlib>=3.5"]
# ///
