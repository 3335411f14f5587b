"""How to check a gradient, and everything else, in nn_from_scratch.py.

    python -m pytest

A hand-derived gradient is a claim about slopes, and slopes can be measured: nudge one number, see
how the loss moves. Most published checks nudge ten entries, in float32, where a ReLU may switch:
right gradients fail, the tolerance is loosened, and then wrong ones pass. Here all 7,960 entries
are checked, by two independent methods, on inputs chosen so that no unit's check is empty; then
wrong gradients are planted one by one, to show that the check can fail.

Parts: 1 measuring slopes, 2 right gradients pass, 3 wrong ones fail, 4 what no gradient check
sees, 5 the functions, 6 comments that cannot lie, 7 files and downloads, 8 the command line,
9 the real MNIST (set MNIST_DIR to its folder).
"""

import ast
import gzip
import hashlib
import inspect
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import nn_from_scratch as nn

# A warning is an error: a ComplexWarning, for one, says that the complex step lost its signal. Only
# of the connections that the tests break off on purpose may some be left to the garbage collector.
pytestmark = [pytest.mark.filterwarnings(f) for f in ("error", "ignore::ResourceWarning")]
HERE = Path(__file__).resolve().parent
NAMES = "dW1", "db1", "dW2", "db2"


@pytest.fixture(autouse=True)
def no_internet(monkeypatch):
    """No test leaves this machine: where a mirror is asked for, nobody listens."""
    monkeypatch.setattr(nn, "MIRRORS", ["http://127.0.0.1:9/"])


# --- 1. Measuring slopes --------------------------------------------------------------------------


def problem(seed, n_in=784, n_hidden=10, n_classes=10, m=24, steps=0):
    """A network and a batch in float64, after `steps` steps of training, fit for a gradient check.

    Inputs have zero mean and biases are small, but not zero: so every hidden unit is on for some
    samples and off for others. One that is always off has gradient 0: its check passes for nothing.
    """
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n_in, m)), rng.integers(0, n_classes, m)
    shapes = (n_hidden, n_in), (n_hidden, 1), (n_classes, n_hidden), (n_classes, 1)
    params = tuple(rng.standard_normal(s) * (0.2 if s[1] == 1 else s[1] ** -0.5) for s in shapes)
    Y = nn.one_hot(y, n_classes)
    for _ in range(steps):
        params = nn.update_params(params, gradient(params, X, Y), 0.05)
    on = nn.forward_prop(params, X)[0] > 0
    assert on.any(axis=1).all() and not on.all(axis=1).any(), "a unit is always on or always off"
    return params, X, Y


def loss(params, X, Y):
    return nn.cross_entropy(nn.forward_prop(params, X)[2], Y)


def gradient(params, X, Y, backward_prop=nn.backward_prop):
    Z1, A1, _, A2 = nn.forward_prop(params, X)
    return backward_prop(params, X, Y, Z1, A1, A2)


def each_entry(params):
    """Yield (i, index) for every entry of every parameter: params[i][index]."""
    return ((i, index) for i, P in enumerate(params) for index in np.ndindex(P.shape))


def complex_step(params, X, Y, h=1e-30):
    """The gradient of the loss by the complex step (Squire and Trapp, 1998).

    For a function f that is real on real input, Taylor gives f(x + ih) = f(x) + ih f'(x) - O(h^2),
    so f'(x) = imag(f(x + ih)) / h. No two nearly equal numbers are subtracted, so nothing cancels,
    and h can be so small that h^2 vanishes: the result is exact to rounding. A ReLU compares real
    parts, which do not move at all, so it never switches.
    """
    params = tuple(P.astype(complex) for P in params)
    measured = tuple(np.empty(P.shape) for P in params)
    for i, index in each_entry(params):
        params[i][index] += 1j * h
        measured[i][index] = loss(params, X, Y).imag / h
        params[i][index] = params[i][index].real
    return measured


def central_difference(params, X, Y, h=1e-5):
    """The gradient by (f(x + h) - f(x - h)) / 2h; nan where the step switches a ReLU.

    The error is O(h^2) plus rounding / h; h = 1e-5 balances the two. Across a kink there is no
    slope to measure, so such entries are left out, and the caller counts them.
    """
    params = tuple(P.copy() for P in params)
    measured = tuple(np.empty(P.shape) for P in params)
    for i, index in each_entry(params):
        here = params[i][index]
        J, on = [], []
        for x in here + h, here - h:
            params[i][index] = x
            Z1, _, Z2, _ = nn.forward_prop(params, X)
            J.append(nn.cross_entropy(Z2, Y))
            on.append(Z1 > 0)
        params[i][index] = here
        switched = (on[0] != on[1]).any()
        measured[i][index] = np.nan if switched else (J[0] - J[1]) / (2 * h)
    return measured


def assert_same(grads, measured, rtol, atol):
    """Fail with the names of the parameters whose gradient is not the measured one, and where."""
    faults = []
    for name, G, M in zip(NAMES, grads, measured):
        if np.shape(G) != M.shape:
            faults.append(f"{name} has shape {np.shape(G)}, not {M.shape}")
            continue
        wrong = np.argwhere(~np.isclose(G, M, rtol, atol) & ~np.isnan(M))
        if len(wrong):
            at = tuple(wrong[0])
            faults.append(f"{name} in {len(wrong)} entries, first {at}: {G[at]} is not {M[at]}")
    assert not faults, "wrong gradient: " + "; ".join(faults)


# --- 2. Right gradients pass ----------------------------------------------------------------------

SIZES = {
    "784-10-10": {},
    "5-4-3": {"n_in": 5, "n_hidden": 4, "n_classes": 3, "m": 16},
    "60-40-10": {"n_in": 60, "n_hidden": 40, "m": 32},
}


@pytest.mark.parametrize("seed, steps", [(0, 0), (1, 0), (2, 20), (3, 20)])
@pytest.mark.parametrize("size", SIZES)
def test_gradient_by_complex_step(size, seed, steps):
    """At the start, and after some training."""
    params, X, Y = problem(seed, steps=steps, **SIZES[size])
    assert_same(gradient(params, X, Y), complex_step(params, X, Y), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_gradient_by_central_difference(size):
    params, X, Y = problem(3, **SIZES[size])
    measured = central_difference(params, X, Y)
    skipped = sum(np.isnan(M).sum() for M in measured)
    assert skipped <= 0.01 * sum(P.size for P in params), f"{skipped} entries at a kink"
    assert_same(gradient(params, X, Y), measured, rtol=1e-6, atol=1e-9)


def test_gate_is_closed_at_exactly_zero():
    """No slope exists at Z1 = 0, so no check by steps can tell; the convention is asserted."""
    params, X, Y = problem(0)
    params = (0 * params[0], 0 * params[1], *params[2:])
    dW1, db1, _, db2 = gradient(params, X, Y)
    assert not dW1.any() and not db1.any() and db2.any()


def test_invariants():
    """Facts that hold exactly, whatever the numbers: they need no tolerance worth the name."""
    params, X, Y = problem(4)
    X[7] = 0
    grads = gradient(params, X, Y)
    assert not grads[0][:, 7].any(), "a pixel that is always 0 teaches its weights nothing"
    for dP in grads[2:]:
        np.testing.assert_allclose(dP.sum(axis=0), 0, atol=1e-15)  # columns of A2 - Y sum to 0
    twice = gradient(params, np.hstack([X, X]), np.hstack([Y, Y]))
    order = np.random.default_rng(0).permutation(X.shape[1])
    shuffled = gradient(params, X[:, order], Y[:, order])
    for dP, dP_twice, dP_shuffled in zip(grads, twice, shuffled):
        np.testing.assert_allclose(dP_twice, dP, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(dP_shuffled, dP, rtol=1e-12, atol=1e-15)


# --- 3. Wrong gradients fail ----------------------------------------------------------------------

# fmt: off
WRONG = {  # what is wrong: (where it shows, right text, wrong text)
    "bias sum without axis": ("db2", "dZ2.sum(axis=1, keepdims=True)", "np.sum(dZ2)"),
    "hidden bias sum without axis": ("db1", "dZ1.sum(axis=1, keepdims=True)", "np.sum(dZ1)"),
    "scalar in a column": ("db2", "dZ2.sum(axis=1, keepdims=True)", "dZ2.sum() * np.ones((10, 1))"),
    "gate on A1 >= 0": ("dW1", "(Z1 > 0)", "(A1 >= 0)"),
    "gate always open": ("dW1", "* (Z1 > 0)", ""),
    "gate upside down": ("dW1", "(Z1 > 0)", "(Z1 < 0)"),
    "Z1 in place of A1": ("dW2", "@ A1.T", "@ Z1.T"),
    "no 1/m in dW2": ("dW2", "(dZ2 / m)", "dZ2"),
    "no 1/m in dW1": ("dW1", "(dZ1 / m)", "dZ1"),
    "no 1/m in db1": ("db1", "dZ1.sum(axis=1, keepdims=True) / m", "dZ1.sum(1, keepdims=True)"),
    "1/m twice": ("dW1", "dZ2 = A2 - Y", "dZ2 = (A2 - Y) / m"),
    "m of another batch": ("dW1", "m = X.shape[1]", "m = X.shape[1] + 1"),
    "dW1 off by 0.05%": ("dW1", "@ X.T", "@ X.T * 1.0005"),
    "one wrong entry": ("dW1", "return dW1", "dW1[3, 400] *= 1.0005; return dW1"),
    "one wrong pixel column": ("dW1", "return dW1", "dW1[:, 400] = 0; return dW1"),
    "W2 not transposed": ("dW1", "W2.T @", "W2 @"),
    "Y - A2": ("dW2", "A2 - Y", "Y - A2"),
}
# fmt: on


def backward_with(right, wrong):
    """backward_prop compiled from its source with one piece of text replaced."""
    source = re.sub(r"^ *#.*\n", "", inspect.getsource(nn.backward_prop), flags=re.MULTILINE)
    assert source.count(right) == 1, f"backward_prop no longer says {right!r} once"
    namespace = {"np": np}
    exec(source.replace(right, wrong), namespace)  # noqa: S102 - our own source
    return namespace["backward_prop"]


@pytest.fixture(scope="module")
def measured_problem():
    params, X, Y = problem(5)
    return params, X, Y, complex_step(params, X, Y)


@pytest.mark.parametrize("mistake", WRONG)
def test_check_rejects(mistake, measured_problem):
    params, X, Y, measured = measured_problem
    name, right, wrong = WRONG[mistake]
    grads = gradient(params, X, Y, backward_with(right, wrong))
    with pytest.raises(AssertionError, match=name):
        assert_same(grads, measured, rtol=1e-9, atol=1e-12)


# --- 4. What no gradient check sees ---------------------------------------------------------------


def small_data(m=50, seed=0):
    """X (784, m) float32 in [0, 1] and y (m,) with all ten digits: noise to be learnt by heart."""
    rng = np.random.default_rng(seed)
    return rng.random((m, 784), dtype=np.float32).T, rng.permutation(np.arange(m) % 10)


def quiet(*_, **__):
    """In place of print."""


def test_update_takes_all_gradients_at_the_old_parameters():
    params, X, Y = problem(6, **SIZES["60-40-10"])
    grads = gradient(params, X, Y)
    new = nn.update_params(params, grads, 0.5)
    for P_new, P, G in zip(new, params, complex_step(params, X, Y)):
        np.testing.assert_allclose(P_new, P - 0.5 * G, rtol=1e-9, atol=1e-12)


def test_training_keeps_images_with_labels_and_counts_each_batch_for_itself():
    """train is replayed step by step: 50 images in batches of 20, 20 and 10."""
    X, y = small_data()
    params = start = nn.init_params(10, np.random.default_rng(1))
    trained, _ = nn.train(start, X, y, X, y, 4, 20, 0.1, np.random.default_rng(2), quiet)
    rng = np.random.default_rng(2)
    order = rng.permutation(50)
    for rate in 0.1, 0.1, 0.1, 0.05:
        for first in rng.permutation([0, 20, 40]):
            batch = order[first : first + 20]
            # One sample at a time: m cannot be mistaken, nor the label of a column.
            each = [gradient(params, X[:, [s]], nn.one_hot(y[[s]])) for s in batch]
            grads = [sum(dP) / len(batch) for dP in zip(*each)]
            params = tuple(P - rate * dP for P, dP in zip(params, grads))
    for P, P_replayed in zip(trained, params):
        np.testing.assert_allclose(P, P_replayed, rtol=1e-3, atol=1e-5)


def test_loss_is_the_mean_over_its_own_batch():
    params, X, Y = problem(7, m=24)
    each = [loss(params, X[:, [s]], Y[:, [s]]) for s in range(24)]
    np.testing.assert_allclose(loss(params, X, Y), np.mean(each), rtol=1e-12)
    np.testing.assert_allclose(loss(params, X[:, :7], Y[:, :7]), np.mean(each[:7]), rtol=1e-12)


def test_inputs_are_not_modified():
    params, X, Y = problem(8)
    for array in (*params, X, Y):
        array.flags.writeable = False  # writing to it raises ValueError
    nn.update_params(params, gradient(params, X, Y), 0.1)
    X, y = small_data()
    params = nn.init_params(10, np.random.default_rng(0))
    for array in (*params, X, y):
        array.flags.writeable = False
    nn.train(params, X, y, X, y, 1, 20, 0.1, np.random.default_rng(0), quiet)


def test_small_step_lowers_the_loss_as_taylor_says():
    params, X, Y = problem(9)
    grads = gradient(params, X, Y)
    expected = 1e-6 * sum((G**2).sum() for G in grads)
    fall = loss(params, X, Y) - loss(nn.update_params(params, grads, 1e-6), X, Y)
    np.testing.assert_allclose(fall, expected, rtol=1e-3)


def test_twenty_samples_are_learnt_by_heart():
    X, y = small_data(20)
    params = nn.init_params(10, np.random.default_rng(0))
    rng = np.random.default_rng(0)
    params, history = nn.train(params, X - 0.5, y, X - 0.5, y, 300, 5, 0.1, rng, quiet)
    assert nn.accuracy(nn.predict(params, X - 0.5), y) == 1
    assert history[-1][0] < 0.05 and len(history) == 300


def test_the_validation_images_are_judged_and_take_no_part_in_training():
    X, y = small_data()
    params = nn.init_params(10, np.random.default_rng(0))
    X_val, y_val = 1 - X[:, :30], 9 - y[:30]
    one, history = nn.train(params, X, y, X_val, y_val, 2, 10, 0.1, np.random.default_rng(0), quiet)
    J, J_val = loss(one, X, nn.one_hot(y)), loss(one, X_val, nn.one_hot(y_val))
    score = nn.accuracy(nn.predict(one, X_val), y_val)
    np.testing.assert_allclose(history[-1][:3], (J, J_val, score), rtol=1e-5)
    other, _ = nn.train(params, X, y, X, y, 2, 10, 0.1, np.random.default_rng(0), quiet)
    assert all((P == Q).all() for P, Q in zip(one, other))


def test_the_last_training_images_are_kept_for_validation(tiny, monkeypatch):
    def train(params, *data_and_settings):
        given.extend(data_and_settings[:4])
        raise KeyboardInterrupt  # the split is all that is wanted

    given = []
    monkeypatch.setattr(nn, "train", train)
    with pytest.raises(SystemExit):
        nn.main(["--data", str(tiny), "--no-show"])
    X, y, _, _ = nn.load_mnist(tiny)
    for part, expected in zip(given, (X[:, :220], y[:220], X[:, 220:], y[220:])):
        np.testing.assert_array_equal(part, expected)
    assert len(given) == 4


def test_diverging_loss_is_reported():
    X, y = small_data()
    params = nn.init_params(10, np.random.default_rng(0))
    with pytest.raises(FloatingPointError, match="epoch 1.*learning-rate"):
        nn.train(params, X, y, X, y, 3, 10, 1e30, np.random.default_rng(0), quiet)


# --- 5. The functions -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_dtype_is_kept(dtype):
    params, X, Y = problem(10)
    params, X, Y = tuple(P.astype(dtype) for P in params), X.astype(dtype), Y.astype(dtype)
    arrays = nn.forward_prop(params, X)
    grads = gradient(params, X, Y)
    new = nn.update_params(params, grads, 0.1)
    J = nn.cross_entropy(arrays[2], Y)
    assert {array.dtype for array in (*arrays, *grads, *new, J)} == {np.dtype(dtype)}


def test_training_stays_in_float32():
    X, y = small_data()
    params = nn.init_params(10, np.random.default_rng(0))
    params, _ = nn.train(params, X, y, X, y, 1, 10, 0.1, np.random.default_rng(0), quiet)
    assert {P.dtype for P in params} == {np.dtype(np.float32)}


def test_softmax():
    rng = np.random.default_rng(0)
    Z = np.hstack([rng.standard_normal((10, 5)), [[1000]] * 10, [[-1e3]] * 10, 1e3 * np.eye(10)])
    for dtype in np.float32, np.float64:
        A = nn.softmax(Z.astype(dtype))
        assert np.isfinite(A).all() and A.min() >= 0
        np.testing.assert_allclose(A.sum(axis=0), 1, rtol=1e-6)
    np.testing.assert_allclose(nn.softmax(Z + 50 * np.arange(17)), nn.softmax(Z), atol=1e-12)
    np.testing.assert_allclose(nn.softmax(np.log([[2.0], [3.0], [5.0]])).T, [[0.2, 0.3, 0.5]])


def test_cross_entropy():
    rng = np.random.default_rng(0)
    Y = nn.one_hot(rng.integers(0, 10, 30))
    np.testing.assert_allclose(nn.cross_entropy(np.zeros((10, 30)), Y), np.log(10), rtol=1e-12)
    Z = rng.standard_normal((10, 30))
    by_hand = -np.log((nn.softmax(Z) * Y).sum(axis=0)).mean()
    np.testing.assert_allclose(nn.cross_entropy(Z, Y), by_hand, rtol=1e-12)
    for dtype in np.float32, np.float64:  # certain of the truth: 0; of a falsehood: 2000
        Z = (2000 * np.eye(10) - 1000).astype(dtype)
        assert nn.cross_entropy(Z, nn.one_hot(np.arange(10))) == 0
        assert nn.cross_entropy(Z, nn.one_hot(9 - np.arange(10))) == 2000


def test_one_hot_with_digits_missing():
    Y = nn.one_hot(np.array([3, 0, 3]))
    assert Y.shape == (10, 3) and Y.dtype == np.float32
    assert (Y.argmax(axis=0) == [3, 0, 3]).all() and (Y.sum(axis=0) == 1).all()


def test_init_params():
    W1, b1, W2, b2 = params = nn.init_params(300, np.random.default_rng(0))
    assert [P.shape for P in params] == [(300, 784), (300, 1), (10, 300), (10, 1)]
    assert {P.dtype for P in params} == {np.dtype(np.float32)}
    assert not b1.any() and not b2.any()
    for W in W1, W2:  # the standard error of a standard deviation is 1 / sqrt(2 n) of it
        error = 4 / (2 * W.size) ** 0.5
        np.testing.assert_allclose(W.std(), (2 / W.shape[1]) ** 0.5, rtol=error)
    again = nn.init_params(300, np.random.default_rng(0))
    assert all((P == Q).all() for P, Q in zip(params, again))


def test_predict_accuracy_and_confusion_matrix():
    params, X, _ = problem(11)
    A2 = nn.forward_prop(params, X)[3]
    assert (nn.predict(params, X) == A2.argmax(axis=0)).all()
    assert nn.accuracy(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 5])) == 0.75
    _, ax = nn.plt.subplots()
    nn.plot_confusion(ax, predictions=np.array([4, 9, 9]), y=np.array([4, 4, 9]))
    nn.plt.close()
    shown = {text.get_position(): text.get_text() for text in ax.texts if text.get_text()}
    assert shown == {(4, 4): "1", (9, 4): "1", (9, 9): "1"}  # (predicted, true)


# --- 6. Comments that cannot lie ------------------------------------------------------------------


def locals_of(function, *args):
    """The local variables of `function` when it returns."""
    found = {}

    def trace(frame, event, _):
        if frame.f_code is function.__code__ and event == "return":
            found.update(frame.f_locals)
        return trace

    old = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*args)
    finally:
        sys.settrace(old)
    return found


def shape_faults(source, arrays, m):
    """The lines of `source` whose trailing shape comment is missing or is not the array's shape."""
    faults = []
    for line in source.splitlines():
        made = re.match(r" +(\w+) = ", line)
        if made and isinstance(arrays[made[1]], np.ndarray):
            comment = re.search(r"# (\(.+\))$", line)
            if not comment or eval(comment[1], {"m": m}) != arrays[made[1]].shape:
                faults.append(line)
    return faults


@pytest.mark.parametrize("name, made", [("forward_prop", 4), ("backward_prop", 6)])
def test_shape_comments(name, made):
    params, X, Y = problem(12, m=17)
    Z1, A1, _, A2 = nn.forward_prop(params, X)
    args = (params, X) if name == "forward_prop" else (params, X, Y, Z1, A1, A2)
    source = inspect.getsource(getattr(nn, name))
    arrays = locals_of(getattr(nn, name), *args)
    assert len(re.findall(r"# \(.+\)$", source, flags=re.MULTILINE)) == made
    assert shape_faults(source, arrays, 17) == []
    lies = source.replace("# (10, m)", "# (m, 10)"), source.replace("# (10, m)", "")
    assert all(shape_faults(lie, arrays, 17) for lie in lies), "this test cannot fail"


def test_worked_example():
    """Every `name = [[..]]` in the script's example is what its functions compute."""
    comments = re.findall(r"^#     (.*)$", Path(nn.__file__).read_text("utf-8"), flags=re.MULTILINE)
    found = re.findall(r"\b(\w+) += (\[\[.*?\]\])", "\n".join(comments))
    said = {name: np.array(ast.literal_eval(text), float) for name, text in found}
    params = tuple(said[name] for name in ("W1", "b1", "W2", "b2"))
    Z1, A1, Z2, A2 = nn.forward_prop(params, said["X"])
    grads = nn.backward_prop(params, said["X"], said["Y"], Z1, A1, A2)
    true = {**said, **dict(zip(("Z1", "A1", "Z2", "A2", *NAMES), (Z1, A1, Z2, A2, *grads)))}
    true.update(locals_of(nn.backward_prop, params, said["X"], said["Y"], Z1, A1, A2))
    assert {*NAMES, "X", "Y", "Z1", "A1", "Z2", "A2", "dZ2", "dZ1"} <= set(said)
    for name, value in said.items():
        assert value.shape == true[name].shape
        np.testing.assert_allclose(value, true[name], rtol=0, atol=5.01e-4, err_msg=name)
    J = nn.cross_entropy(Z2, said["Y"])
    assert f"= {J:.3f} = -log {A2[1, 0]:.4f}" in "\n".join(comments)


# --- 7. Files and downloads -----------------------------------------------------------------------

FILES = list(nn.SHA256)


def idx(array):
    """The bytes of an IDX file with this uint8 array."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.astype(np.uint8).tobytes()


def tiny_mnist(m_train=240, m_test=60, seed=0):
    """The bytes of the four files for a data set small enough to train on in no time."""
    rng = np.random.default_rng(seed)
    arrays = []
    for m in m_train, m_test:
        arrays += [rng.integers(0, 256, (m, 28, 28)), np.arange(m) % 10]
    return {name: idx(array) for name, array in zip(FILES, arrays)}


@pytest.fixture
def tiny(tmp_path):
    folder = tmp_path / "tiny data"
    folder.mkdir()
    for name, data in tiny_mnist().items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("gzipped", [False, True])
def test_load_round_trip(tiny, dotted, gzipped):
    for name in FILES:
        data = (tiny / name).read_bytes()
        (tiny / name).unlink()
        if dotted or gzipped:  # some archives bring a folder of this name beside the file
            (tiny / name).mkdir()
        name = name.replace("-idx", ".idx") if dotted else name
        name, data = (name + ".gz", gzip.compress(data)) if gzipped else (name, data)
        (tiny / name).write_bytes(data)
    X, y, X_test, y_test = nn.load_mnist(tiny)
    assert X.shape == (784, 240) and X_test.shape == (784, 60) and X.dtype == np.float32
    assert 0 <= X.min() and X.max() <= 1 and (y == np.arange(240) % 10).all()
    pixels = np.frombuffer(tiny_mnist()[FILES[0]], np.uint8, offset=16).reshape(240, 784)
    np.testing.assert_allclose(X, pixels.T / 255, rtol=1e-6)
    assert X.flags.f_contiguous and (y_test == np.arange(60) % 10).all()


IMAGES, LABELS = tiny_mnist()[FILES[0]], tiny_mnist()[FILES[1]]
# fmt: off
BROKEN = {  # what is wrong: (file, its content, what the message says)
    "empty": (0, b"", "not an IDX file"),
    "text": (0, b"hello, world\n" * 99, "not an IDX file"),
    "web page": (0, b"<!DOCTYPE html><html></html>", "a web page"),
    "cut short": (0, IMAGES[:-1], "size"),
    "cut in the header": (0, IMAGES[:9], "buffer"),
    "cut after the magic number": (0, IMAGES[:3], "index"),
    "too long": (0, IMAGES + b"x", "size"),
    "gzip cut short": (0, gzip.compress(IMAGES)[:-20], "truncated"),
    "gzip damaged": (0, gzip.compress(IMAGES).replace(b"a", b"b"), "Error"),
    "no images": (0, idx(np.zeros((0, 28, 28))), "match"),
    "labels for images": (0, LABELS, "match"),
    "another size": (0, idx(np.zeros((240, 20, 20))), "match"),
    "another count": (1, idx(np.zeros(239)), "match"),
    "label out of range": (1, idx(np.full(240, 10)), "0-9"),
}
# fmt: on


@pytest.mark.parametrize("fault", BROKEN)
def test_load_broken_file(tiny, fault):
    which, data, message = BROKEN[fault]
    (tiny / FILES[which]).write_bytes(data)
    with pytest.raises(ValueError, match=f"{message}.*delete"):
        nn.load_mnist(tiny)


def test_load_missing_file(tiny):
    (tiny / FILES[3]).unlink()
    with pytest.raises(FileNotFoundError, match=FILES[3]):
        nn.load_mnist(tiny)


@pytest.fixture
def mirror(monkeypatch):
    """Start mirrors on 127.0.0.1 that serve tiny files, each with a fault of its own or None."""
    packed = {f"/{name}.gz": gzip.compress(data) for name, data in tiny_mnist().items()}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in tiny_mnist().items()}
    monkeypatch.setattr(nn, "SHA256", digests)
    monkeypatch.setattr(nn, "TIMEOUT", 0.5)
    servers, finished = [], threading.Event()

    def start(fault=None):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                data = packed[self.path]
                if fault == "silent":
                    return finished.wait(10)
                if fault == "web page":
                    data = b"<html>Please log in</html>"
                if fault == "other data":
                    data = gzip.compress(idx(np.zeros(3)))
                self.send_response(500 if fault == "status 500" else 200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if fault in ("cut", "stalls"):
                    data = data[: len(data) // 2]
                self.wfile.write(data)
                if fault == "stalls":
                    finished.wait(10)

            def log_message(self, *args):
                pass

        try:
            server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            socket.create_connection(server.server_address, 5).close()
        except OSError:
            pytest.skip("127.0.0.1 cannot be reached here: `ip link set lo up` mends that")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    finished.set()
    for server in servers:
        server.shutdown()
        server.server_close()


FAULTS = "dead", "status 500", "web page", "cut", "other data", "stalls", "silent"


@pytest.mark.parametrize("fault", FAULTS)
def test_download_from_the_next_mirror(mirror, fault, monkeypatch, tmp_path):
    first = nn.MIRRORS[0] if fault == "dead" else mirror(fault)
    monkeypatch.setattr(nn, "MIRRORS", [first, mirror()])
    folder = tmp_path / "new" / "data"
    *arrays, name = nn.load_data("mnist", folder, None, quiet)
    assert arrays[0].shape == (784, 240) and name == "data"
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{n}.gz" for n in FILES)
    monkeypatch.setattr(nn, "MIRRORS", [])  # from now on, the files are there
    nn.load_data("mnist", folder, None, quiet)


@pytest.mark.parametrize("fault", FAULTS)
def test_download_from_no_mirror(mirror, fault, monkeypatch, tmp_path):
    if fault != "dead":
        monkeypatch.setattr(nn, "MIRRORS", [mirror(fault), mirror(fault)])
    with pytest.raises(ConnectionError, match=f"no mirror gave {FILES[0]}") as error:
        nn.load_data("mnist", tmp_path, None, quiet)
    said = {
        "status 500": "500",
        "web page": "a web page",
        "other data": "not MNIST's",
        "cut": "trunc",
    }
    assert said.get(fault, "127.0.0.1") in str(error.value)
    assert not list(tmp_path.iterdir()), "something is left behind"


def test_download_shows_progress(mirror, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(nn, "MIRRORS", [mirror()])
    nn.load_data("mnist", tmp_path, None, nn.say)
    lines = capsys.readouterr().out.splitlines()
    assert len(re.findall(r"downloading http://\S+ubyte.gz: \d+ bytes, 0 to go", str(lines))) >= 4


def test_interrupted_save_leaves_nothing(tmp_path):
    def write(path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nn.save(tmp_path / "file", write)
    assert not list(tmp_path.iterdir())


def test_drawn_digits():
    X, y = nn.draw_digits(500, np.random.default_rng(0))
    assert X.shape == (784, 500) and X.dtype == np.float32 and X.flags.f_contiguous
    assert 0 <= X.min() < 1e-6 and 0.9 < X.max() <= 1 and (X.max(axis=0) > 0.5).all()
    assert y.shape == (500,) and (np.bincount(y, minlength=10) > 20).all()
    X_again, y_again = nn.draw_digits(500, np.random.default_rng(0))
    assert (X == X_again).all() and (y == y_again).all()
    assert not (X == nn.draw_digits(500, np.random.default_rng(1))[0]).all()
    rows, columns = np.mgrid[:28, :28].reshape(2, 784) - 14  # where MNIST has the centre of mass
    centre = np.array([rows, columns]) @ X / X.sum(axis=0)
    assert np.abs(centre).max() < 2 and np.abs(centre.mean(axis=1)).max() < 0.2
    assert nn.draw_digits(1, np.random.default_rng(0))[0].shape == (784, 1)


def test_fallback_to_drawn_digits(tmp_path, capsys, monkeypatch):
    few = nn.draw_digits
    monkeypatch.setattr(nn, "draw_digits", lambda m, rng: few(m // 4, rng))
    flags = [
        "--data",
        tmp_path / "data",
        "--figure",
        tmp_path / "f.png",
        "--epochs",
        1,
        "--no-show",
    ]
    nn.main([*map(str, flags)])
    out = capsys.readouterr().out
    assert "no MNIST: no mirror gave" in out and "training on drawn digits: accuracy not com" in out
    assert re.search(r"^test accuracy \d+\.\d\d% on drawn digits$", out, flags=re.MULTILINE)
    with pytest.raises(SystemExit) as stop:
        nn.main([*map(str, flags), "--dataset", "mnist"])
    assert stop.value.code == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


# --- 8. The command line --------------------------------------------------------------------------


def run(*flags, code=None, **options):
    """Run the script in a process of its own, without a display."""
    env = {**os.environ, "MPLBACKEND": "Agg"}  # a warning would show on stderr
    command = [sys.executable, nn.__file__] if code is None else [sys.executable, "-c", code]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.Popen([*command, *map(str, flags)], env=env, **pipes)


def finish(process):
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()  # a process that should have ended by now must not outlive its test
    return process.returncode, out, err


def test_end_to_end(tiny, tmp_path):
    flags = "--data", tiny, "--epochs", 3, "--batch-size", 16, "--seed", 5, "--hidden", 12
    runs = [run(*flags, cwd=tmp_path), run(*flags, "--no-show", "--figure", tmp_path / "b.png")]
    (status, out, err), (status_2, out_2, err_2) = map(finish, runs)
    assert (status, err, status_2, err_2) == (0, "", 0, "")
    assert re.search(r"^trained 3 epochs in \d+\.\d\d s$", out, flags=re.MULTILINE)
    assert re.search(r"^test accuracy \d+\.\d\d% on tiny data$", out, flags=re.MULTILINE)
    assert "ln 10 = 2.303" in out and "9,550 parameters" in out and "label 0, predicted" in out
    out.encode("ascii")
    without_seconds = [
        re.sub(r"\d+\.\d\d$| in .* s$|saved as .*$", "", o, flags=re.MULTILINE)
        for o in (out, out_2)
    ]
    assert without_seconds[0] == without_seconds[1], "one seed, two results"
    picture = (tmp_path / "nn_from_scratch.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n" and picture[16:24] == bytes(
        [0, 0, 3, 232, 0, 0, 4, 176]
    )
    assert (tmp_path / "b.png").exists()


def test_help(capsys):
    with pytest.raises(SystemExit) as stop:
        nn.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0
    for flag, default in {
        "--data": "data", "--dataset": "auto", "--hidden": "10", "--epochs": "25",
        "--batch-size": "64", "--learning-rate": "0.12", "--seed": "0", "--figure": "scratch.png",
    }.items():  # fmt: skip
        assert re.search(rf"{flag} .*?default: [^)]*{default}\)", text)
    assert "--no-show" in text


# fmt: off
BAD_FLAGS = [
    "--hidden 0", "--hidden x", "--epochs -1", "--epochs 1.5", "--batch-size 0", "--batch-size 221",
    "--learning-rate nan", "--learning-rate 0", "--learning-rate -1", "--learning-rate inf",
    "--seed -1", "--dataset cifar", "--no-such-flag", "stray",
]
# fmt: on


@pytest.mark.parametrize("flags", BAD_FLAGS)
def test_bad_flags(flags, tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        nn.main(["--data", str(tiny), *flags.split()])
    out, err = capsys.readouterr()
    assert stop.value.code == 2 and len(err.splitlines()) == 1 and "trained" not in out
    assert not (tmp_path / "nn_from_scratch.png").exists()


def test_bad_files(tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("I am no folder")
    broken = tmp_path / "broken"
    broken.mkdir()
    for name, data in tiny_mnist().items():
        (broken / name).write_bytes(data[:-1])
    for flags, what in {
        ("--data", "file", "--dataset", "mnist"): "--data",
        ("--data", str(broken)): "delete",
        ("--data", str(tiny), "--figure", "no/such/folder.png"): "folder",
        ("--data", str(tiny), "--figure", "no-suffix"): ".png",
        ("--data", str(tiny), "--figure", "picture.xyz", "--epochs", "1"): "xyz",
        ("--data", str(tiny), "--learning-rate", "1e30"): "learning-rate",
        ("--data", "nowhere", "--dataset", "mnist"): "use --dataset drawn",
    }.items():
        with pytest.raises(SystemExit) as stop:
            nn.main([*flags, "--no-show"])
        err = capsys.readouterr().err
        assert stop.value.code == 1 and what in err and len(err.splitlines()) == 1, flags
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken", "file", "nowhere", "tiny data"]


@pytest.mark.skipif(
    os.name == "nt" or signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
    reason="no SIGINT to send to another process on Windows, nor to a shell's background job",
)
def test_ctrl_c_while_training(tiny, tmp_path):
    process = run("--data", tiny, "--epochs", 10**6, cwd=tmp_path)
    while not process.stdout.readline().startswith("    2 "):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    status, _, err = finish(process)
    assert status == 130 and len(err.splitlines()) == 1 and "Ctrl-C" in err
    assert not (tmp_path / "nn_from_scratch.png").exists()


def test_nobody_listens(tiny, tmp_path):
    """`nn_from_scratch.py | head -1`: the picture is saved all the same, without a word."""
    figure = tmp_path / "f.png"
    process = run("--data", tiny, "--epochs", 1, "--batch-size", 9, "--figure", figure)
    process.stdout.readline()
    process.stdout.close()
    assert (process.stderr.read(), process.wait(60)) == ("", 0)
    process.stderr.close()
    assert figure.exists()


def test_window_that_cannot_open(tiny, tmp_path):
    """A backend without a display falls back to saving."""
    code = "import sys, nn_from_scratch as nn\nnn.plt.rcParams['backend'] = 'TkAgg'\n"
    code += "nn.main(sys.argv[1:])"
    flags = "--data", tiny, "--epochs", 1, "--figure", tmp_path / "f.png"
    env = {
        k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")
    }
    command = [sys.executable, "-c", code, *map(str, flags)]
    done = subprocess.run(
        command, check=False, cwd=HERE, env=env, stderr=subprocess.PIPE, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "") and (tmp_path / "f.png").exists()


@pytest.mark.parametrize("hidden, epochs", [(1, 1), (2, 50), (25, 2)])
def test_figure_in_odd_cases(hidden, epochs):
    """No warning with one unit, with more than 20, with one epoch, and with no mistake to show."""
    params = nn.init_params(hidden, np.random.default_rng(0))
    X, y = small_data()
    history = [(2.0 / e, 1.5 / e, 0.5) for e in range(1, epochs + 1)]
    nn.plt.switch_backend("agg")
    for labels in y, nn.predict(params, X):
        fig = nn.draw_figure("title", history, params, X, labels)
        fig.canvas.draw()
        nn.plt.close(fig)


def test_the_surest_mistakes_are_shown(monkeypatch):
    params = nn.init_params(10, np.random.default_rng(0))
    X, y = small_data()
    shown = []
    monkeypatch.setattr(nn, "plot_predictions", lambda ax, title, X, y, A2: shown.append((y, A2)))
    nn.plt.close(nn.draw_figure("title", [(2.0, 1.5, 0.5)], params, X, y))
    A2 = nn.forward_prop(params, X)[3]
    wrong = A2.argmax(axis=0) != y
    y_shown, A2_shown = shown[1]
    assert (A2_shown.argmax(axis=0) != y_shown).all() and wrong.sum() > 15
    assert list(A2_shown.max(axis=0)) == sorted(A2[:, wrong].max(axis=0), reverse=True)[:15]


def test_importing_does_nothing(tmp_path):
    process = run(
        code=f"import sys; sys.path.insert(0, {str(HERE)!r}); import nn_from_scratch", cwd=tmp_path
    )
    assert finish(process) == (0, "", "") and not list(tmp_path.iterdir())


def test_one_list_of_requirements():
    """The inline script metadata (PEP 723) and requirements.txt ask for the same."""
    script = Path(nn.__file__).read_text("utf-8")
    block = re.search(r"^# /// script\n((?:#.*\n)+?)# ///$", script, flags=re.MULTILINE)
    listed = re.search(r"dependencies = (\[.*\])", block[1])
    assert ast.literal_eval(listed[1]) == (HERE / "requirements.txt").read_text().split()


def test_readme_commands(capsys):
    """Every flag and file in the README's commands exists, and CI runs its test command."""
    readme = (HERE / "README.md").read_text("utf-8")
    commands = "\n".join(re.findall(r"^```sh\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL))
    with pytest.raises(SystemExit):
        nn.main(["--help"])
    flags = capsys.readouterr().out
    named = set(re.findall(r"--[a-z][a-z-]+", commands)) - {"--to"}
    assert named and all(flag in flags for flag in named)
    table = re.findall(r"^\| `(--[a-z-]+)", readme, flags=re.MULTILINE)
    assert set(table) == set(re.findall(r"--[a-z][a-z-]+", flags)) - {"--help"}
    files = re.findall(r"[\w.]+\.(?:py|txt)\b", commands) + re.findall(
        r"\]\((?!http|#)([^)]+)\)", readme
    )
    assert files and all((HERE / name).exists() for name in files)
    assert "python -m pytest" in commands and "python -m pytest" in (HERE / ".ci/run").read_text()


# --- 9. The real MNIST ----------------------------------------------------------------------------

MNIST_DIR = os.environ.get("MNIST_DIR")


@pytest.mark.skipif(not MNIST_DIR, reason="set MNIST_DIR to the folder of MNIST's four files")
def test_real_mnist(tmp_path):
    """The digests, the default run, and what the script's text says of it."""
    for name, digest in nn.SHA256.items():
        data = nn.unpack(nn.find_idx(MNIST_DIR, name).read_bytes())
        assert hashlib.sha256(data).hexdigest() == digest
    status, out, err = finish(run("--data", MNIST_DIR, "--no-show", cwd=tmp_path))
    assert (status, err) == (0, "")
    score = float(re.search(r"^test accuracy (\d+\.\d\d)%$", out, flags=re.MULTILINE)[1])
    assert score >= 94.0
    text = Path(nn.__file__).read_text("utf-8").split("## What a run prints")[1]
    assert abs(score - float(re.search(r"test accuracy (\d+\.\d\d)%", text)[1])) < 0.5
    # The transcript is this run's, digit for digit where the machine adds up in the same order.
    numbers = re.compile(r"\d+\.\d+")
    said = {line[6:] for line in text.splitlines() if re.match(r"#  .*[\d%]$", line)}
    forms = {numbers.sub("x", re.sub(r" +", " ", line)) for line in out.splitlines()}
    assert said and all(numbers.sub("x", re.sub(r" +", " ", line)) in forms for line in said)


@pytest.mark.skipif(not MNIST_DIR, reason="set MNIST_DIR to the folder of MNIST's four files")
def test_what_the_text_says_of_the_default_run():
    """The mistakes and dead units named in chapter 8, with room for other machines' rounding."""
    X, y, X_test, y_test = nn.load_mnist(MNIST_DIR)
    rng = np.random.default_rng(nn.SEED)
    params = nn.init_params(nn.HIDDEN, rng)
    data = X[:, :-5000], y[:-5000], X[:, -5000:], y[-5000:]
    settings = nn.EPOCHS, nn.BATCH_SIZE, nn.LEARNING_RATE
    params, _ = nn.train(params, *data, *settings, rng, quiet)
    Z1, _, _, A2 = nn.forward_prop(params, X_test)
    predictions = A2.argmax(axis=0)
    text = " ".join(Path(nn.__file__).read_text("utf-8").replace("\n#", "").split())
    wrong = int(re.search(r"reads (\d+) of the 10,000 test images wrongly", text)[1])
    assert abs(wrong - (predictions != y_test).sum()) < 50
    for a, b, times in re.findall(r"(\d) and (\d) \((\d+)(?: times)?\)", text):
        seen = ((predictions == int(a)) & (y_test == int(b))).sum()
        seen += ((predictions == int(b)) & (y_test == int(a))).sum()
        assert abs(int(times) - seen) < 20
    assert "None of its units is dead" in text and not (Z1 <= 0).all(axis=1).any()


@pytest.mark.skipif(not MNIST_DIR, reason="set MNIST_DIR to the folder of MNIST's four files")
def test_drawn_digits_teach_to_read_real_ones():
    X, y = nn.draw_digits(12_000, np.random.default_rng(0))
    rng = np.random.default_rng(0)
    params = nn.init_params(10, rng)
    params, _ = nn.train(params, X, y, X[:, :99], y[:99], 20, 64, 0.12, rng, quiet)
    _, _, X_test, y_test = nn.load_mnist(MNIST_DIR)
    assert nn.accuracy(nn.predict(params, X_test), y_test) > 0.8
