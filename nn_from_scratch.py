# %% [markdown]
"""
# A neural network from scratch

Here a network of 7,960 numbers learns to read handwritten digits, in seconds, with NumPy alone.
Nothing is hidden: each formula is derived above the line that computes it, and what is claimed is
shown, by an example that you can type or by a number that was measured.

    $ python nn_from_scratch.py
    ...
    loss before training 2.415, chance level log 10 = 2.303
           training          validation        learning
    epoch  loss    accuracy  loss    accuracy  rate      seconds
        1  0.3063    90.98%  0.3300    90.44%  0.15         0.06
        2  0.2797    91.62%  0.3089    91.00%  0.15         0.12
      ...
       30  0.1528    95.42%  0.2443    92.78%  0.01         1.80
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
    test accuracy 94.41%

By the end of chapter 7 you will know what each word of this means.

## How to read this file

Chapters 1 to 8 are the lesson: an evening, from top to bottom, with a pencil. Then derive chapter 5
on an empty sheet. Each chapter has one goal and ends with exercises. Chapter 8 closes with the
whole program on one screen, and with answers. What follows it draws the results, reads digits of
your own and fetches files; you may skip that.

You need matrix products, partial derivatives, logarithms, mean and variance, and NumPy's arrays.

Lines that begin with `>>>` are examples. To type them, start Python in the folder of this file and
say `from nn_from_scratch import *` first. (For that, Matplotlib must be installed too.) Within a
chapter, each example builds on those before it; chapter 6 goes on where chapter 5 ends.

## The symbols

A table to come back to. Each symbol is explained where it first appears, in the chapter given.

    symbol      meaning                                                   shape             chapter
    m           number of samples, that is, of images with their labels                     1
    X           the images: one column is one sample, one row one pixel   (784, m)          1
    y, Y        the labels, as digits and as columns with a single 1      (m,), (10, m)     1
    h           number of hidden units; 10 unless you ask for another                       2
    W1, b1      weights and biases of the hidden layer                    (h, 784), (h, 1)  2
    W2, b2      weights and biases of the output layer                    (10, h), (10, 1)  2
    Z1, A1      the hidden layer before and after ReLU                    (h, m)            3
    Z2, A2      the scores, and the probabilities made of them            (10, m)           3
    L, J        the loss of one sample; the mean of L over m samples      numbers           4
    dZ2, dZ1    dL/dZ2 and dL/dZ1: each column is about its sample's L    as Z2, Z1         5
    dW1, db1    dJ/dW1 and dJ/db1: they are about J; dW2, db2 likewise    as W1, b1         5
    alpha       the learning rate, `learning_rate` in the code            a number          6
    n           how many numbers go into a unit                                             7
    i, k        a class, 0 to 9;  j: a hidden unit;  p: a pixel;  s: a sample, from 0
    @  *  ^T    matrix product (W X in formulas); product element by element; transpose (.T)
    log         the natural logarithm, ln;  sum_k: the sum over all k
"""

# %%
import gzip

import numpy as np

# %% [markdown]
# ## 1. The data
#
# **The goal: a matrix X that holds the images, and the labels y that say what they show.**
#
# MNIST is 70,000 handwritten digits (LeCun, Bottou, Bengio and Haffner, 1998). Each is an image of
# 28x28 grey pixels with a **label**, the digit that was meant: one of ten **classes**. An image
# with its label is a **sample**.
#
# **One column is one sample.** The 28 rows of an image are laid end to end: 784 numbers, from 0 for
# paper to 1 for ink. They become a column of X, and m images make X (784, m). Why a column? For one
# image x, the product with a matrix is W x, as in any course of algebra, and for m images the
# formula stays the same: the columns of W X are W times the columns of X.
#
#     >>> W = np.array([[1, 2], [3, 4]])
#     >>> X = np.array([[5, 7], [6, 8]])
#     >>> print(W @ X)
#     [[17 23]
#      [39 53]]
#     >>> print(W @ X[:, 1])
#     [23 53]
#
# (Most libraries lay samples in rows. The end of chapter 5 translates.)
#
# **Labels become columns too.** The digit 3 becomes ten numbers, with a 1 in row 3 and zeros
# elsewhere; this is called **one-hot**. Why not let the network put out the number 3 itself? Then a
# 2 would be nearly right and an 8 very wrong. Digits are names here, not amounts.
#
# **Three kinds of images.** A network is fitted to its **training** images, and so they flatter it.
# Therefore 5,000 of MNIST's 60,000 training images are kept out of training, for **validation**:
# while you choose between settings, they judge. But to choose the best of many settings is to fit
# as well, to the validation images this time. Hence a third kind, the 10,000 **test** images:
# looked at when everything is chosen, never used to choose.
#
# **Measured**, from here on, means: the program was run with its default settings and the change
# that is named, for the seeds 0, 1 and 2, and the mean of the three results follows. The result is
# the **accuracy**, the share of validation images that is read correctly, unless another is named.
# (A **seed** fixes all random numbers of a run.) With no change it is 93.2%. The single runs gave
# 92.8, 94.2 and 92.5%: so much is chance. Hence between single runs, differences below two points
# prove nothing; between means of three, differences below one point prove little.
#
# **Which 5,000?** They are drawn at random. The last 5,000 would be a bad choice: measured on
# these, 95.3%, though the networks are no better: on the test images 94.3% instead of 94.2%. The
# last 5,000 just happen to be easier than the others. (So are, a little, the test images.)


# %%
def read_idx(path):
    """Return the uint8 array in the IDX file `path`, or in `path`.gz if that is there.

    An IDX file of this kind has one byte per value. Before them stands a header: the bytes 0, 0, 8;
    the number of axes in one byte; the length of each axis in four, the highest first (">u4").
    """
    try:
        with gzip.open(path + ".gz") as file:
            content = file.read()
    except FileNotFoundError:
        with open(path, "rb") as file:
            content = file.read()
    n_axes = content[3]
    shape = np.frombuffer(content, dtype=">u4", count=n_axes, offset=4)
    values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * n_axes)
    return values.reshape(shape)


def load_mnist(folder):
    """Return X_train (784, 60000), y_train (60000,), X_test (784, 10000), y_test (10000,).

    X is float32 in [0, 1], y is int in 0..9. The four files must be there, whole.
    """
    arrays = []
    for part in "train", "t10k":
        images = read_idx(f"{folder}/{part}-images-idx3-ubyte")  # (m, 28, 28)
        labels = read_idx(f"{folder}/{part}-labels-idx1-ubyte")  # (m,)
        rows = images.reshape(len(images), 784).astype(np.float32)
        rows /= 255
        arrays.append(rows.T)
        arrays.append(labels.astype(int))
    return arrays


def split(X, y, rng):
    """Return X_train, y_train, X_val, y_val, all in random order.

    One twelfth of the samples X (784, m), y (m,) is for validation: 5,000 of MNIST's 60,000.
    `rng` is a numpy.random.Generator, the source of random numbers.
    """
    order = rng.permutation(len(y))  # 0 to m-1, shuffled: one order for X and y
    n_val = len(y) // 12
    in_val = order[:n_val]
    in_train = order[n_val:]
    return X[:, in_train], y[in_train], X[:, in_val], y[in_val]


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
# ### Exercises
#
# Answers stand at the end of chapter 8.
#
# 1. (Prove.) Column s of W X is W times column s of X, for any W and X that can be multiplied.
# 2. (On paper.) A = np.arange(12).reshape(3, 2, 2) are three images of 2x2. Write down
#    A.reshape(4, 3) and A.reshape(3, 4).T. Which has an image in each column? (With the other one,
#    measured: 9.8%. There is no error message.)

# %% [markdown]
# ## 2. The network
#
# **The goal: to know which numbers are to be learnt, and what they are at the start.**
#
# A **unit** multiplies each number that comes in by a **weight**, adds up the products, and adds
# one more number, its **bias**. Units side by side that take the same input are a **layer**. Write
# the weights of each unit into a row of a matrix W, and the biases into a column b. Then the whole
# layer is W X + b, for all samples at once: row j is about unit j, column s about sample s. (The
# field calls such a layer **fully connected**, and a network of them a **multilayer perceptron**.)
#
# Our network has two layers. Below each arrow stand the shapes of the W and the b that it uses:
#
#        X     W1 X + b1     Z1     ReLU     A1    W2 A1 + b2     Z2    softmax     A2
#     (784, m) ---------> (h, m) --------> (h, m) ----------> (10, m) ---------> (10, m)
#      pixels   (h, 784)   sums            sums    (10, h)     scores          probabilities
#               (h, 1)                  let through (10, 1)
#
# ReLU and softmax are simple functions that learn nothing; chapter 3 explains them. The first layer
# is called **hidden**, because nobody sees its h numbers (h is 10 here): they are whatever helps
# the second one, the **output layer**, to give each class its **score**. Weights and biases are the
# **parameters**:
#
#     10 * 784 + 10 + 10 * 10 + 10 = 7,960 numbers
#
# W1 X is (h, m), and b1 is (h, 1), a single column. NumPy adds it to each of the m columns. That is
# called **broadcasting**, and it hides mistakes: an array of shape (2,) counts as a row, and a row
# and a column make a matrix. Where a shape is strange, look for a (2,) that should be a (2, 1):
#
#     >>> print(np.array([1, 2]) + np.array([[10], [20]]))
#     [[11 12]
#      [21 22]]
#
# **The start.** Training will change all parameters a little, again and again, so that the answers
# get better. Where does it start? Not with equal weights. Follow two hidden units with the same
# weights and biases coming in and the same weights going out. On every image both compute the same
# number, and the output layer uses both alike. So whatever training does to one, it does to the
# other, and ten such units do the work of one. (Measured, with all ten made equal again after each
# change, since rounding would part them: less than half is read correctly.) Random weights make the
# units different; this is **symmetry breaking**. Biases may all start at 0: the weights suffice.


# %%
def init_params(n_hidden, rng, n_in=784, n_classes=10):
    """Return W1 (h, n_in), b1 (h, 1), W2 (n_classes, h), b2 (n_classes, 1), all float32.

    h is n_hidden. Weights are normal with mean 0 and standard deviation sqrt(2 / number of inputs)
    (He et al., 2015; chapter 7 says why). Biases are 0.
    """
    W1 = rng.standard_normal((n_hidden, n_in), dtype=np.float32)
    W1 = W1 * (2 / n_in) ** 0.5
    b1 = np.zeros((n_hidden, 1), dtype=np.float32)
    W2 = rng.standard_normal((n_classes, n_hidden), dtype=np.float32)
    W2 = W2 * (2 / n_hidden) ** 0.5
    b2 = np.zeros((n_classes, 1), dtype=np.float32)
    return W1, b1, W2, b2


# %% [markdown]
# ### Exercises
#
# 3. (Prove.) Swap two hidden units: rows of W1, rows of b1, columns of W2. The network computes
#    what it did before. In how many orders can ten different units stand?

# %% [markdown]
# ## 3. Forward: from pixels to probabilities
#
# **The goal: ten probabilities for each image.** To compute them is called the **forward pass**.
#
# **Why a hidden layer?** Without one, each pixel votes for or against each class, and its vote is
# the same whatever the other pixels show. Such votes cannot even tell "one of these two pixels, but
# not both" (**XOR**) from the rest. Let x_0 and x_1 be 1 for ink and else 0, and the answer yes
# where w_0 x_0 + w_1 x_1 + b > 0. A no to the empty image means b <= 0. A yes to either pixel alone
# means w_0 + b > 0 and w_1 + b > 0; added up, w_0 + w_1 + 2 b > 0. Take away b, which is not
# positive: w_0 + w_1 + b > 0, a yes to both. Two hidden units mend it. Let ReLU(z) be z if z is
# positive, and else 0. Then
#
#     2 ReLU(x_0 + x_1) - 4 ReLU(x_0 + x_1 - 1) - 1
#
# is -1 for no pixel, 1 for either one, and 4 - 4 - 1 = -1 for both. (Measured: no hidden layer
# 92.3%; 30 hidden units 96.6%.)
#
# **Why ReLU?** Two layers with nothing between them are one layer in disguise:
#
#     W2 (W1 X + b1) + b2 = (W2 W1) X + (W2 b1 + b2)
#
# Something **non-linear** must come between. It is called the **activation function**. ReLU, the
# **rectified linear unit** max(z, 0), is the simplest: a line with one bend (Fukushima, 1969; Nair
# and Hinton, 2010). We say that a unit is **on** for a sample where its entry of Z1 is positive,
# and else **off**.
#
# **Softmax** makes probabilities of scores. (The field calls such scores **logits**.) Let Z and A
# be the columns of Z2 and A2 for one sample, and Z_k and A_k their entries for class k.
# Probabilities must be positive and sum to 1. exp makes any number positive and keeps larger ones
# larger; to divide by the sum does the rest:
#
#     A_k = exp(Z_k) / total          total = exp(Z_0) + exp(Z_1) + ... + exp(Z_9)
#
# Since A_i / A_k = exp(Z_i - Z_k), only differences of scores count: subtract the same number from
# all scores of a sample, and A stays the same. We subtract the largest. Otherwise exp can overflow:
# in float32, exp(89) is inf, and inf / inf is nan. Now the largest term is exp(0) = 1. And it must
# be the largest *of that sample*: with one maximum for all, a sample whose scores are much lower
# has only terms that round to 0, and 0 / 0 is nan too.


# %%
def relu(Z):
    """Return max(Z, 0) element by element: same shape and dtype as Z.

    >>> print(relu(np.array([-2.0, 0.0, 3.0])))
    [0. 0. 3.]
    """
    return np.maximum(Z, 0)


def softmax(Z):
    """Return the probabilities A (10, m) of the scores Z (10, m): in [0, 1], each column sums to 1.

    >>> print(softmax(np.log(np.array([[2.0], [3.0], [5.0]]))).round(6).ravel())
    [0.2 0.3 0.5]
    >>> print(softmax(np.array([[1001.0], [1000.0]])).round(3).ravel())
    [0.731 0.269]
    """
    # axis=0 runs down each column; keepdims=True keeps the result a row, (1, m).
    E = np.exp(Z - Z.max(axis=0, keepdims=True))  # (10, m)
    return E / E.sum(axis=0, keepdims=True)  # (10, m)


def forward_prop(params, X):
    """Return Z1 (h, m), A1 (h, m), Z2 (10, m), A2 (10, m) for the samples X (784, m)."""
    W1, b1, W2, b2 = params
    Z1 = W1 @ X + b1  # (h, m)
    A1 = relu(Z1)  # (h, m)
    Z2 = W2 @ A1 + b2  # (10, m)
    A2 = softmax(Z2)  # (10, m)
    return Z1, A1, Z2, A2


# %% [markdown]
# ### In numbers
#
# A network for pencil and paper: 2 pixels, 3 hidden units, 2 classes, 2 samples. It stays with us
# to the end of chapter 6. (These pixels are not in 0..1, so that the numbers stay round.)
#
#     >>> W1 = np.array([[0.0, 2.0], [-1.0, 2.0], [1.0, -2.0]])
#     >>> b1 = np.array([[-1.0], [-1.0], [0.0]])
#     >>> W2 = np.array([[1.0, 2.0, 1.0], [2.0, -1.0, -1.0]])
#     >>> b2 = np.array([[-1.0], [1.0]])
#     >>> params = W1, b1, W2, b2
#     >>> X = np.array([[2.0, 5.0], [3.0, 1.0]])
#     >>> Z1, A1, Z2, A2 = forward_prop(params, X)
#
# Sample 0, the first column, has the pixels 2 and 3. Hidden unit 1 makes -1 * 2 + 2 * 3 - 1 = 3 of
# them, so it is on. For sample 1 it makes -1 * 5 + 2 * 1 - 1 = -4, and is off:
#
#     >>> print(Z1)
#     [[ 5.  1.]
#      [ 3. -4.]
#      [-4.  3.]]
#
# A1 has a 0 where Z1 is negative. So the score of class 0 for sample 0 is 1 * 5 + 2 * 3 + 1 * 0 - 1
# = 10. Class 1 gets 2 less, and the probability of class 0 is e^10 / (e^10 + e^8) = 1 / (1 + e^-2):
#
#     >>> print(Z2)
#     [[10.  3.]
#      [ 8.  0.]]
#     >>> print(A2.round(3))
#     [[0.881 0.953]
#      [0.119 0.047]]
#
# The network's **answer** is the class with the highest probability.


# %%
def probabilities(params, X):
    """Return A2 (10, m), the probabilities of the classes for the samples X (784, m).

    Raises ValueError if X is not a matrix: W1 @ X[:, 0] is (h,), a row to NumPy, and with the
    column b1 it would make h answers. X[:, :1] stays a column.
    """
    if X.ndim != 2:
        raise ValueError(f"X must have a column per sample, and not the shape {X.shape}")
    *before, A2 = forward_prop(params, X)  # *before: whatever comes before the last
    return A2


def predict(params, X):
    """Return the most probable classes (m,) for the samples X (784, m)."""
    return probabilities(params, X).argmax(axis=0)


def accuracy(predictions, y):
    """Return the share of right predictions, a float in [0, 1]. Both are (m,).

    >>> accuracy(np.array([7, 2, 1, 0]), np.array([7, 2, 1, 6]))
    0.75
    """
    return float(np.mean(predictions == y))


# %% [markdown]
# ### Exercises
#
# 4. (On paper.) A third sample, with the pixels 5 and 2, joins the example. Compute its column of
#    Z1, A1, Z2 and A2. Which hidden units are on? To check it, run forward_prop on it.
# 5. (Prove.) For two classes, softmax is the **sigmoid** of the difference of scores:
#    A_0 = 1 / (1 + exp(-(Z_0 - Z_1))).

# %% [markdown]
# ## 4. Loss: one number for how wrong the network is
#
# **The goal: a number that training can make smaller.**
#
# Accuracy will not do. Nudge one weight a little, and most likely not a single answer changes, so
# accuracy does not say which way is better. The probabilities do change.
#
# For each sample, the network gives some probability to its true class, here called y: A_y. For all
# m samples together, taken as independent, the probability of all true labels is the product of
# their A_y; it is called the **likelihood**. Good parameters make it large (**maximum
# likelihood**). Its logarithm, times -1, is a sum with one term per sample, and good parameters
# make that small: it is the **negative log-likelihood**. Its terms, and their mean, are our
# **loss**:
#
#     L = -log A_y = -(sum_k Y_k log A_k)       of one sample: the cross-entropy of Y and A
#     J = 1/m (sum of L over the m samples)     the mean: it does not grow with m
#
#     >>> print(-np.log(np.array([0.9, 0.5, 0.1, 0.01])).round(3))
#     [0.105 0.693 2.303 4.605]
#
# To be sure and right costs next to nothing, to be sure and wrong costs a lot. A network that knows
# nothing gives each class 1/10 and pays log 10 = 2.303, the **chance level**. An untrained one
# usually pays a little more, as it leans to some classes without reason (2.415 at the top of this
# file). If yours pays much more, its weights or inputs are too large, or the loss is wrong.
#
# **L is computed from the scores.** Write Z and A for the columns of Z2 and A2 of one sample:
#
#     L = -log A_y = -log (exp(Z_y) / sum_k exp(Z_k)) = log (sum_k exp(Z_k)) - Z_y
#
# Why not from A2, which we have? Because a tiny A_y is rounded to 0, and log 0 is -inf. (To write
# log(A2 + 1e-8) hides that, and L can then no longer exceed 18.42.) With scores there is no such
# trouble. Subtract the largest from all of them first: L stays the same, one term of the sum is
# exp(0) = 1, and the logarithm is a harmless number, at least 0 (the **log-sum-exp trick**):
#
#     >>> Z2_sure = np.array([[1000.0], [0.0]])
#     >>> print(softmax(Z2_sure).ravel())
#     [1. 0.]
#     >>> print(cross_entropy(Z2_sure, one_hot(np.array([1]), n_classes=2)))
#     1000.0
#
# In code, the one-hot Y picks Z_y: in the sum over k of Y_k Z_k, all other terms are 0.


# %%
def cross_entropy(Z2, Y):
    """Return J, the mean cross-entropy of the scores Z2 (10, m) for one-hot labels Y (10, m)."""
    shifted = Z2 - Z2.max(axis=0, keepdims=True)  # (10, m)
    total = np.exp(shifted).sum(axis=0)  # (m,)
    true_score = (Y * shifted).sum(axis=0)  # (m,)
    L = np.log(total) - true_score  # (m,)
    return np.mean(L)


def mean_loss(params, X, Y):
    """Return J of the network with `params` for the samples X (784, m), Y (10, m)."""
    *before, Z2, A2 = forward_prop(params, X)
    return cross_entropy(Z2, Y)


def evaluate(params, X, y):
    """Return the loss J and the accuracy on the samples X (784, m) with the labels y (m,)."""
    *before, Z2, A2 = forward_prop(params, X)
    Y = one_hot(y, n_classes=len(Z2))
    predictions = A2.argmax(axis=0)
    return float(cross_entropy(Z2, Y)), accuracy(predictions, y)


# %% [markdown]
# In the example of chapter 3, let sample 0 be of class 1, and sample 1 of class 0. The network gave
# these 0.119 and 0.953: it is wrong, then right, and J = (2.127 + 0.049) / 2 = 1.088:
#
#     >>> Z2 = np.array([[10.0, 3.0], [8.0, 0.0]])
#     >>> Y = one_hot(np.array([1, 0]), n_classes=2)
#     >>> print(cross_entropy(Z2, Y).round(3))
#     1.088
#
# It is easy to write cross_entropy(A2, Y). Then softmax is taken twice, and the loss seems stuck,
# since even the best A2 there can be, (1, 0, ..., 0), gives log (e + 9) - 1 = 1.461. If the loss
# stays above 1.46 while the accuracy is good, look for this.
#
# ### Exercises
#
# 6. (Prove.) Of many images that look exactly alike, 70% are labelled 3 and 30% are labelled 8. A
#    network must give all of them the same A. Which A makes the mean L smallest?

# %% [markdown]
# ## 5. Backward: the gradient
#
# **The goal: for each of the 7,960 parameters, by how much J changes when it changes.**
#
# That number is the slope dJ/dw of J by the parameter w, all others held still. (Books write it
# with a round d, for partial derivative.) All slopes together are the **gradient**. To measure them
# takes two forward passes per parameter, one with w a little larger and one with w a little
# smaller. To compute them takes one walk back through the network, the **backward pass**, with at
# most twice the work of one forward pass: two matrix products per layer, one in the first.
# This is **backpropagation** (Linnainmaa, 1970; Rumelhart, Hinton and Williams, 1986).
#
# **Names.** Write dW1 for all the slopes dJ/dW1, arranged as W1 is; db1, dW2, db2 likewise. On the
# way we need dZ2 and dZ1, and these are different: a column of Z2 belongs to one sample and moves
# only that sample's L. So dZ2 is dL/dZ2: column s holds the slopes of sample s's L. The 1/m of J
# comes in later, once in each of dW1, db1, dW2 and db2, where the samples are added up.
#
# **The chain rule.** If w moves u, and u moves L, the slopes multiply: dL/dw = (dL/du) (du/dw). Now
# let w move L through several numbers u and nothing else, and let no u move another. Move w
# by a small step. Each u then moves by (du/dw) step, and that alone would move L by (dL/du) (du/dw)
# step. When all u move, these changes of L add up. That holds **to first order**: where L has no
# corner, what it leaves out is of the size of step^2, and vanishes beside step. So
#
#     dL/dw = the sum over all u of (dL/du) (du/dw)          one product for each path from w to L
#
# For example, let u_0 = 2 w, u_1 = w^2 and L = u_0 u_1. The path through u_0 gives u_1 * 2 = 2 w^2,
# the one through u_1 gives u_0 * 2 w = 4 w^2. Together 6 w^2, which is the slope of L = 2 w^3.
#
# In our example network, two paths lead from hidden unit 1 to the loss of sample 0. We write [i, s]
# for row i, column s. Forward, A1[1, 0] = 3 goes into both scores, by the weights 2 and -1; the
# rest of each score comes from the other units and the bias. Backward, the slopes dZ2 of both
# scores (step 1 will say why they are 0.8808 and -0.8808) come back by the same weights, and are
# added where they meet:
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
# Now step by step, from the loss back to the pixels. Each step looks at one sample first, so that
# Z2, A2, Y, A1 and Z1 are single columns, and Z2[i] is entry i of one. With all m columns side by
# side the formulas stay the same, since no sample touches another's L. Only in dW and db the
# samples meet, in a sum.
#
# ### Step 1. Through loss and softmax: dZ2 = A2 - Y
#
# Write Z, A for the columns of Z2, A2. Chapter 4 has L = log (sum_k exp(Z_k)) - Z_y. Take
# the derivative by one of the scores, Z_i. The first term gives exp(Z_i) / sum_k exp(Z_k), which is
# A_i. The second gives -1 if i is the true class y and 0 if not, which is -Y_i. Together:
#
#     dL/dZ_i = A_i - Y_i
#
# What the network said minus what was true: positive for a class that got too much, negative for
# the true class. Over the ten classes it sums to 1 - 1 = 0. Let us call the slope of L by a number
# on the way the **blame** of that number, here of score i. (The field says **error signal**.)
#
# ### Step 1 again, by way of softmax
#
# Examiners ask for the long road, by way of the probabilities. Let total = sum_k exp(Z_k), so that
# A_k = exp(Z_k) / total, and d total/dZ_i = exp(Z_i). One score moves all probabilities: its own,
# and through the total the others too. By the quotient rule, for k = i
#
#     dA_i/dZ_i = (exp(Z_i) total - exp(Z_i) exp(Z_i)) / total^2 = A_i - A_i A_i
#
# and for k != i, where the numerator exp(Z_k) does not depend on Z_i,
#
#     dA_k/dZ_i = (0 - exp(Z_k) exp(Z_i)) / total^2 = -A_k A_i
#
# These derivatives, as a matrix, are the **Jacobian** of softmax: the matrix with A on its diagonal
# and 0 elsewhere, minus A A^T. It is symmetric, and its product with dL/dA is what follows. Since
# L = -(sum_k Y_k log A_k), the slope dL/dA_k is -Y_k / A_k. Ten paths lead from Z_i to L, one
# through each A_k. The one of k = i gives
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
# Z2[i], the Z_i of step 1, is (sum_j W2[i, j] A1[j]) + b2[i]. The weight W2[i, j] is in Z2[i] only,
# multiplied by A1[j]:
#
#     dL/dW2[i, j] = dZ2[i] A1[j]     blame of the score, times what came in by this weight
#     dL/db2[i]    = dZ2[i]           the same, with 1 in place of A1[j]
#
# J is the mean of L over the samples s, so its slope is the mean of these slopes. Give dZ2 and A1
# all their columns again:
#
#     dW2[i, j] = 1/m (sum_s dZ2[i, s] A1[j, s])    = 1/m (dZ2 A1^T)[i, j]
#     db2[i]    = 1/m (sum_s dZ2[i, s])             the sum of row i: b2[i] is added in each column
#
# Why the transpose? In (B C)[i, j] = sum_s B[i, s] C[s, j], s counts columns of B and rows of C.
# Here it counts columns in both, so A1 must be turned. (For a single sample this is a column times
# a row, the **outer product**.) In shapes: (10, m) times (m, h) is (10, h), the shape of W2.
#
# **Half-way house.** Put X in place of A1, and you have the whole gradient of a network without a
# hidden layer: Z = W X + b, A = softmax(Z), dW = 1/m (A - Y) X^T, db = 1/m (row sums of A - Y).
# This is **softmax regression**, or multinomial logistic regression. It is what read 92.3% in
# chapter 3. For the hidden layer we have to get through W2 and ReLU; then comes step 2 once more.
#
# ### Step 3. Back through W2
#
# A1[j] goes into all ten scores Z2[i], each time multiplied by W2[i, j]. Ten paths, so ten terms;
# what lies beyond Z2[i] is in dZ2[i] already:
#
#     dA1[j] = dL/dA1[j] = sum_i W2[i, j] dZ2[i] = (W2^T dZ2)[j]
#
# This is the blame of A1[j]. Forward, row i of W2 collects from the hidden units for score i.
# Backward, column j of W2 collects from the scores for hidden unit j: hence W2^T. In shapes:
# (h, 10) times (10, m) is (h, m).
#
# ### Step 4. Back through ReLU: dZ1
#
# ReLU is a gate. Where Z1 > 0 it lets the number through as it is: slope 1. Where Z1 < 0 it puts
# out 0, whatever comes: slope 0. At 0 itself there is a corner and no slope; by convention we take
# 0. Z1[j] moves A1[j] alone, so there is one path, and dZ1[j] is dA1[j] times 1 or 0:
#
#     dZ1 = (W2^T dZ2) * (Z1 > 0)           * is element by element; True counts as 1, False as 0
#
# Where a unit is off for a sample, no blame gets through. (A1 > 0 would do as well: A1 is max(Z1,
# 0), and so it is positive exactly where Z1 is. A1 >= 0 would not: it is always true.)
#
# ### Step 5. The weights and biases of the hidden layer: dW1, db1
#
# Z1[j] = (sum_p W1[j, p] X[p]) + b1[j] has the form of step 2, with X in place of A1. So as there
#
#     dW1 = 1/m dZ1 X^T                     db1 = 1/m (row sums of dZ1)
#
# Here the walk ends: pixels are given, not learnt. (dL/dX would be W1^T dZ1, as in step 3.)
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
# **What must be kept for the way back?** Look at the right side: X, A1 and A2, besides W2 and Y. Z1
# only says where the gate is open, and A1 says that too; Z2 is not used. What is kept is called the
# **cache**. It has a column for each sample, and in large networks takes most of the memory. Ours
# is all four that forward_prop returns; X is handed over beside it.
#
# **All slopes belong to one point**: the parameters with which the forward pass ran. The cache was
# made with them, and the W2 of step 3 must be that W2. So compute all gradients first, and only
# then change the parameters.


# %%
def backward_prop(params, X, Y, cache):
    """Return the gradient dW1, db1, dW2, db2 of J, each of the shape of its parameter.

    X (784, m), Y (10, m); `cache` is what forward_prop(params, X) returned.
    """
    W1, b1, W2, b2 = params
    Z1, A1, Z2, A2 = cache
    m = X.shape[1]
    # axis=1 sums along each row, over the samples; keepdims=True keeps the sum a column.
    # * and @ are computed from left to right: first 1 / m * dZ2, which is small.
    dZ2 = A2 - Y  # (10, m)
    dW2 = 1 / m * dZ2 @ A1.T  # (10, h)
    db2 = 1 / m * dZ2.sum(axis=1, keepdims=True)  # (10, 1)
    dZ1 = (W2.T @ dZ2) * (Z1 > 0)  # (h, m)
    dW1 = 1 / m * dZ1 @ X.T  # (h, 784)
    db1 = 1 / m * dZ1.sum(axis=1, keepdims=True)  # (h, 1)
    return dW1, db1, dW2, db2


# %% [markdown]
# ### In numbers
#
# The example again, whole, so that you can type it without the chapters before:
#
#     >>> W1 = np.array([[0.0, 2.0], [-1.0, 2.0], [1.0, -2.0]])
#     >>> b1 = np.array([[-1.0], [-1.0], [0.0]])
#     >>> W2 = np.array([[1.0, 2.0, 1.0], [2.0, -1.0, -1.0]])
#     >>> b2 = np.array([[-1.0], [1.0]])
#     >>> params = W1, b1, W2, b2
#     >>> X = np.array([[2.0, 5.0], [3.0, 1.0]])
#     >>> Y = one_hot(np.array([1, 0]), n_classes=2)
#     >>> cache = forward_prop(params, X)
#     >>> Z1, A1, Z2, A2 = cache
#     >>> dW1, db1, dW2, db2 = backward_prop(params, X, Y, cache)
#
# The blame of the scores is A2 minus Y, most of it where the network is wrong, about sample 0:
#
#     >>> dZ2 = A2 - Y
#     >>> print(dZ2.round(4))
#     [[ 0.8808 -0.0474]
#      [-0.8808  0.0474]]
#
# dW2 and db2 are means over both samples. The weight from hidden unit 0 to score 0 gets
# (0.8808 * 5 - 0.0474 * 1) / 2 = 2.178, the bias of score 0 gets (0.8808 - 0.0474) / 2 = 0.417:
#
#     >>> print(dW2.round(3))
#     [[ 2.178  1.321 -0.071]
#      [-2.178 -1.321  0.071]]
#
# The blame of what hidden unit 1 puts out is the 2.642 of the drawing for sample 0. For sample 1 it
# is 2 * (-0.0474) - 1 * 0.0474 = -0.142, but there unit 1 is off, and dZ1 is 0:
#
#     >>> print((W2.T @ dZ2).round(3))
#     [[-0.881  0.047]
#      [ 2.642 -0.142]
#      [ 1.762 -0.095]]
#     >>> dZ1 = (W2.T @ dZ2) * (Z1 > 0)
#     >>> print(dZ1.round(3))
#     [[-0.881  0.047]
#      [ 2.642 -0.   ]
#      [ 0.    -0.095]]
#
# (-0. is 0; it is what NumPy makes of -0.142 * 0.) The weight from pixel 1, which is 3 in sample 0
# and 1 in sample 1, to hidden unit 0 gets (-0.8808 * 3 + 0.0474 * 1) / 2 = -1.297:
#
#     >>> print(dW1.round(3))
#     [[-0.762 -1.297]
#      [ 2.642  3.964]
#      [-0.237 -0.047]]
#
# ### Is it right? The gradient check
#
# A derivation is a claim about slopes, and a slope can be measured. Move one number w up and down
# by a small step, and see how J changes. This is the **central difference**:
#
#     dJ/dw is nearly (J(w + step) - J(w - step)) / (2 step)
#
# Why on both sides? By Taylor's series, (J(w + step) - J(w)) / step is off by about step J'' / 2.
# Here the J'' cancel, and only step^2 J''' / 6 is left. Which step? With a tiny one, the two J are
# so equal that their difference has few correct digits left. Numbers in float64 have 16 digits, and
# 1e-5 suits these; float32, with its 7, would often leave none for the slope. So we measure in
# float64. Where the step carries some Z1 across 0, over the corner of ReLU, the measured number
# mixes two slopes, and is off although the derivation is right. (More in part 1 of `test_nn.py`,
# beside this file.)


# %%
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
    """Return, for each parameter, the largest difference between derived and measured slope.

    One that has a wrong shape or is nan has the error inf; if one is missing, all have.
    """
    params = [P.astype(np.float64) for P in params]
    derived = backward_prop(params, X, Y, forward_prop(params, X))
    measured = measure_gradient(params, X, Y)
    if len(derived) != len(measured):
        return [np.inf] * len(measured)
    errors = []
    for dP, M in zip(derived, measured):
        if np.shape(dP) != M.shape or np.isnan(dP - M).any():
            errors.append(np.inf)
        else:
            errors.append(np.abs(dP - M).max())
    return errors


# %% [markdown]
# In the example, derived and measured slopes agree to nine decimals. `test_nn.py` shows the same
# for all 7,960 of the real network.
#
#     >>> print(max(gradient_errors(params, X, Y)) < 1e-9)
#     True
#
# ### Wrong lines, and what one sees of them
#
# Training hides mistakes. Each line below was put in place of the line of backward_prop with the
# same left side, and measured: loss and accuracy on the validation images. With all lines right it
# is 0.24 and 93.2%. (Chapters 6 and 7 explain training. For now: it makes steps, such as from W1 to
# W1 - 0.15 dW1, each for a batch of 64 samples. A unit that is off for all samples is dead.)
#
#     the wrong line                                loss    accuracy
#     dW2 = 1 / m * dZ2 @ Z1.T                      0.28    92.6%   Z1 for A1
#     db2 = 1 / m * np.sum(dZ2)                     0.25    93.0%   no axis: always 0, since each
#                                                                   column of dZ2 sums to 0
#     db1 = 1 / m * np.sum(dZ1)                     0.24    93.2%   no axis: one bias for all units
#     dZ1 = (W2 @ dZ2) * (Z1 > 0)                   0.25    93.1%   no .T: if h is 10, W2 is square
#                                                                   and nothing complains
#     dZ1 = (W2.T @ dZ2) * (A1 >= 0)                > 100   < 60%   the gate never closes
#     dZ1 = (W2.T @ dZ2) * (Z1 < 0)                 > 100   < 60%   the gate upside down
#     dZ1 = ((W2 - 0.15 * dW2).T @ dZ2) * (Z1 > 0)  nan     -       the W2 after the step
#     dZ2 = Y - A2                                  nan     -       uphill
#     dZ2 = 1 / m * (A2 - Y)                        0.34    90.3%   1/m twice: steps too short
#     m = 55000                                     1.29    64.9%   not the m of X: steps
#                                                                   860 times too short
#     m = 1                                         2.30     9.9%   no 1/m: steps 64 times too long,
#                                                                   all units dead
#
# Hardly anybody who sees the accuracies of the first four would suspect anything. Measure the
# gradient, and all eleven are found.
#
# ### A network of any depth
#
# Let A(0) = X, and for the layers l = 1, 2, ... let Z(l) = W(l) A(l-1) + b(l) and, but for the
# last, A(l) = g(Z(l)), with any function g that works element by element, and its slope g' (for
# ReLU, Z(l) > 0). Steps 3 and 4 make the first formula, step 5 the second:
#
#     dZ(l) = (W(l+1)^T dZ(l+1)) * g'(Z(l))
#     dW(l) = 1/m dZ(l) A(l-1)^T                db(l) = 1/m (row sums of dZ(l))
#
# Only the last layer has no layer above it: its dZ comes from the loss, and is A - Y here.
#
# ### Other courses
#
# **Samples in rows.** X is (m, 784), W1 is (784, h), b1 is a row (1, h). Everything is transposed,
# and (B C)^T = C^T B^T. The card then reads
#
#     Z1 = X W1 + b1                        dW1 = 1/m X^T dZ1     db1 = 1/m (column sums of dZ1)
#     A1 = ReLU(Z1)                         dZ1 = (dZ2 W2^T) * (Z1 > 0)
#     Z2 = A1 W2 + b2                       dW2 = 1/m A1^T dZ2    db2 = 1/m (column sums of dZ2)
#     A2 = softmax of each row of Z2        dZ2 = A2 - Y
#
# **1/m elsewhere.** Some courses write dZ2 = 1/m (A2 - Y), and have no 1/m in dW and db: the same
# gradients. With both, it is there twice.
#
# **Sigmoid with squared error.** The **sigmoid** is a = 1 / (1 + exp(-z)). Its slope is
# exp(-z) / (1 + exp(-z))^2 = a (1 - a). With sigmoid outputs and half the squared error,
# L = 1/2 sum_i (A2[i] - Y[i])^2, the last line of the card becomes
#
#     A2 = 1 / (1 + exp(-Z2))               dZ2 = (A2 - Y) * A2 * (1 - A2)
#
# For an output that is sure and wrong, 0.99 instead of 0, this is 0.0098, while cross-entropy has
# 0.99: little is learnt just where there is most to learn. In the hidden layer, sigmoids change
# (Z1 > 0) to A1 * (1 - A1), and tanh changes it to 1 - A1 * A1. The first is at most 1/4, and so
# blame fades on its way through many such layers; the slope 1 of ReLU lets it through whole.
#
# **A single sigmoid output**, with L = -Y log A - (1 - Y) log (1 - A), is softmax for two classes
# (exercise 5), and dZ = (-Y / A + (1 - Y) / (1 - A)) A (1 - A) = A - Y again.
#
# ### Exercises
#
# 7. (Prove.) What becomes of J and of the gradient if each sample is in X twice? And what,
#    if J were the sum of all L and not their mean?
# 8. (On paper.) The third sample of exercise 4, of class 0, joins the example. Compute its column
#    of dZ2 and of dZ1, and the new db2. To check it, type the example with three columns. (Chapter
#    6 goes on with two.)
#
# For exercises like the next two, copy this file into another folder, and put check() into the
# copy, without the >>> and dots. Change the copy, and start Python in its folder. The check
# measures the gradient of a small network, with 6 inputs, 5 hidden units, 4 classes, and biases
# that are not 0. It says True if all gradients are right, else False (or ends in an error):
#
#     >>> def check():
#     ...     rng = np.random.default_rng(1)
#     ...     X = rng.standard_normal((6, 20))
#     ...     Y = one_hot(rng.integers(0, 4, 20), n_classes=4)
#     ...     params = init_params(5, rng, n_in=6, n_classes=4)
#     ...     params = [P + rng.standard_normal(P.shape) / 10 for P in params]
#     ...     errors = gradient_errors(params, X, Y)
#     ...     print(np.round(errors, 6))
#     ...     return bool(max(errors) < 1e-8)
#     >>> check()
#     [0. 0. 0. 0.]
#     True
#
# 9. (Code.) Put the wrong lines of the table into backward_prop, one at a time. Say first which of
#    the four gradients will be wrong; then see which errors check() prints. (Which line is an error
#    here, and why not in the network of ten and ten?)
# 10. (Code.) Let ReLU leak: relu(Z) is Z where Z > 0, and Z / 10 elsewhere. What becomes of dZ1?

# %% [markdown]
# ## 6. Update: one step downhill
#
# **The goal: to change the parameters so that J falls.**
#
# Move one parameter w by a small step, and J moves by about (dJ/dw) step; that is what a slope is.
# Move all of them, and to first order these changes add up, as they did along the paths of chapter
# 5. Now choose each step to be -alpha (dJ/dw), with a small positive number alpha, the **learning
# rate**. Each change is then -alpha (dJ/dw)^2, which is never positive. So J falls, by about
#
#     alpha (sum of the squares of all entries of dW1, db1, dW2 and db2)
#
# This is **gradient descent** (Cauchy, 1847): W := W - alpha dW and b := b - alpha db (:= says
# becomes), repeated. Of all steps of its length it is the **steepest**: the scalar product of
# two vectors of given lengths is largest where they are parallel (Cauchy-Schwarz).


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


# %% [markdown]
# ### In numbers
#
# The example of chapter 5 goes on, with alpha = 0.001. First the fall that is predicted, then the
# fall that comes:
#
#     >>> grads = backward_prop(params, X, Y, cache)
#     >>> print((0.001 * sum((dP**2).sum() for dP in grads)).round(4))
#     0.0403
#     >>> stepped = update_params(params, grads, 0.001)
#     >>> print((mean_loss(params, X, Y) - mean_loss(stepped, X, Y)).round(4))
#     0.04
#
# With alpha = 0.5 the slopes would predict a fall by 0.5 * 40.27 = 20.1. But J is only 1.088, and
# it climbs: slopes promise nothing about long steps. And hidden unit 1 is now off for both samples:
#
#     >>> stepped = update_params(params, grads, 0.5)
#     >>> print(mean_loss(stepped, X, Y).round(3))
#     3.419
#     >>> Z1, A1, Z2, A2 = forward_prop(stepped, X)
#     >>> print(A1.round(2))
#     [[7.92 3.76]
#      [0.   0.  ]
#      [0.   3.64]]
#
# A unit that is off for all training images is **dead**: its gate is closed for all of them, its
# gradient is 0, and so, in this network, no further step moves it. Measured with alpha = 1.5, ten
# times the default: all ten hidden units are dead, and 11.4% is read correctly.


# %%
def dead_units(params, X):
    """Return which hidden units are off for all samples X (784, m): h times True or False."""
    Z1, A1, *after = forward_prop(params, X)
    return (A1 == 0).all(axis=1)


# %% [markdown]
# ### Exercises
#
# 11. (Prove.) Let J(w) = w^2, with a single parameter w. For which alpha does gradient descent come
#     ever closer to the lowest point? For which does it reach it in one step?

# %% [markdown]
# ## 7. Training: many small steps
#
# **The goal: from one step to a trained network.**
#
# ### A few images at a time
#
# The gradient of J over all 55,000 training images costs a pass over all of them, for a single
# step. Over 64 random ones, a **mini-batch**, it costs an 860th of that, and is off by chance, but
# not to one side (it is **unbiased**). So one pass over all images, an **epoch**, makes 860 steps.
# (The last batch has only 24 images.) Measured: 30 epochs of one exact step each, 72% (the best of
# alpha = 0.15, 0.3, 0.5 and 1); 30 epochs of 860 rough ones, 93.2%. This is **stochastic gradient
# descent**, SGD for short (Robbins and Monro, 1951), and this is all of training:


# %%
def train_epoch(params, X, Y, batch_size, learning_rate, rng):
    """Return the params after one epoch of SGD on X (784, m), Y (10, m).

    The batches come in random order.
    """
    batch_starts = np.arange(0, X.shape[1], batch_size)
    for start in rng.permutation(batch_starts):
        X_batch = X[:, start : start + batch_size]
        Y_batch = Y[:, start : start + batch_size]
        cache = forward_prop(params, X_batch)
        grads = backward_prop(params, X_batch, Y_batch, cache)
        params = update_params(params, grads, learning_rate)
    return params


# %% [markdown]
# A batch is 64 neighbouring columns, and each epoch takes the batches in another order. They are
# random images because `split` has shuffled them. (Many programs shuffle anew in each epoch.) That
# matters: files are often sorted, and when hundreds of batches in a row hold the same digit, the
# others are unlearnt. Measured with images and batches sorted by digit: 42%.
#
# ### Where training starts
#
# How large should the random weights be? Not 0: with W1 = 0, A1 is 0 and each gate is shut, so that
# no weight ever moves, and only b2 learns. (Measured: 11.4%.) Look at one unit with n inputs x and
# bias 0, z = w_1 x_1 + ... + w_n x_n. Draw its weights independently, with mean 0 and variance v.
# z^2 is the sum of w_p x_p w_q x_q over all p and q. Over many draws, with the same x, w_p^2 has
# the mean v, and w_p w_q, for two different weights, the mean 0. So only the squares remain:
#
#     mean of z^2 over the draws = v (x_1^2 + ... + x_n^2) = n v (mean of x^2 over the inputs)
#
# Let the inputs come out of a hidden layer: x = max(u, 0), with sums u that are as often and as far
# above 0 as below. Then ReLU makes half of the squares 0, and the mean of x^2 is half that of u^2.
# So from one layer's sums to the next one's, the mean square is multiplied by n v / 2. With
# v = 2 / n it stays the same (He et al., 2015). With many layers the factors multiply: after ten
# with half that v, about 1 / 2^10 is left. (Tried once with 1,000 units in each: 0.63 with
# v = 2 / n, as no factor is exactly 1, and 0.001 with v = 1 / n.)
#
# The mean square of the blame is multiplied likewise on its way back, with the number of units
# above for n. In deep networks it may fade or blow up: the **vanishing** or **exploding gradient**.
# For W1 the 2 is only a convenience: its inputs are pixels, of mean square 0.11, and no ReLU stands
# before it. And with two layers, smaller weights do as well. Measured, all weights times 0.1:
# 93.8%; times 10: 77.0%, with up to five of the ten units dead.
#
# ### A falling learning rate
#
# Each batch is a little off, so with a constant alpha the parameters end up wandering about.
# Measured over the last five epochs, the highest and the lowest validation accuracy differ by 0.8
# percentage points with a constant alpha. Let alpha fall in a straight line from half-way on, and
# they differ by 0.2 points. Such a plan is called a **learning-rate schedule**.
#
# ### When to stop
#
# How well a network does on images that it was not trained on is called **generalisation**.
# Measured with 30 hidden units and alpha = 0.4: the loss ends at 0.02 on training images, and at
# 0.15 on validation images, where it was lowest, 0.13, before the tenth epoch, and has climbed
# since. The network has begun to learn its training images by heart: this is **overfitting**. (Here
# it only grows surer where it is wrong; the accuracy does not fall.) What holds it back is called
# **regularisation**: fewer epochs (**early stopping**), moved copies of the images (**data
# augmentation**), or **weight decay** (L2 regularisation), which adds a little of the weights'
# squares to the loss (exercise 13).
#
# **Hyperparameters** are what training does not learn and you choose: h, the number of epochs, the
# batch size, alpha. Ours, but for h, were chosen by validation accuracy, over 20 seeds.

# %%
# fmt: off
HIDDEN = 10           # h: more units read better and take longer to train
EPOCHS = 30           # passes over the training images: more gain little
BATCH_SIZE = 64       # images per step: with few, many noisy steps; with many, few better ones
LEARNING_RATE = 0.15  # alpha at the start: a lower one is slower, a higher one kills hidden units
SEED = 0              # of all random numbers: the same seed gives the same run
# fmt: on

# %% [markdown]
# ### All together
#
# `train` repeats train_epoch, with the falling alpha, and after each epoch prints loss and accuracy
# on 5,000 training and on the validation images.

# %%
import time


class UserError(Exception):
    """Something that you, the user, can put right; its text says how."""


def train(params, X, y, X_val, y_val, epochs, batch_size, learning_rate, rng):
    """Return the trained params, and a history with a row for each epoch: loss and accuracy on
    training images, loss and accuracy on validation images.

    Trains on X (784, m), y (m,), which should be in random order; X_val, y_val only judge. Prints a
    line per epoch. Raises ValueError if y does not fit X, and UserError if the loss is no longer a
    number or half of the hidden units are dead.
    """
    if X.ndim != 2 or y.shape != X.shape[1:]:
        raise ValueError(f"X must be (n, m) and y (m,), and not {X.shape} and {y.shape}")
    n_classes = len(probabilities(params, X[:, :1]))
    Y = one_hot(y, n_classes)
    history = []
    print("       training          validation        learning")
    print("epoch  loss    accuracy  loss    accuracy  rate      seconds")
    start_time = time.perf_counter()
    for epoch in range(1, epochs + 1):
        epochs_left = epochs - epoch + 1  # this one included
        rate = learning_rate * min(1, 2 * epochs_left / epochs)
        params = train_epoch(params, X, Y, batch_size, rate, rng)

        loss, share = evaluate(params, X[:, :5000], y[:5000])
        val_loss, val_share = evaluate(params, X_val, y_val)
        if not np.isfinite(loss):
            raise UserError(f"the loss is {loss} after epoch {epoch}: lower the learning rate")
        history.append((loss, share, val_loss, val_share))
        seconds = time.perf_counter() - start_time
        print(
            f"{epoch:5}  {loss:.4f}  {share:8.2%}  {val_loss:.4f}  {val_share:8.2%}"
            f"  {rate:<8.4g}  {seconds:7.2f}"
        )
    print(f"trained {epochs} epochs in {time.perf_counter() - start_time:.2f} s")
    dead = dead_units(params, X)
    if dead.mean() >= 0.5:
        problem = f"{dead.sum()} of {len(dead)} hidden units are dead"
        raise UserError(f"{problem}: lower the learning rate, or try another seed")
    return params, history


# %% [markdown]
# ### Exercises
#
# 12. (Measure.) Run the program with `--batch-size 4096`. How many steps does it make, and how many
#     does the default run make? Compare the validation accuracies. Does another alpha help?
# 13. (Code.) Weight decay: add 0.0005 times the sum of the squares of all entries of W1 and W2 to
#     the J that mean_loss returns. Which gradients change, and how? Use check() of chapter 5.
# 14. (Code.) A good first test of any network: can it learn 20 images by heart? Take the first 20
#     columns of X_train, as the end of chapter 8 says how to get them, and call train_epoch until
#     evaluate gives accuracy 1.0 on them. If that takes a thousand epochs, something is wrong.

# %% [markdown]
# ## 8. Judging what it has learnt
#
# **The goal: to see which mistakes the network makes, and to know why.**
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
# **What ten hidden units cannot do.** The run at the top of this file reads 559 of the 10,000 test
# images wrongly, and 48 times it takes a 4 for a 9 or a 9 for a 4, more often than any other two.
# Each hidden unit has a weight for every pixel, so row j of W1 is an image too: it shows which ink
# turns unit j on. Ten such images must do for ten digits in everyone's handwriting. More epochs do
# not help (measured with 60: 93.1%); more units do, as chapter 3 showed.
#
# **What training never showed.** Move the validation images by 2 pixels to the right, and the
# same networks read 67% of them; by 4 pixels, 28%. They have learnt where ink is, not what a digit
# looks like.
#
# **Why such networks fail on your own digits.** The reason is the same. MNIST's authors fitted each
# digit into a box of 20x20 pixels and moved the centre of mass of its ink to the middle of 28x28. A
# network trained on these knows nothing else: not digits that are larger, or in a corner, or drawn
# with a thin pen. Here is what networks read of 95 digits that strangers drew with other programs,
# and of 1,440 photographs that were simulated (10 units: mean of the seeds 0 to 2; 300 units: seed
# 0 and alpha = 0.4; the digits of the last column are drawn by appendix A):
#
#     what is done to the picture         10 units    300 units    10 units, trained on drawn digits
#     shrunk to 28x28, no more            31.6%       56.8%        30.9%
#     laid out as MNIST's digits are      83.5%       93.7%        77.2%
#     and thin strokes made wider         91.6%       97.9%        89.1%
#     all that, on photographs            92.8%       97.2%        88.7%
#
# So prepare what you read as your training images were prepared. Chapter 10 does that for `--read`
# and `--draw`. Some of what still fails looks like another digit in MNIST, where people wrote as
# Americans do: a 1 with a long flag is read as a 7, a 0 with a slash as an 8.
#
# ### From the symptom to the mistake
#
#     the loss becomes nan                the gradient points uphill; dZ1 computed from the new W2;
#                                         softmax's sum without its axis; exp of scores above 88
#     the loss stays about 2.3            X and y not shuffled alike; all units dead; all weights 0;
#                                         each column of X a mixture of images
#     the loss stays near 1.5, and yet    cross_entropy(A2, Y) for cross_entropy(Z2, Y)
#     the accuracy is good
#     many hidden units are dead: their   learning rate too high; 1/m forgotten; pixels left in
#     rows of A1 are 0 for all images     0..255; weights too large at the start
#     learning is very slow               1/m twice; the m of all the data; learning rate too low
#     the loss falls, then climbs, in     learning rate too high; a wrong gradient
#     training
#     the same, in validation only        overfitting: fewer epochs, more images, weight decay
#     better in validation than in        validation images that are easier, by chance or because
#     training                            they are not like the others
#     good in validation, bad in use      images laid out otherwise than those of the training
#     the error "could not be broadcast"  a (10,) that should be (10, 1): a sum without keepdims
#     a little worse than expected        perhaps chance: try other seeds. Or a wrong gradient:
#                                         check it
#
# ### The whole program on one screen
#
# This is chapters 1 to 8 without a comment. Type it; change it. It reads MNIST's four files in the
# folder `data`, where `python nn_from_scratch.py` puts them, and reaches the same test accuracy to
# the last digit: 94.41% with the seed 0. (Another processor or version of NumPy may round the
# products otherwise, and so end in another network.)
#
#     import gzip
#     import numpy as np
#
#     def read(name, header):
#         with gzip.open("data/" + name + "-ubyte.gz") as file:
#             return np.frombuffer(file.read(), np.uint8, offset=header)
#
#     X = read("train-images-idx3", 16).reshape(60000, 784).T.astype(np.float32) / 255
#     y = read("train-labels-idx1", 8)
#     X_test = read("t10k-images-idx3", 16).reshape(10000, 784).T.astype(np.float32) / 255
#     y_test = read("t10k-labels-idx1", 8)
#
#     rng = np.random.default_rng(0)
#     in_train = rng.permutation(60000)[5000:]
#     X = X[:, in_train]
#     Y = np.zeros((10, 55000), np.float32)
#     Y[y[in_train], np.arange(55000)] = 1
#
#     W1 = rng.standard_normal((10, 784), np.float32) * (2 / 784) ** 0.5
#     b1 = np.zeros((10, 1), np.float32)
#     W2 = rng.standard_normal((10, 10), np.float32) * (2 / 10) ** 0.5
#     b2 = np.zeros((10, 1), np.float32)
#
#     for epoch in range(30):
#         alpha = 0.15 * min(1, 2 * (30 - epoch) / 30)
#         for start in rng.permutation(np.arange(0, 55000, 64)):
#             X_batch = X[:, start : start + 64]
#             Y_batch = Y[:, start : start + 64]
#             m = X_batch.shape[1]
#
#             A1 = np.maximum(W1 @ X_batch + b1, 0)
#             Z2 = W2 @ A1 + b2
#             E = np.exp(Z2 - Z2.max(axis=0))
#             A2 = E / E.sum(axis=0)
#
#             dZ2 = A2 - Y_batch
#             dW2 = 1 / m * dZ2 @ A1.T
#             db2 = 1 / m * dZ2.sum(axis=1, keepdims=True)
#             dZ1 = (W2.T @ dZ2) * (A1 > 0)
#             dW1 = 1 / m * dZ1 @ X_batch.T
#             db1 = 1 / m * dZ1.sum(axis=1, keepdims=True)
#
#             W1 = W1 - alpha * dW1
#             b1 = b1 - alpha * db1
#             W2 = W2 - alpha * dW2
#             b2 = b2 - alpha * db2
#
#     Z2 = W2 @ np.maximum(W1 @ X_test + b1, 0) + b2
#     print(f"test accuracy {np.mean(Z2.argmax(axis=0) == y_test):.2%}")
#
# For the functions of the chapters, the same data are
#
#     X, y, X_test, y_test = load_mnist("data")
#     X_train, y_train, X_val, y_val = split(X, y, np.random.default_rng(0))
#
# ### Exercises
#
# Three things to try after `python -i nn_from_scratch.py`, or in the notebook after its last cell:
# `params`, `history`, `X_test` and `y_test` are at hand. (Close the window of the picture first.)
#
# - `accuracy(predict(params, np.roll(X_test, 2, axis=0)), y_test)` moves the images 2 pixels to the
#   right (ink that leaves them comes in on the left, a row lower). How far until half of them are
#   read wrongly? And up or down, by 28 * 2?
# - `plt.figure(); plt.imshow(params[0][4].reshape(28, 28)); plt.show()` shows hidden unit 4. Which
#   images turn it on most? `Z1, A1, Z2, A2 = forward_prop(params, X_test)` gives you A1.
# - `W1, b1, W2, b2 = params; b1 = b1.copy(); b1[4] = -1000` switches it off, in a copy. Which
#   digits suffer? `confusion_matrix(predict((W1, b1, W2, b2), X_test), y_test)` shows them.
#
# 15. (Code.) Give the network a second hidden layer, as large as the first: W1, b1, then W2, b2,
#     and W3, b3 for the output. Derive six gradients, and rewrite init_params, forward_prop,
#     backward_prop and update_params. Nothing else need change: check() of chapter 5 measures all
#     six, and the program runs to its end. Then do it for any number of layers.
#
# ### Answers
#
# 1. (W X)[i, s] = sum_p W[i, p] X[p, s]. For a fixed s only X[p, s] is used, column s of X, and the
#    sum is what row i of W makes of that column.
# 2. [[0 1 2] [3 4 5] [6 7 8] [9 10 11]] and [[0 4 8] [1 5 9] [2 6 10] [3 7 11]]. Image 0 is 0, 1,
#    2, 3. That is column 0 of the second; the first has 0, 3, 6, 9 there, of all three images.
# 3. Z2[i] = sum_j W2[i, j] ReLU(sum_p W1[j, p] X[p] + b1[j]) + b2[i]. The sum over j has the same
#    terms in another order. Ten units can stand in 10! = 3,628,800 orders, so that many networks
#    are one and the same. (So J is not **convex**, a bowl. Else the mean of all these networks, its
#    units all alike, would do as well as they do; chapter 2 says how little such a network reads.)
# 4. Z1: 3, -2, 1. A1: 3, 0, 1. Units 0 and 2 are on. Z2: 3 + 1 - 1 = 3 and 6 - 1 + 1 = 6. A2:
#    1 / (1 + e^3) = 0.0474 and 0.9526.
# 5. exp(Z_0) / (exp(Z_0) + exp(Z_1)). Divide both parts by exp(Z_0): 1 / (1 + exp(Z_1 - Z_0)).
# 6. With a = A_3 and b = A_8, the mean L is -0.7 log a - 0.3 log b. Probability given to other
#    classes is wasted, so b = 1 - a. The slope -0.7 / a + 0.3 / (1 - a) grows with a, and is 0
#    where a = 0.7: there the mean L is smallest. So A_3 = 0.7 and A_8 = 0.3: the best a network can
#    say is how often each is true.
# 7. Nothing: the sum has each term twice, and 1/m becomes 1/(2m). A sum of all L would double, and
#    so would the gradient: the step would grow with the batch.
# 8. dZ2: 0.0474 - 1 = -0.9526 and 0.9526. dZ1: unit 0 gets 1 * (-0.9526) + 2 * 0.9526 = 0.9526,
#    unit 1 is off and gets 0, unit 2 gets 1 * (-0.9526) - 1 * 0.9526 = -1.9052. db2:
#    (0.8808 - 0.0474 - 0.9526) / 3 = -0.0397, and 0.0397.
# 9. In the order of the table: dW2; db2 (its shape is wrong: inf); db1 (inf); dW1, db1 (in check()
#    an error, as W2 is not square there); dW1, db1; dW1, db1; dW1, db1; then all four, four times.
#    It is always what stands on the left side of the line, and what is computed from it.
# 10. dZ1 is W2.T @ dZ2 where Z1 > 0, and a tenth of it elsewhere: np.where(Z1 > 0, dA1, dA1 / 10)
#     with dA1 = W2.T @ dZ2.
# 11. dJ/dw = 2 w, so w becomes (1 - 2 alpha) w. It shrinks if -1 < 1 - 2 alpha < 1, which is
#     0 < alpha < 1, and is 0 after one step if alpha = 0.5. With alpha above 1 it grows.
# 12. 14 batches, so 30 * 14 = 420 steps; and 30 * 860 = 25,800. Measured: 90.3% instead of 93.2%.
#     Twice the alpha gives 91.3%: longer steps make up for fewer ones, but only in part.
# 13. The slope of 0.0005 w^2 is 0.001 w: dW1 and dW2 get + 0.001 * W1 and + 0.001 * W2. So each
#     step shrinks the weights a little: hence the name.
# 14. With `rng = np.random.default_rng(0)`, `params = init_params(10, rng)` and
#     `Y = one_hot(y_train[:20])`, repeat
#     `params = train_epoch(params, X_train[:, :20], Y, 20, 0.15, rng)` until
#     `evaluate(params, X_train[:, :20], y_train[:20])` says 1.0.
# 15. With two hidden layers, A3 = softmax(Z3), dZ3 = A3 - Y, dW3 = 1/m dZ3 A2^T, and
#     dZ2 = (W3^T dZ3) * (Z2 > 0), dW2 = 1/m dZ2 A1^T, and dZ1, dW1 as before. With any number:
#
#     def init_params(n_hidden, rng, n_in=784, n_classes=10):
#         sizes = [n_in, n_hidden, n_hidden, n_classes]  # as many as you like
#         params = []
#         for below, above in zip(sizes, sizes[1:]):
#             W = rng.standard_normal((above, below), dtype=np.float32)
#             params += [W * (2 / below) ** 0.5, np.zeros((above, 1), dtype=np.float32)]
#         return params
#
#     def forward_prop(params, X):
#         cache = []
#         A = X
#         for W, b in zip(params[0::2], params[1::2]):
#             Z = W @ A + b
#             A = relu(Z)
#             cache += [Z, A]
#         cache[-1] = softmax(Z)
#         return cache
#
#     def backward_prop(params, X, Y, cache):
#         m = X.shape[1]
#         inputs = [X, *cache[1::2]]  # X, A1, A2, ...: what goes into each layer
#         dZ = inputs.pop() - Y
#         grads = []
#         for W, A in zip(params[-2::-2], inputs[::-1]):
#             grads = [1 / m * dZ @ A.T, 1 / m * dZ.sum(axis=1, keepdims=True), *grads]
#             dZ = (W.T @ dZ) * (A > 0)  # of no use below the first layer
#         return grads
#
#     def update_params(params, grads, learning_rate):
#         return [P - learning_rate * dP for P, dP in zip(params, grads)]
#
# **Here the lesson ends.** What follows draws, reads your own digits, fetches files and reads the
# command line. The program itself is the last cell of the file.

# %% [markdown]
# ## 9. The page
#
# From here on the program needs more than NumPy. The page is one figure, drawn with Matplotlib:
# curves, confusion matrix, weights, and digits with what the network made of them. A function for
# each panel takes an Axes and the data that it shows.

# %%
import argparse
import http.client
import importlib.util
import sys
import tempfile
import zlib
from pathlib import Path
from urllib.request import urlopen

import matplotlib.pyplot as plt
from matplotlib.backend_bases import FigureCanvasBase
from PIL import Image, ImageDraw, ImageFilter, ImageOps  # Pillow, which Matplotlib brings with it


# %%
def plot_images(ax, X, captions, per_row, cell_height, **style):
    """Show the columns of X (784, k) as 28x28 images, `per_row` in a row, captions below them.

    Each image is 1 wide and 1 high, in a cell 1.1 wide. `style` goes to ax.imshow. All share one
    Axes: with one for each image, drawing the page takes three times as long.
    """
    for number, caption in enumerate(captions):
        left = 1.1 * (number % per_row)
        top = cell_height * (number // per_row)
        image = X[:, number].reshape(28, 28)
        # extent is left, right, bottom and top; as in a matrix, "down" is larger here.
        ax.imshow(image, extent=(left, left + 1, top + 1, top), **style)
        ax.text(
            left + 0.5, top + 1.03, caption, ha="center", va="top", fontsize=7, parse_math=False
        )
    n_rows = max(1, np.ceil(len(captions) / per_row))
    ax.set_xlim(0, 1.1 * per_row)
    ax.set_ylim(cell_height * n_rows, 0)
    ax.axis("off")


def plot_curves(ax, training, validation):
    """Show a value after each epoch, on training and on validation images: two lists of numbers."""
    epochs = range(1, len(training) + 1)
    ax.plot(epochs, training, "s--", color="C1", markersize=3, label="training images")
    ax.plot(epochs, validation, "o-", color="C0", markersize=3, label="validation images")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(fontsize=8)
    ax.tick_params(labelsize=8)


def plot_confusion(ax, counts):
    """Show confusion_matrix's counts: the darker a mistake, the more frequent it is."""
    mistakes = counts.copy()
    np.fill_diagonal(mistakes, 0)
    # The darkest colour would hide black numbers: 1.5 keeps clear of it.
    ax.imshow(mistakes, cmap="Oranges", vmax=1.5 * mistakes.max() + 1)
    for (true, read_as), count in np.ndenumerate(counts):
        if count > 0:
            color = "grey" if true == read_as else "black"
            ax.text(read_as, true, count, color=color, ha="center", va="center", fontsize=7)
    classes = range(len(counts))
    ax.set(xticks=classes, yticks=classes, xlabel="read as", ylabel="true digit")
    ax.tick_params(labelsize=8)
    ax.set_title("Confusion matrix", fontsize=10)


def plot_weights(ax, W1, dead):
    """Show the first 20 rows of W1 (h, 784) as images; dead (h,) says which units are dead.

    The colours run from dark blue over grey to light yellow: they differ in black and white too.
    """
    shown = W1[:20]
    captions = [f"{unit}, dead" if dead[unit] else unit for unit in range(len(shown))]
    per_row = 5 if len(shown) <= 10 else 7
    top = np.abs(shown).max()
    plot_images(ax, shown.T, captions, per_row, 1.25, cmap="cividis", vmin=-top, vmax=top)
    title = f"W1, {len(shown)} of {len(W1)} rows: yellow where ink turns the unit on"
    ax.set_title(title, fontsize=10)


def plot_readings(ax, X, names, A2):
    """Show the images X (784, k), with the answers of A2 (10, k).

    A name is the true digit or, for a picture of your own, its file's name. Where the answer is the
    true digit, it is not said again.
    """
    captions = []
    for name, a in zip(names, A2.T):
        caption = f"{name}\n"
        if str(name) != str(a.argmax()):
            caption += f"read as {a.argmax()}\n"
        captions.append(f"{caption}{a.max():.1%}")
    plot_images(ax, X, captions, 6, 1.5, cmap="Greys", vmin=0, vmax=1)


# %%
def surest_mistakes(A2, y):
    """Return the numbers of the samples that A2 (10, m) gets wrong, those it is surest of first.

    They are worth a look: either the network or the label is badly wrong.
    """
    wrong = np.flatnonzero(A2.argmax(axis=0) != y)
    probability = A2[:, wrong].max(axis=0)
    return wrong[np.argsort(-probability)]


def draw_page(title, history, W1, dead, X, y, A2, own_digits):
    """Return the figure: curves, confusion matrix, weights, and readings of the images X (784, m).

    history as train returns it, dead (h,) as dead_units does, y (m,) the labels, A2 (10, m) the
    probabilities. own_digits is a list of (name, x (784, 1), a (10, 1)), where a holds the
    probabilities of the image x; if there are any, they take the place of the first images.
    """
    loss, share, val_loss, val_share = np.transpose(history)
    window = "nn_from_scratch: what it learnt (close this window to go on)"
    fig = plt.figure(window, figsize=(13, 6.4), clear=True)
    fig.suptitle(title, fontsize=11, parse_math=False)
    edges = {"left": 0.045, "right": 0.995, "bottom": 0.06, "top": 0.89}
    columns = fig.add_gridspec(1, 3, width_ratios=[3, 4.2, 5.2], wspace=0.09, **edges)
    curves = columns[0].subgridspec(2, 1, hspace=0.3)
    middle = columns[1].subgridspec(2, 1, height_ratios=[3, 2], hspace=0.3)
    digits = columns[2].subgridspec(2, 1, hspace=0.12)

    ax = fig.add_subplot(curves[0])
    ax.axhline(np.log(10), color="black", linestyle=":", label="chance level, log 10")
    plot_curves(ax, loss, val_loss)
    ax.set_yscale("log")
    ax.yaxis.get_major_locator().set_params(subs=[1, 2, 5])
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    ax.set_title("Loss after each epoch", fontsize=10)

    ax = fig.add_subplot(curves[1])
    plot_curves(ax, share, val_share)
    ax.yaxis.set_major_formatter("{x:.1%}")
    ax.set_title("Accuracy after each epoch", fontsize=10)

    plot_confusion(fig.add_subplot(middle[0]), confusion_matrix(A2.argmax(axis=0), y))
    plot_weights(fig.add_subplot(middle[1]), W1, dead)

    ax = fig.add_subplot(digits[0])
    if own_digits:
        first = own_digits[:12]
        names = [name[-12:] for name, x, a in first]  # as much as fits below an image
        own_X = np.hstack([x for name, x, a in first])
        own_A2 = np.hstack([a for name, x, a in first])
        plot_readings(ax, own_X, names, own_A2)
        words = f"The first {len(first)} of {len(own_digits)} pictures of your own"
        ax.set_title(words, fontsize=10)
    else:
        plot_readings(ax, X[:, :12], y[:12], A2[:, :12])
        ax.set_title("The first test images", fontsize=10)

    mistakes = surest_mistakes(A2, y)
    shown = mistakes[:12]
    ax = fig.add_subplot(digits[1])
    plot_readings(ax, X[:, shown], y[shown], A2[:, shown])
    ax.set_title(f"The surest of {len(mistakes)} mistakes", fontsize=10)
    return fig


# %% [markdown]
# For the terminal there is text instead: an image in characters, beside the ten probabilities.


# %%
def text_picture(x, a):
    """Return ten lines of text: image x (784,), and beside it the probabilities a (10,) as bars."""
    ink = x.reshape(14, 2, 28).mean(axis=1)  # two rows of pixels make one line of text
    ink = ink[2:12]  # without most of the margin: ten lines are left
    lines = []
    for i in range(10):  # line i of the picture stands beside class i
        shades = (9.99 * ink[i]).astype(int)  # 0 to 9, also where the ink is 1
        picture = "".join(" .:-=+*#%@"[shade] for shade in shades)
        bar = "#" * int(30 * a[i])
        lines.append(f"{picture} {i} {a[i]:6.1%} {bar}".rstrip())
    return "\n".join(lines)


def two_best(a):
    """Return in words the two most probable digits of a (10,): "7 (98.2%), then 1 (1.1%)"."""
    first, second = np.argsort(-a)[:2]
    return f"{first} ({a[first]:.1%}), then {second} ({a[second]:.1%})"


def network_name(params):
    """Return for example "784-10-10 network, 7,960 parameters", for any number of layers."""
    sizes = [params[0].shape[1]]
    for b in params[1::2]:
        sizes.append(len(b))
    n_parameters = sum(P.size for P in params)
    return f"{'-'.join(map(str, sizes))} network, {n_parameters:,} parameters"


def shapes(params):
    """Return in words the shapes of the params, to be compared with those of chapter 2."""
    words = []
    for layer, (W, b) in enumerate(zip(params[0::2], params[1::2]), start=1):
        words.append(f"W{layer} {W.shape}, b{layer} {b.shape}")
    return ", ".join(words)


# %% [markdown]
# ## 10. Your own digits
#
# Chapter 8 said why a digit must be laid out as MNIST's are. `--read` does that for pictures in
# files and `--draw` for what you draw. A picture is read in four steps: it is opened and made grey;
# the paper is taken from it, so that ink remains; of all pieces of ink one is chosen as the digit;
# and that is laid out. (What is drawn in the window is ink and nothing else, and so only laid out.)
# In find_ink and keep_digit the longer side of a picture has 400 pixels; on keep_digit's map, 100.
# Their constants were tried out on the 95 digits of chapter 8, whose table is therefore a little
# too good, and on photographs made of MNIST's training images, not on those of the table.


# %%
def scaled(image, side):
    """Return Pillow's `image`, its longer side `side` pixels long."""
    factor = side / max(image.size)
    size = [max(1, round(factor * length)) for length in image.size]
    return image.resize(size, Image.BILINEAR)  # averages where it shrinks: no line gets lost


# What Pillow raises for files that are missing, damaged (for some even SyntaxError), too large, or
# no pictures.
PILLOW_ERRORS = OSError, SyntaxError, ValueError, RuntimeError, Image.DecompressionBombError


def load_grey(path):
    """Return the picture in the file `path` in grey. Raises UserError if it cannot be read."""
    try:
        with Image.open(path) as image:
            image.draft("L", (800, 800))  # a large JPEG can be opened small, which is fast
            image = ImageOps.exif_transpose(image)  # a phone only notes how the picture is turned
            image.load()
    except PILLOW_ERRORS as error:
        raise UserError(f"{path} cannot be opened as a picture ({error})") from None
    if image.mode.startswith(("I", "F")):  # more than 8 bits per pixel
        values = np.asarray(image).astype(np.float32)
        values = values - values.min()
        values = 255 * values / max(values.max(), 1)
        image = Image.fromarray(values.astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        opacity = image.getchannel("A")
        if np.mean(opacity) < 128:  # what one sees through is paper, the rest is ink
            return ImageOps.invert(opacity)
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("L")


# %%
def otsu(values):
    """Return the threshold that parts `values` best in two groups, such as paper and ink.

    Best is where the variance between the groups is largest (Otsu, 1979). It is in proportion to
    n_low n_high (difference of the two means)^2.
    """
    counts, edges = np.histogram(values, bins=256)
    middles = (edges[:-1] + edges[1:]) / 2
    # From here on, entry i is about a threshold at the upper end of bin i.
    n_low = np.cumsum(counts)
    n_high = n_low[-1] - n_low
    sum_low = np.cumsum(counts * middles)
    sum_high = sum_low[-1] - sum_low
    difference = sum_low / np.maximum(n_low, 1) - sum_high / np.maximum(n_high, 1)
    variance = n_low * n_high * difference**2
    upper_ends = edges[1:]
    return upper_ends[variance.argmax()]


def dilate(values):
    """Return for each pixel the largest of itself and the four pixels above, below and beside it.

    This is a dilation (Serra, 1982): what is large grows by one pixel to each side.
    """
    framed = np.pad(values, 1)  # zeros all around
    above = framed[:-2, 1:-1]
    below = framed[2:, 1:-1]
    left = framed[1:-1, :-2]
    right = framed[1:-1, 2:]
    return np.maximum.reduce([values, above, below, left, right])


def find_ink(image):
    """Return how much darker each pixel of the grey `image` is than the paper around it.

    The result is (height, width), 0 to 1. Light ink on dark paper counts as dark.
    """
    image = scaled(image, 400)
    image = image.filter(ImageFilter.GaussianBlur(1))  # the grain of paper and sensor
    # Is the ink light? Compare each pixel with what is around it. Ink covers little and differs
    # much, paper covers much and differs little. The cube lets the large differences decide, and
    # keeps their sign: if the mean is positive, the ink is lighter. (With more than 18 pixels, bold
    # pens are judged better, and sheets on dark desks worse.)
    around = image.filter(ImageFilter.GaussianBlur(18))
    difference = np.asarray(image, dtype=np.float32) - np.asarray(around, dtype=np.float32)
    if np.mean(difference**3) > 0:
        image = ImageOps.invert(image)
    # The paper without the ink. (A single grey would not do, since there are shadows.) What is
    # light grows by 80 pixels, so that strokes vanish. Then what is dark grows by 80, so that large
    # dark areas, such as a desk, get their old outline back. This is a closing (Serra, 1982):
    # dilations, and then as many of the negative. The grey at the edge of the picture is taken to
    # go on outside, for these 160 pixels.
    grey = np.pad(np.asarray(image), 160, mode="edge")
    paper = grey
    for _ in range(80):
        paper = dilate(paper)
    for _ in range(80):
        paper = 255 - dilate(255 - paper)
    ink = (paper - grey) / np.float32(255)  # never below 0: a closing makes nothing darker
    return ink[160:-160, 160:-160]


def number_pieces(dark):
    """Return an array of the shape of `dark` with a number above 0 for each piece, and 0 between.

    `dark` is True where there is ink. This is connected-component labelling (Rosenfeld and Pfaltz,
    1966) in its simplest form: all pixels of ink begin with numbers of their own, and take the
    largest beside them until nothing changes. So the numbers of the pieces have gaps.
    """
    numbers = np.arange(1, dark.size + 1).reshape(dark.shape) * dark
    while True:
        larger = dilate(numbers) * dark
        if (larger == numbers).all():
            return numbers
        numbers = larger


def stroke_width(ink):
    """Return the mean width of the strokes in `ink` (height, width).

    A stroke w wide and l long has the area w l and an outline about 2 l long, so w is twice the
    area, divided by the outline. The area is the sum of the ink. The outline is where ink changes
    to paper, and its length the sum, over all pixels, of how much it changes: downwards and across,
    put together by Pythagoras (hypot).
    """
    framed = np.pad(ink, 1)
    down = framed[1:, 1:] - framed[:-1, 1:]
    across = framed[1:, 1:] - framed[1:, :-1]
    outline = np.hypot(down, across).sum()
    return 2 * ink.sum() / outline


# %%
def keep_digit(ink):
    """Return `ink` (height, width) with one piece of it, the digit, and 0 elsewhere.

    Raises UserError if there is no ink, or if it does not look like a single digit.
    """
    dark = ink > otsu(ink)
    if ink.max() == 0 or ink[dark].mean() - ink[~dark].mean() < 0.08:  # a pale pencil has 0.15
        raise UserError("nothing stands out from the paper")

    # Pieces are told apart on a map a quarter as wide and high, which is quicker, and where each
    # has grown by a pixel, which closes small gaps in strokes.
    ink_map = scaled(Image.fromarray((255 * ink * dark).astype(np.uint8)), 100)
    grown = ink_map.filter(ImageFilter.MaxFilter(3))
    numbers = number_pieces(np.asarray(grown) > 0)
    # bincount adds up the ink of the pixels with the number 0 (none: these are paper), 1, 2, ...
    amounts = np.bincount(numbers.ravel(), weights=np.asarray(ink_map).ravel())

    # What hangs on the edge is a strip of the desk, a finger, or a ruled line. It is left out,
    # unless there is hardly anything else: then the digit itself hangs on the edge.
    on_edge = np.concatenate([numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]])
    inside = amounts.copy()
    inside[on_edge] = 0
    if inside.max() > 0.03 * amounts.max():
        amounts = inside
    second, first = np.sort(amounts)[-2:]  # the largest comes last
    if second > first / 4:  # the bar of a 5, drawn apart, is less
        raise UserError("there is more than one thing on it")

    piece = Image.fromarray((numbers == amounts.argmax()).astype(np.uint8))
    piece = piece.resize((ink.shape[1], ink.shape[0]), Image.NEAREST)
    in_piece = np.asarray(piece) > 0
    stroke = in_piece & dark
    rows, columns = np.nonzero(stroke)
    height_or_width = max(np.ptp(rows), np.ptp(columns)) + 1
    if height_or_width < 10:  # a speck, or a digit that is too small to be read
        raise UserError("nothing stands out from the paper")
    # The way of the pen is area / width. In a text it is much longer than the text is high or wide.
    length = stroke.sum() / stroke_width(stroke.astype(np.float32))
    if length > 6 * height_or_width:  # an 8 has 3 to 4
        raise UserError("it looks like a text or a pattern")
    # MNIST's strokes are evenly black, with soft edges. So what is blacker than the median becomes
    # as black as that. And all above 0.4 of it is kept: Otsu's threshold would cut off soft edges.
    black = np.median(ink[stroke])
    return np.where(in_piece & (ink > 0.4 * black), np.minimum(ink, black), 0)


def as_mnist(ink):
    """Return x (784, 1), float32 in [0, 1], laid out as MNIST's images are.

    `ink` is (height, width), of any size: 0 is paper, larger is more ink, and there is some.
    """
    image = Image.fromarray((255 * (ink / ink.max())).astype(np.uint8))
    image = scaled(image.crop(image.getbbox()), 100)
    # MNIST's strokes are 0.12 of the longer side wide (the median). Thinner ones are made wider.
    ink = np.asarray(image, dtype=np.float32)
    while stroke_width(ink) < 0.12 * max(ink.shape):
        ink = dilate(np.pad(ink, 1))
    # As MNIST's authors did (LeCun et al., 1998), fit the digit into 20x20 pixels, and bring its
    # centre of mass to row 14 and column 14, counted from 0.
    image = Image.fromarray(ink.astype(np.uint8))
    box = np.asarray(scaled(image.crop(image.getbbox()), 20), dtype=np.float32)
    height, width = box.shape
    centre_row = np.average(np.arange(height), weights=box.sum(axis=1))
    centre_column = np.average(np.arange(width), weights=box.sum(axis=0))
    top = int(np.clip(np.round(14 - centre_row), 0, 28 - height))
    left = int(np.clip(np.round(14 - centre_column), 0, 28 - width))
    x = np.zeros((28, 28), dtype=np.float32)
    x[top : top + height, left : left + width] = box / box.max()
    return x.reshape(784, 1)


def read_picture(path):
    """Return x (784, 1), float32 in [0, 1], for the digit in the picture file `path`.

    Raises UserError, a sentence that names the file, if there is no picture or no single digit.
    """
    image = load_grey(path)
    try:
        ink = keep_digit(find_ink(image))
    except UserError as error:
        raise UserError(f"{path}: {error}; write one digit, large and dark, on paper") from None
    return as_mnist(ink)


# %%
def draw_window(params):
    """Open a window to draw digits in with the mouse, and return its figure.

    Beside the sheet stand the image that the network with `params` sees, and its ten probabilities.
    The window shows up with plt.show(), which is left to the caller.
    """
    title = "nn_from_scratch: draw a digit (close this window to go on)"
    fig, (paper, seen, bars) = plt.subplots(1, 3, num=title, figsize=(9.4, 3.8), clear=True)
    fig.subplots_adjust(left=0.02, right=0.96, bottom=0.16, top=0.9, wspace=0.12)
    sheet = Image.new("L", (280, 280))  # 0 is paper, 255 ink
    pen = ImageDraw.Draw(sheet)
    stroke = []  # where the pen has been since it came down on the paper

    sheet_shown = paper.imshow(sheet, cmap="Greys", vmin=0, vmax=255)
    paper.set(title="draw a digit here", xticks=[], yticks=[])
    paper.set_xlabel("left button: draw\nright button or Escape: clear")
    x_shown = seen.imshow(np.zeros((28, 28)), cmap="Greys", vmin=0, vmax=1)
    seen.set(title="what the network sees", xticks=[], yticks=[])
    a_shown = bars.barh(range(10), np.zeros(10))
    bars.set(xlim=(0, 1), ylim=(9.6, -0.6), yticks=range(10), xlabel="probability")
    bars.set_box_aspect(1)

    def show():
        x = np.zeros((784, 1))
        a = np.zeros(10)
        if sheet.getbbox():  # there is ink
            x = as_mnist(np.asarray(sheet))
            A2 = probabilities(params, x)  # (10, 1)
            a = A2[:, 0]
        sheet_shown.set_data(sheet)
        x_shown.set_data(x.reshape(28, 28))
        for bar, probability in zip(a_shown, a):
            bar.set_width(probability)
        bars.set_title(f"{a.argmax()} ({a.max():.1%})" if a.any() else "")
        fig.canvas.draw_idle()

    def clear():
        stroke.clear()
        sheet.paste(0, (0, 0, 280, 280))
        show()

    def move(event):
        if event.button != 1 or event.inaxes is not paper:
            stroke.clear()
            return
        across, down = event.xdata, event.ydata
        stroke.append((across, down))
        pen.line(stroke[-2:], fill=255, width=22)  # from the last place, since the mouse leaps
        pen.ellipse([across - 11, down - 11, across + 11, down + 11], fill=255)
        show()

    def press(event):
        if event.button == 3:
            clear()
        else:
            stroke.clear()
            move(event)  # a click alone makes a dot

    def press_key(event):
        if event.key == "escape":
            clear()

    # Matplotlib calls these functions when something happens in the window.
    fig.canvas.mpl_connect("button_press_event", press)
    fig.canvas.mpl_connect("motion_notify_event", move)
    fig.canvas.mpl_connect("key_press_event", press_key)
    return fig


# %% [markdown]
# ## Appendix A. Digits drawn by the script itself
#
# Where MNIST cannot be had, the network trains on these: a table of ways to move a pen, and chance.
# The table came from a search: points were moved at random, and a change was kept if the drawn
# digits came closer to the first 20,000 training images of MNIST. So it has seen MNIST, though no
# test image. Trained on drawn digits alone, networks read 88.9% of MNIST's test images (the mean of
# the seeds 0, 1 and 2).

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


# %%
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
        # All n people at once: linspace takes arrays. With endpoint=False a part stops short of the
        # next place, where the next part starts.
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
    (n, stops, 28), in [0, 1]: 1 where the pen is, less the further away.
    """
    pixels = np.arange(28, dtype=np.float32)
    distance = places[:, :, np.newaxis] - pixels  # (n, stops, 28)
    share = np.exp(-((distance / pen) ** 2) / 2)
    # Far away the share is tiny, and many processors are slow with numbers below 1e-38, here and in
    # training. So what is below 0.002, half of MNIST's smallest grey 1/255, becomes exactly 0.
    share[share < 0.002] = 0
    return share


def draw_way(way, n, rng):
    """Draw one way of the table as n people would write it: images (n, 28, 28) in [0, 1]."""
    strokes = [move_pen(stroke, n, rng) for stroke in way]
    path = np.concatenate(strokes, axis=1)
    across = path[:, :, 0]  # (n, stops)
    down = path[:, :, 1]  # (n, stops)

    # What differs from one person to the next: normal(mean, deviation), with a row for each person.
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
    # All blots of an image add up. Pixel [r, c] gets the sum over the stops s of
    # row_share[s, r] * column_share[s, c], which is a matrix product for each image.
    blots = row_share.transpose(0, 2, 1) @ column_share  # (n, 28, stops) @ (n, stops, 28)
    return np.minimum(0.7 * blots, 1)  # 0.7 per stop, but paper gets no blacker than black


def draw_digits(m, rng):
    """Draw m digits: images X (784, m), float32 in [0, 1], and labels y (m,), integers 0 to 9.

    Each digit comes m / 10 times (rounded up or down), shared out evenly among its ways.
    """
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
# ## Appendix B. Fetching the files
#
# Makes sure that the four files are there before `load_mnist` opens them. MNIST is downloaded once.
# Its files are known by the CRC-32 of their unpacked content, the check sum with which gzip itself
# finds damage. (Check sums of the packed files would not do: mirrors pack them anew.) Other data
# with the same file names, such as Fashion-MNIST, can be put into a folder too.

# %%
MIRRORS = [
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
]
TIMEOUT = 10  # seconds without an answer after which a mirror is given up
CRC32 = {  # of MNIST's four files, unpacked
    "train-images-idx3-ubyte": 0xE9F4D8B3,
    "train-labels-idx1-ubyte": 0xE0CB4AD2,
    "t10k-images-idx3-ubyte": 0x91373BDF,
    "t10k-labels-idx1-ubyte": 0x4AB9EFF9,
}


def is_mnist_file(path):
    """Return whether the file `path`, packed or not, has the CRC-32 of MNIST's file of that name.

    A packed file states the CRC-32 of its content at its end, before the length (RFC 1952, 1996).
    To believe it saves 0.2 s, the time to unpack all four files. load_mnist unpacks them anyway,
    and then gzip checks whether the CRC-32 is right.
    """
    data = path.read_bytes()
    if path.suffix == ".gz":
        crc = int.from_bytes(data[-8:-4], "little")  # the last 4 bytes are the length
    else:
        crc = zlib.crc32(data)
    return crc == CRC32[path.stem]


def check_file(path):
    """Raise UserError unless the file `path` is whole, and holds what its name promises.

    That is images of 28x28 pixels, or labels 0 to 9.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be used ({error}): replace or delete it") from None
    n_samples = int.from_bytes(content[4:8], "big")  # the length of the first axis
    if "images" in path.name:
        header = b"\0\0\x08\x03" + content[4:8] + b"\0\0\0\x1c\0\0\0\x1c"  # 0x1c is 28
        size = 16 + 784 * n_samples
        kind = "images"
    else:
        header = b"\0\0\x08\x01" + content[4:8]
        size = 8 + n_samples
        kind = "labels"
    if content[: len(header)] != header or len(content) != size:
        raise UserError(f"{path} is not a whole file of {kind}: replace or delete it")
    if kind == "labels" and max(content[8:], default=0) > 9:
        raise UserError(f"{path} has labels above 9: replace or delete it")


def download(name):
    """Return the packed bytes of MNIST's file `name`. Raises ConnectionError if no mirror can."""
    for mirror in MIRRORS:
        url = f"{mirror}{name}.gz"
        print(f"downloading {url}", flush=True)
        try:
            with urlopen(url, timeout=TIMEOUT) as response:
                packed = response.read()
            content = gzip.decompress(packed)
        except (OSError, EOFError, zlib.error, http.client.HTTPException) as error:
            print(f"this mirror does not help: {error}")
            continue
        if zlib.crc32(content) == CRC32[name]:
            print(f"{len(packed):,} bytes")
            return packed
        print("this mirror sent another file")
    raise ConnectionError(f"{name}.gz cannot be downloaded")


def save_file(path, packed):
    """Write the bytes `packed` to the file `path`: all of them or nothing."""
    path.parent.mkdir(exist_ok=True)
    # Another run may be writing the same file. So each writes its own, and renames it when whole.
    with tempfile.TemporaryDirectory(dir=path.parent) as own_folder:
        whole = Path(own_folder) / path.name
        whole.write_bytes(packed)
        whole.replace(path)


# %%
def fetch(folder):
    """Make sure that `folder` holds the four files; return their paths, and whether it is MNIST.

    MNIST's files are downloaded if they are missing; those of other data must all be there. Raises
    ConnectionError if no mirror helps; another OSError if files cannot be read or saved; UserError
    if they are damaged or too few.
    """
    there = []
    if folder.is_dir():
        there = [path.name for path in folder.iterdir() if path.is_file()]
    paths = []
    missing = []
    for name in CRC32:
        if f"{name}.gz" in there:
            paths.append(folder / f"{name}.gz")
        elif name in there:
            paths.append(folder / name)
        else:
            missing.append(name)
    others = [path for path in paths if not is_mnist_file(path)]
    for path in others:
        check_file(path)
    if missing and others:
        raise UserError(f"{folder} holds other data than MNIST, and lacks {' and '.join(missing)}")
    for name in missing:
        packed = download(name)
        path = folder / f"{name}.gz"
        save_file(path, packed)
        paths.append(path)
    return paths, not others


def load_checked(folder, paths):
    """Return what load_mnist returns for `folder`, whose files have these `paths`.

    Raises UserError if a file is damaged, and names it, or if images and labels do not match.
    """
    try:
        X, y, X_test, y_test = load_mnist(folder)
    except (OSError, EOFError, zlib.error):  # a packed file is damaged, but which?
        for path in paths:
            check_file(path)
        raise
    if X.shape[1] != len(y) or X_test.shape[1] != len(y_test):
        raise UserError(f"{folder} does not hold as many images as labels")
    return X, y, X_test, y_test


# %% [markdown]
# ## Appendix C. The command line


# %%
def read_flags():
    """Return the settings: the constants of chapter 7, or what the flags say instead."""
    this_file = globals().get("__file__", "")  # in a notebook there is none
    run_as_script = Path(sys.argv[0]).name == Path(this_file).name
    parser = argparse.ArgumentParser(
        prog="nn_from_scratch.py",
        description="Train a neural network to read handwritten digits, and show what it learnt.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    flag = parser.add_argument
    data = Path(this_file).parent / "data"
    flag("--data", metavar="FOLDER", type=Path, default=data, help="where the IDX files are, or go")
    flag(
        "--dataset",
        choices=["auto", "mnist", "drawn"],
        default="auto",
        help="mnist, digits drawn by the script, or auto: drawn ones if MNIST cannot be had",
    )
    flag("--hidden", type=int, default=HIDDEN, help="units in the hidden layer")
    flag("--epochs", type=int, default=EPOCHS, help="passes over the images")
    flag("--batch-size", type=int, default=BATCH_SIZE, help="images per step")
    flag(
        "--learning-rate",
        type=float,
        default=LEARNING_RATE,
        help="alpha at the start; from half-way on it falls",
    )
    flag("--seed", type=int, default=SEED, help="of all random numbers")
    figure = Path("nn_from_scratch.png")
    flag("--figure", metavar="FILE", type=Path, default=figure, help="where the page is saved")
    flag("--no-show", action="store_true", help="save the page, but open no window")
    flag(
        "--read",
        metavar="FILE",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        help="pictures of digits of your own, to be read after training",
    )
    flag("--draw", action="store_true", help="open a window to draw digits in, after training")
    if not run_as_script:
        return parser.parse_args([])  # in a notebook, sys.argv belongs to the notebook's program

    args = parser.parse_args()
    if min(args.hidden, args.epochs, args.batch_size) < 1:
        parser.error("--hidden, --epochs and --batch-size must be at least 1")
    if not 0 < args.learning_rate < float("inf"):
        parser.error("--learning-rate must be above 0, and finite")
    if args.seed < 0:
        parser.error("--seed must be at least 0")
    if args.draw and args.no_show:
        parser.error("--draw opens a window, and --no-show forbids it")
    endings = FigureCanvasBase.get_supported_filetypes()
    if args.figure.suffix[1:].lower() not in endings:
        parser.error(f"--figure must end in one of these: .{', .'.join(endings)}")
    if args.figure.resolve() in [path.resolve() for path in args.read]:
        parser.error("--figure would overwrite a picture that is to be read")
    return args


# %%
def explain(kind, error, trace):
    """Print what the user can put right, or Ctrl-C, as one sentence, and all else as Python does.

    Python calls this instead of its own sys.excepthook, when an error ends the program.
    """
    if kind is UserError:
        print(f"nn_from_scratch: {error}", file=sys.stderr)
    elif kind is KeyboardInterrupt:
        print("nn_from_scratch: stopped by Ctrl-C", file=sys.stderr)
        if not sys.flags.interactive:  # `python -i` goes on
            sys.exit(130)  # as shells expect it
    else:
        sys.__excepthook__(kind, error, trace)


def get_data(dataset, folder, rng):
    """Return X (784, m), y (m,), X_test, y_test and the name of the data.

    `dataset` is "mnist", "drawn", or "auto". Raises UserError if files cannot be used or, for
    "mnist", cannot be had.
    """
    if dataset != "drawn":
        try:
            paths, is_mnist = fetch(folder)
        except ConnectionError as error:
            advice = f"{error}: put MNIST's four files into {folder} by hand"
            if dataset == "mnist":
                raise UserError(f"{advice}, or use --dataset drawn") from None
            print(advice)
            print("training on digits drawn by the script: accuracy not comparable with MNIST's")
        except OSError as error:  # any other than a ConnectionError, which is one too
            advice = "mend that, or name another folder with --data"
            raise UserError(f"{folder} cannot be used ({error}): {advice}") from None
        else:
            X, y, X_test, y_test = load_checked(folder, paths)
            data_name = "MNIST" if is_mnist else f"{folder.resolve().name} (not MNIST)"
            return X, y, X_test, y_test, data_name
    # MNIST cannot be had, or is not wanted. Of the drawn digits, the first 5,000 are for testing.
    X, y = draw_digits(30_000, rng)
    return X[:, 5000:], y[5000:], X[:, :5000], y[:5000], "drawn digits"


def read_own_digits(paths, params):
    """Print the answer for each picture in `paths`; return a list of (name, x (784, 1), a (10, 1)).

    A picture that cannot be read is named on stderr, and left out.
    """
    own_digits = []
    for path in paths:
        try:
            x = read_picture(path)
        except UserError as error:
            print(f"nn_from_scratch: {error}", file=sys.stderr)
            continue
        a = probabilities(params, x)
        print(f"{path}: {two_best(a[:, 0])}")
        print(text_picture(x[:, 0], a[:, 0]))
        own_digits.append((path.name, x, a))
    return own_digits


def save_page(fig, path):
    """Save the figure as `path`, whose ending says in which format."""
    try:
        fig.savefig(path)
    except OSError as error:
        raise UserError(f"--figure {path} cannot be saved ({error}): name another file") from None
    print(f"figure saved as {path}")


def why_no_window():
    """Return in words why Matplotlib has no window to draw in, or None if it has one.

    Where it can open no window, it draws with "agg", for files only.
    """
    if plt.get_backend().lower() != "agg":
        return None
    if importlib.util.find_spec("_tkinter") is None:
        return "this Python lacks tkinter, which draws windows: install it (python3-tk)"
    return "there is no display"


# %% [markdown]
# ## The program
#
# The chapters, one after the other.

# %%
if __name__ == "__main__":
    sys.excepthook = explain
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # "?" for what the console cannot show
    args = read_flags()
    rng = np.random.default_rng(args.seed)
    if args.no_show:
        plt.switch_backend("agg")  # draws for files only

    # Chapter 1, the data.
    X, y, X_test, y_test, data_name = get_data(args.dataset, args.data, rng)
    X_train, y_train, X_val, y_val = split(X, y, rng)
    print(f"{data_name}: X_train {X_train.shape}, X_val {X_val.shape}, X_test {X_test.shape}")

    # Chapter 2, the network.
    params = init_params(args.hidden, rng)
    print(f"{network_name(params)}: {shapes(params)}")

    # Chapter 3, forward: the first test image, and what the untrained network makes of it.
    print(f"the first test image, a {y_test[0]}, before training:")
    A2 = probabilities(params, X_test[:, :1])
    print(text_picture(X_test[:, 0], A2[:, 0]))

    # Chapter 4, the loss.
    loss, share = evaluate(params, X_val, y_val)
    print(f"loss before training {loss:.3f}, chance level log 10 = {np.log(10):.3f}")

    # Chapters 5 to 7, training.
    settings = args.epochs, args.batch_size, args.learning_rate
    with np.errstate(over="ignore", invalid="ignore"):  # when a loss overflows, train says so
        params, history = train(params, X_train, y_train, X_val, y_val, *settings, rng)

    # Chapter 8, judging.
    A2 = probabilities(params, X_test)
    print("the same image after training:")
    print(text_picture(X_test[:, 0], A2[:, 0]))
    result = f"test accuracy {accuracy(A2.argmax(axis=0), y_test):.2%}"
    if data_name != "MNIST":
        result = f"{result} on {data_name}"
    print(result)
    mistakes = surest_mistakes(A2, y_test)
    print(f"{len(mistakes)} of {len(y_test)} read wrongly; the surest mistakes:")
    for sample in mistakes[:3]:
        print(f"test image {sample}, a {y_test[sample]}, read as {two_best(A2[:, sample])}")

    # Chapters 9 and 10, the page, and digits of your own.
    own_digits = read_own_digits(args.read, params)
    title = f"{data_name}: {network_name(params)}, {result}, seed {args.seed}"
    dead = dead_units(params, X_train)
    page = draw_page(title, history, params[0], dead, X_test, y_test, A2, own_digits)
    save_page(page, args.figure)
    problem = why_no_window()
    if args.draw:
        if problem:
            raise UserError(f"--draw needs a window, but {problem}")
        plt.close(page)  # or it would open too, and hide the window to draw in
        draw_window(params)
    if problem is None:
        plt.show()
    elif not args.no_show:
        print(f"no window: {problem}")
    if len(own_digits) < len(args.read):
        unread = len(args.read) - len(own_digits)
        raise UserError(f"{unread} of {len(args.read)} pictures could not be read")

# For `uv run`, which installs the packages by itself (PEP 723):
# /// script
# requires-python = ">=3.8"
# dependencies = ["numpy>=1.18", "matplotlib>=3.5"]
# ///
