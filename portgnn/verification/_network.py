"""Checks of the model, its loss and gradients, of compiled epochs, and of whole trainings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from portgnn.graphs.split import split
from portgnn.metrics import ACCURACY
from portgnn.placing import forward
from portgnn.placing.whole import place
from portgnn.protocol import Backend, Keys, Params, Run, State
from portgnn.random import dropout_keys
from portgnn.training import WholeGraph, fit, initial_state, make_loss, make_run, objective
from portgnn.verification import _followed as followed
from portgnn.verification.cases import Case, Recipe, recipes
from portgnn.verification.check import Check, check
from portgnn.verification.draw import Draw, drawn_recipes, small_shapes
from portgnn.verification.kinks import Watched
from portgnn.verification.measure import Departure, Floats, Measured, compare, fetch, worst
from portgnn.verification.oracle import Course, best, ending, epoch_keys, hash_bits, initial, mask, signed

SMALL = drawn_recipes("model", 4)
"""Each preset, adjacency form and feature form at least once, layers that narrow and layers that widen."""
FEW = drawn_recipes("training", 3)
LONG = drawn_recipes("training", 3, epochs=30)
"""Clear of the kinks of ReLU over so many epochs."""
# A network that starts at zero biases would not show a bias that is added in the wrong place.
_NUDGE = 0.1


def nudged(recipe: Recipe) -> dict[str, Floats]:
    drawn = initial(recipe.config, recipe.oracle.widths, recipe.seed)
    stream = np.random.default_rng(recipe.seed)
    return {name: value + _NUDGE * stream.standard_normal(value.shape) for name, value in drawn.items()}


def _with_seeds(draw: Draw) -> tuple[Recipe, ...]:
    return tuple(replace(recipe, seed=recipe.seed + more) for recipe in FEW(draw)[:2] for more in (0, 1))


@check("init", cases=_with_seeds)
def init(backend: Backend, recipe: Recipe) -> Measured:
    """Glorot weights of a seed, and another seed's differ."""
    got = {
        name: backend.to_numpy(value)
        for name, value in initial_state(backend, recipe.prepared, recipe.seed).items()
        if name.startswith("param.")
    }
    want = initial(recipe.config, recipe.oracle.widths, recipe.seed)
    if set(got) != {f"param.{name}" for name in want}:
        raise Departure(f"the state holds {sorted(got)}, not {sorted(want)}")
    return worst(*(compare(name, got[f"param.{name}"], value) for name, value in want.items()))


@check("model.logits", cases=SMALL)
def logits(backend: Backend, recipe: Recipe) -> Measured:
    """Evaluation: all nodes, no dropout."""
    params = nudged(recipe)
    operands = place(backend, recipe.prepared, None, training=False)
    placed = {name: backend.asarray(value) for name, value in params.items()}
    got = fetch(backend, forward.outputs(backend, recipe.prepared.layers, placed, operands), "logits")
    return compare("logits", got, recipe.oracle.forward(params)[0])


def _loss_and_gradient(backend: Backend, recipe: Recipe) -> tuple[Any, Any, Any, Any]:
    prepared = recipe.prepared
    operands = place(backend, prepared, recipe.graph.train, training=True)
    watched: Any = Watched(backend)
    plain = make_loss(watched, operands, prepared)

    def loss_and_seen(params: Params, keys: Keys) -> tuple[object, object]:
        watched.seen = []
        return plain(params, keys)[0], tuple(watched.seen)

    call = backend.value_and_grad(loss_and_seen)
    placed = {name: backend.asarray(value) for name, value in nudged(recipe).items()}
    # The weights as they are stored: rounding them to bfloat16 puts some inputs of relu on the other side of 0.
    params = {name: backend.to_numpy(value).astype(np.float64) for name, value in placed.items()}
    keys = epoch_keys(recipe.seed, 5, recipe.config.layers)
    (loss, seen), grads = call(placed, keys.tolist())
    return loss, grads, *followed.gradient(backend, recipe, params, keys, seen)


@check("model.loss", cases=SMALL)
def loss(backend: Backend, recipe: Recipe) -> Measured:
    """The training loss with dropout, over the training nodes alone."""
    got, _, want, _ = _loss_and_gradient(backend, recipe)
    count, nodes = len(split(recipe.graph, "train")), recipe.graph.num_nodes
    suspects = {"the loss is a mean over all nodes": lambda: np.asarray(want * count / nodes)}
    return compare("the loss", fetch(backend, got, "the loss"), np.asarray(want), max(want, 1.0), suspects)


@check("model.gradient", cases=SMALL)
def gradient(backend: Backend, recipe: Recipe) -> Measured:
    """Of every parameter, with dropout."""
    _, grads, _, want = _loss_and_gradient(backend, recipe)
    # One scale for all: a gradient that happens to vanish has none of its own.
    scale = max(float(np.abs(value).max()) for value in want.values())
    return worst(
        *(compare(f"the gradient in {name}", fetch(backend, grads[name], name), value, scale)
          for name, value in want.items())
    )  # fmt: skip


@check("model.evaluation", cases=SMALL)
def evaluation(backend: Backend, recipe: Recipe) -> Measured:
    """Validation loss, and how many nodes are right, but for those too close to a tie."""
    graph, params = recipe.graph, nudged(recipe)
    nodes = graph.train if graph.val is None else graph.val
    operands = place(backend, recipe.prepared, nodes, training=False)
    placed = {name: backend.asarray(value) for name, value in params.items()}
    out = forward.outputs(backend, recipe.prepared.layers, placed, operands)
    want = recipe.oracle.forward(params)[0]
    expected = recipe.oracle.loss(want, params, nodes)
    penalties = objective.penalties(recipe.config, recipe.prepared.layers)
    measured = objective.loss(backend, recipe.prepared.task, out, operands, placed, penalties)
    right, close = followed.correct(backend, recipe, want, nodes)
    found = int(backend.to_numpy(ACCURACY.sums(backend.xp, out, operands)[0]))
    if abs(found - right) > close:
        raise Departure(f"{found} nodes are classified correctly, not {right}")
    return compare("the loss", fetch(backend, measured, "the loss"), np.asarray(expected), max(expected, 1.0))


@check("compile.keys", cases=lambda draw: (small_shapes(draw)[0], Case(40, 1, 16, seed=draw.seed)))
def keys_in_step(backend: Backend, case: Case) -> Measured:
    """Inside a compiled step, where keys may be device scalars, bits and masks are those outside."""
    n = case.rows * case.columns
    ones, handle = backend.asarray(np.ones((case.rows, case.columns))), backend.csr(case.matrix)
    x = case.array("x", case.inner, case.columns)
    placed, weights = backend.asarray(x), case.array("weights", case.rows, case.columns)
    numbers = case.element_numbers("numbers", case.rows, case.columns)
    index, onto = backend.asarray(numbers), backend.asarray(weights)

    def step(state: State, keys: Keys) -> tuple[Any, tuple[Any, ...]]:
        dense = backend.dropout(ones, 0.5, keys[0])
        given = backend.dropout(ones, 0.5, keys[1], index)
        product = backend.spmm(backend.dropout(handle, 0.5, keys[1]), placed)
        after = {"dense": dense, "given": given, "product": product, "bits": backend.random_bits(keys[0], n)}
        return after, (backend.xp.sum(dense * onto), backend.xp.sum(given * onto))

    run = backend.compile(step)
    keys = dropout_keys(case.seed, range(3), 2)
    keys[1] = [[2**32 - 1, 2**31], [2**31 - 1, 2**32 - 1]]
    copy = keys.copy()
    measured = []
    for rows in (slice(0, 1), slice(0, 2), slice(1, 3)):
        start = {name: backend.asarray(np.zeros((case.rows, case.columns))) for name in ("dense", "given", "product")}
        state, metrics = run(start | {"bits": backend.asarray(np.zeros(n, np.int32))}, keys[rows])
        by_epoch = [
            (mask(k[0], np.arange(n), 0.5).reshape(weights.shape) * weights, mask(k[1], numbers, 0.5) * weights)
            for k in copy[rows]
        ]
        want = np.array([[one.sum(), other.sum()] for one, other in by_epoch])
        if not isinstance(metrics, np.ndarray) or metrics.dtype != np.float64:
            raise Departure("a compiled run's metrics are not a float64 array on the host")
        measured.append(compare("metrics", metrics, want, 2 * float(np.abs(weights).sum())))
        last = copy[rows][-1]
        outside = signed(hash_bits((int(last[0][0]), int(last[0][1])), np.arange(n)))
        if (fetch(backend, state["bits"], "bits in a compiled step", "int32") != outside).any():
            raise Departure("random_bits gives other bits inside a compiled step")
        a = case.matrix.copy()
        a.data = a.data * mask(last[1], np.arange(a.nnz), 0.5)
        expected = {
            "dense": mask(last[0], np.arange(n), 0.5).reshape(weights.shape),
            "given": mask(last[1], numbers, 0.5),
            "product": a @ x,
        }
        size = 2 * float((np.abs(case.dense) @ np.abs(x)).max(initial=0.0))
        for name, value in expected.items():
            got = fetch(backend, state[name], f"{name} in a compiled step")
            measured.append(compare(f"{name} in a compiled step", got, value, max(size, 2.0)))
    if (keys != copy).any():
        raise Departure("a compiled run changes the keys it is given")
    return worst(*measured)


def _course_error(got: Floats, course: Course, start: int = 0) -> Measured:
    """The largest relative difference of losses; counts may differ by the nodes that are near a tie."""
    want = np.array(course.metrics[start : start + len(got)])
    if got.shape != want.shape:
        raise Departure(f"metrics have shape {list(got.shape)}, not {list(want.shape)}")
    with np.errstate(invalid="ignore"):
        relative = np.abs(got[:, :2] - want[:, :2]) / np.abs(want[:, :2])
    relative = np.where(np.isnan(relative), np.where(want[:, :2] == got[:, :2], 0.0, np.inf), relative)
    if want.shape[1] == 3:
        off = np.abs(got[:, 2] - want[:, 2]) > course.close[start : start + len(got)]
        if off.any():
            epoch = int(np.flatnonzero(off)[0])
            wrong = (
                f"epoch {start + epoch} counts {got[epoch, 2]:.0f} correct validation nodes, not {want[epoch, 2]:.0f}"
            )
            # What went wrong earlier in the losses is the better name for it.
            if float(relative[:, :2].max()) < 1e-3:
                raise Departure(wrong)
    error = float(relative.max())

    def explain() -> str:
        epoch, column = np.argwhere(relative > min(error, max(error * 1e-3, 1e-13)) * 0.999)[0]
        first = f"{('training', 'validation')[column]} loss"
        return f"the {first} departs at epoch {start + epoch}"

    return Measured(error, explain)


@check("compile.epochs", cases=FEW)
def epochs(backend: Backend, recipe: Recipe) -> Measured:
    """Several epochs in one run, one by one, and in parts, from fresh states: the same; no result changes later."""
    recipe = replace(recipe, epochs=12)
    prepared, course, layers = recipe.prepared, followed.course(backend, recipe), recipe.config.layers
    run = make_run(backend, prepared, validate=recipe.graph.val is not None)
    measured, ends, held = [], [], []
    for parts in ((12,), (1,) * 12, (5, 7), (12,)):
        state, rows, start = initial_state(backend, prepared, recipe.seed), [], 0
        for count in parts:
            state, metrics = run(state, dropout_keys(recipe.seed, range(start, start + count), layers))
            rows.append(np.asarray(metrics))
            start += count
        backend.synchronize(*state.values())
        measured.append(_course_error(np.concatenate(rows), course))
        ends.append({name: backend.to_numpy(value) for name, value in state.items()})
        held.append(state)
    run(initial_state(backend, prepared, recipe.seed + 1), dropout_keys(recipe.seed + 1, range(3), layers))
    scale = {name: float(np.abs(value).max(initial=0.0)) or 1.0 for name, value in ends[0].items()}
    for end in ends[1:]:
        measured += [compare(f"{name} after other parts", end[name], ends[0][name], scale[name]) for name in end]
    later = {name: backend.to_numpy(value) for name, value in held[0].items()}
    for name, value in later.items():
        if not np.array_equal(value, ends[0][name], equal_nan=True):
            raise Departure(f"{name}, returned by one run, changed when another run was made")
    final = course.params[11]
    measured.append(_in_turn(backend, recipe, run))
    return worst(
        *measured,
        *(
            compare(f"{name} after 12 epochs", later[f"param.{name}"], value, course.size(name))
            for name, value in final.items()
        ),
    )


def _in_turn(backend: Backend, recipe: Recipe, run: Run) -> Measured:
    """One compiled run serves several seeds in turn, each as if it were alone."""
    several = (recipe.seed, recipe.seed + 1)
    courses = [followed.course(backend, recipe), followed.course(backend, recipe, recipe.seed + 1, 3)]
    states = [initial_state(backend, recipe.prepared, seed) for seed in several]
    measured = []
    for epoch in range(3):
        for i, seed in enumerate(several):
            states[i], metrics = run(states[i], dropout_keys(seed, range(epoch, epoch + 1), recipe.config.layers))
            measured.append(_course_error(metrics, courses[i], epoch))
    return worst(*measured)


@check("fit", cases=lambda draw: tuple(recipe.but(epochs=30, patience=patience, stopping=rule, restore_best=restore)
    for recipe, patience, rule, restore in zip(LONG(draw), (4, 0, 9), ("patience", "window", "window"),
                                               (True, True, False), strict=True)))  # fmt: skip
def whole_fit(backend: Backend, recipe: Recipe) -> Measured:
    """Losses and counts of every epoch, when training ends, which epoch is the best, and its parameters."""
    prepared, graph = recipe.prepared, recipe.graph
    if graph.val is None:
        prepared = replace(prepared, config=replace(prepared.config, restore_best=False))
    config = prepared.config
    done = fit(WholeGraph(backend, prepared), recipe.seed)
    course, history = followed.course(backend, recipe), done.history
    rows = [history.train_loss]
    if graph.val is not None:
        rows += [history.val_loss, [share * len(graph.val) for share in history.val_accuracy]]
    end = ending(history.val_loss, config)
    if len(history) - 1 != (config.epochs - 1 if end is None else end) or done.stopped_early != (end is not None):
        raise Departure(f"training ends after epoch {len(history) - 1}; its rule says {end or 'the last'}")
    last = best(history.val_loss) if history.val_loss else len(history) - 1
    if done.best_epoch != last:
        raise Departure(f"the best epoch is said to be {done.best_epoch}, and the lowest loss is at {last}")
    want = course.params[last if config.restore_best else len(history) - 1]
    return worst(
        _course_error(np.array(rows).T, course),
        *(
            compare(f"{name} of the epoch to return", done.params[name], value, course.size(name))
            for name, value in want.items()
        ),
    )


def _trajectory(recipe: Recipe, quick: int) -> Check:
    name = f"trajectory.{recipe.preset}.{recipe.adjacency}.{recipe.features}"

    def function(backend: Backend, recipe: Recipe) -> Measured:
        run = make_run(backend, recipe.prepared, validate=True)
        state, rows, start = initial_state(backend, recipe.prepared, recipe.seed), [], 0
        for count in (1, 4, *(25,) * (recipe.epochs // 25)):
            stop = min(start + count, recipe.epochs)
            state, metrics = run(state, dropout_keys(recipe.seed, range(start, stop), recipe.config.layers))
            rows.append(metrics)
            start = stop
            if start == recipe.epochs:
                break
        return _course_error(np.concatenate(rows), recipe.course)

    return check(name, (replace(recipe, epochs=quick),) if quick else (), (replace(recipe, epochs=200),))(function)


QUICK = {("kipf", "csr", "sparse"): 70, ("pyg", "csr", "sparse"): 40, ("kipf", "csr", "dense"): 2,
         ("article", "dense", "dense"): 2}  # fmt: skip
"""How many epochs of which trajectories `verify` takes; the conformance kit takes 200 of all twelve."""

TRAJECTORIES = tuple(
    _trajectory(recipe, QUICK.get((recipe.preset, recipe.adjacency, recipe.features), 0))
    for recipe in recipes(nodes=0, width=0, classes=0)
)
