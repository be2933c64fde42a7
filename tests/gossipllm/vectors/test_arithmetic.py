"""Tests of arithmetic on task vectors: against products that are formed in full, and laws that hold for any of them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from gossipllm.model.adapter.peft_folder import Product
from gossipllm.vectors import arithmetic
from gossipllm.vectors.arithmetic import Combination, Combined, Method, combined, cosines, inner_products
from gossipllm.vectors.vector import TaskVector

F64 = NDArray[np.float64]
SHAPES = {"up": (7, 5), "down": (5, 7), "small": (2, 5)}


def vector(
    seed: int, *, rank: int = 2, scale: float = 1.5, modules: tuple[str, ...] = ("up", "down")
) -> TaskVector:
    rng = np.random.default_rng(seed)
    products = {
        name: Product(
            rng.normal(size=(rank, SHAPES[name][1])).astype(np.float32),
            rng.normal(size=(SHAPES[name][0], rank)).astype(np.float32),
            scale,
        )
        for name in modules
    }
    return TaskVector(f"v{seed}", "", b"", False, products)


def dense(product: Product) -> F64:
    return product.scale * product.b_OR.astype(np.float64) @ product.a_RI.astype(np.float64)


def result_of(result: Combined, module: str) -> F64:
    return dense(result.products[module])


def best(values: F64, rank: int) -> F64:
    u, sigma, vt = np.linalg.svd(values, full_matrices=False)
    return (u[:, :rank] * sigma[:rank]) @ vt[:rank]


def test_a_sum_is_exact_where_the_rank_allows() -> None:
    one, two = vector(1, rank=2), vector(2, rank=1, scale=0.25)

    result = combined([one, two], [1.0, -0.5], Combination(scale=3.0), rank=0)

    assert result.rank == 3
    assert result.error.share < 1e-6
    for module in ("up", "down"):
        expected = 3 * (dense(one.products[module]) - 0.5 * dense(two.products[module]))
        np.testing.assert_allclose(result_of(result, module), expected, rtol=1e-4, atol=1e-5)


def test_a_sum_of_too_high_a_rank_is_the_best_approximation_and_says_what_it_lacks() -> None:
    vectors = [vector(seed) for seed in (1, 2, 3)]

    result = combined(vectors, [1.0, 1.0, 1.0], Combination())

    assert result.rank == 2
    lacking, whole = 0.0, 0.0
    for module in ("up", "down"):
        exact = np.sum([dense(one.products[module]) for one in vectors], axis=0)
        np.testing.assert_allclose(result_of(result, module), best(exact, 2), rtol=1e-3, atol=1e-4)
        lacking += float(((exact - best(exact, 2)) ** 2).sum())
        whole += float((exact**2).sum())
    assert result.error.share == pytest.approx((lacking / whole) ** 0.5, rel=1e-4)


def test_a_vector_times_minus_one_is_its_opposite_with_nothing_lost() -> None:
    one = vector(4, rank=3)

    result = combined([one], [-1.0], Combination())

    assert result.error.share < 1e-6
    for module in ("up", "down"):
        np.testing.assert_allclose(
            result_of(result, module), -dense(one.products[module]), rtol=1e-4, atol=1e-5
        )


def test_an_analogy_gives_back_the_fourth() -> None:
    """b - a + c is d, where d differs from c as b does from a."""
    a, c = vector(1), vector(2)
    change = vector(3)
    b = combined([a, change], [1, 1], Combination(), rank=0)
    of_b = TaskVector("b", "", b"", False, b.products)

    d = combined([of_b, a, c], [1, -1, 1], Combination(), rank=0)

    expected = dense(c.products["up"]) + dense(change.products["up"])
    np.testing.assert_allclose(result_of(d, "up"), expected, rtol=1e-3, atol=1e-4)


def test_a_module_that_one_vector_lacks_counts_as_zeros() -> None:
    one, two = vector(1, modules=("up",)), vector(2, modules=("up", "down"))

    result = combined([one, two], [1.0, 2.0], Combination(), rank=0)

    np.testing.assert_allclose(
        result_of(result, "down"), 2 * dense(two.products["down"]), rtol=1e-4, atol=1e-5
    )


def test_a_rank_beyond_a_module_is_filled_with_zeros() -> None:
    one = vector(1, rank=4, modules=("small", "up"))

    result = combined([one], [1.0], Combination(), rank=6)

    assert {product.rank for product in result.products.values()} == {6}
    np.testing.assert_allclose(result_of(result, "small"), dense(one.products["small"]), rtol=1e-4, atol=1e-5)


def test_ties_takes_the_mean_of_the_entries_that_agree() -> None:
    vectors = [vector(seed) for seed in (1, 2, 3)]
    how = Combination(method="ties", density=0.4, scale=2.0)

    result = combined(vectors, [1.0, 1.0, 1.0], how, rank=5)

    for module in ("up", "down"):
        expected = 2 * ties_by_hand([dense(one.products[module]) for one in vectors], 0.4)
        np.testing.assert_allclose(result_of(result, module), expected, rtol=1e-4, atol=1e-5)


def ties_by_hand(values: list[F64], density: float) -> F64:
    """The paper's three steps, entry by entry."""
    kept: list[F64] = []
    for one in values:
        order = np.argsort(-np.abs(one), axis=None)[: round(density * one.size)]
        trimmed = np.zeros(one.size)
        trimmed[order] = one.reshape(-1)[order]
        kept.append(trimmed.reshape(one.shape))
    out = np.zeros(values[0].shape)
    for place in np.ndindex(out.shape):
        entries = [one[place] for one in kept]
        total = sum(entries)
        agreeing = [entry for entry in entries if entry * total > 0]
        if agreeing:
            out[place] = sum(agreeing) / len(agreeing)
    return out


def test_ties_lets_the_heavier_vector_decide_the_sign() -> None:
    one, other = vector(1, modules=("up",)), vector(1, modules=("up",), scale=-1.5)
    how = Combination(method="ties", density=1.0)

    result = combined([one, other], [1.0, 3.0], how, rank=5)

    np.testing.assert_allclose(result_of(result, "up"), dense(other.products["up"]), rtol=1e-4, atol=1e-5)


def test_dare_keeps_what_a_sum_is_on_average() -> None:
    vectors = [vector(1, modules=("up",)), vector(2, modules=("up",))]
    exact = sum(dense(one.products["up"]) for one in vectors)

    drawn = [
        result_of(
            combined(vectors, [1.0, 1.0], Combination(method="dare", density=0.5, seed=seed), rank=5), "up"
        )
        for seed in range(400)
    ]

    spread = np.std(drawn, axis=0) / 400**0.5
    assert (np.abs(np.mean(drawn, axis=0) - exact) < 5 * spread + 1e-6).all()


@pytest.mark.parametrize("method", ["dare", "dare-ties"])
def test_what_is_dropped_by_chance_depends_on_the_seed_alone(method: Method) -> None:
    vectors = [vector(1), vector(2)]

    def drawn(seed: int) -> F64:
        return result_of(combined(vectors, [1.0, 1.0], Combination(method=method, seed=seed)), "up")

    np.testing.assert_array_equal(drawn(3), drawn(3))
    assert (drawn(3) != drawn(4)).any()


def test_with_all_entries_kept_dare_is_the_sum() -> None:
    vectors = [vector(1), vector(2)]

    result = combined(vectors, [1.0, 1.0], Combination(method="dare", density=1.0), rank=5)

    expected = sum(dense(one.products["up"]) for one in vectors)
    np.testing.assert_allclose(result_of(result, "up"), expected, rtol=1e-4, atol=1e-5)


def test_large_modules_give_the_same_factors_by_the_iterative_way(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = [vector(1), vector(2)]
    how = Combination(method="ties", density=0.7)
    whole = combined(vectors, [1.0, 1.0], how, rank=1)

    monkeypatch.setattr(arithmetic, "_DENSE_SIDE", 1)
    some = combined(vectors, [1.0, 1.0], how, rank=1)

    np.testing.assert_allclose(result_of(some, "up"), result_of(whole, "up"), rtol=1e-4, atol=1e-5)
    assert some.error.share == pytest.approx(whole.error.share, rel=1e-5)


def test_inner_products_are_those_of_the_products() -> None:
    vectors = [vector(1), vector(2, rank=3, scale=0.1), vector(3, modules=("up",))]

    inner = inner_products(vectors)

    flat = [
        np.concatenate(
            [
                dense(one.products[m]).reshape(-1) if m in one.products else np.zeros(35)
                for m in ("up", "down")
            ]
        )
        for one in vectors
    ]
    np.testing.assert_allclose(inner, [[one @ two for two in flat] for one in flat], rtol=1e-5)


def test_a_rotated_vector_is_alike_and_a_turned_one_opposite() -> None:
    one = vector(1)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]], np.float32)
    rotated = {name: Product(turn.T @ p.a_RI, p.b_OR @ turn, p.scale) for name, p in one.products.items()}
    turned = {name: Product(p.a_RI, -p.b_OR, p.scale) for name, p in one.products.items()}
    vectors = [one, TaskVector("r", "", b"", False, rotated), TaskVector("t", "", b"", False, turned)]

    found = cosines(inner_products(vectors))

    np.testing.assert_allclose(found, [[1, 1, -1], [1, 1, -1], [-1, -1, 1]], atol=1e-5)


def test_a_vector_of_zeros_is_like_none() -> None:
    zero = vector(1, scale=0.0)

    assert cosines(inner_products([zero, vector(2)]))[0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("wrong", [{"density": 0.0}, {"density": 1.1}, {"scale": float("inf")}])
def test_settings_out_of_bounds_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Combination(**wrong)  # pyright: ignore[reportArgumentType] - wrong on purpose
