"""How to check a gradient: the companion of nn_from_scratch.py.

    python -m pytest

Part 1 is a lesson: how a slope is measured, how exact the answer should be, and how to know that
the check itself can fail. The other parts hold the script to what it says.
"""

import os

# Before NumPy is imported: in two threads, tiny products wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import contextlib
import doctest
import email.message
import functools
import gzip
import hashlib
import inspect
import io
import itertools
import re
import runpy
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import types
import urllib.error
import urllib.request
import urllib.response
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backend_bases import KeyEvent, MouseEvent
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image, ImageDraw, features

import nn_from_scratch as nn

# A warning is an error. One of them, ComplexWarning, says that an imaginary part has been dropped,
# and with it all that the complex step measures. (Some connections are broken off on purpose, and
# left to the garbage collector.)
pytestmark = [
    pytest.mark.filterwarnings("error"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
HERE = Path(__file__).resolve().parent

NAMES = ("dW1", "db1", "dW2", "db2")


# --- 1. How to check a gradient -------------------------------------------------------------------
#
# 1.1 One slope, measured in two ways
#
# f(x) = log(1 + e^x) has the slope 1 / (1 + e^-x), which is 0.731 at x = 1. Two ways to measure it:
# the central difference (f(x + d) - f(x - d)) / (2 d), and the complex step, the imaginary part of
# f(x + 1j d) divided by d. Their errors (`python -m pytest -s -k one_slope` prints this table):
#
#     d        central, float64    central, float32    complex step
#     1e-01             1.5e-04             1.5e-04         1.5e-04
#     1e-03             1.5e-08             7.7e-06         1.5e-08
#     1e-05             1.0e-11             3.9e-03         1.5e-12
#     1e-08             1.7e-09             7.3e-01         0.0e+00
#     1e-12             2.3e-05             7.3e-01         0.0e+00
#     1e-30             7.3e-01             7.3e-01         0.0e+00
#
# At d = 0.1 both are off by d^2 / 6 times the third derivative, and that falls with d^2. The
# complex step follows it down to nothing. The central difference turns back: it subtracts two
# numbers that agree in more and more of their 16 digits, and divides what is left, rounding errors,
# by less and less. Its best d is near 1e-5. In float32, which has 7 digits, its smallest error in
# the table is near 1e-5. Slopes of a network are often near 0.01, and so would have 3 digits left:
# too few to tell a wrong gradient from a right one.


def central_difference(f, x, d):
    return (f(x + d) - f(x - d)) / (2 * d)


def complex_step(f, x, d):
    return f(x + 1j * d).imag / d


def test_one_slope_measured_in_two_ways():
    def f(x):
        return np.log(1 + np.exp(x))

    slope = 1 / (1 + np.exp(-1.0))
    print("\n    d        central, float64    central, float32    complex step")
    errors = {}
    for d in (1e-1, 1e-3, 1e-5, 1e-8, 1e-12, 1e-30):
        in_float64 = abs(central_difference(f, 1.0, d) - slope)
        in_float32 = abs(central_difference(f, np.float32(1), np.float32(d)) - slope)
        by_complex_step = abs(complex_step(f, 1.0, d) - slope)
        errors[d] = in_float64, in_float32, by_complex_step
        print(f"    {d:.0e}  {in_float64:16.1e}  {in_float32:18.1e}  {by_complex_step:14.1e}")
    assert errors[1e-5][0] < 1e-10 and errors[1e-12][0] > 1e-6  # there is a best d
    assert min(in_float32 for _, in_float32, _ in errors.values()) > 1e-6
    assert errors[1e-8][2] < 1e-15 and errors[1e-30][2] < 1e-15  # smaller does no harm


# What breaks the complex step: anything that mixes real and imaginary part. abs(), a norm or
# .conj() in the function measured; float(), or an array of dtype float, which drop the imaginary
# part (with the warning that is an error above); a comparison that the imaginary part could decide.
# max and > compare real parts first, so ReLU, and the maximum that softmax subtracts, are safe.
#
# 1.2 The network to measure, and its inputs
#
# All is float64, but for Y, whose 0 and 1 are exact. The inputs have mean 0, so that each hidden
# unit is on for some samples and off for others: one that is always off has gradient 0, which hides
# most mistakes, and one that is always on hides those in the gate. The biases are not 0: at 0, a
# gate taken from W1 X alone would pass. At Z1 = 0 ReLU has a corner, and a step across it measures
# no slope at all. A step d in W1 moves Z1 by d times a pixel, so no Z1 may be as close to 0 as
# that.


STEP = 1e-5  # of the central difference, from table 1.1


def problem(seed=0, n_in=784, n_hidden=10, n_classes=10, m=24, steps=0):
    """Return params, X, Y to check a gradient on, after `steps` steps of training."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_in, m))
    Y = nn.one_hot(rng.integers(0, n_classes, m), n_classes)
    W1 = rng.standard_normal((n_hidden, n_in)) / np.sqrt(n_in)
    b1 = rng.standard_normal((n_hidden, 1)) / 5
    W2 = rng.standard_normal((n_classes, n_hidden)) / np.sqrt(n_hidden)
    b2 = rng.standard_normal((n_classes, 1)) / 5
    params = W1, b1, W2, b2
    for _ in range(steps):
        params = nn.update_params(params, gradient(params, X, Y), 0.05)

    Z1, A1, Z2, A2 = nn.forward_prop(params, X)
    on = Z1 > 0
    assert on.any(axis=1).all() and not on.all(axis=1).any(), "a unit is always on or always off"
    assert np.abs(Z1).min() > 2 * STEP * np.abs(X).max(), "a step could cross a corner of ReLU"
    return params, X, Y


def gradient(params, X, Y):
    """Return what backward_prop derives."""
    Z1, A1, Z2, A2 = nn.forward_prop(params, X)
    return nn.backward_prop(params, X, Y, Z1, A1, A2)


def loss(params, X, Y):
    Z1, A1, Z2, A2 = nn.forward_prop(params, X)
    return nn.cross_entropy(Z2, Y)


def difference_gradient(params, X, Y):
    """Return what central differences measure. Nothing is taken from nn.measure_gradient."""
    grads = []
    for P in params:
        dP = np.empty(P.shape)
        for entry in np.ndindex(P.shape):
            here = P[entry]
            P[entry] = here + STEP
            J_above = loss(params, X, Y)
            P[entry] = here - STEP
            J_below = loss(params, X, Y)
            P[entry] = here
            dP[entry] = (J_above - J_below) / (2 * STEP)
        grads.append(dP)
    return tuple(grads)


# 1.3 What counts as wrong
#
# We call a gradient right if the largest error of any entry, divided by the largest entry, is below
# a tolerance. Which? As small as the method allows. The complex step only rounds: 1e-16 in each
# number, some 1e-15 after sums over all samples and classes. 1e-14 leaves a margin. Table 1.1 gives
# the central difference 1e-11 for a loss near 1 and slopes near 1; slopes near 0.01 make that 1e-9.
# We ask for 1e-8. Loosening a tolerance until a check passes is how wrong gradients get through.

COMPLEX_STEP = 1e-14
DIFFERENCE = 1e-8


def wrong_gradients(grads, measured, tolerance):
    """Return the set of the names of those that are not what was measured. A nan is never right."""
    assert len(grads) == len(measured) == len(NAMES), f"{len(grads)} and {len(measured)} gradients"
    wrong = set()
    for name, dP, M in zip(NAMES, grads, measured):
        same_shape = np.shape(dP) == M.shape
        # With a nan on one side, <= is False.
        right = same_shape and np.abs(dP - M).max() <= tolerance * np.abs(M).max() < np.inf
        if not right:
            wrong.add(name)
    return wrong


def test_the_comparison_itself():
    params, X, Y = problem(0, 5, 4, 3)
    grads = gradient(params, X, Y)
    dW1, db1, dW2, db2 = grads
    nothing = [dP * np.nan for dP in grads]
    assert wrong_gradients(grads, grads, 0) == set()
    assert wrong_gradients(nothing, grads, 1) == wrong_gradients(grads, nothing, 1) == set(NAMES)
    assert wrong_gradients((dW1, db1.ravel(), dW2.T, db2), grads, 1) == {"db1", "dW2"}
    for too_few_or_many in (grads[:3], (*grads, db2)):
        with pytest.raises(AssertionError):
            wrong_gradients(too_few_or_many, grads, 1)


# 1.4 Right gradients pass
#
# All 7,960 entries of the real network, by both methods; then other sizes, before and after some
# training.


@pytest.fixture(scope="module")
def measured_problem():
    """A problem with h = 10, so that W2 is square, and its gradient, measured in both ways."""
    params, X, Y = problem(seed=3)
    by_complex_step = nn.measure_gradient(params, X, Y)
    return params, X, Y, by_complex_step, difference_gradient(params, X, Y)


def test_right_gradients_pass(measured_problem):
    params, X, Y, by_complex_step, by_difference = measured_problem
    grads = gradient(params, X, Y)
    assert wrong_gradients(grads, by_complex_step, COMPLEX_STEP) == set()
    assert wrong_gradients(grads, by_difference, DIFFERENCE) == set()


@pytest.mark.parametrize("n_in, n_hidden, n_classes", [(5, 4, 3), (30, 20, 10)])
@pytest.mark.parametrize("steps", [0, 20])
def test_right_gradients_pass_at_other_sizes(n_in, n_hidden, n_classes, steps):
    params, X, Y = problem(2, n_in, n_hidden, n_classes, steps=steps)
    grads = gradient(params, X, Y)
    assert wrong_gradients(grads, nn.measure_gradient(params, X, Y), COMPLEX_STEP) == set()
    assert wrong_gradients(grads, difference_gradient(params, X, Y), DIFFERENCE) == set()


def test_at_the_corner_the_gate_is_closed():
    """There is no slope to measure at Z1 = 0, so the convention is tested."""
    params, X, Y = problem(0, 5, 4, 3)
    Z1, A1, Z2, A2 = nn.forward_prop(params, X)
    dW1, db1, dW2, db2 = nn.backward_prop(params, X, Y, 0 * Z1, A1, A2)
    assert not dW1.any() and not db1.any() and db2.any()


# 1.5 Wrong gradients fail
#
# A check that has never failed may be one that cannot. So plant the classic mistakes, and say which
# gradients each of them spoils: these and no others. About half are planted by handing
# backward_prop something else than it asks for, the others by changing what comes out.


def mistakes(params, X, Y):
    """Yield (what is wrong, the gradients that come out, the names of those that are wrong)."""
    W1, b1, W2, b2 = params
    m = X.shape[1]
    Z1, A1, Z2, A2 = nn.forward_prop(params, X)
    back = nn.backward_prop
    dW1, db1, dW2, db2 = back(params, X, Y, Z1, A1, A2)
    dZ2 = A2 - Y
    dZ1 = (W2.T @ dZ2) * (Z1 > 0)
    ones = np.ones_like(Z1)
    open_gate = back(params, X, Y, ones, A1, A2)
    yield "Z1 in place of A1", back(params, X, Y, Z1, Z1, A2), {"dW2"}
    yield "gate upside down", back(params, X, Y, -Z1, A1, A2), {"dW1", "db1"}
    yield "gate always open, as with A1 >= 0", open_gate, {"dW1", "db1"}
    yield "W2 for W2.T", back((W1, b1, W2.T, b2), X, Y, Z1, A1, A2), {"dW1", "db1"}
    yield "Y - A2", back(params, X, A2, Z1, A1, Y), set(NAMES)
    Y_near_A2 = A2 - dZ2 / m  # as labels, they make dZ2 / m of dZ2
    yield "1/m twice", back(params, X, Y_near_A2, Z1, A1, A2), set(NAMES)
    yield "no 1/m in dW1", (m * dW1, db1, dW2, db2), {"dW1"}
    yield "m of another batch", (dW1, db1, dW2 * m / (m + 1), db2), {"dW2"}
    yield "dW1 not from X", back(params, X[:, ::-1], Y, Z1, A1, A2), {"dW1"}
    yield "sum without axis for db2", (dW1, db1, dW2, 0 * db2 + dZ2.sum() / m), {"db2"}
    yield "sum without axis for db1", (dW1, 0 * db1 + dZ1.sum() / m, dW2, db2), {"db1"}
    yield "no keepdims for db2", (dW1, db1, dW2, dZ2.sum(axis=1) / m), {"db2"}
    yield "dW1 off by a millionth", (dW1 * 1.000001, db1, dW2, db2), {"dW1"}
    one_entry, one_pixel = dW1.copy(), dW1.copy()
    one_entry[3, 400] *= 1.001
    one_pixel[:, 400] = 0
    yield "one wrong entry of 7,960", (one_entry, db1, dW2, db2), {"dW1"}
    yield "one pixel forgotten", (one_pixel, db1, dW2, db2), {"dW1"}


def test_wrong_gradients_fail(measured_problem):
    params, X, Y, by_complex_step, by_difference = measured_problem
    for what, grads, expected in mistakes(params, X, Y):
        assert wrong_gradients(grads, by_complex_step, COMPLEX_STEP) == expected, what
        assert wrong_gradients(grads, by_difference, DIFFERENCE) == expected, what


# 1.6 The exercises of the script
#
# Each is solved here, rightly and wrongly: its check must tell them apart.


def check_of_the_exercises():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((6, 20))
    Y = nn.one_hot(rng.integers(0, 4, 20), n_classes=4)
    params = nn.init_params(5, rng, n_in=6, n_classes=4)
    params = [P + rng.standard_normal(P.shape) / 10 for P in params]
    return max(nn.gradient_errors(params, X, Y)) < 1e-12


def test_exercise_1():
    W1 = np.array([[1.0, 0.0], [1.0, -1.0], [-1.0, 1.0]])
    b1 = np.array([[1.0], [-1.0], [0.0]])
    W2 = np.array([[1.0, -3.0, 0.0], [0.0, 1.0, 1.0]])
    params = W1, b1, W2, np.zeros((2, 1))
    X, Y = np.array([[1.0, 3.0, 0.0], [2.0, 1.0, 2.0]]), nn.one_hot(np.array([0, 1, 0]), 2)
    Z1, A1, Z2, A2 = nn.forward_prop(params, X)
    dW1, db1, dW2, db2 = gradient(params, X, Y)
    by_hand = [[1, -3, 2], [1, 0, 2], [1, 2], [0.269, 0.731]]
    for array, column in zip((Z1, A1, Z2, A2), by_hand):
        np.testing.assert_allclose(array[:, 2], column, atol=5e-4)
    np.testing.assert_allclose(
        db2, [[(-0.269 + 0.5 - 0.731) / 3], [(0.269 - 0.5 + 0.731) / 3]], atol=5e-4
    )


def test_exercise_2(monkeypatch):
    assert check_of_the_exercises()
    right = nn.backward_prop
    monkeypatch.setattr(nn, "backward_prop", lambda P, X, Y, Z1, A1, A2: right(P, X, Y, Z1, Z1, A2))
    assert not check_of_the_exercises()


def test_exercise_3(monkeypatch):
    def leaky(slope):
        def backward_prop(params, X, Y, Z1, A1, A2):
            W1, b1, W2, b2 = params
            dZ2 = (A2 - Y) / X.shape[1]
            dZ1 = (W2.T @ dZ2) * np.where(Z1 > 0, 1, slope)
            db1, db2 = (dZ.sum(axis=1, keepdims=True) for dZ in (dZ1, dZ2))
            return dZ1 @ X.T, db1, dZ2 @ A1.T, db2

        return backward_prop

    monkeypatch.setattr(nn, "relu", lambda Z: np.where(Z > 0, Z, Z / 10))
    assert not check_of_the_exercises()
    monkeypatch.setattr(nn, "backward_prop", leaky(0.1))
    assert check_of_the_exercises()
    monkeypatch.setattr(nn, "backward_prop", leaky(10))
    assert not check_of_the_exercises()


def test_exercise_4(monkeypatch):
    def measured(params, X, Y):
        grads = []
        params = [P.astype(complex) for P in params]
        for P in params:
            dP = np.zeros(P.shape)
            for entry in np.ndindex(P.shape):
                P[entry] += 1e-30j
                W1, b1, W2, b2 = params
                J = loss(params, X, Y) + 0.005 * ((W1**2).sum() + (W2**2).sum())
                dP[entry] = J.imag / 1e-30
                P[entry] -= 1e-30j
            grads.append(dP)
        return tuple(grads)

    def punished(strength):
        def backward_prop(params, X, Y, Z1, A1, A2):
            dW1, db1, dW2, db2 = right(params, X, Y, Z1, A1, A2)
            return dW1 + strength * params[0], db1, dW2 + strength * params[2], db2

        return backward_prop

    right = nn.backward_prop
    monkeypatch.setattr(nn, "measure_gradient", measured)
    assert not check_of_the_exercises()
    monkeypatch.setattr(nn, "backward_prop", punished(0.01))
    assert check_of_the_exercises()
    monkeypatch.setattr(nn, "backward_prop", punished(0.005))
    assert not check_of_the_exercises()


@pytest.mark.parametrize("gate_of_layer_2, right", [(True, True), (False, False)])
def test_exercise_5(monkeypatch, gate_of_layer_2, right):
    def init_params(n_hidden, rng, n_in, n_classes):
        W1, b1, W2, b2 = first_two(n_hidden, rng, n_in, n_hidden)
        W3, b3, _, _ = first_two(n_classes, rng, n_hidden, n_classes)
        return W1, b1, W2, b2, W3, b3

    def forward_prop(params, X):
        W1, b1, W2, b2, W3, b3 = params
        Z1 = W1 @ X + b1
        Z2 = W2 @ nn.relu(Z1) + b2
        Z3 = W3 @ nn.relu(Z2) + b3
        return Z1, nn.relu(Z1), Z2, nn.relu(Z2), Z3, nn.softmax(Z3)

    def backward_prop(params, X, Y, Z1, A1, Z2, A2, A3):
        W1, b1, W2, b2, W3, b3 = params
        m = X.shape[1]
        dZ3 = A3 - Y
        dZ2 = (W3.T @ dZ3) * (Z2 > 0 if gate_of_layer_2 else 1)
        dZ1 = (W2.T @ dZ2) * (Z1 > 0)
        grads = []
        for dZ, A in ((dZ1, X), (dZ2, A1), (dZ3, A2)):
            grads += [dZ @ A.T / m, dZ.sum(axis=1, keepdims=True) / m]
        return grads

    def measure_gradient(params, X, Y):
        grads = []
        params = [P.astype(complex) for P in params]
        for P in params:
            dP = np.zeros(P.shape)
            for entry in np.ndindex(P.shape):
                P[entry] += 1e-30j
                Z1, A1, Z2, A2, Z3, A3 = forward_prop(params, X)
                dP[entry] = nn.cross_entropy(Z3, Y).imag / 1e-30
                P[entry] -= 1e-30j
            grads.append(dP)
        return grads

    def gradient_errors(params, X, Y):
        Z1, A1, Z2, A2, Z3, A3 = forward_prop(params, X)
        derived = backward_prop(params, X, Y, Z1, A1, Z2, A2, A3)
        return [np.abs(dP - M).max() for dP, M in zip(derived, measure_gradient(params, X, Y))]

    first_two = nn.init_params
    monkeypatch.setattr(nn, "init_params", init_params)
    monkeypatch.setattr(nn, "gradient_errors", gradient_errors)
    assert check_of_the_exercises() == right


# --- 2. What no gradient check sees ---------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_internet(monkeypatch):
    """No test leaves this machine."""

    def refuse(*args, **kwargs):
        raise urllib.error.URLError("a test asked for the internet")

    monkeypatch.setattr(nn, "urlopen", refuse)


def copies(arrays):
    return tuple(array.copy() for array in arrays)


def noise(m=50, seed=0):
    """X (784, m) float32 in [0, 1] and y (m,) with all ten digits: to be learnt by heart only."""
    rng = np.random.default_rng(seed)
    return rng.random((m, 784), dtype=np.float32).T, rng.permutation(np.arange(m) % 10)


def train_a_little(X, y, X_val, y_val, epochs=2, batch_size=10, learning_rate=0.1, seed=0):
    """10 hidden units, trained from a start that depends on `seed` alone."""
    rng = np.random.default_rng(seed)
    params = nn.init_params(10, rng)
    return nn.train(params, X, y, X_val, y_val, epochs, batch_size, learning_rate, rng)


def test_update_takes_all_gradients_at_the_old_parameters():
    params, X, Y = problem(6)
    grads = gradient(params, X, Y)
    expected = [P - 0.5 * dP for P, dP in zip(params, grads)]
    for P, wanted in zip(nn.update_params(params, copies(grads), 0.5), expected):
        np.testing.assert_allclose(P, wanted, rtol=1e-14)


def test_update_works_in_place_and_returns_the_params():
    params, X, Y = problem(6)
    new = nn.update_params(params, gradient(params, X, Y), 0.5)
    assert len(new) == 4 and all(P is P_new for P, P_new in zip(params, new))


def test_gradients_and_judging_change_nothing():
    params, X, Y = problem(8)
    for array in (*params, X, Y):
        array.flags.writeable = False  # writing to it raises ValueError
    gradient(params, X, Y)
    nn.measure_gradient([P[:, :1] for P in params[:2]] + list(params[2:]), X[:1], Y)
    nn.evaluate(params, X, Y.argmax(axis=0))


def test_train_leaves_the_arrays_of_its_caller_as_they_were():
    X, y = noise()
    params = nn.init_params(10, np.random.default_rng(0))
    for array in (*params, X, y):
        array.flags.writeable = False
    trained, history = nn.train(params, X, y, X, y, 1, 20, 0.1, np.random.default_rng(0))
    assert all((P != P_new).any() for P, P_new in zip(params, trained))


def test_train_is_what_the_text_says_step_by_step():
    """50 images in batches of 20, 20 and 10; shuffled once, with their labels; a falling rate."""
    X, y = noise()
    X = X.astype(float)
    start = tuple(P.astype(float) for P in nn.init_params(10, np.random.default_rng(1)))
    trained, history = nn.train(start, X, y, X, y, 5, 20, 0.1, np.random.default_rng(2))
    params = start
    rng = np.random.default_rng(2)
    order = rng.permutation(50)
    for rate in 0.1, 0.1, 0.1, 0.08, 0.04:
        for first in rng.permutation([0, 20, 40]):
            batch = order[first : first + 20]
            # One sample at a time: m cannot be mistaken, nor the label of a column.
            each = [gradient(params, X[:, [s]], nn.one_hot(y[[s]])) for s in batch]
            grads = [sum(dP) / len(batch) for dP in zip(*each)]
            params = tuple(P - rate * dP for P, dP in zip(params, grads))
    for P, P_replayed in zip(trained, params):
        np.testing.assert_allclose(P, P_replayed, rtol=1e-9, atol=1e-12)


def test_loss_is_the_mean_over_its_own_batch():
    params, X, Y = problem(7)
    m = X.shape[1]
    each = [loss(params, X[:, [s]], Y[:, [s]]) for s in range(m)]
    np.testing.assert_allclose(loss(params, X, Y), np.mean(each), rtol=1e-12)
    np.testing.assert_allclose(loss(params, X[:, :7], Y[:, :7]), np.mean(each[:7]), rtol=1e-12)


def test_a_small_step_lowers_the_loss_as_the_slopes_say():
    params, X, Y = problem(9)
    before = loss(params, X, Y)
    grads = gradient(params, X, Y)
    expected = 1e-6 * sum((dP**2).sum() for dP in grads)
    after = loss(nn.update_params(params, grads, 1e-6), X, Y)
    np.testing.assert_allclose(before - after, expected, rtol=1e-3)


def test_twenty_samples_are_learnt_by_heart():
    X, y = noise(20)
    X -= 0.5
    params, history = train_a_little(X, y, X, y, epochs=300, batch_size=5)
    assert nn.accuracy(nn.predict(params, X), y) == 1
    assert history["loss"][-1] < 0.05


def test_history_judges_training_and_validation_images_after_each_epoch():
    X, y = noise()
    X_val, y_val = 1 - X[:, :30], 9 - y[:30]
    params, history = train_a_little(X, y, X_val, y_val, epochs=3)
    assert {len(column) for column in history.values()} == {3}
    for J, share, images, labels in [
        ("loss", "accuracy", X, y),
        ("val_loss", "val_accuracy", X_val, y_val),
    ]:
        np.testing.assert_allclose(
            history[J][-1], loss(params, images, nn.one_hot(labels)), rtol=1e-5
        )
        assert history[share][-1] == nn.accuracy(nn.predict(params, images), labels)
    assert history["seconds"] == sorted(history["seconds"]) and history["seconds"][0] > 0


def test_history_counts_seconds_from_the_start(monkeypatch):
    clock = iter(range(0, 1000, 5))
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    X, y = noise()
    params, history = train_a_little(X, y, X, y, epochs=3)
    assert history["seconds"] == [5, 10, 15]


def test_training_images_are_judged_by_5000_of_them():
    """All of them would cost more time than training; the first ones in the file may be sorted."""
    m = 6000
    y = np.repeat([0, 1], m // 2)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4, m)) + y
    params = nn.init_params(3, rng, n_in=4, n_classes=2)
    trained, history = nn.train(params, X, y, X, y, 1, 100, 0.1, rng)
    np.testing.assert_allclose(history["accuracy"], history["val_accuracy"], atol=0.01)
    np.testing.assert_allclose(history["loss"], history["val_loss"], rtol=0.05)
    assert history["loss"] != history["val_loss"]


def test_validation_images_are_not_trained_on():
    X, y = noise()
    one, history = train_a_little(X, y, X, y)
    other, other_history = train_a_little(X, y, 1 - X[:, :30], 9 - y[:30])
    assert all((P == Q).all() for P, Q in zip(one, other))


def test_a_loss_that_is_no_number_is_reported():
    X, y = noise()
    ignored = np.errstate(all="ignore")
    with ignored, pytest.raises(FloatingPointError, match="epoch 1.*learning-rate"):
        train_a_little(X, y, X, y, epochs=3, learning_rate=1e30)


def test_a_validation_loss_that_is_no_number_is_reported():
    X, y = noise()
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError):
        train_a_little(X, y, np.full_like(X, np.nan), y)


def test_gradient_errors_are_the_largest_of_each_gradient(monkeypatch):
    params, X, Y = problem(0, 5, 4, 3)
    dW1, db1, dW2, db2 = nn.measure_gradient(params, X, Y)
    dW1[2, 3] += 0.25  # one entry of many, and measured larger than derived
    db2[1] = np.nan
    monkeypatch.setattr(nn, "measure_gradient", lambda *args: (dW1, db1, dW2, db2))
    errors = nn.gradient_errors(params, X, Y)
    np.testing.assert_allclose(errors, [0.25, 0, 0, np.nan], atol=1e-12)


def test_a_loss_that_is_infinite_is_reported(monkeypatch):
    monkeypatch.setattr(nn, "evaluate", lambda *args: (np.inf, 0.1))
    X, y = noise()
    with pytest.raises(FloatingPointError, match="inf in epoch 1"):
        train_a_little(X, y, X, y)


def test_the_learning_rate_is_printed_in_full(capsys):
    X, y = noise()
    train_a_little(X, y, X, y, epochs=1, learning_rate=0.1234)
    assert " 0.1234 " in capsys.readouterr().out


# --- 3. The functions -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_dtype_is_kept(dtype):
    params, X, Y = problem(10)
    params, X, Y = tuple(P.astype(dtype) for P in params), X.astype(dtype), Y.astype(dtype)
    arrays = nn.forward_prop(params, X)
    grads = gradient(params, X, Y)
    J = nn.cross_entropy(arrays[2], Y)
    assert {array.dtype for array in (*arrays, *grads, J)} == {np.dtype(dtype)}


def test_training_stays_in_float32():
    X, y = noise()
    params, history = train_a_little(X, y, X, y)
    assert {P.dtype for P in params} == {np.dtype(np.float32)}


def test_relu():
    np.testing.assert_array_equal(
        nn.relu(np.array([[-1.5, 0.0], [2.5, 1e-9]])), [[0, 0], [2.5, 1e-9]]
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_makes_probabilities_of_any_scores(dtype):
    rng = np.random.default_rng(0)
    Z = np.hstack([rng.standard_normal((10, 5)), [[1000]] * 10, [[-1e3]] * 10, 1e3 * np.eye(10)])
    A = nn.softmax(Z.astype(dtype))
    assert np.isfinite(A).all() and A.min() >= 0
    np.testing.assert_allclose(A.sum(axis=0), 1, rtol=1e-6)


def test_softmax_depends_on_differences_in_each_column():
    Z = np.random.default_rng(0).standard_normal((10, 5))
    np.testing.assert_allclose(nn.softmax(Z + 50 * np.arange(5)), nn.softmax(Z), atol=1e-12)
    np.testing.assert_allclose(nn.softmax(np.log([[2.0], [3.0], [5.0]])).T, [[0.2, 0.3, 0.5]])


def test_cross_entropy_is_minus_log_of_the_probability_of_the_truth():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, 30)
    Z = rng.standard_normal((10, 30))
    by_hand = -np.log(nn.softmax(Z)[y, np.arange(30)]).mean()
    np.testing.assert_allclose(nn.cross_entropy(Z, nn.one_hot(y)), by_hand, rtol=1e-12)
    np.testing.assert_allclose(nn.cross_entropy(0 * Z, nn.one_hot(y)), np.log(10), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_entropy_of_one_who_is_certain(dtype):
    Z = (2000 * np.eye(10) - 1000).astype(dtype)
    assert nn.cross_entropy(Z, nn.one_hot(np.arange(10))) == 0
    assert nn.cross_entropy(Z, nn.one_hot(9 - np.arange(10))) == 2000


def test_one_hot_with_digits_missing():
    Y = nn.one_hot(np.array([3, 0, 3]))
    assert Y.shape == (10, 3) and Y.dtype == np.float32
    assert (Y.argmax(axis=0) == [3, 0, 3]).all() and (Y.sum(axis=0) == 1).all()
    assert nn.one_hot(np.array([1, 0]), n_classes=3).tolist() == [[0, 1], [1, 0], [0, 0]]


def test_init_params():
    W1, b1, W2, b2 = params = nn.init_params(300, np.random.default_rng(0))
    assert [P.shape for P in params] == [(300, 784), (300, 1), (10, 300), (10, 1)]
    assert {P.dtype for P in params} == {np.dtype(np.float32)}
    assert not b1.any() and not b2.any()
    for W in W1, W2:  # the standard error of a standard deviation is 1 / sqrt(2 n) of it
        error = 4 / (2 * W.size) ** 0.5
        np.testing.assert_allclose(W.std(), (2 / W.shape[1]) ** 0.5, rtol=error)
        assert abs(W.mean()) < 4 * W.std() / W.size**0.5


def test_init_params_of_other_sizes():
    params = nn.init_params(400, np.random.default_rng(0), n_in=64, n_classes=30)
    assert [P.shape for P in params] == [(400, 64), (400, 1), (30, 400), (30, 1)]
    np.testing.assert_allclose(params[0].std(), (2 / 64) ** 0.5, rtol=0.02)
    np.testing.assert_allclose(params[2].std(), (2 / 400) ** 0.5, rtol=0.03)


def test_init_params_depends_on_its_generator():
    one, again, other = [nn.init_params(5, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert all((P == Q).all() for P, Q in zip(one, again))
    assert (one[0] != other[0]).any() and (one[2] != other[2]).any()


def test_predict_answers_with_the_most_probable_class():
    params, X, Y = problem(11)
    assert (nn.predict(params, X) == nn.forward_prop(params, X)[3].argmax(axis=0)).all()
    assert nn.predict(params, X[:, :1]).shape == (1,)


def test_predict_refuses_what_is_no_matrix_of_columns():
    params, X, Y = problem(11)
    for wrong in X[:, 0], X.T, X[:-1], X[None]:
        with pytest.raises(ValueError, match=re.escape(str(wrong.shape))):
            nn.predict(params, wrong)


def test_accuracy_is_the_share_of_right_answers():
    share = nn.accuracy(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 5]))
    assert share == 0.75 and isinstance(share, float)


def test_confusion_matrix_has_a_row_for_each_true_class():
    counts = nn.confusion_matrix(predictions=np.array([4, 9, 9, 9]), y=np.array([4, 4, 4, 9]))
    assert counts.shape == (10, 10) and counts.sum() == 4
    assert (counts[4, 4], counts[4, 9], counts[9, 9], counts[9, 4]) == (1, 2, 1, 0)


# All functions of chapters 1 to 7.
# fmt: off
LESSON = [
    "read_idx", "images_to_columns", "load_mnist", "one_hot", "init_params", "relu", "softmax",
    "forward_prop", "predict", "accuracy", "cross_entropy", "backward_prop", "measure_gradient",
    "gradient_errors", "update_params", "evaluate", "train",
]
# fmt: on


def names_in(code):
    """All global names that a code object mentions, and those of the functions inside it."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= names_in(constant)
    return names


def copied(name):
    """The function `name`, copied into an empty file with NumPy and the functions that it names."""
    namespace = {}
    exec("import numpy as np", namespace)  # noqa: S102
    wanted = [name]
    while wanted:
        name_now = wanted.pop()
        original = getattr(nn, name_now, None)
        if name_now not in namespace and inspect.isfunction(original):
            code = original.__code__
            namespace[name_now] = types.FunctionType(
                code, namespace, name_now, original.__defaults__
            )
            wanted += names_in(code)
    return namespace[name]


@pytest.mark.parametrize("name", LESSON)
def test_a_function_of_the_lesson_can_be_copied_with_those_it_names(name, tiny):
    params, X, Y = problem(12)
    y = Y.argmax(axis=0)
    Z1, A1, Z2, A2 = nn.forward_prop(params, X)
    rng = np.random.default_rng
    small = nn.init_params(3, rng(0), n_in=2)
    arguments = {
        "read_idx": (bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 5]),),
        "images_to_columns": (np.full((2, 28, 28), 51, np.uint8),),
        "load_mnist": (tiny,),
        "one_hot": (y,),
        "init_params": (5,),
        "relu": (Z1,),
        "softmax": (Z2,),
        "forward_prop": (params, X),
        "predict": (params, X),
        "accuracy": (y, y),
        "cross_entropy": (Z2, Y),
        "backward_prop": (params, X, Y, Z1, A1, A2),
        "measure_gradient": (small, X[:2], Y),
        "gradient_errors": (small, X[:2], Y),
        "update_params": (copies(params), params, 0.1),
        "evaluate": (params, X, y),
        "train": (params, X, y, X, y, 2, 10, 0.1),
    }
    results = []
    for function in copied(name), getattr(nn, name):
        more = (rng(0),) if name in ("init_params", "train") else ()
        result = function(*copies_of_arrays(arguments[name]), *more)
        results.append(result[0] if name == "train" else result)  # its history has seconds in it
    for one, other in zip(*map(as_tuple, results)):
        np.testing.assert_array_equal(one, other)


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


def copies_of_arrays(arguments):
    """The same arguments, but params anew, since update_params changes them."""
    return [copies(a) if isinstance(a, tuple) else a for a in arguments]


def test_small_data_of_another_kind_are_learnt_with_the_functions_of_the_script():
    """64 pixels and 3 classes."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 400)
    centres = rng.standard_normal((64, 3))
    X = centres[:, y] + 0.8 * rng.standard_normal((64, 400))
    params = nn.init_params(7, rng, n_in=64, n_classes=3)
    data = X[:, :300], y[:300], X[:, 300:], y[300:]
    params, history = nn.train(params, *data, 5, 20, 0.1, rng)
    predictions = nn.predict(params, X[:, 300:])
    assert nn.accuracy(predictions, y[300:]) > 0.9
    assert nn.evaluate(params, *data[2:]) == (history["val_loss"][-1], history["val_accuracy"][-1])
    counts = nn.confusion_matrix(predictions, y[300:], n_classes=3)
    assert counts.shape == (3, 3) and np.trace(counts) > 90


def test_cross_entropy_depends_on_differences_in_each_column():
    Z = np.random.default_rng(0).standard_normal((10, 5))
    Y = nn.one_hot(np.arange(5))
    moved = nn.cross_entropy(Z + 2000 * np.arange(5), Y)
    np.testing.assert_allclose(moved, nn.cross_entropy(Z, Y), rtol=1e-9)


def test_one_hot_refuses_a_label_that_is_no_class():
    with pytest.raises(IndexError):
        nn.one_hot(np.array([0, 3]), n_classes=3)


def test_accuracy_is_not_rounded():
    assert nn.accuracy(np.array([1, 2, 3]), np.array([1, 2, 4])) == 2 / 3


def test_confusion_matrix_counts_thousands():
    counts = nn.confusion_matrix(np.full(70_000, 9), np.full(70_000, 4))
    assert counts[4, 9] == counts.sum() == 70_000


# --- 4. The text cannot lie -----------------------------------------------------------------------


def test_examples_in_docstrings():
    result = doctest.testmod(nn)
    assert result.attempted >= 6 and result.failed == 0


def test_examples_in_the_text():
    """Run the >>> lines of the text cells in the order of the file, as a reader types them."""
    lines = []
    in_text = False
    for line in Path(nn.__file__).read_text("utf-8").splitlines():
        if line.startswith("# %%"):
            in_text = "[markdown]" in line
        lines.append(line[2:] if in_text and line.startswith("# ") else "")
    names = {name: value for name, value in vars(nn).items() if not name.startswith("_")}
    test = doctest.DocTestParser().get_doctest("\n".join(lines), names, "text", nn.__file__, 0)
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)
    assert result.attempted >= 50 and result.failed == 0


@pytest.mark.parametrize(
    "function, n_arrays",
    [("softmax", 1), ("forward_prop", 4), ("cross_entropy", 4), ("backward_prop", 6)],
)
def test_shape_comments(function, n_arrays):
    """Every `name = ...  # (h, m)` in these functions has the shape that its comment says."""
    h, m = 7, 17  # and 10 classes, 784 pixels: all different
    params, X, Y = problem(0, 784, h, 10, m)
    Z1, A1, Z2, A2 = nn.forward_prop(params, X)
    arguments = {
        "softmax": (Z2,),
        "forward_prop": (params, X),
        "cross_entropy": (Z2, Y),
        "backward_prop": (params, X, Y, Z1, A1, A2),
    }[function]
    arrays = variables_of(getattr(nn, function), arguments)
    source = inspect.getsource(getattr(nn, function))
    commented = re.findall(r"^ +(\w+) = .*# (\(.*\))$", source, re.MULTILINE)
    assert len(commented) == n_arrays
    for name, shape in commented:
        assert np.shape(arrays[name]) == eval(shape, {"h": h, "m": m}), name


def variables_of(function, arguments):
    """Return the variables of `function` when it returns, by name."""
    found = {}

    def trace(frame, event, argument):
        if frame.f_code is function.__code__ and event == "return":
            found.update(frame.f_locals)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*arguments)
    finally:
        sys.settrace(before)
    return found


# --- 5. Files and downloads -----------------------------------------------------------------------

FILES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]


def idx(array):
    """The bytes of an IDX file with this array of small whole numbers."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.astype(np.uint8).tobytes()


def block_images(y, rng):
    """Images (m, 28, 28): for each digit a pattern of 7x7 blocks, none symmetric, and noise."""
    patterns = np.random.default_rng(3).random((10, 7, 7)) < 0.3
    return 190 * patterns.repeat(4, axis=1).repeat(4, axis=2)[y] + rng.integers(
        0, 66, (len(y), 28, 28)
    )


def tiny_arrays(wrong_validation=False):
    """Training images, labels, test images, labels: 240 and 60, to be learnt in no time.

    Some labels are wrong, so that accuracy is below 100%. Those of the last 20 training images, the
    validation images, are all wrong if that is asked for.
    """
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(240) % 10)
    y_test = np.arange(60) * 3 % 10
    arrays = [block_images(y, rng), y, block_images(y_test, rng), y_test]
    y[::11] = (y[::11] + 1) % 10
    y_test[1::4] = (y_test[1::4] + 1) % 10
    if wrong_validation:
        y[220:] = (y[220:] + 5) % 10
    return arrays


def write_files(folder, arrays):
    """Make a folder with these four arrays as files, and return it."""
    folder.mkdir()
    for name, array in zip(FILES, arrays):
        (folder / name).write_bytes(idx(array))
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A folder with a small data set in MNIST's form, that tests only read."""
    return write_files(tmp_path_factory.mktemp("any") / "tiny data", tiny_arrays())


@pytest.fixture
def tiny_copy(tmp_path):
    """The same, for a test to change."""
    return write_files(tmp_path / "tiny copy", tiny_arrays())


def load(dataset, folder):
    return nn.load_data(dataset, folder, np.random.default_rng(0))


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize("dotted", [False, True])
def test_load_round_trip(tiny_copy, dotted, gzipped):
    for name in FILES:
        content = (tiny_copy / name).read_bytes()
        (tiny_copy / name).unlink()
        if dotted or gzipped:
            (tiny_copy / name).mkdir()  # some archives bring a folder of this name beside the file
        new_name = name.replace("-idx", ".idx") if dotted else name
        if gzipped:
            new_name, content = new_name + ".gz", gzip.compress(content)
        (tiny_copy / new_name).write_bytes(content)
    images, labels, test_images, test_labels = tiny_arrays()
    X, y, X_test, y_test = nn.load_mnist(tiny_copy)
    np.testing.assert_allclose(X, images.reshape(240, 784).T / 255, rtol=1e-6)
    np.testing.assert_allclose(X_test, test_images.reshape(60, 784).T / 255, rtol=1e-6)
    assert (y == labels).all() and (y_test == test_labels).all()


def test_load_makes_float32_columns_in_one_piece_and_whole_numbers(tiny):
    X, y, X_test, y_test = nn.load_mnist(tiny)
    assert {X.dtype, X_test.dtype} == {np.dtype(np.float32)}
    assert X.flags.f_contiguous and X_test.flags.f_contiguous
    assert {y.dtype.kind, y_test.dtype.kind} == {"i"}


def test_load_takes_the_folder_as_text_too(tiny):
    assert nn.load_mnist(str(tiny))[0].shape == (784, 240)


IMAGES, LABELS, TEST_IMAGES, TEST_LABELS = map(idx, tiny_arrays())
PACKED = gzip.compress(IMAGES)
BROKEN_FILES = {  # what is wrong: (content, what the message says of it)
    "empty": (b"", "not an IDX file"),
    "text": (b"hello, world\n" * 99, "not an IDX file"),
    "numbers of four bytes": (b"\0\0\x0d" + IMAGES[3:], "not an IDX file"),
    "a web page": (b"<!DOCTYPE html><html></html>", "web page"),
    "a web page after an empty line": (b"\n <html></html>", "web page"),
    "cut short": (IMAGES[:-1], "broken"),
    "cut in the header": (IMAGES[:9], "broken"),
    "cut after the magic number": (IMAGES[:3], "broken"),
    "too long": (IMAGES + b"x", "broken"),
    "gzip cut short": (PACKED[:-20], "gzip"),
    "gzip cut in its header": (PACKED[:5], "gzip"),
    "gzip damaged": (PACKED[:10] + b"\xff" * 50 + PACKED[60:], "gzip"),
    "gzip with a wrong checksum": (PACKED[:-8] + bytes(4) + PACKED[-4:], "gzip"),
    "gzipped text": (gzip.compress(b"hello"), "not an IDX file"),
}


@pytest.mark.parametrize("fault", BROKEN_FILES)
@pytest.mark.parametrize("name", [FILES[0], FILES[2].replace("-idx", ".idx") + ".gz"])
def test_a_broken_file_is_named_with_what_is_wrong_and_what_to_do(tiny_copy, name, fault):
    content, message = BROKEN_FILES[fault]
    for old in tiny_copy.glob(name[:10] + "*"):
        old.unlink()
    (tiny_copy / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        nn.load_mnist(tiny_copy)
    assert str(tiny_copy / name) in str(error.value)
    assert re.search("replace.*delete", str(error.value))


MISMATCHES = {  # what is wrong: (which file, its array, what was found, as the message says it)
    "no images": (0, np.zeros((0, 28, 28)), "(0, 28, 28)"),
    "labels in place of images": (0, np.zeros(240), "images of shape (240,)"),
    "images in place of labels": (1, np.zeros((240, 28, 28)), "labels of shape (240, 28, 28)"),
    "images of another size": (0, np.zeros((240, 20, 20)), "(240, 20, 20)"),
    "more images than labels": (0, np.zeros((241, 28, 28)), "(241, 28, 28)"),
    "fewer labels than images": (1, np.zeros(239), "(239,)"),
    "fewer test labels than images": (3, np.zeros(59), "(59,)"),
    "a label above 9": (1, np.arange(240) % 11, "10"),
    "a test label above 9": (3, np.full(60, 255), "255"),
    "a single number": (0, np.zeros(()), "()"),
}


@pytest.mark.parametrize("fault", MISMATCHES)
def test_files_that_do_not_fit_are_described_and_not_condemned(tiny_copy, fault):
    which, array, found = MISMATCHES[fault]
    (tiny_copy / FILES[which]).write_bytes(idx(array))
    with pytest.raises(ValueError) as error:
        nn.load_mnist(tiny_copy)
    assert str(tiny_copy) in str(error.value)
    message = str(error.value).replace(str(tiny_copy), "")
    assert found in message and "28, 28" in message
    assert ("training" in message, "test" in message) == (which < 2, which >= 2)
    assert "delete" not in message


def test_no_images_and_no_labels(tiny_copy):
    write_empty = {FILES[0]: np.zeros((0, 28, 28)), FILES[1]: np.zeros(0)}
    for name, array in write_empty.items():
        (tiny_copy / name).write_bytes(idx(array))
    with pytest.raises(ValueError, match=r"\(0, 28, 28\).*\(0,\)"):
        nn.load_mnist(tiny_copy)


def test_a_missing_file_is_named(tiny_copy):
    (tiny_copy / FILES[3]).unlink()
    with pytest.raises(FileNotFoundError, match=FILES[3]):
        nn.load_mnist(tiny_copy)


def test_data_of_ones_own_are_called_by_their_folder(tiny):
    X, y, X_test, y_test, name = load("mnist", tiny)
    assert "tiny data" in name and X.shape == (784, 240) and X_test.shape == (784, 60)


def test_the_folder_may_be_the_current_one(tiny, monkeypatch):
    monkeypatch.chdir(tiny)
    *arrays, name = load("mnist", Path())
    assert "tiny data" in name


@pytest.mark.parametrize("dataset", ["mnist", "auto"])
def test_an_incomplete_folder_of_other_data_is_not_completed(tiny_copy, dataset):
    (tiny_copy / FILES[0]).unlink()
    (tiny_copy / FILES[3]).unlink()
    before = listing(tiny_copy)
    with pytest.raises(ValueError) as error:
        load(dataset, tiny_copy)
    for essential in str(tiny_copy), FILES[0], FILES[3], "--data":
        assert essential in str(error.value)
    assert "delete" not in str(error.value)
    assert listing(tiny_copy) == before


@pytest.mark.parametrize("dataset", ["mnist", "auto"])
def test_a_file_is_no_folder(tmp_path, dataset):
    (tmp_path / "file").write_text("I am no folder")
    with pytest.raises(ValueError, match="--data.*file"):
        load(dataset, tmp_path / "file")


# The internet of the tests: two mirrors, whose faults are chosen by the test.


class SlowLine(io.BytesIO):
    """What arrives, at most 20,000 bytes at a time unless all is asked for."""

    def read(self, size=-1):
        return super().read(size if size is None or size < 0 else min(size, 20_000))


def response(content, size):
    headers = email.message.Message()
    headers["Content-Length"] = str(size)
    return urllib.response.addinfourl(SlowLine(content), headers, "http://mirror", 200)


def mirror_fault(fault, packed):
    """What a mirror does with this fault when it is asked for a file with the content `packed`."""
    if fault == "dead":
        raise urllib.error.URLError("Connection refused")
    if fault == "reset":
        raise ConnectionResetError("Connection reset by peer")
    if fault == "status 500":
        raise urllib.error.HTTPError("http://mirror", 500, "Internal Server Error", {}, None)
    if fault == "certificate":
        reason = ssl.SSLError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
        raise urllib.error.URLError(reason)
    contents = {
        None: packed,
        "web page": b"<html>Please log in</html>",
        "nothing": b"",
        "cut": packed[: len(packed) // 2],
        "other data": gzip.compress(idx(np.zeros(3))),
    }
    return response(contents[fault], size=len(packed))


TINY_FILES = dict(zip(FILES, [IMAGES, LABELS, TEST_IMAGES, TEST_LABELS]))
TINY_PACKED = {name: gzip.compress(content) for name, content in TINY_FILES.items()}
TINY_DIGESTS = {n: hashlib.sha256(content).hexdigest() for n, content in TINY_FILES.items()}


class Internet:
    """In the place of urlopen; `faults` has one fault, or None, for each address in nn.MIRRORS."""

    def __init__(self):
        self.packed = TINY_PACKED
        self.faults = [None, None]
        self.asked = []

    def __call__(self, url, *args, **kwargs):
        self.asked.append(url)
        for mirror, fault in zip(nn.MIRRORS, self.faults):
            if url.startswith(mirror):
                return mirror_fault(fault, self.packed[url[len(mirror) :].replace(".gz", "")])
        raise AssertionError(f"{url} is on no mirror")


@pytest.fixture
def internet(monkeypatch):
    """Mirrors that serve the tiny data, which the script then takes for MNIST."""
    internet = Internet()
    monkeypatch.setattr(nn, "SHA256", TINY_DIGESTS)
    monkeypatch.setattr(nn, "MIRRORS", ["https://one.example/mnist/", "https://two.example/"])
    monkeypatch.setattr(nn, "urlopen", internet)
    return internet


FAULTS = {  # of a mirror: what the message says of it
    "dead": "refused",
    "reset": "reset",
    "status 500": "500",
    "certificate": "CERTIFICATE",
    "web page": "web page",
    "nothing": "not an IDX file",
    "cut": "gzip",
    "other data": "another file",
}


def test_the_digests_and_mirrors_are_those_of_mnist():
    """They were compared with the files once; a digest of the digests keeps them as they are."""
    assert list(nn.SHA256) == FILES
    digests = " ".join(nn.SHA256.values())
    assert hashlib.sha256(digests.encode()).hexdigest().startswith("35b4ae54c9e51524")
    assert len(nn.MIRRORS) >= 2
    assert all(m.startswith("https://") and m.endswith("/") for m in nn.MIRRORS)
    assert 2 <= nn.TIMEOUT <= 30


def test_download_into_a_new_folder(internet, tmp_path):
    folder = tmp_path / "new" / "data"
    X, y, X_test, y_test, name = load("mnist", folder)
    assert name == "MNIST" and X.shape == (784, 240) and X_test.shape == (784, 60)
    assert listing(folder) == sorted(f"{name}.gz" for name in FILES)
    assert all((folder / f"{name}.gz").read_bytes() == internet.packed[name] for name in FILES)


def test_what_was_downloaded_is_not_asked_for_again(internet, tmp_path):
    load("mnist", tmp_path)
    assert len(internet.asked) == 4
    load("auto", tmp_path)
    assert len(internet.asked) == 4


@pytest.mark.parametrize("fault", FAULTS)
def test_the_next_mirror_helps(internet, tmp_path, fault):
    internet.faults = [fault, None]
    X, y, X_test, y_test, name = load("mnist", tmp_path)
    assert X.shape == (784, 240) and name == "MNIST"
    assert listing(tmp_path) == sorted(f"{name}.gz" for name in FILES)


@pytest.mark.parametrize("fault", FAULTS)
def test_no_mirror_helps(internet, tmp_path, fault):
    """The message says what was wrong, what to fetch by hand, and where to put it."""
    internet.faults = [fault, fault]
    with pytest.raises(ConnectionError, match=FAULTS[fault]) as error:
        load("mnist", tmp_path)
    message = str(error.value)
    for name in FILES:
        assert any(f"{mirror}{name}.gz" in message for mirror in nn.MIRRORS)
    for essential in (*nn.MIRRORS, str(tmp_path), "--data", "--dataset drawn"):
        assert essential in message
    assert ("Certificates" in message) == (fault == "certificate")
    assert "\n" not in message
    assert listing(tmp_path) == []


def test_only_what_is_missing_is_fetched(internet, tmp_path):
    internet.faults = ["dead", "dead"]
    for name in FILES[:2]:
        (tmp_path / name).write_bytes(gzip.decompress(internet.packed[name]))
    with pytest.raises(ConnectionError) as error:
        load("mnist", tmp_path)
    addresses = re.findall(r"http\S+ubyte.gz", str(error.value))
    assert len(addresses) == 2 and not any("train" in address for address in addresses)
    internet.faults = [None, None]
    internet.asked.clear()
    load("mnist", tmp_path)
    assert listing(tmp_path) == sorted([*FILES[:2], FILES[2] + ".gz", FILES[3] + ".gz"])
    assert len(internet.asked) == 2


def test_a_broken_file_is_not_replaced_by_a_download(internet, tmp_path):
    """It may be the only copy; the message says what can be done."""
    (tmp_path / FILES[0]).write_bytes(IMAGES[:-1])
    with pytest.raises(ValueError, match="broken"):
        load("mnist", tmp_path)
    assert listing(tmp_path) == FILES[:1] and internet.asked == []


def test_a_download_shows_how_far_it_has_come(internet, tmp_path, capsys):
    load("mnist", tmp_path)
    lines = capsys.readouterr().out.split("\n")
    for line, name in zip(lines, FILES):
        last = line.split("\r")[-1]
        assert name in last and last.count(str(len(internet.packed[name]))) == 2, "so far, of all"
    assert len(lines) == 5


def test_a_download_of_unknown_size(internet, tmp_path, monkeypatch):
    def without_size(url, *args, **kwargs):
        answer = internet(url)
        del answer.headers["Content-Length"]
        return answer

    monkeypatch.setattr(nn, "urlopen", without_size)
    load("mnist", tmp_path)
    assert len(listing(tmp_path)) == 4


@contextlib.contextmanager
def disk_for(n_bytes):
    """No file can grow beyond n_bytes."""
    resource = pytest.importorskip("resource", reason="Windows has no limit of this kind")
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_a_download_that_cannot_be_saved_leaves_nothing(internet, tmp_path):
    with disk_for(50_000), pytest.raises(ConnectionError) as error:
        load("mnist", tmp_path)
    assert f"{FILES[0]}.gz cannot be written" in str(error.value)
    assert nn.MIRRORS[0] in str(error.value)
    assert listing(tmp_path) == []


@pytest.fixture
def few_digits(monkeypatch):
    """Drawn digits without the wait: a fifth of those that are asked for."""
    draw = nn.draw_digits
    monkeypatch.setattr(nn, "draw_digits", lambda m, rng: draw(m // 5, rng))


def test_auto_draws_digits_where_no_mirror_helps(internet, tmp_path, few_digits, capsys):
    """The same as those that are drawn if asked for, after a word of explanation."""
    internet.faults = ["dead", "dead"]
    *arrays, name = load("auto", tmp_path)
    out = capsys.readouterr().out
    assert "refused" in out and "not comparable" in out
    *drawn_arrays, drawn_name = load("drawn", tmp_path)
    assert capsys.readouterr().out == ""
    assert name == drawn_name and "drawn" in name
    for array, drawn_array in zip(arrays, drawn_arrays):
        np.testing.assert_array_equal(array, drawn_array)


def test_auto_draws_digits_where_the_folder_cannot_be_made(internet, tmp_path, few_digits, capsys):
    (tmp_path / "file").write_text("I am no folder")
    *arrays, name = load("auto", tmp_path / "file" / "data")
    assert "drawn" in name and str(tmp_path / "file") in capsys.readouterr().out


def test_auto_draws_digits_where_the_disk_is_full(internet, tmp_path, few_digits):
    with disk_for(50_000):
        *arrays, name = load("auto", tmp_path)
    assert "drawn" in name and listing(tmp_path) == []


def test_drawn_asks_for_nothing_and_reads_nothing(internet, tiny, few_digits):
    *arrays, name = load("drawn", tiny)
    assert "drawn" in name and internet.asked == []


@pytest.mark.parametrize(
    "sent_first", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\nabc"]
)
def test_a_mirror_that_falls_silent_is_given_up(monkeypatch, tmp_path, sent_first):
    """Before its answer or in the middle of it: a real server, which would wait for 5 seconds."""

    def answer():
        with contextlib.suppress(OSError):
            while True:
                connection = server.accept()[0]
                connection.sendall(sent_first)
                connections.append(connection)  # or else it would be closed

    connections = []
    try:
        server = socket.create_server(("127.0.0.1", 0))
        socket.create_connection(server.getsockname(), 5).close()
    except OSError:
        pytest.skip("127.0.0.1 cannot be reached here: `ip link set lo up` mends that")
    threading.Thread(target=answer, daemon=True).start()
    hang_up = threading.Timer(5, lambda: [connection.close() for connection in connections])
    hang_up.start()
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(nn, "urlopen", urllib.request.urlopen)
    monkeypatch.setattr(nn, "MIRRORS", [f"http://127.0.0.1:{server.getsockname()[1]}/"])
    monkeypatch.setattr(nn, "TIMEOUT", 0.1)
    start = time.perf_counter()
    with pytest.raises(ConnectionError):
        load("mnist", tmp_path)
    assert time.perf_counter() - start < 3
    hang_up.cancel()
    server.close()
    for connection in connections:
        connection.close()


def test_a_name_that_is_looked_up_for_ever_is_given_up(monkeypatch, tmp_path):
    """urlopen's own timeout does not count the time that it takes to find an address."""
    over = threading.Event()
    monkeypatch.setattr(nn, "urlopen", lambda *args, **kwargs: over.wait(5))
    monkeypatch.setattr(nn, "TIMEOUT", 0.1)
    start = time.perf_counter()
    with pytest.raises(ConnectionError):
        load("mnist", tmp_path)
    assert time.perf_counter() - start < 3
    over.set()


def test_a_file_of_70000_labels():
    assert nn.read_idx(idx(np.full(70_000, 7))).shape == (70_000,)


# --- 6. Drawn digits ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn():
    return nn.draw_digits(500, np.random.default_rng(0))


def test_drawn_digits_have_the_form_of_mnist(drawn):
    X, y = drawn
    assert X.shape == (784, 500) and X.dtype == np.float32 and X.flags.f_contiguous
    assert y.shape == (500,) and y.dtype.kind == "i"
    assert X.min() == 0 and 0.9 < X.max() <= 1 and (X.max(axis=0) > 0.5).all()


def test_drawn_digits_are_all_digits_in_no_order(drawn):
    X, y = drawn
    counts = np.bincount(y, minlength=10)
    assert len(counts) == 10 and counts.min() > 25
    assert (np.diff(y) != 0).mean() > 0.8 and (np.diff(y) != 1).mean() > 0.8


def test_drawn_digits_lie_where_those_of_mnist_lie(drawn):
    """Within the middle 20x20, give or take the blur, and centred by their mass."""
    X, y = drawn
    rows, columns = np.mgrid[:28, :28].reshape(2, 784) - 14
    centres = np.array([rows, columns]) @ X / X.sum(axis=0)
    assert np.abs(centres).max() < 2.5 and np.abs(centres.mean(axis=1)).max() < 0.5
    ink = X.reshape(28, 28, 500).mean(axis=2)
    frame = ink[:2].sum() + ink[-2:].sum() + ink[:, :2].sum() + ink[:, -2:].sum()
    assert frame < 0.02 * ink.sum()


# How dark each digit of MNIST is on average, in percent, in a grid of 4x4.
MEAN_DIGITS = """
     0  7 18  1  3 45 39 18 12 39 37 14  2 26 15  0
     0  2 11  1  0  8 36  0  0 24 21  0  0 12  6  0
     0 16 21  1  1 16 41  3  6 49 48  8  2 16  9  2
     1 16 16  0  2 29 48  1  3 18 43  4  3 27 19  0
     0  2  5  2  3 33 37  4  3 37 48  2  0  6 13  0
     0  5 13  4  1 43 31  7  3 24 36  3  1 23 17  0
     0 10 17  1  1 37 22  4  2 54 57 10  0  8  8  0
     0  2  2  0  5 37 50  4  1 11 39  1  0 20 13  0
     0  7 16  1  1 42 46  7  1 40 39  1  1 24 19  0
     0  2  5  0  1 40 48  2  1 28 44  1  0 10 17  0
"""


def test_drawn_digits_are_labelled_right_and_upright(drawn):
    """On average, each is more like MNIST's than any other digit is."""
    X, y = drawn
    means = np.array(MEAN_DIGITS.split(), float).reshape(10, 16)
    for digit in range(10):
        mean = X[:, y == digit].mean(axis=1).reshape(4, 7, 4, 7).mean(axis=(1, 3)).ravel()
        assert np.argmax([np.corrcoef(mean, other)[0, 1] for other in means]) == digit


def test_the_same_seed_draws_the_same_digits(drawn):
    X, y = drawn
    X_again, y_again = nn.draw_digits(500, np.random.default_rng(0))
    assert X.tobytes() == X_again.tobytes() and y.tobytes() == y_again.tobytes()


def test_another_seed_draws_other_digits(drawn):
    X_other, y_other = nn.draw_digits(500, np.random.default_rng(1))
    assert (drawn[0] != X_other).any() and (drawn[1] != y_other).any()


def test_no_drawn_digit_is_drawn_twice(drawn):
    assert len({column.tobytes() for column in drawn[0].T}) == 500


@pytest.mark.parametrize("m", [1, 7])
def test_few_drawn_digits(m):
    X, y = nn.draw_digits(m, np.random.default_rng(0))
    assert X.shape == (784, m) and y.shape == (m,) and X.max() > 0.5


def test_drawn_digits_have_no_subnormal_numbers(drawn):
    """Processors add them up slowly."""
    X, y = drawn
    assert ((X == 0) | (X >= 1e-6)).all()


# --- 7. Your own digits ---------------------------------------------------------------------------


def seven(width, height, pen):
    """Return a drawn 7, ink (height, width) uint8: 0 paper, 255 ink."""
    image = Image.new("L", (width, height))
    points = [(0.25, 0.2), (0.75, 0.2), (0.45, 0.8)]
    line = [(across * width, down * height) for across, down in points]
    ImageDraw.Draw(image).line(line, fill=255, width=pen, joint="curve")
    return np.asarray(image)


INK = seven(280, 280, 20)
SMALL_INK = seven(160, 160, 11)
PLAIN = nn.as_mnist(INK)


def likeness(x, other=PLAIN):
    """Return the correlation of two MNIST images: 1 if they are the same but for contrast."""
    return np.corrcoef(x.ravel(), other.ravel())[0, 1]


def looks_right(x):
    assert x.shape == (784, 1) and x.dtype == np.float32
    assert x.min() == 0 and x.max() == 1
    assert likeness(x) > 0.9


def box_and_centre(x):
    image = x.reshape(28, 28)
    rows, columns = np.nonzero(image > 0)
    sides = np.ptp(rows) + 1, np.ptp(columns) + 1
    total = image.sum()
    centre = (np.arange(28) @ image.sum(axis=1) / total, np.arange(28) @ image.sum(axis=0) / total)
    return sides, centre


def on_paper(
    ink=SMALL_INK, paper=(225, 222, 215), pen=(40, 45, 50), sheet=(420, 540), corner=(110, 160)
):
    """Return `ink` as a photograph (height, width, 3) uint8, its upper left corner at `corner`."""
    height, width = sheet
    mask = np.zeros((height, width, 1))
    down, across = corner
    mask[down : down + ink.shape[0], across : across + ink.shape[1], 0] = ink / 255
    noise = np.random.default_rng(0).normal(0, 3, (height, width, 1))
    picture = np.array(paper) * (1 - mask) + np.array(pen) * mask + noise
    return np.clip(picture, 0, 255).astype(np.uint8)


def read(picture, path, **options):
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(str(path), **options)
    return nn.read_picture(path)


@pytest.mark.parametrize("size", [(28, 28), (100, 60), (280, 280), (800, 3000)])
def test_layout_is_mnists_whatever_the_size(size):
    width, height = size
    sides, centre = box_and_centre(nn.as_mnist(seven(width, height, max(3, min(size) // 14))))
    assert max(sides) == 20
    assert np.abs(np.array(centre) - 14).max() <= 0.51


def test_a_narrow_one_of_13x62_pixels():
    ink = np.zeros((62, 13))
    ink[3:59, 5:9] = 1
    sides, _ = box_and_centre(nn.as_mnist(ink))
    assert sides[0] == 20 and sides[1] <= 5


@pytest.mark.parametrize("pen", [2, 5, 10, 20, 30])
def test_thin_and_thick_pens_look_alike(pen):
    assert likeness(nn.as_mnist(seven(280, 280, pen))) > 0.85


@pytest.mark.parametrize("scale", [1e-6, 1, 255, 65535])
def test_the_scale_of_the_ink_does_not_matter(scale):
    assert np.allclose(nn.as_mnist(INK / 255 * scale), PLAIN, atol=0.02)


def test_an_image_in_mnists_layout_stays_as_it_is():
    image = PLAIN.reshape(28, 28)
    assert likeness(nn.as_mnist(image)) > 0.99


@pytest.mark.parametrize("ink", [np.zeros((28, 28)), np.zeros((0, 0)), np.zeros((1, 1))])
def test_no_ink(ink):
    with pytest.raises(ValueError, match="no ink"):
        nn.as_mnist(ink)


def test_one_pixel_of_ink_is_a_blot():
    assert nn.as_mnist(np.ones((1, 1))).max() == 1


# read_picture: modes and formats
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
@pytest.mark.parametrize("light_on_dark", [False, True])
def test_modes_of_png(tmp_path, mode, light_on_dark):
    grey = INK if light_on_dark else 255 - INK
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(grey).convert(mode)
    looks_right(read(image, tmp_path / "seven.png"))


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_tiff_of_large_and_of_real_numbers(tmp_path, dtype):
    grey = (255 - INK).astype(dtype) * dtype(200)
    looks_right(read(Image.fromarray(grey), tmp_path / "seven.tif"))


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
@pytest.mark.parametrize("pen", [0, 255])
def test_transparent_paper(tmp_path, mode, pen):
    if mode == "P":
        image = Image.fromarray((INK > 127).astype(np.uint8))
        image.putpalette([255 - pen] * 3 + [pen] * 3 + [0] * 762)
        looks_right(read(image, tmp_path / "seven.png", transparency=0))
    else:
        image = Image.new("L", (280, 280), pen).convert(mode)
        image.putalpha(Image.fromarray(INK))
        looks_right(read(image, tmp_path / "seven.png"))


def test_opaque_paper_with_transparent_corners(tmp_path):
    image = Image.fromarray(255 - INK).convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 30, 30))
    looks_right(read(image, tmp_path / "seven.png"))


@pytest.mark.parametrize("name", ["a.jpg", "a.bmp", "a.gif", "a.tif", "a.webp", "a.ppm", "a.pcx"])
def test_formats(tmp_path, name):
    if name == "a.webp" and not features.check("webp"):
        pytest.skip("this Pillow has no WebP")
    looks_right(read(on_paper(), tmp_path / name))


def test_jpeg_in_four_inks(tmp_path):
    looks_right(read(Image.fromarray(on_paper()).convert("CMYK"), tmp_path / "seven.jpg"))


def test_jpeg_named_png(tmp_path):
    looks_right(read(on_paper(), tmp_path / "seven.png", format="JPEG"))


def test_first_picture_of_an_animation(tmp_path):
    blank = Image.new("L", (280, 280), 255)
    looks_right(
        read(Image.fromarray(255 - INK), tmp_path / "a.gif", save_all=True, append_images=[blank])
    )


@pytest.mark.parametrize("flag, turns", [(1, 0), (3, 2), (6, 1), (8, 3)])
def test_a_phones_rotation_flag(tmp_path, flag, turns):
    exif = Image.Exif()
    exif[0x0112] = flag
    picture = np.rot90(on_paper(), turns).copy()
    looks_right(read(picture, tmp_path / "seven.jpg", exif=exif.tobytes()))


# read_picture: papers and pens
@pytest.mark.parametrize(
    "paper, pen",
    [
        ((255, 255, 255), (0, 0, 0)),
        ((150, 150, 150), (60, 60, 60)),
        ((235, 215, 120), (40, 40, 40)),
        ((230, 230, 225), (40, 60, 170)),
        ((35, 40, 38), (235, 235, 230)),
        ((150, 148, 140), (99,) * 3),
    ],
)
def test_papers_and_pens(tmp_path, paper, pen):
    looks_right(read(on_paper(paper=paper, pen=pen), tmp_path / "seven.jpg"))


@pytest.mark.parametrize("corner", [(10, 10), (340, 460), (10, 460), (170, 230)])
def test_a_small_digit_anywhere_on_a_large_sheet(tmp_path, corner):
    looks_right(read(on_paper(seven(70, 70, 5), corner=corner), tmp_path / "seven.jpg"))


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize("pen, paper", [((40,) * 3, (225,) * 3), ((235,) * 3, (40,) * 3)])
def test_light_that_falls_off_to_one_side(tmp_path, turn, pen, paper):
    light = np.rot90(np.linspace(0.55, 1, 480)[None, :, None] * np.ones((480, 1, 1)), turn)
    picture = on_paper(sheet=(480, 480), pen=pen, paper=paper) * light
    looks_right(read(picture.astype(np.uint8), tmp_path / "seven.jpg"))


def test_shadow_across_the_digit(tmp_path):
    picture = on_paper()
    picture[:, 240:] = picture[:, 240:] * 0.6
    looks_right(read(picture, tmp_path / "seven.jpg"))


@pytest.mark.parametrize("squared", [False, True])
def test_ruled_and_squared_paper(tmp_path, squared):
    picture = on_paper(pen=(45, 60, 150))
    lines = np.zeros(picture.shape[:2], bool)
    lines[12::30] = lines[13::30] = True
    if squared:
        lines[:, 12::30] = lines[:, 13::30] = True
    picture[lines] = np.minimum(picture[lines], (160, 180, 215))
    looks_right(read(picture, tmp_path / "seven.jpg"))


def test_specks(tmp_path):
    picture = on_paper(INK, sheet=(700, 900), corner=(200, 250))
    rng = np.random.default_rng(0)
    for row, column in rng.integers(10, 680, (30, 2)):
        picture[row : row + 3, column : column + 3] = 60
    looks_right(read(picture, tmp_path / "seven.jpg"))


@pytest.mark.parametrize("side", range(4))
def test_a_dark_line_at_the_edge(tmp_path, side):
    picture = np.rot90(on_paper(), side).copy()
    picture[:, :12] = 50
    looks_right(read(np.rot90(picture, -side), tmp_path / "seven.jpg"))


@pytest.mark.parametrize("light_on_dark", [False, True])
def test_a_picture_cut_close_to_the_digit(tmp_path, light_on_dark):
    rows, columns = np.nonzero(INK)
    close = INK[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    looks_right(read(close if light_on_dark else 255 - close, tmp_path / "seven.png"))


@pytest.mark.parametrize("light_on_dark", [False, True])
def test_a_file_in_mnists_layout(tmp_path, light_on_dark):
    grey = (255 * PLAIN.reshape(28, 28)).astype(np.uint8)
    x = read(grey if light_on_dark else 255 - grey, tmp_path / "seven.png")
    assert likeness(x) > 0.97


@pytest.mark.parametrize("size", [(13, 62), (3480, 4640)])
def test_sizes(tmp_path, size):
    x = read(255 - seven(*size, pen=max(2, size[0] // 15)), tmp_path / "seven.png")
    assert x.max() == 1


def test_a_scan_of_5000x7000_takes_a_few_seconds(tmp_path):
    path = tmp_path / "scan.jpg"
    Image.fromarray(255 - seven(5000, 7000, 300)).convert("RGB").save(str(path))
    start = time.perf_counter()
    nn.read_picture(path)
    assert time.perf_counter() - start < 5


# read_picture: what cannot be read
def one_sentence(path):
    with pytest.raises(ValueError) as caught:
        nn.read_picture(path)
    text = str(caught.value)
    assert text.startswith(str(path)) and "\n" not in text and len(text) < len(str(path)) + 120
    return text


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (28, 28), (900, 700)])
@pytest.mark.parametrize("shade", [0, 128, 255])
def test_blank_paper(tmp_path, size, shade):
    path = tmp_path / "blank.png"
    Image.new("L", size, shade).save(str(path))
    assert "no digit" in one_sentence(path)


def test_blank_paper_that_is_only_noise(tmp_path):
    path = tmp_path / "blank.jpg"
    Image.fromarray(on_paper(ink=0 * SMALL_INK)).save(str(path))
    assert "no digit" in one_sentence(path)


def test_blank_transparent(tmp_path):
    path = tmp_path / "blank.png"
    Image.new("RGBA", (50, 50)).save(str(path))
    assert "no digit" in one_sentence(path)


def test_no_such_file(tmp_path):
    assert "no such file" in one_sentence(tmp_path / "nowhere.png")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"this is no picture",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"\xff\xd8\xff\xe0",
        b"II*\0",
        b"BM",
        b"RIFF0000WEBPVP8 ",
    ],
)
def test_no_picture(tmp_path, data):
    path = tmp_path / "bad.png"
    path.write_bytes(data)
    assert "cannot be read as a picture" in one_sentence(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.tif", "a.bmp"])
def test_half_a_file(tmp_path, name):
    path = tmp_path / name
    Image.fromarray(on_paper()).save(str(path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    try:
        nn.read_picture(path)
    except ValueError as error:
        assert str(error).startswith(str(path))


def test_a_folder(tmp_path):
    one_sentence(tmp_path)


def test_a_decompression_bomb(tmp_path, monkeypatch):
    path = tmp_path / "bomb.png"
    Image.new("1", (2000, 2000)).save(str(path))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert "cannot be read as a picture" in one_sentence(path)


# draw_window
# A network that answers 7 whatever it sees.
SAYS_7 = np.zeros((2, 784)), np.zeros((2, 1)), np.zeros((10, 2)), 100 * np.eye(10)[:, [7]]


def mouse(fig, name, across, down, button=None):
    """Send a mouse event at a place of the paper, given in shares of its width and height."""
    x, y = fig.axes[0].transAxes.transform((across, 1 - down))
    fig.canvas.callbacks.process(name, MouseEvent(name, fig.canvas, x, y, button))


def draw_stroke(fig, points):
    mouse(fig, "button_press_event", *points[0], button=1)
    for point in points[1:]:
        mouse(fig, "motion_notify_event", *point)
    mouse(fig, "button_release_event", *points[-1], button=1)


def seen(fig):
    return np.asarray(fig.axes[1].images[0].get_array())


@pytest.fixture
def window():
    fig = nn.draw_window(SAYS_7)
    fig.canvas.draw()
    yield fig
    nn.plt.close(fig)


STROKE = [(0.25, 0.2), (0.75, 0.2), (0.45, 0.8)]


def test_window_starts_empty(window):
    assert seen(window).max() == 0
    assert all(bar.get_width() == 0 for bar in window.axes[2].patches)


def test_window_shows_what_the_network_sees_while_one_draws(window):
    draw_stroke(window, STROKE)
    looks_right(seen(window).astype(np.float32).reshape(784, 1))
    widths = [bar.get_width() for bar in window.axes[2].patches]
    np.testing.assert_allclose(widths, np.eye(10)[7], atol=1e-6)
    assert "7" in window.axes[2].get_title()
    window.canvas.draw()


def test_a_mouse_that_moves_with_no_button_down_draws_nothing(window):
    mouse(window, "motion_notify_event", 0.2, 0.2)
    mouse(window, "motion_notify_event", 0.8, 0.8)
    assert seen(window).max() == 0


def test_a_second_stroke_is_not_joined_to_the_first(window):
    draw_stroke(window, [(0.3, 0.2), (0.3, 0.8)])
    draw_stroke(window, [(0.7, 0.2), (0.7, 0.8)])
    assert seen(window)[:, 13:15].max() == 0


def test_leaving_the_square_and_coming_back_does_no_harm(window):
    draw_stroke(window, [(0.5, 0.5), (1.5, 0.5), (0.5, 0.7), (-3, -2)])
    assert seen(window).max() == 1


@pytest.mark.parametrize("key", ["c", "q", "s"])
def test_any_key_clears_and_does_nothing_else(window, key):
    draw_stroke(window, STROKE)
    event = KeyEvent("key_press_event", window.canvas, key)
    window.canvas.callbacks.process("key_press_event", event)
    assert seen(window).max() == 0
    assert nn.plt.fignum_exists(window.number)


def test_the_right_button_clears(window):
    draw_stroke(window, STROKE)
    mouse(window, "button_press_event", 0.5, 0.5, button=3)
    assert seen(window).max() == 0
    draw_stroke(window, STROKE)
    assert seen(window).max() == 1


@pytest.mark.parametrize("turn", range(4))
def test_a_heavy_end_does_not_push_the_digit_over_the_edge(turn):
    """The centre of its ink cannot come to the middle of the image."""
    ink = np.zeros((200, 100))
    ink[:40] = ink[:, 46:54] = 1
    sides, _ = box_and_centre(nn.as_mnist(np.rot90(ink, turn)))
    assert sorted(sides) == [10, 20]


def test_a_hairline():
    assert nn.as_mnist(np.ones((1000, 1))).max() == 1


def test_a_very_thick_pen_is_made_thinner():
    thick = nn.as_mnist(seven(280, 280, 60))
    assert thick.sum() < 1.8 * PLAIN.sum()  # 2.0 as it was drawn


def test_less_than_no_ink_is_paper():
    with pytest.raises(ValueError, match="no ink"):
        nn.as_mnist(np.full((28, 28), -1.0))
    np.testing.assert_array_equal(nn.as_mnist(np.where(INK > 0, INK / 255, -0.1)), PLAIN)


def test_a_thin_line_does_not_fall_through():
    assert likeness(nn.as_mnist(seven(2000, 2000, 2))) > 0.8


def test_a_trace_of_ink_is_paper():
    ink = INK / 255
    ink[0, 0] = 0.006  # between 1 and 2 of 255
    np.testing.assert_array_equal(nn.as_mnist(ink), PLAIN)


def test_a_digit_in_two_pieces(tmp_path):
    ink = SMALL_INK.copy()
    ink[60:72] = 0
    looks_right(read(on_paper(ink), tmp_path / "seven.png"))


def test_tiff_of_numbers_below_0(tmp_path):
    grey = -200 * INK.astype(np.float32)
    Image.fromarray(grey).save(str(tmp_path / "seven.tif"))
    assert nn.load_grey(tmp_path / "seven.tif").getextrema() == (0, 255)


def test_tiff_of_shares_of_1(tmp_path):
    grey = 1 - INK.astype(np.float32) / 255
    looks_right(read(Image.fromarray(grey), tmp_path / "seven.tif"))


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_pictures_are_made_smaller_before_the_work(tmp_path, mode):
    Image.new(mode, (2000, 1000)).save(str(tmp_path / "a.png"))
    assert nn.load_grey(tmp_path / "a.png").size == (800, 400)


def test_a_digit_that_touches_the_edge_and_a_speck_that_does_not(tmp_path):
    rows, columns = np.nonzero(INK)
    close = INK[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].copy()
    close[100:104, 20:24] = 200
    looks_right(read(255 - close, tmp_path / "seven.png"))


def test_a_transparent_colour_without_a_palette(tmp_path):
    """Of 255 shades of grey that of the paper, nearly as dark as the ink, is transparent."""
    grey = np.where(INK > 127, 0, 1).astype(np.uint8)
    looks_right(read(Image.fromarray(grey), tmp_path / "seven.png", transparency=1))


def test_colours_under_what_is_transparent_are_not_seen(tmp_path):
    """A dark blot, hidden, as an eraser leaves it."""
    image = Image.fromarray(255 - INK).convert("RGBA")
    image.paste((0, 0, 0, 0), (20, 180, 100, 260))
    looks_right(read(image, tmp_path / "seven.png"))


def test_transparent_corners_of_dark_paper(tmp_path):
    image = Image.fromarray(INK).convert("RGBA")
    for corner in (0, 0), (220, 0), (0, 220), (220, 220):
        image.paste((0, 0, 0, 0), (*corner, corner[0] + 60, corner[1] + 60))
    looks_right(read(image, tmp_path / "seven.png"))


def test_a_warning_of_pillow_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 280 * 280 - 1)  # twice as many are an error
    looks_right(read(255 - INK, tmp_path / "seven.png"))


def test_whatever_pillow_raises_is_named(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"a")

    def fail(path):
        raise KeyError("in some part of Pillow")

    monkeypatch.setattr(nn, "load_grey", fail)
    assert "cannot be read as a picture (KeyError)" in one_sentence(path)


def test_a_folder_is_no_picture(tmp_path):
    assert "no such file" in one_sentence(tmp_path)


def test_the_window_shows_the_stroke_on_paper_as_dark_as_it_is(window):
    draw_stroke(window, STROKE)
    paper, network = [ax.images[0] for ax in window.axes[:2]]
    assert likeness(np.asarray(paper.get_array()), INK) > 0.9
    assert (paper.get_clim(), network.get_clim()) == ((0, 255), (0, 1))
    assert paper.cmap(1.0)[0] < paper.cmap(0.0)[0], "ink lighter than paper"


def test_the_window_is_drawn_anew_with_each_stroke(window, monkeypatch):
    calls = []
    monkeypatch.setattr(window.canvas, "draw_idle", lambda: calls.append(1))
    draw_stroke(window, STROKE)
    assert len(calls) == 3


def test_a_click_makes_a_round_dot(window):
    draw_stroke(window, [(0.5, 0.5)])
    rows, columns = np.nonzero(np.asarray(window.axes[0].images[0].get_array()))
    assert np.ptp(rows) == np.ptp(columns) == 22


def test_clearing_empties_all_and_ends_the_stroke(window):
    draw_stroke(window, STROKE)
    mouse(window, "button_press_event", 0.3, 0.3, button=1)
    window.canvas.callbacks.process("key_press_event", KeyEvent("", window.canvas, "x"))
    mouse(window, "motion_notify_event", 0.7, 0.7)
    paper, network, bars = window.axes
    assert np.asarray(paper.images[0].get_array()).max() == seen(window).max() == 0
    assert bars.get_title() == "" and not any(bar.get_width() for bar in bars.patches)


def test_the_window_says_how_sure_it_is_and_numbers_the_bars_from_above(window):
    draw_stroke(window, STROKE)
    bars = window.axes[2]
    assert bars.get_title() == "7 (100.0%)"
    assert [label.get_text() for label in bars.get_yticklabels()] == list("0123456789")
    assert bars.get_ylim()[0] > bars.get_ylim()[1]


# --- 8. The program -------------------------------------------------------------------------------


def run(folder, *flags, stdout=True, argv=None, picture=False):
    """Run the program in this process, in `folder`, with `flags`, without a network.

    Most runs need no picture: unless `picture`, saving it is cut short, since it takes long.
    Return its exit status, what it printed as `out` and `err`, the variables that it `left`, its
    `figures`, and the addresses that it `asked` for.
    """

    def unreachable(url, *args, **kwargs):
        asked.append(url)
        raise urllib.error.URLError("no network here")

    asked = []
    out, err = [io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2)]
    status, left = 0, {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", argv or [nn.__file__, *map(str, flags)])
        patch.setattr(sys, "stdout", out if stdout else None)
        patch.setattr(sys, "stderr", err)
        patch.setattr(urllib.request, "urlopen", unreachable)
        patch.setenv("COLUMNS", "500")
        if not picture:
            patch.setattr(Figure, "savefig", lambda fig, file, **options: file.write(b"a picture"))
        nn.plt.close("all")
        try:
            left = runpy.run_path(nn.__file__, run_name="__main__")
        except SystemExit as stop:
            status = stop.code or 0
    figures = [nn.plt.figure(number) for number in nn.plt.get_fignums()]
    nn.plt.close("all")
    texts = []
    for stream in out, err:
        stream.flush()
        texts.append(stream.buffer.getvalue().decode("utf-8"))
    return types.SimpleNamespace(
        status=status, out=texts[0], err=texts[1], left=left, figures=figures, asked=asked
    )


@pytest.fixture(autouse=True, scope="module")
def draw_for_files_only():
    nn.plt.switch_backend("agg")


SETTINGS = "--hidden", 12, "--epochs", 4, "--batch-size", 8, "--learning-rate", 0.15, "--seed", 5


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """A run with all settings other than the default ones."""
    folder = tmp_path_factory.mktemp("finished")
    flags = "--data", tiny, *SETTINGS, "--figure", "picture.png", "--no-show"
    finished = run(folder, *flags, picture=True)
    assert (finished.status, finished.err) == (0, "")
    finished.folder = folder
    return finished


@pytest.fixture(scope="module")
def by_default(tiny, tmp_path_factory):
    """A run without settings."""
    folder = tmp_path_factory.mktemp("by default")
    by_default = run(folder, "--data", tiny)
    assert (by_default.status, by_default.err) == (0, "")
    by_default.folder = folder
    return by_default


@pytest.fixture(scope="module")
def on_drawn(tiny, tmp_path_factory):
    """A run on drawn digits, although there are files."""
    folder = tmp_path_factory.mktemp("on drawn")
    on_drawn = run(folder, "--dataset", "drawn", "--data", tiny, "--epochs", 1, "--seed", 3)
    assert (on_drawn.status, on_drawn.err) == (0, "")
    return on_drawn


def replayed(data, hidden, epochs, batch_size, learning_rate, seed):
    """The untrained and the trained params, and the history, by the functions of the lesson."""
    X, y, X_test, y_test = data
    rng = np.random.default_rng(seed)
    params = nn.init_params(hidden, rng)
    split = X[:, :220], y[:220], X[:, 220:], y[220:]
    return (params, *nn.train(params, *split, epochs, batch_size, learning_rate, rng))


def test_every_setting_reaches_the_functions(finished, tiny):
    start, params, history = replayed(nn.load_mnist(tiny), 12, 4, 8, 0.15, 5)
    for P, P_replayed in zip(finished.left["params"], params):
        np.testing.assert_array_equal(P, P_replayed)
    assert finished.left["history"]["val_loss"] == history["val_loss"]
    assert finished.left["history"]["accuracy"] == history["accuracy"]


def test_the_settings_by_default(by_default, tiny):
    settings = nn.HIDDEN, nn.EPOCHS, nn.BATCH_SIZE, nn.LEARNING_RATE, nn.SEED
    assert settings == (10, 25, 64, 0.12, 0)
    start, params, history = replayed(nn.load_mnist(tiny), *settings)
    for P, P_replayed in zip(by_default.left["params"], params):
        np.testing.assert_array_equal(P, P_replayed)
    assert listing(by_default.folder) == ["nn_from_scratch.png"]


def without_seconds(text):
    """`text` without the last number of each epoch's line and of the line after the last."""
    return re.sub(r"[\d.]+$| in .* s$", "", text, flags=re.MULTILINE)


def test_the_same_seed_prints_the_same_run(finished, tiny, tmp_path):
    flags = "--data", tiny, *SETTINGS, "--figure", "picture.png", "--no-show"
    again = run(tmp_path, *flags, picture=True)
    assert without_seconds(again.out) == without_seconds(finished.out)
    one, other = [folder / "picture.png" for folder in (tmp_path, finished.folder)]
    assert one.read_bytes() == other.read_bytes()


def columns_of(X):
    return {column.tobytes() for column in X.T}


@pytest.mark.parametrize(
    "name, sizes", [("finished", (220, 20, 60)), ("on_drawn", (22916, 2084, 5000))]
)
def test_training_validation_and_test_images_are_disjoint(name, sizes, request):
    left = request.getfixturevalue(name).left
    parts = [left["X_train"], left["X_val"], left["X_test"]]
    assert tuple(X.shape[1] for X in parts) == sizes
    assert tuple(len(left[y]) for y in ("y_train", "y_val", "y_test")) == sizes
    assert len(set.union(*map(columns_of, parts))) == sum(sizes)


def test_the_last_twelfth_of_the_training_files_is_for_validation(finished, tiny):
    X, y, X_test, y_test = nn.load_mnist(tiny)
    expected = {"X_train": X[:, :220], "y_train": y[:220], "X_val": X[:, 220:], "y_val": y[220:]}
    for name, array in {**expected, "X_test": X_test, "y_test": y_test}.items():
        np.testing.assert_array_equal(finished.left[name], array)


def test_a_network_for_the_eye_is_left_behind(finished):
    """What chapter 8 promises for `python -i` and the notebook."""
    assert {"params", "history", "X_test", "y_test"} <= set(finished.left)


def test_the_run_prints_shapes_and_sizes(finished):
    for words in (
        "(784, 220)",
        "(784, 20)",
        "(784, 60)",
        "784-12-10",
        "9,550",
        "(12, 784)",
        "(10, 12)",
    ):
        assert words in finished.out
    finished.out.encode("ascii")


def test_the_loss_before_training_is_that_of_the_validation_images(finished, tiny):
    left = finished.left
    start, params, history = replayed(nn.load_mnist(tiny), 12, 4, 8, 0.15, 5)
    J = loss(start, left["X_val"], nn.one_hot(left["y_val"]))
    assert re.search(rf"loss before training {J:.3f}\b.*2\.303", finished.out)


def test_each_epoch_prints_its_history(finished, tiny):
    rows = re.findall(r"^ +(\d+) +(.*)$", finished.out, flags=re.MULTILINE)
    rows = [(int(epoch), re.findall(r"[\d.]+", rest)) for epoch, rest in rows if "#" not in rest]
    rows = [(epoch, numbers) for epoch, numbers in rows if len(numbers) == 6]
    assert [epoch for epoch, numbers in rows] == [1, 2, 3, 4]
    history = finished.left["history"]
    for i, (epoch, numbers) in enumerate(rows):
        names = "loss", "accuracy", "val_loss", "val_accuracy"
        percent = 1, 100, 1, 100
        expected = [history[name][i] * scale for name, scale in zip(names, percent)]
        expected += [(0.15, 0.15, 0.15, 0.075)[i], history["seconds"][i]]
        np.testing.assert_allclose([float(n) for n in numbers], expected, atol=0.0051, rtol=0)
        np.testing.assert_allclose(float(numbers[0]), expected[0], atol=6e-5)
        np.testing.assert_allclose(float(numbers[2]), expected[2], atol=6e-5)
    assert re.search(rf"trained 4 epochs in {history['seconds'][-1]:.2f} s", finished.out)


@pytest.mark.parametrize("name", ["finished", "by_default", "on_drawn"])
def test_the_accuracy_printed_is_that_of_the_test_images(name, request):
    done = request.getfixturevalue(name)
    left = done.left
    share = nn.accuracy(nn.predict(left["params"], left["X_test"]), left["y_test"])
    data = "drawn digits" if name == "on_drawn" else "tiny data"
    assert re.search(f"^test accuracy {share:.2%} .*{data}", done.out, flags=re.MULTILINE)
    title = " ".join(text.get_text() for text in done.figures[0].texts)
    assert f"{share:.2%}" in title and data in title
    size, seed = {"finished": (12, 5), "by_default": (10, 0), "on_drawn": (10, 3)}[name]
    assert f"784-{size}-10" in title and f"seed {seed}" in title


def text_pictures(out):
    """The images and the ten percentages of each text picture in `out`: (lines, numbers)."""
    lines = re.findall(r"^(.{28}) (\d) +([\d.]+)% ?(#*)$", out, flags=re.MULTILINE)
    pictures = [lines[i : i + 10] for i in range(0, len(lines), 10)]
    assert all([line[1] for line in picture] == list("0123456789") for picture in pictures)
    return pictures


def test_the_first_test_image_is_read_before_and_after_training(finished, tiny):
    left = finished.left
    start, trained, history = replayed(nn.load_mnist(tiny), 12, 4, 8, 0.15, 5)
    before, after = text_pictures(finished.out)
    for picture, params in (before, start), (after, trained):
        A2 = nn.forward_prop(params, left["X_test"][:, :1])[3]
        said = [float(percent) for image, digit, percent, bar in picture]
        np.testing.assert_allclose(said, 100 * A2[:, 0], atol=0.051)
        bars = [len(bar) for image, digit, percent, bar in picture]
        assert np.corrcoef(bars, said)[0, 1] > 0.9 and max(bars) >= 5
    assert finished.out.index("before training") < finished.out.index("trained")
    assert f"a {left['y_test'][0]}" in finished.out


def test_the_text_picture_is_upright(finished):
    image = finished.left["X_test"][:, 0].reshape(28, 28)
    for picture in text_pictures(finished.out):
        ranks = [[" .:-=+*#%@".index(c) for c in line[0]] for line in picture]
        ink = image[4:24].reshape(10, 2, 28).mean(axis=1)  # two rows of pixels are one of text
        assert np.corrcoef(np.ravel(ranks), ink.ravel())[0, 1] > 0.95


def test_black_and_white_in_a_text_picture(capsys):
    x = np.zeros((784, 1))
    x[14 * 28 : 16 * 28] = 1
    params = nn.init_params(10, np.random.default_rng(0))
    nn.print_reading(params, x)
    picture = text_pictures(capsys.readouterr().out)[0]
    assert [line[0] for line in picture] == [" " * 28] * 5 + ["@" * 28] + [" " * 28] * 4


def mistakes_of(left):
    """The samples read wrongly, the surest first, what they were read as, and how surely."""
    A2 = nn.forward_prop(left["params"], left["X_test"])[3]
    wrong = [s for s in range(len(left["y_test"])) if A2[:, s].argmax() != left["y_test"][s]]
    wrong.sort(key=lambda s: -A2[:, s].max())
    return wrong, A2.argmax(axis=0), A2


@pytest.mark.parametrize("name", ["finished", "on_drawn"])
def test_the_surest_mistakes_are_printed(name, request):
    done = request.getfixturevalue(name)
    wrong, read_as, A2 = mistakes_of(done.left)
    y = done.left["y_test"]
    assert f"{len(wrong)} of {len(y)} " in done.out
    lines = re.findall(r"test image (\d+), a (\d), read as (\d) \(([\d.]+%)\), then (\d)", done.out)
    expected = []
    for s in wrong[:3]:
        second = np.argsort(-A2[:, s])[1]
        expected.append((s, y[s], read_as[s], f"{A2[:, s].max():.1%}", second))
    assert lines == [tuple(map(str, line)) for line in expected]


def test_the_picture_is_that_of_the_run(finished):
    assert listing(finished.folder) == ["picture.png"]
    (fig,) = finished.figures
    left = finished.left
    first = panel(fig, "first", "test")
    for shown, s in zip(pictures(first), range(12)):
        assert looks_like(shown, left["X_test"][:, s])
    wrong, read_as, A2 = mistakes_of(left)
    surest = pictures(panel(fig, "mistakes"))
    assert len(surest) == min(12, len(wrong))
    for shown, s in zip(surest, wrong):
        assert looks_like(shown, left["X_test"][:, s])
    curve = panel(fig, "loss").get_lines()
    assert any(list(line.get_ydata()) == left["history"]["val_loss"] for line in curve)
    counts = nn.confusion_matrix(read_as, left["y_test"])
    assert confusion_shown(panel(fig, "confusion")) == nonzero_entries(counts)
    units = {int(re.search(r"\d+", p.caption)[0]) for p in pictures(panel(fig, "weights"))}
    assert units == set(range(12))


def test_the_picture_is_saved_as_it_is_drawn(finished):
    (fig,) = finished.figures
    saved = nn.plt.imread(str(finished.folder / "picture.png"))[::-1, :, :3].mean(axis=2)
    assert saved.shape == page_of(fig).shape and saved.shape[1] == 1000
    np.testing.assert_allclose(saved, page_of(fig) / 255, atol=0.01)


BEGINNINGS = {"f.PNG": b"\x89PNG", "f.pdf": b"%PDF", "f.svg": b"<?xml", "f.jpg": b"\xff\xd8"}


@pytest.mark.parametrize("name", BEGINNINGS)
def test_the_name_of_the_figure_says_its_format(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fig = nn.plt.figure(figsize=(1, 1))
    nn.save_figure(fig, Path(name))
    nn.plt.close(fig)
    assert (tmp_path / name).read_bytes().startswith(BEGINNINGS[name])
    assert listing(tmp_path) == [name]


def test_drawn_digits_need_no_network_and_no_files(on_drawn):
    assert on_drawn.asked == []
    assert "tiny data" not in on_drawn.out


def test_mnist_that_cannot_be_had_ends_the_run(tmp_path):
    """The four addresses and the folder are in one line on stderr."""
    data = tmp_path / "data"
    failed = run(tmp_path, "--data", data, "--dataset", "mnist")
    assert failed.status == 1 and len(failed.err.splitlines()) == 1
    assert all(f"{name}.gz" in failed.err for name in FILES) and str(data) in failed.err
    assert "epoch" not in failed.out


WINDOW = """from matplotlib.backend_bases import FigureManagerBase as FigureManager
from matplotlib.backends.backend_agg import FigureCanvasAgg as FigureCanvas
opened = []
def show(*args, **kwargs):
    opened.append(True)
"""


@pytest.fixture
def windows(tmp_path, monkeypatch):
    """A list of the windows that Matplotlib opens: it is given a kind of window that notes that."""
    (tmp_path / "noted_window.py").write_text(WINDOW)
    monkeypatch.syspath_prepend(tmp_path)
    nn.plt.switch_backend("module://noted_window")
    yield sys.modules["noted_window"].opened
    monkeypatch.undo()
    nn.plt.switch_backend("agg")
    del sys.modules["noted_window"]


@pytest.mark.parametrize("flags, number", [((), 1), (("--no-show",), 0)])
def test_a_window_opens_unless_it_is_forbidden(tiny, tmp_path, windows, flags, number):
    done = run(tmp_path, "--data", tiny, "--epochs", 4, "--batch-size", 16, *flags)
    assert (done.status, done.err, len(windows)) == (0, "", number)
    assert (tmp_path / "nn_from_scratch.png").exists()


def test_a_window_that_cannot_open(tiny, tmp_path, windows, monkeypatch):
    """The figure is saved all the same."""

    def fail(backend):
        if backend != "agg":
            raise ImportError("Cannot load backend: no display")
        switch_backend(backend)

    switch_backend = nn.plt.switch_backend
    monkeypatch.setattr(nn.plt, "switch_backend", fail)
    done = run(tmp_path, "--data", tiny, "--epochs", 4, "--batch-size", 16)
    assert (done.status, done.err, len(windows)) == (0, "", 0)
    assert (tmp_path / "nn_from_scratch.png").exists()


BAD_FLAGS = """--hidden 0,--hidden x,--hidden 1.5,--hidden -1,--epochs 0,--epochs -1,--epochs 1.5
--batch-size 0,--batch-size -2,--batch-size x,--batch-size 221,--learning-rate nan
--learning-rate 0,--learning-rate -1,--learning-rate inf,--learning-rate x,--seed -1,--seed 0.5
--dataset cifar,--no-such-flag,--data,--figure,--read,--draw --no-show""".replace("\n", ",")


@pytest.mark.parametrize("flags", BAD_FLAGS.split(","))
def test_bad_flags(flags, tiny, tmp_path):
    """Status 2, one line on stderr that names the flag, and nothing is saved."""
    failed = run(tmp_path, "--data", tiny, *flags.split())
    assert failed.status == 2 and len(failed.err.splitlines()) == 1
    assert flags.split()[0] in failed.err
    assert flags.split()[-1] in failed.err
    assert "epoch" not in failed.out and listing(tmp_path) == []


def test_what_is_allowed_is_not_called_wrong(tiny, tmp_path):
    """All images in one batch, the seed 0, one unit, a figure in capitals; and nowhere to print."""
    flags = "--batch-size", 220, "--seed", 0, "--hidden", 1, "--epochs", 1, "--learning-rate", 1e-9
    done = run(tmp_path, "--data", tiny, *flags, "--figure", "F.PNG", stdout=False)
    assert done.status == 1 and "chance" in done.err  # what else, after one step of that size
    assert listing(tmp_path) == ["F.PNG"]


@pytest.mark.parametrize(
    "name", ["no/such/folder.png", "no-suffix", "picture.xyz", "a.png", "x" * 300 + ".png"]
)
def test_a_figure_that_cannot_be_saved_is_found_before_training(tiny, tmp_path, name):
    (tmp_path / "a.png").mkdir()
    failed = run(tmp_path, "--data", tiny, "--figure", name)
    assert failed.status == 1 and len(failed.err.splitlines()) == 1
    assert name.replace("/", os.sep) in failed.err and "--figure" in failed.err
    assert "epoch" not in failed.out and failed.out == ""
    assert listing(tmp_path) == ["a.png"]


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no folder where nobody may write")
def test_a_folder_where_no_figure_can_be_saved(tiny, tmp_path):
    failed = run(tmp_path, "--data", tiny, "--figure", "/proc/f.png")
    assert failed.status == 1 and len(failed.err.splitlines()) == 1
    assert "/proc/f.png cannot" in failed.err and "part" not in failed.err
    assert failed.out == ""


def test_an_older_figure_survives_a_look_whether_it_can_be_written(tiny, tmp_path):
    (tmp_path / "f.png").write_bytes(b"of yesterday")
    run(tmp_path, "--data", tmp_path / "f.png", "--figure", "f.png")
    assert (tmp_path / "f.png").read_bytes() == b"of yesterday"
    assert listing(tmp_path) == ["f.png"]


def test_a_disk_that_is_full_after_training(tiny, tmp_path):
    (tmp_path / "f.png").write_bytes(b"of yesterday")
    with disk_for(20_000):
        failed = run(tmp_path, "--data", tiny, "--epochs", 4, "--figure", "f.png", picture=True)
    assert failed.status == 1 and len(failed.err.splitlines()) == 1
    assert "f.png cannot be written" in failed.err and ".part" not in failed.err
    assert "test accuracy" in failed.out
    assert listing(tmp_path) == ["f.png"]
    assert (tmp_path / "f.png").read_bytes() == b"of yesterday"


def test_bad_files(tiny_copy, tmp_path):
    """Status 1 and one line on stderr, before training."""
    (tmp_path / "file").write_text("I am no folder")
    (tiny_copy / FILES[2]).write_bytes(TEST_IMAGES[:-1])
    for folder, essential in {"file": "--data", "tiny copy": FILES[2]}.items():
        failed = run(tmp_path, "--data", folder)
        assert failed.status == 1 and len(failed.err.splitlines()) == 1
        assert essential in failed.err and "epoch" not in failed.out
    assert listing(tmp_path) == ["file", "tiny copy"]


def test_a_run_worse_than_chance_says_so(tmp_path):
    """All labels of the validation images are wrong."""
    write_files(tmp_path / "data", tiny_arrays(wrong_validation=True))
    failed = run(tmp_path, "--data", tmp_path / "data", "--epochs", 8, "--batch-size", 16)
    assert failed.status == 1 and len(failed.err.splitlines()) == 1
    assert "chance" in failed.err and "--learning-rate" in failed.err
    assert listing(tmp_path) == ["data", "nn_from_scratch.png"]


def test_a_run_whose_hidden_units_are_all_dead_says_so(tiny, tmp_path):
    failed = run(tmp_path, "--data", tiny, "--hidden", 2, "--learning-rate", 5, "--epochs", 3)
    assert failed.status == 1 and len(failed.err.splitlines()) == 1
    assert "dead" in failed.err and "--learning-rate" in failed.err
    assert listing(tmp_path) == ["nn_from_scratch.png"]
    captions = [text.get_text() for text in panel(failed.figures[0], "weights").texts]
    assert len(captions) == 2 and all("dead" in caption for caption in captions)


def test_a_run_that_diverges_says_so(tiny, tmp_path):
    failed = run(tmp_path, "--data", tiny, "--learning-rate", 1e30)
    assert failed.status == 1 and len(failed.err.splitlines()) == 1
    assert "--learning-rate" in failed.err
    assert listing(tmp_path) == []


def options_in_help(tmp_path):
    """The options that --help names, with their defaults, or None: --hidden: "10"."""
    done = run(tmp_path, "--help")
    assert (done.status, done.err) == (0, "")
    options = {}
    for flag, text in re.findall(
        r"^  (?:-\w, )?(--[a-z-]+)(.*(?:\n {10}.*)*)", done.out, re.MULTILINE
    ):
        default = re.search(r"\(default: (.*)\)", text)
        options[flag] = default[1] if default else None
    return options


def test_help_names_every_option_and_its_default(tmp_path):
    options = options_in_help(tmp_path)
    expected = {"--hidden": "10", "--epochs": "25", "--batch-size": "64", "--seed": "0"}
    expected.update(
        {"--learning-rate": "0.12", "--dataset": "auto", "--figure": "nn_from_scratch.png"}
    )
    expected["--data"] = str(Path(nn.__file__).parent / "data")
    assert expected.items() <= options.items()
    assert {"--no-show", "--read", "--draw"} <= set(options)


def test_readme_and_help_describe_each_option_in_the_same_words(tmp_path):
    readme = (HERE / "README.md").read_text("utf-8")
    meanings = re.findall(r"^\| `--.*\| ([^|]+) \|$", readme, flags=re.MULTILINE)
    said = " ".join(run(tmp_path, "--help").out.split())
    assert len(meanings) == 11
    for meaning in meanings:
        assert meaning.replace("`", "") in said


def test_readme_says_of_the_options_what_the_program_says(tmp_path):
    """Its table has rows like: | `--hidden N` | 10 | units in the hidden layer |"""
    readme = (HERE / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| *`(--[a-z-]+)[^|]*\| *([^|]*?) *\|", readme, flags=re.MULTILINE)
    table = {flag: re.findall(r"[\w.-]+", default) for flag, default in rows}
    options = options_in_help(tmp_path)
    assert set(table) == set(options) - {"--help"}
    for flag, default in options.items():
        if default not in (None, "False", "[]", "None"):
            assert Path(default).name in table[flag], flag


def test_readme_commands_name_flags_and_files_that_exist(tmp_path):
    readme = (HERE / "README.md").read_text("utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
    options = set(options_in_help(tmp_path))
    lines = [line for line in "\n".join(blocks).splitlines() if "nn_from_scratch.py" in line]
    assert lines
    for line in lines:
        if "jupytext" not in line:
            assert set(re.findall(r"--[a-z][a-z-]*", line)) <= options, line
    files = re.findall(r"(?<![\w/])[\w.]+\.(?:py|txt)\b", "\n".join(blocks))
    files += re.findall(r"\]\((?!http|#)([^)]+)\)", readme)
    assert files and [name for name in files if not (HERE / name).exists()] == []


def test_options_named_by_the_script_exist(tmp_path):
    """In its docstring, and in what it advises when something goes wrong."""
    options = set(options_in_help(tmp_path))
    assert set(re.findall(r"--[a-z][a-z-]*", nn.__doc__)) <= options


def test_one_list_of_requirements():
    """The inline metadata, found as PEP 723 says, and requirements.txt ask for the same."""
    script = Path(nn.__file__).read_text("utf-8")
    block = re.search(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s?)+)^# ///$", script)
    listed = re.findall(r'"(\w+>=[\d.]+)"', block["content"])
    assert sorted(listed) == sorted((HERE / "requirements.txt").read_text("utf-8").split())
    assert len(listed) == 3 and 'requires-python = ">=3.8"' in block["content"]


# Digits of one's own. How pictures are read is tested elsewhere.


def letter_f():
    """A picture of a letter that is neither symmetric nor a digit, black on white."""
    letter = np.ones((140, 100))
    letter[20:120, 25:40] = letter[20:35, 25:80] = letter[60:75, 25:65] = 0
    return letter


def test_pictures_of_ones_own_are_read_and_shown_upright(tiny, tmp_path):
    """One that cannot be read does not spoil the others: it is named, and the status is 1."""
    nn.plt.imsave(str(tmp_path / "f.png"), letter_f(), cmap="gray")
    (tmp_path / "text.png").write_text("I am no picture")
    flags = "--data", tiny, "--epochs", 4, "--batch-size", 16, "--read", "text.png", "f.png"
    done = run(tmp_path, *flags)
    assert done.status == 1 and len(done.err.splitlines()) == 1 and "text.png" in done.err
    after = done.out[done.out.index("test accuracy") :]
    (picture,) = text_pictures(after)
    percents = [float(percent) for image, digit, percent, bar in picture]
    assert re.search(rf"^f.png: {np.argmax(percents)} \({max(percents)}%\)", after, re.MULTILINE)
    ink = np.array([[" .:-=+*#%@".index(c) for c in line[0]] for line in picture])
    ink = ink[np.ix_(ink.any(axis=1), ink.any(axis=0))]
    assert ink[:3].sum() > 1.5 * ink[-3:].sum(), "upside down"
    assert ink[:, :3].sum() > 1.5 * ink[:, -3:].sum(), "turned or mirrored"
    (shown,) = pictures(panel(done.figures[0], "your own"))
    seen = nn.read_picture(tmp_path / "f.png")[:, 0]
    assert looks_like(shown, seen)
    assert "f.png" in shown.caption and f"{np.argmax(percents)} ({max(percents)}%)" in shown.caption


def test_pictures_that_can_all_be_read_end_well(tiny, tmp_path):
    nn.plt.imsave(str(tmp_path / "f.png"), letter_f(), cmap="gray")
    done = run(tmp_path, "--data", tiny, "--epochs", 4, "--batch-size", 16, "--read", "f.png")
    assert (done.status, done.err) == (0, "")


def test_no_picture_that_can_be_read_ends_the_run_before_training(tiny, tmp_path):
    failed = run(tmp_path, "--data", tiny, "--read", "missing.png")
    assert failed.status == 1 and len(failed.err.splitlines()) == 1 and "missing.png" in failed.err
    assert failed.out == "" and listing(tmp_path) == []


def test_no_display_to_draw_on_ends_the_run_before_training(tiny, tmp_path):
    failed = run(tmp_path, "--data", tiny, "--draw")
    assert failed.status == 1 and len(failed.err.splitlines()) == 1 and "--draw" in failed.err
    assert failed.out == "" and listing(tmp_path) == []


# As a notebook: no __file__, and a sys.argv that belongs to somebody else.


def run_as_notebook(folder):
    """Run the script's source as a notebook's cells would; return the variables left behind."""
    namespace = {"__name__": "__main__"}
    source = Path(nn.__file__).read_text("utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["/lib/ipykernel_launcher.py", "-f", "kernel.json"])
        exec(compile(source, "<cell>", "exec"), namespace)  # noqa: S102 - our own source
    nn.plt.close("all")
    return namespace


def test_a_notebook_runs_with_the_default_settings_and_keeps_its_backend(tmp_path):
    write_files(tmp_path / "data", tiny_arrays())
    nn.plt.switch_backend("svg")
    try:
        left = run_as_notebook(tmp_path)
        assert nn.plt.get_backend().lower() == "svg"
    finally:
        nn.plt.switch_backend("agg")
    assert len(left["history"]["loss"]) == 25 and left["X_test"].shape == (784, 60)
    assert (tmp_path / "nn_from_scratch.png").exists()


def test_in_a_notebook_errors_stay_as_they_are(tmp_path):
    write_files(tmp_path / "data", tiny_arrays()[::-1])
    with pytest.raises(ValueError, match="shape"):
        run_as_notebook(tmp_path)


# As a process of its own.


def start(*flags, script=nn.__file__, code=None, env=None, **options):
    """Start the script in a process of its own; on Linux with windows but without a display."""
    command = [sys.executable, "-c", code] if code else [sys.executable, str(script)]
    env = {**os.environ, **(env or {})}
    env["MPLBACKEND"] = "TkAgg" if sys.platform.startswith("linux") else "agg"
    for variable in "DISPLAY", "WAYLAND_DISPLAY", "PYTHONUNBUFFERED":  # the last would hide faults
        env.pop(variable, None)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*command, *map(str, flags)], env=env, **pipes, **options)


def finish(process):
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()  # a process that should have ended by now must not outlive its test
    return process.returncode, out, err


def test_help_on_a_console_that_does_not_know_a_letter(tmp_path):
    folder = tmp_path / "цифры 数字"
    folder.mkdir()
    script = shutil.copy(nn.__file__, str(folder))
    process = start("--help", script=script, env={"PYTHONIOENCODING": "cp1252"})
    status, out, err = finish(process)
    assert (status, err) == (0, b"") and b"--hidden" in out and b"??" in out


def test_nobody_listens_any_more_and_there_is_no_display(tiny, tmp_path):
    """`nn_from_scratch.py | head -1`: the picture is saved all the same, without a word."""
    process = start("--data", tiny, "--batch-size", 16, "--epochs", 30, cwd=str(tmp_path))
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    assert (process.wait(60), err) == (0, b"")
    process.stderr.close()
    assert listing(tmp_path) == ["nn_from_scratch.png"]


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to another process")
def test_ctrl_c_while_training(tiny, tmp_path):
    """Status 130 and one line; until then, what is printed can be read at once."""

    def hear_ctrl_c():  # even if these tests are a shell's background job, which does not
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    flags = "--data", tiny, "--epochs", 10**6, "--hidden", 500, "--learning-rate", 0.001
    process = start(*flags, cwd=str(tmp_path), preexec_fn=hear_ctrl_c, bufsize=0)
    while not process.stdout.readline().startswith(b"    2 "):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    status, out, err = finish(process)
    assert status == 130 and len(err.splitlines()) == 1 and b"Ctrl-C" in err
    assert len(out.splitlines()) < 60
    assert listing(tmp_path) == []


def test_importing_does_nothing(tmp_path):
    code = f"import sys; sys.path.insert(0, {str(HERE)!r}); import nn_from_scratch"
    assert finish(start(code=code, cwd=str(tmp_path))) == (0, b"", b"")
    assert listing(tmp_path) == []


def test_two_pictures_of_the_same_name(tiny, tmp_path):
    letter = letter_f()
    for folder, picture in {"a": letter, "b": letter[::-1, ::-1]}.items():
        (tmp_path / folder).mkdir()
        nn.plt.imsave(str(tmp_path / folder / "f.png"), picture, cmap="gray")
    names = str(Path("a/f.png")), "text.png", str(Path("b/f.png"))
    done = run(tmp_path, "--data", tiny, "--epochs", 4, "--batch-size", 16, "--read", *names)
    assert done.status == 1 and "text.png" in done.err
    after = done.out[done.out.index("test accuracy") :]
    one, other = text_pictures(after)
    assert one != other
    for name, picture in zip(names[::2], (one, other)):
        percents = [float(percent) for image, digit, percent, bar in picture]
        assert f"\n{name}: {np.argmax(percents)} ({max(percents)}%)" in after


# --- 9. The picture -------------------------------------------------------------------------------


def panel(fig, *words):
    """The axes of `fig` that have all these words in their title."""
    (found,) = [ax for ax in fig.axes if all(word in ax.get_title().lower() for word in words)]
    return found


@functools.lru_cache(maxsize=4)
def page_of(fig):
    """The figure as it is printed: grey values 0 to 255; row 0 is at the lower edge."""
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[::-1, :, :3].mean(axis=2)


def box_of(artist):
    """Left, right, lower and upper edge of what is drawn, in pixels of the page."""
    box = artist.get_window_extent()
    return (*sorted((box.x0, box.x1)), *sorted((box.y0, box.y1)))


def pictures(ax):
    """What one sees in a panel of images, in reading order: grey values, caption, crosses."""
    page = page_of(ax.figure)
    crosses = [
        ax.transData.transform(point)
        for line in ax.get_lines()
        if line.get_marker() not in ("None", "", None) and line.get_visible()
        for point in line.get_xydata()
    ]
    found = []
    for image in ax.get_images():
        left, right, lower, upper = box_of(image)
        columns = left + (right - left) * (np.arange(28) + 0.5) / 28
        rows = upper - (upper - lower) * (np.arange(28) + 0.5) / 28
        picture = types.SimpleNamespace(top=-upper, left=left)
        picture.grey = page[np.ix_(rows.astype(int), columns.astype(int))]
        picture.caption = min(
            ax.texts, key=lambda text: far_below(text, left, right, lower)
        ).get_text()
        picture.crosses = sum(left < x < right and lower < y < upper for x, y in crosses)
        found.append(picture)
    assert sum(picture.crosses for picture in found) == len(crosses), "a cross beside the images"
    assert len({picture.caption for picture in found}) <= len(ax.texts) == len(found)
    return sorted(found, key=lambda picture: (round(picture.top), picture.left))


def far_below(text, left, right, lower):
    """How far `text` is from the place below an image with these edges, in pixels."""
    text_left, text_right, text_lower, text_upper = box_of(text)
    return abs(text_left + text_right - left - right) + abs(text_upper - lower)


def looks_like(picture, x, ink=-1):
    """True if the picture shows x (784,) upright: ink=-1 if large values are dark, 1 if light."""
    return ink * np.corrcoef(picture.grey.ravel(), x)[0, 1] > 0.9


def confusion_shown(ax):
    """The numbers in the confusion matrix: (true digit, read as): number."""
    assert "read as" in ax.get_xlabel() and "true" in ax.get_ylabel()
    place = {}
    for text in ax.texts:
        x, y = text.get_position()
        place[int(y + 0.5), int(x + 0.5)] = int(text.get_text())
    return place


def nonzero_entries(counts):
    return {tuple(entry): counts[tuple(entry)] for entry in np.argwhere(counts)}


def a_history(epochs):
    """Four columns that cannot be taken for one another."""
    falling = 1 / np.arange(1, epochs + 1)
    return {
        "loss": list(2.0 * falling),
        "accuracy": list(0.9 - 0.5 * falling),
        "val_loss": list(2.2 * falling + 0.1),
        "val_accuracy": list(0.8 - 0.6 * falling),
        "seconds": list(range(epochs)),
    }


def block_digits(m=40):
    y = np.arange(m) % 10
    return block_images(y, np.random.default_rng(0)).reshape(m, 784).T.astype(np.float32) / 255, y


def figure_of(hidden=10, epochs=5, n_wrong=20, dead=(), seed=0):
    """A figure, with the params, images and labels that it shows; the labels are made to fit."""
    params = nn.init_params(hidden, np.random.default_rng(seed))
    W1, b1, W2, b2 = params
    for unit in dead:
        b1[unit] = -1000
    X, y = block_digits()
    y = nn.predict(params, X)
    wrong = np.arange(2, 2 + n_wrong)  # so there are right and wrong ones among the first
    y[wrong] = (y[wrong] + 1 + wrong % 3) % 10
    fig = nn.draw_figure("The title", a_history(epochs), params, X, y, {})
    nn.plt.close(fig)
    return fig, params, X, y


@pytest.fixture(scope="module")
def figure():
    return figure_of(hidden=25, n_wrong=33, dead=(3, 22))


def test_the_first_test_images_are_shown_upright(figure):
    fig, params, X, y = figure
    shown = pictures(panel(fig, "first", "test"))
    assert len(shown) >= 8
    for s, picture in enumerate(shown):
        assert looks_like(picture, X[:, s])


def check_captions(shown, samples, params, X, y):
    """Right answers: the digit. Wrong ones: a cross, the true digit and the answer."""
    A2 = nn.forward_prop(params, X)[3]
    for picture, s in zip(shown, samples):
        answer = A2[:, s].argmax()
        assert f"{A2[answer, s]:.1%}" in picture.caption
        digits = re.findall(r"\d", picture.caption.split("\n")[0])
        if answer == y[s]:
            assert digits == [str(answer)] and picture.crosses == 0
        else:
            assert digits == [str(y[s]), str(answer)] and picture.crosses == 1
            assert "read as" in picture.caption


def test_right_and_wrong_answers_are_told_apart(figure):
    fig, params, X, y = figure
    shown = pictures(panel(fig, "first", "test"))
    check_captions(shown, range(len(shown)), params, X, y)
    assert {picture.crosses for picture in shown} == {0, 1}, "this test cannot fail"


def test_the_surest_mistakes_are_shown_upright_and_crossed(figure):
    fig, params, X, y = figure
    wrong, read_as, A2 = mistakes_of({"params": params, "X_test": X, "y_test": y})
    shown = pictures(panel(fig, "surest", "mistakes"))
    assert 8 <= len(shown) < len(wrong)
    assert str(len(wrong)) in panel(fig, "surest", "mistakes").get_title()
    for picture, s in zip(shown, wrong):
        assert looks_like(picture, X[:, s])
    check_captions(shown, wrong, params, X, y)


def test_the_weights_of_the_most_used_units_are_shown_upright(figure):
    fig, params, X, y = figure
    W1, b1, W2, b2 = params
    most_used = set(np.argsort(-(W2**2).sum(axis=0))[:20])
    shown = pictures(panel(fig, "weights"))
    numbers = [int(re.search(r"\d+", picture.caption)[0]) for picture in shown]
    assert len(numbers) == 20 and set(numbers) == most_used
    dead = (nn.forward_prop(params, X)[0] <= 0).all(axis=1)
    assert 2 <= dead.sum() < 25
    for picture, number in zip(shown, numbers):
        assert looks_like(picture, W1[number], ink=1)
        assert ("dead" in picture.caption) == dead[number]
    assert "20 of 25" in panel(fig, "weights").get_title()


@pytest.fixture(scope="module")
def weights():
    """A figure of units with images as weights: asymmetric, with clear edges; and these weights.

    Those of unit 1 are small. Unit 3 is off for all images, unit 5 for all but one.
    """
    params = nn.init_params(10, np.random.default_rng(0))
    X, y = block_digits()
    W1, b1, W2, b2 = params
    W1[:] = X[:, 20:30].T - 0.5
    W1[1] /= 100
    b1[:] = 1000
    b1[3] = -1000
    b1[5] = -np.sort(W1[5] @ X)[-2:].mean()
    fig = nn.draw_figure("The title", a_history(3), params, X, y, {})
    nn.plt.close(fig)
    return pictures(panel(fig, "weights")), W1


def test_weights_are_shown_upright_and_light_where_they_are_large(weights):
    shown, W1 = weights
    assert [int(re.search(r"\d+", picture.caption)[0]) for picture in shown] == list(range(10))
    for unit in 0, 2, 4, 6, 7, 8, 9:
        assert looks_like(shown[unit], W1[unit], ink=1)


def test_weights_of_all_units_are_shown_on_one_scale(weights):
    shown, W1 = weights
    contrast = [picture.grey.std() for picture in shown]
    assert 20 * contrast[1] < min(contrast[:1] + contrast[2:])


def test_dead_units_are_called_dead_and_no_others(weights):
    """A unit that is on for a single image is not dead."""
    shown, W1 = weights
    assert [unit for unit in range(10) if "dead" in shown[unit].caption] == [3]


@pytest.mark.parametrize("what", ["loss", "accuracy"])
def test_each_curve_shows_its_column(figure, what):
    fig, params, X, y = figure
    ax = panel(fig, what)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    history = a_history(5)
    columns = {"training": history[what], "validation": history["val_" + what]}
    for word, column in columns.items():
        (line,) = [line for line in ax.get_lines() if word in str(line.get_label())]
        assert list(line.get_ydata()) == column and list(line.get_xdata()) == [1, 2, 3, 4, 5]
        assert any(word in label for label in labels)
        low, high = ax.get_ylim()
        assert low < min(column) and max(column) < high
    assert all(tick == int(tick) for tick in ax.get_xticks()), "there are no half epochs"
    assert "epoch" in (ax.get_title() + ax.get_xlabel()).lower()


def test_the_loss_has_the_chance_level_beside_it(figure):
    ax = panel(figure[0], "loss")
    (line,) = [line for line in ax.get_lines() if "chance" in str(line.get_label())]
    np.testing.assert_allclose(line.get_ydata(), np.log(10))
    assert ax.get_ylim()[0] < np.log(10) < ax.get_ylim()[1]


def test_curves_can_be_told_apart_without_colours(figure):
    for ax in panel(figure[0], "loss"), panel(figure[0], "accuracy"):
        looks = {(line.get_linestyle(), line.get_marker()) for line in ax.get_lines()}
        assert len(looks) == len(ax.get_lines())


def test_the_confusion_matrix_has_a_row_for_each_true_digit(figure):
    fig, params, X, y = figure
    ax = panel(fig, "confusion")
    counts = nn.confusion_matrix(nn.predict(params, X), y)
    assert (counts != counts.T).any()
    assert confusion_shown(ax) == nonzero_entries(counts)
    for labels in ax.get_xticklabels(), ax.get_yticklabels():
        assert [text.get_text() for text in labels] == list("0123456789")


def test_the_most_frequent_mistake_is_the_darkest_cell_and_row_0_is_above(figure):
    fig, params, X, y = figure
    ax = panel(fig, "confusion")
    counts = nn.confusion_matrix(nn.predict(params, X), y)
    np.fill_diagonal(counts, 0)
    page = page_of(fig)
    grey = np.empty((10, 10))
    for true, read_as in np.ndindex(10, 10):  # near a corner of the cell, beside its number
        left, upper = ax.transData.transform((read_as - 0.4, true - 0.4))
        grey[true, read_as] = page[int(upper), int(left)]
    assert np.corrcoef(grey.ravel(), counts.ravel())[0, 1] < -0.9
    assert np.diag(grey).min() == grey.max(), "right answers are many, and would hide the mistakes"
    heights = [ax.transData.transform((0, digit))[1] for digit in range(10)]
    assert heights == sorted(heights, reverse=True)


def on_top(box, other):
    """True if two boxes overlap, each left, right, lower, upper edge, as box_of returns them."""
    apart = box[1] <= other[0] or other[1] <= box[0] or box[3] <= other[2] or other[3] <= box[2]
    return not apart


def texts_of(fig):
    """All texts that are drawn, but those at ticks."""
    found = list(fig.texts)
    for ax in fig.axes:
        found += [*ax.texts, ax.title]
        if ax.axison:
            found += [ax.xaxis.label, ax.yaxis.label]
    return [text for text in found if text.get_text().strip() and text.get_visible()]


@pytest.mark.parametrize(
    "hidden, epochs, n_wrong, dead",
    [
        (1, 1, 20, ()),
        (2, 50, 0, ()),
        (10, 25, 20, (1, 9)),
        (300, 5, 30, range(290)),
    ],
)
def test_the_page_in_odd_cases(hidden, epochs, n_wrong, dead):
    """Drawn without a warning, 1000 pixels wide; nothing small, cut off or on top of another."""
    fig, params, X, y = figure_of(hidden, epochs, n_wrong, dead)
    height, width = page_of(fig).shape
    assert width == 1000
    small = [text for text in fig.findobj(Text) if text.get_text() and text.get_fontsize() < 9]
    assert small == []
    boxes = [(box_of(text), text.get_text()) for text in texts_of(fig)]
    for (left, right, lower, upper), words in boxes:
        assert left >= 0 and right <= width and lower >= 0 and upper <= height, words
    for (box, words), (other_box, other_words) in itertools.combinations(boxes, 2):
        assert not on_top(box, other_box), f"{words} is on top of {other_words}"
    for words in "weights", "first", "mistakes":
        ax = panel(fig, words)
        assert not ax.axison, "numbers at the edge, which mean nothing here"
        images, captions = [[box_of(a) for a in artists] for artists in (ax.images, ax.texts)]
        assert not any(on_top(*pair) for pair in itertools.product(images, captions))
    assert len(pictures(panel(fig, "weights"))) == min(hidden, 20)
    assert len(pictures(panel(fig, "mistakes"))) == min(n_wrong, 12)
    assert "The title" in [text.get_text() for text in fig.texts]


def test_thirteen_pictures_of_ones_own():
    """Twelve have room, each with its own answer and the end of its name, without a formula."""
    params = nn.init_params(10, np.random.default_rng(0))
    X, y = block_digits(13)
    names = ["a/b.png"] + [f"a/picture of a digit $x$ {s:02}.png" for s in range(1, 13)]
    own_digits = {name: X[:, [s]] for s, name in enumerate(names)}
    fig = nn.draw_figure("$a$ \u4e03", a_history(3), params, X, y, own_digits)
    nn.plt.close(fig)
    ax = panel(fig, "12 of 13", "your own")
    assert fig.texts[0].get_text() == "?a? ?"
    A2 = nn.forward_prop(params, X)[3]
    assert len(pictures(ax)) == 12
    for s, picture in enumerate(pictures(ax)):
        assert looks_like(picture, X[:, s])
        answer = f"{A2[:, s].argmax()} ({A2[:, s].max():.1%})"
        end_of_name = "b.png" if s == 0 else f"git ?x? {s:02}.png"
        assert picture.caption == f"{end_of_name}\n{answer}"


# --- 10. The numbers that the text quotes ---------------------------------------------------------
#
# Only where MNIST_DIR is set. Other machines add up in another order, and after some epochs the
# numbers differ a little: hence the room in each comparison, and more of it where training is wild.

MNIST_DIR = os.environ.get("MNIST_DIR")
HANDWRITING_DIR = os.environ.get("HANDWRITING_DIR")
needs_mnist = pytest.mark.skipif(not MNIST_DIR, reason="set MNIST_DIR to the folder of MNIST")


def quoted(sentence):
    """Return the numbers that stand for each # of `sentence` in the script's text."""
    text = Path(nn.__file__).read_text("utf-8").replace("\n#", "\n")
    number = r"(\d+(?:[.,]\d+)*)"
    words = [re.escape(word).replace(re.escape("#"), number) for word in sentence.split()]
    found = re.search(r"\s+".join(words), text)
    assert found, f"the text does not say: {sentence}"
    return [float(digits.replace(",", "")) for digits in found.groups()]


def says(sentence, *measured, room=1.0):
    """Assert that the text has this sentence, with what was measured for each # in it.

    `python -m pytest -s -k numbers` prints what was.
    """
    print(f"{sentence}  measured: {', '.join(f'{number:.4g}' for number in measured)}")
    assert quoted(sentence) == pytest.approx(measured, abs=room), sentence


@pytest.fixture(scope="module")
def mnist():
    """Return X, y, X_val, y_val, split as the program does, and X_test, y_test."""
    X, y, X_test, y_test = nn.load_mnist(MNIST_DIR)
    return (X[:, :55_000], y[:55_000], X[:, 55_000:], y[55_000:]), (X_test, y_test)


def trained(images, start=None, hidden=10, epochs=5, batch_size=64, rate=0.12, seed=0, order=None):
    """Train as the program does with --epochs 5, from start(*params), in the order of `order`.

    Return params, and history with two more entries: the number of dead hidden units and the last
    validation accuracy, in percent.
    """
    rng = np.random.default_rng(seed)
    params = nn.init_params(hidden, rng)
    if start:
        params = start(*params)
    settings = epochs, batch_size, rate, order or rng
    with np.errstate(all="ignore"), contextlib.redirect_stdout(None):
        params, history = nn.train(params, *images, *settings)
    Z1, A1, Z2, A2 = nn.forward_prop(params, images[2])
    history["dead"] = (Z1 <= 0).all(axis=1).sum()
    history["percent"] = 100 * history["val_accuracy"][-1]
    return params, history


def percent(*args, **options):
    params, history = trained(*args, **options)
    return history["percent"]


def percent_and_dead(*args, **options):
    params, history = trained(*args, **options)
    return history["percent"], history["dead"]


@needs_mnist
def test_numbers_all_right(mnist):
    images, _ = mnist
    params, history = trained(images)
    says("With all lines right that is #%.", history["percent"])
    says("all right is # and #%", history["val_loss"][-1], history["percent"])
    says("with 1 and 2 it is #% and #%", percent(images, seed=1), percent(images, seed=2))
    assert history["dead"] == 0


@needs_mnist
def test_numbers_of_chapter_1(mnist):
    (X, y, X_val, y_val), _ = mnist

    def torn(X):
        return np.ascontiguousarray(X.T).reshape(784, -1)

    says("a mixture of images. Measured: #%", percent((torn(X), y, torn(X_val), y_val)))
    unscaled = (255 * X, y, 255 * X_val, y_val)
    says("measured: #%, and all ten hidden units dead", percent(unscaled))
    assert percent_and_dead(unscaled)[1] == 10


@needs_mnist
def test_numbers_of_chapter_2(mnist, monkeypatch):
    images, _ = mnist
    all_zero = percent(images, lambda W1, b1, W2, b2: (0 * W1, b1, 0 * W2, b2))
    W1_zero = percent(images, lambda W1, b1, W2, b2: (0 * W1, b1, W2, b2))
    says("only b2 learns. Measured: #%.", all_zero)
    says("With W1 = 0 alone it is the same #%", W1_zero)
    small = percent(images, lambda W1, b1, W2, b2: (W1 / 10, b1, W2 / 10, b2))
    W2_large, dead = percent_and_dead(images, lambda W1, b1, W2, b2: (W1, b1, 3 * W2, b2))
    W1_large = percent(images, lambda W1, b1, W2, b2: (30 * W1, b1, W2, b2))
    says("W1 and W2 times 0.1 give #%;", small)
    says("W2 times 3 gives #%, with # of 10 hidden units dead", W2_large, dead, room=2)
    says("W1 times 30 gives #%.", W1_large, room=5)

    def equal(W1, b1, W2, b2):
        return 0 * W1 + np.float32(0.05), b1, 0 * W2 + np.float32(0.05), b2

    says("left alone, they come to #%", percent(images, equal), room=5)

    def update_and_keep_equal(params, grads, learning_rate):
        W1, b1, W2, b2 = update_params(params, grads, learning_rate)
        W1[:] = W1.mean(axis=0)
        b1[:] = b1.mean()
        W2[:] = W2.mean(axis=1, keepdims=True)
        return W1, b1, W2, b2

    update_params = nn.update_params
    monkeypatch.setattr(nn, "update_params", update_and_keep_equal)
    kept_equal = percent(images, equal)
    says("and the units kept equal: #%", kept_equal, room=4)


@needs_mnist
def test_numbers_of_chapter_3(mnist, monkeypatch):
    images, (X_test, y_test) = mnist
    X, y, _, _ = images
    rng = np.random.default_rng(0)
    order = rng.permutation(55_000)
    X, Y = X[:, order], nn.one_hot(y[order])
    W, b = np.zeros((10, 784), np.float32), np.zeros((10, 1), np.float32)
    for epoch in range(25):
        alpha = 0.12 * min(1, 2 * (25 - epoch) / 25)
        for start in rng.permutation(np.arange(0, 55_000, 64)):
            batch = X[:, start : start + 64]
            dZ = (nn.softmax(W @ batch + b) - Y[:, start : start + 64]) / batch.shape[1]
            W -= alpha * (dZ @ batch.T)
            b -= alpha * dZ.sum(axis=1, keepdims=True)
    share = 100 * np.mean((W @ X_test + b).argmax(axis=0) == y_test)
    says("such a network reads #% of the test images, and one with ten", share, room=0.4)

    def softmax_without_axis(Z):
        E = np.exp(Z - Z.max())
        return E / E.sum()

    monkeypatch.setattr(nn, "softmax", softmax_without_axis)
    with pytest.raises(FloatingPointError, match="epoch 1"):
        trained(images)


def wrong_backward(wrong):
    """Return backward_prop with the line `wrong`, as the table of chapter 5 has it."""

    def backward_prop(params, X, Y, Z1, A1, A2):
        W1, b1, W2, b2 = params
        m = 55_000 if wrong == "m = 55000" else X.shape[1]
        m = 1 if wrong == "no 1/m at all" else m
        dZ2 = Y - A2 if wrong == "dZ2 = Y - A2" else A2 - Y
        dZ2 = (A2 - Y) / m if wrong == "dZ2 = 1 / m * (A2 - Y)" else dZ2
        dW2 = (dZ2 / m) @ (Z1 if wrong == "dW2 = 1 / m * dZ2 @ Z1.T" else A1).T
        db2 = dZ2.sum(axis=1, keepdims=True) / m
        db2 = np.sum(dZ2) / m if wrong == "db2 = 1 / m * np.sum(dZ2)" else db2
        gate = Z1 < 0 if wrong == "dZ1 = (W2.T @ dZ2) * (Z1 < 0)" else Z1 > 0
        gate = A1 >= 0 if wrong == "dZ1 = (W2.T @ dZ2) * (A1 >= 0)" else gate
        dZ1 = (W2.T @ dZ2) * gate
        dZ1 = (W2 @ dZ2) * gate if wrong == "dZ1 = (W2 @ dZ2) * (Z1 > 0)" else dZ1
        dZ1 = (
            ((W2 - 0.12 * dW2).T @ dZ2) * gate
            if wrong == "dZ1 = ((W2 - alpha * dW2).T @ dZ2) * (Z1 > 0)"
            else dZ1
        )
        dW1 = (dZ1 / m) @ X.T
        db1 = dZ1.sum(axis=1, keepdims=True) / m
        db1 = np.sum(dZ1) / m if wrong == "db1 = 1 / m * np.sum(dZ1)" else db1
        return dW1, db1, dW2, db2

    return backward_prop


@needs_mnist
@pytest.mark.parametrize(
    "wrong, loss_room, room",
    [
        ("dW2 = 1 / m * dZ2 @ Z1.T", 0.02, 1),
        ("db2 = 1 / m * np.sum(dZ2)", 0.02, 1),
        ("db1 = 1 / m * np.sum(dZ1)", 0.02, 1),
        ("dZ1 = (W2 @ dZ2) * (Z1 > 0)", 0.02, 1),
        ("dZ1 = (W2.T @ dZ2) * (A1 >= 0)", 0.3, 10),
        ("dZ1 = (W2.T @ dZ2) * (Z1 < 0)", 30, 20),
        ("dZ2 = 1 / m * (A2 - Y)", 0.02, 1),
        ("m = 55000", 0.02, 1),
        ("no 1/m at all", 0.05, 3),
    ],
)
def test_numbers_of_the_wrong_lines(mnist, monkeypatch, wrong, loss_room, room):
    images, _ = mnist
    monkeypatch.setattr(nn, "backward_prop", wrong_backward(wrong))
    params, history = trained(images)
    loss, accuracy = quoted(wrong + " # #%")
    print(f"{wrong}  measured: {history['val_loss'][-1]:.4g}, {history['percent']:.4g}")
    assert history["val_loss"][-1] == pytest.approx(loss, abs=loss_room)
    assert history["percent"] == pytest.approx(accuracy, abs=room)
    assert history["dead"] == (10 if wrong == "no 1/m at all" else 0)


@needs_mnist
@pytest.mark.parametrize("wrong", ["dZ2 = Y - A2", "dZ1 = ((W2 - alpha * dW2).T @ dZ2) * (Z1 > 0)"])
def test_wrong_lines_that_end_in_nan(mnist, monkeypatch, wrong):
    images, _ = mnist
    monkeypatch.setattr(nn, "backward_prop", wrong_backward(wrong))
    with pytest.raises(FloatingPointError):
        trained(images)


@needs_mnist
def test_numbers_of_chapter_6(mnist):
    images, _ = mnist
    accuracy, dead = percent_and_dead(images, rate=12)
    says("all # hidden units are dead, and accuracy is #%.", dead, accuracy, room=3)
    accuracy, dead = percent_and_dead(images, rate=0.012)
    says("a tenth, none is, but training is slow: #%.", accuracy)
    assert dead == 0


class Unshuffled:
    """In place of the random numbers: everything stays in its order."""

    def permutation(self, what):
        return np.arange(what) if isinstance(what, int) else what


@needs_mnist
def test_numbers_of_chapter_7(mnist, monkeypatch):
    images, _ = mnist
    X, y, X_val, y_val = images
    by_digit = np.argsort(y, kind="stable")
    sorted_images = X[:, by_digit], y[by_digit], X_val, y_val
    says("and not shuffled: #%.", percent(sorted_images, order=Unshuffled()), room=2)
    exact = percent(images, epochs=25, batch_size=55_000)
    says("after 25 epochs: #% with 25 exact steps", exact)
    says("batch_size = 4096 #%: too few steps", percent(images, batch_size=4096))
    lost = X, np.random.default_rng(0).permutation(y), X_val, y_val
    says("images lose their labels: accuracy #%,", percent(lost), room=2)

    update_params = nn.update_params
    monkeypatch.setattr(nn, "update_params", lambda P, dP, rate: update_params(P, dP, 0.12))
    constant = np.mean([percent(images, epochs=25, seed=seed) for seed in range(3)])
    says("#% with a constant alpha,", constant, room=0.5)


@needs_mnist
def test_numbers_of_default_runs(mnist):
    images, (X_test, y_test) = mnist
    runs = [trained(images, epochs=25, seed=seed) for seed in range(5)]
    shares = [100 * nn.accuracy(nn.predict(params, X_test), y_test) for params, _ in runs]
    print(f"seeds 0 to 4  measured: {shares}")
    said = quoted("the seeds 0 to 4 read #, #, #, # and #% of the test images")
    assert shares == pytest.approx(said, abs=0.5)
    assert np.mean(shares) >= 94.2
    falling = np.mean([history["percent"] for _, history in runs[:3]])
    says("with a constant alpha, #% with a falling one", falling, room=0.3)
    long = np.mean([percent(images, epochs=75, seed=seed) for seed in range(3)])
    says("with 75, the mean of the seeds 0, 1, 2 is #% instead of #%", long, falling, room=0.4)

    params, history = runs[0]
    says("with 25 exact steps, and #% with 25 * 860", history["percent"], room=0.5)
    says("one with ten hidden units #%.", shares[0], room=0.5)
    says("test accuracy #%", shares[0], room=0.5)
    says("1 # #% # #% 0.12", *line(history, 0), room=0.7)
    says("25 # #% # #% 0.0096", *line(history, -1), room=0.7)

    predictions = nn.predict(params, X_test)
    says("reads # of the 10,000 test images wrongly", (predictions != y_test).sum(), room=50)
    counts = nn.confusion_matrix(predictions, y_test)
    mixed = counts + counts.T
    said = "a 4 for a 9 or a 9 for a 4 (# times), 3 and 5 (# times), 2 and 7 (# times)"
    says(said, mixed[4, 9], mixed[3, 5], mixed[2, 7], room=12)

    W1, b1, W2, b2 = params
    X_val, y_val = images[2:]
    without = []
    for unit in range(10):
        kept = np.arange(10) != unit
        off = W1, b1, W2 * kept, b2
        without.append(100 * nn.accuracy(nn.predict(off, X_val), y_val))
    assert history["dead"] == 0
    says("from #% to between #% and #%", history["percent"], min(without), max(without), room=5)

    moved = [100 * nn.accuracy(nn.predict(params, moved_right(X_test, k)), y_test) for k in (2, 4)]
    said = "by 2 pixels to the right, and the default network reads #% of them instead of #%; by 4"
    says(said + " pixels, #%.", moved[0], shares[0], moved[1], room=4)


def line(history, epoch):
    """Return what the program prints of an epoch, accuracies in percent."""
    loss, accuracy = history["loss"][epoch], 100 * history["accuracy"][epoch]
    return loss, accuracy, history["val_loss"][epoch], 100 * history["val_accuracy"][epoch]


def moved_right(X, pixels):
    images = X.reshape(28, 28, -1)
    return np.roll(images, pixels, axis=1).reshape(784, -1)


@needs_mnist
def test_numbers_of_300_hidden_units(mnist):
    images, (X_test, y_test) = mnist
    params, history = trained(images, hidden=300, rate=0.4, epochs=25)
    says("it ends with loss # on training images, and # on images", history["loss"][-1],
         history["val_loss"][-1], room=0.006)  # fmt: skip
    says("there it was # half-way", min(history["val_loss"]), room=0.006)
    says("bring the validation accuracy from 95.4% to #%", history["percent"], room=0.3)
    assert nn.accuracy(nn.predict(params, X_test), y_test) > 0.98


@needs_mnist
def test_numbers_of_appendix_A_and_chapter_10(mnist):
    images, (X_test, y_test) = mnist
    rng = np.random.default_rng(0)
    X, y = nn.draw_digits(30_000, rng)
    X, y = X[:, 5000:], y[5000:]
    n = len(y) * 11 // 12
    drawn = X[:, :n], y[:n], X[:, n:], y[n:]
    params, _ = trained(drawn, epochs=25)
    share = 100 * nn.accuracy(nn.predict(params, X_test), y_test)
    says("on drawn digits alone, #% of MNIST's test images are read correctly", share, room=1.5)
    if not HANDWRITING_DIR:
        return
    networks = [trained(images, epochs=25)[0], params]
    names, digits = [], []
    for row in Path(HANDWRITING_DIR, "labels.csv").read_text().splitlines()[1:]:
        name, digit = row.split(",")[:2]
        names.append(Path(HANDWRITING_DIR, name))
        digits.append(int(digit))
    X_own = np.hstack([nn.read_picture(name) for name in names])
    shares = [100 * nn.accuracy(nn.predict(P, X_own), np.array(digits)) for P in networks]
    print(f"strangers' digits  measured: {shares}")
    ten, three_hundred, from_drawn = quoted("as wide as MNIST's #% #% #%")
    assert shares == pytest.approx([ten, from_drawn], abs=4)
