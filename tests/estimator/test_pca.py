"""PCA against scikit-learn's full solver in float64: inputs, methods, dtypes, parts, and what goes beyond."""

import pickle
import warnings
from dataclasses import replace

import numpy as np
import pandas
import polars
import pyarrow
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import PCA as Reference
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from torch.utils.data import DataLoader, TensorDataset

import streamspread
from streamspread.accumulators.float64 import gram, running, scatter
from streamspread.accumulators.float64.sketch import Sketch
from streamspread.estimator import learning
from streamspread.estimator.probabilistic import Choice
from streamspread.linalg import square
from streamspread.system.devices import CPU
from tests import networks
from tests.matrices import orthogonal

TALL, WIDE = (240, 30), (30, 240)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with networks.one_thread():
        yield


def samples(shape, seed=0, dtype=np.float64):
    """Normal samples far from the origin, of variances that fall."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape) * np.arange(1, shape[1] + 1) ** -0.5 + 3.0).astype(dtype)


def agree(ours, theirs, tolerance=1e-10):
    """All that is learned, but for directions without variance."""
    count = int((np.asarray(theirs.explained_variance_) > 1e-9).sum())
    assert ours.n_components_ == theirs.n_components_
    for name in ("components_", "explained_variance_", "explained_variance_ratio_", "singular_values_"):
        mine = np.asarray(getattr(ours, name))[:count]
        np.testing.assert_allclose(mine, getattr(theirs, name)[:count], atol=tolerance, err_msg=name)
    np.testing.assert_allclose(np.asarray(ours.mean_), theirs.mean_, atol=tolerance)
    np.testing.assert_allclose(ours.noise_variance_, theirs.noise_variance_, atol=tolerance)
    assert ours.n_samples_ == theirs.n_samples_


def on_disk(x, path):
    np.save(path / "x.npy", x)
    return np.load(path / "x.npy", mmap_mode="r")


def names(x):
    return [f"f{i}" for i in range(x.shape[1])]


INPUTS = {
    "array": lambda x, path: x,
    "Fortran": lambda x, path: np.asfortranarray(x),
    "strided": lambda x, path: np.repeat(x, 2, axis=1)[:, ::2],
    "backwards": lambda x, path: np.flip(np.flip(x).copy()),
    "list": lambda x, path: x.tolist(),
    "memory map": on_disk,
    "tensor": lambda x, path: torch.from_numpy(x),
    "pandas": lambda x, path: pandas.DataFrame(x, columns=names(x)),
    "Polars": lambda x, path: polars.DataFrame(x, schema=names(x)),
    "Arrow": lambda x, path: pyarrow.table(dict(zip(names(x), x.T.copy(), strict=True))),
    "sparse": lambda x, path: sparse.csr_array(x),
    "iterator": lambda x, path: iter(np.array_split(x, 7)),
    "DataLoader": lambda x, path: DataLoader(TensorDataset(torch.from_numpy(x)), batch_size=11),
    "callable": lambda x, path: lambda: iter(torch.from_numpy(x).split(13)),
}


@pytest.mark.parametrize("shape", [TALL, WIDE], ids=["tall", "wide"])
@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("count", [4, 0.8, None])
def test_every_input(kind, shape, count, tmp_path):
    x = samples(shape)
    reference = Reference(count, svd_solver="full").fit(x)
    given = INPUTS[kind](x, tmp_path)
    ours = streamspread.PCA(count).fit(given)
    agree(ours, reference)
    assert ours.exact_
    again = INPUTS[kind](x, tmp_path)
    scores = ours.transform(again)
    assert isinstance(scores, torch.Tensor) == (kind in ("tensor", "DataLoader", "callable"))
    known = min(shape) - 1
    np.testing.assert_allclose(np.asarray(scores)[:, :known], reference.transform(x)[:, :known], atol=1e-9)


def test_a_feature_that_lies_backwards():
    x = np.random.default_rng(0).normal(size=(200, 1))
    for turned in (x[:, ::-1], x[::-1]):
        found = streamspread.PCA().fit(turned).explained_variance_
        np.testing.assert_allclose(found, x.var(ddof=1), rtol=1e-12)


@pytest.mark.parametrize("shape", [TALL, WIDE], ids=["tall", "wide"])
@pytest.mark.parametrize("method", ["auto", "covariance", "gram"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int32", "uint8"])
def test_every_method_and_dtype(method, dtype, shape):
    x = (20 * samples(shape)).clip(0, 250).astype(dtype)
    reference = Reference(5, svd_solver="full").fit(x.astype(np.float64))
    for made in (x, torch.from_numpy(x)):
        ours = streamspread.PCA(5, method=method).fit(made)
        small = dtype == "float32" or (dtype == "float16" and made is not x)
        assert str(ours.components_.dtype).endswith("float32" if small else "float64")
        # Sums are float64 whatever the data are, so that float32's results are off by one rounding.
        tolerance = {"rtol": 3e-7, "atol": 1e-7} if small else {"rtol": 1e-10, "atol": 1e-11}
        np.testing.assert_allclose(np.asarray(ours.components_), reference.components_, **tolerance)
        np.testing.assert_allclose(
            np.asarray(ours.explained_variance_), reference.explained_variance_, **tolerance
        )


@pytest.mark.parametrize("shape", [TALL, WIDE], ids=["tall", "wide"])
@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy], ids=["array", "tensor"])
@pytest.mark.parametrize("whiten", [False, True])
def test_float32_far_from_the_origin_has_the_scores_of_float64(whiten, make, shape):
    """Means of 10⁶ lie up to a 32nd from a float32 number, and deviations are no larger than that."""
    x = (samples(shape) / 10 + 1e6 * np.random.default_rng(1).uniform(0.5, 2.0, shape[1])).astype(np.float32)
    reference = Reference(4, svd_solver="full", whiten=whiten).fit(x.astype(np.float64))
    want = reference.transform(x.astype(np.float64))
    given = make(x)
    ours = streamspread.PCA(4, whiten=whiten).fit(given)
    parts = streamspread.PCA(4, whiten=whiten)
    for part in (given[:20], given[20:]):
        parts.partial_fit(part)
    for scores in (ours.transform(given), ours.fit_transform(given), parts.transform(given)):
        assert str(scores.dtype).endswith("float32")
        np.testing.assert_allclose(np.asarray(scores), want, atol=1e-5 * want.std())
    assert ours.score(given) == pytest.approx(reference.score(x.astype(np.float64)), rel=1e-5)
    again = np.asarray(ours.inverse_transform(scores))
    np.testing.assert_allclose(again, reference.inverse_transform(want), rtol=2.0**-23)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(2, 60), st.integers(1, 40)),
    cuts=st.lists(st.integers(0, 60), max_size=8),
    count=st.one_of(st.none(), st.sampled_from([0.3, 0.9, 0.99])),
)
def test_any_parts_give_what_the_whole_gives(shape, cuts, count):
    x = samples(shape, seed=sum(shape))
    whole = streamspread.PCA(count).fit(x)
    parts = streamspread.PCA(count)
    for part in np.split(x, sorted({cut for cut in cuts if 0 < cut < len(x)})):
        parts.partial_fit(part)
    agree(parts, whole, tolerance=1e-9)
    assert parts.n_samples_seen_ == len(x)
    for share in (0.5, 0.9, 0.999):
        assert parts.components_interval(share) == whole.components_interval(share)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), shape=st.sampled_from([(50, 8), (8, 50), (20, 20)]))
def test_a_rotation_turns_components_and_leaves_variances(seed, shape):
    x = samples(shape, seed)
    turn = orthogonal(shape[1], np.random.default_rng(seed))
    before, after = streamspread.PCA(3).fit(x), streamspread.PCA(3).fit(x @ turn)
    np.testing.assert_allclose(after.explained_variance_, before.explained_variance_, rtol=1e-9)
    along = np.abs((after.components_ * (before.components_ @ turn)).sum(1))
    np.testing.assert_allclose(along, 1.0, atol=1e-6)
    # Moving all samples moves the mean alone.
    moved = streamspread.PCA(3).fit(x + 1000.0)
    np.testing.assert_allclose(moved.mean_, before.mean_ + 1000.0)
    np.testing.assert_allclose(moved.explained_variance_, before.explained_variance_, rtol=1e-8)


@pytest.mark.parametrize("shape", [TALL, WIDE, (40, 40), (3, 2), (2, 3)])
@pytest.mark.parametrize("method", ["covariance", "gram"])
def test_components_are_orthonormal_also_where_there_is_no_variance(shape, method):
    rng = np.random.default_rng(0)
    x = np.outer(rng.normal(size=shape[0]), rng.normal(size=shape[1])) + 5.0  # one direction
    pca = streamspread.PCA(method=method).fit(x)
    count = min(shape)
    np.testing.assert_allclose(pca.components_ @ pca.components_.T, np.eye(count), atol=1e-12)
    assert pca.explained_variance_[1:].max() < 1e-12 * pca.explained_variance_[0]
    np.testing.assert_allclose(pca.inverse_transform(pca.transform(x)), x, atol=1e-10)


def test_a_constant_has_no_variance():
    pca = streamspread.PCA(2).fit(np.full((10, 4), 7.0))
    assert not pca.explained_variance_.any()
    assert not pca.explained_variance_ratio_.any()
    np.testing.assert_array_equal(pca.mean_, 7.0)
    assert pca.components_interval(0.9) == (0, 0)


@pytest.mark.parametrize("count", [0.9, 3])
@pytest.mark.parametrize("limits", [{"dense_limit": 16}, {}], ids=["panels", "square"])
def test_nor_has_one_of_many_features(count, limits, monkeypatch):
    monkeypatch.setattr(scatter, "profile", lambda device: replace(CPU, search_limit=16, **limits))
    monkeypatch.setattr(scatter, "_LEAST_SEARCHED", 16)
    pca = streamspread.PCA(count, method="covariance").fit(np.full((300, 130), 7.0))
    assert not pca.explained_variance_.any()
    assert pca.components_interval(0.9) == (0, 0)
    np.testing.assert_allclose(pca.components_ @ pca.components_.T, np.eye(len(pca.components_)), atol=1e-12)


@pytest.mark.parametrize("shape", [TALL, WIDE], ids=["tall", "wide"])
@pytest.mark.parametrize("whiten", [False, True])
def test_what_is_made_of_components(shape, whiten):
    x, new = samples(shape), samples(shape, seed=1)
    ours = streamspread.PCA(6, whiten=whiten).fit(x)
    theirs = Reference(6, whiten=whiten, svd_solver="full").fit(x)
    np.testing.assert_allclose(ours.fit_transform(x), theirs.fit_transform(x), atol=1e-9)
    np.testing.assert_allclose(ours.transform(new), theirs.transform(new), atol=1e-9)
    scores = theirs.transform(new)
    np.testing.assert_allclose(ours.inverse_transform(scores), theirs.inverse_transform(scores), atol=1e-9)
    np.testing.assert_allclose(ours.score_samples(new), theirs.score_samples(new), rtol=1e-8)
    np.testing.assert_allclose(ours.score(new), theirs.score(new), rtol=1e-8)
    np.testing.assert_allclose(ours.get_covariance(), theirs.get_covariance(), atol=1e-10)
    np.testing.assert_allclose(ours.get_precision(), theirs.get_precision(), rtol=1e-7, atol=1e-7)


def test_a_share_is_certain_and_needs_more_than_itself():
    x = np.diag([2.0, 1.0, 1.0, 0.0])
    x = np.concatenate([x, -x])  # variances as 4 to 1 to 1
    assert streamspread.PCA(0.6).fit(x).n_components_ == 1
    assert streamspread.PCA(0.9).fit(x).n_components_ == 3
    pca = streamspread.PCA(1).fit(x)
    assert pca.components_interval(0.6) == (1, 1)
    assert pca.components_interval(0.9) == (3, 3)
    assert pca.spectrum_.total_variance == pytest.approx(12 / 7)


def test_minka_as_scikit_learn():
    x = np.random.default_rng(3).normal(size=(300, 12)) * np.r_[5.0, 4.0, 3.0, np.ones(9)]
    theirs = Reference("mle", svd_solver="full").fit(x)
    agree(streamspread.PCA("mle").fit(x), theirs)
    assert theirs.n_components_ == 3


def test_more_features_than_a_dense_solve_takes(monkeypatch):
    """Panels, and leading pairs only, in place of a square matrix."""
    small = replace(CPU, dense_limit=16, search_limit=16)
    for module in (scatter, gram):
        monkeypatch.setattr(module, "profile", lambda device: small)
    for shape in (TALL, WIDE):
        x = samples(shape)
        for count in (3, 0.6, None):
            ours = streamspread.PCA(count).fit(x)
            theirs = Reference(count, svd_solver="full").fit(x)
            agree(ours, theirs, tolerance=1e-8)
            low, high = ours.components_interval(0.6)
            assert low <= Reference(0.6).fit(x).n_components_ <= high


@pytest.mark.parametrize("shape", [(500, 120), (120, 500)], ids=["tall", "wide"])
def test_few_components_of_many_features_are_searched_for(shape, monkeypatch):
    monkeypatch.setattr(scatter, "_LEAST_SEARCHED", 16)
    monkeypatch.setattr(gram, "profile", lambda device: replace(CPU, search_limit=16))
    x = samples(shape)
    ours = streamspread.PCA(3).fit(x)
    assert not ours.spectrum_.complete
    agree(ours, Reference(3, svd_solver="full").fit(x))
    low, high = ours.components_interval(0.9)
    k = Reference(0.9, svd_solver="full").fit(x).n_components_
    assert low <= k <= high
    if shape[0] > shape[1]:  # sums are there, from which the other eigenvalues are found when asked for
        assert low == k == high
        assert ours.spectrum_.complete
    # What a search does not find to the last digits a dense solve does.
    monkeypatch.setattr(square, "_CONVERGED", 0.0)
    again = streamspread.PCA(3).fit(x)
    assert again.spectrum_.complete
    agree(again, Reference(3, svd_solver="full").fit(x))


def test_a_sketch_says_so_and_is_right_where_it_can_be():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 5)) @ rng.normal(size=(5, 400)) + 0.01 * rng.normal(size=(600, 400))
    theirs = Reference(5, svd_solver="full").fit(x)
    tight = {"memory": 8 * 400 * 9 * 40, "n_components": 5}
    with pytest.warns(UserWarning, match="neither the covariance of 400 features nor the inner products"):
        ours = streamspread.PCA(**tight).fit(x)
    assert not ours.exact_
    np.testing.assert_allclose(ours.explained_variance_, theirs.explained_variance_, rtol=1e-6)
    np.testing.assert_allclose(ours.components_, theirs.components_, atol=1e-4)
    low, high = ours.components_interval(0.9)
    assert low <= Reference(0.9).fit(x).n_components_ <= high
    parts = streamspread.PCA(**tight)
    for part in np.split(x, 6):
        parts.partial_fit(part)
    with pytest.warns(UserWarning, match="are held|fit into the memory"):
        low, high = parts.components_interval(0.9)
    assert low <= Reference(0.9).fit(x).n_components_ <= high
    np.testing.assert_allclose(parts.explained_variance_, theirs.explained_variance_, rtol=1e-2)


@pytest.mark.filterwarnings("ignore:neither the covariance")
@pytest.mark.parametrize("learn", ["fit", "partial_fit"])
def test_a_sketch_of_few_directions_has_orthonormal_components(learn):
    worst = 0.0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(300, 12)) @ rng.normal(size=(12, 50))
        pca = streamspread.PCA(method="sketch", batch_size=26)
        getattr(pca, learn)(x)
        overlap_KK = pca.components_ @ pca.components_.T
        worst = max(worst, np.abs(overlap_KK - np.eye(len(overlap_KK))).max())
    assert worst < 1e-13


@pytest.mark.filterwarnings("ignore:neither the covariance")
@pytest.mark.parametrize("learn", ["fit", "partial_fit"])
def test_a_sketch_far_from_the_origin_has_bounds_that_hold(learn):
    x = np.random.default_rng(0).normal(size=(300, 3)) + 1e8
    pca = streamspread.PCA(method="sketch")
    getattr(pca, learn)(x)
    sums_K = np.cumsum(np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2 / 299)
    np.testing.assert_allclose(pca.spectrum_.total_variance, sums_K[-1], rtol=1e-12)
    assert (pca.spectrum_.lower_sums <= sums_K * (1 + 1e-12)).all()
    assert (sums_K <= pca.spectrum_.upper_sums * (1 + 1e-12)).all()
    np.testing.assert_allclose(pca.mean_, x.mean(0), rtol=1e-15)


@pytest.mark.filterwarnings("ignore:neither the covariance")
@pytest.mark.parametrize("learn", ["fit", "partial_fit"])
@pytest.mark.parametrize("shape", [(3, 10), (2, 1), (5, 5)])
def test_a_sketch_has_a_variance_for_each_component(learn, shape):
    """The samples' number is one more than the directions in which they can differ."""
    pca = streamspread.PCA(method="sketch")
    getattr(pca, learn)(x := samples(shape))
    count = pca.n_components_
    assert pca.components_.shape == (count, shape[1])
    assert pca.explained_variance_.shape == pca.singular_values_.shape == (count,)
    reference = np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2 / (shape[0] - 1)
    np.testing.assert_allclose(pca.explained_variance_, reference[:count], atol=1e-9 * reference[0])


@pytest.mark.parametrize("shape", [(30_000, 60), (60, 30_000)], ids=["tall", "wide"])
def test_memory_maps_are_read_by_slices_and_never_copied(shape, tmp_path, monkeypatch):
    given = on_disk(samples(shape, dtype=np.float32), tmp_path)
    taken, centred = [], scatter.Stage.centred

    def watched(self, part, shift_D):
        assert np.shares_memory(part, given)
        taken.append(part.size)
        return centred(self, part, shift_D)

    monkeypatch.setattr(scatter.Stage, "centred", watched)
    ours = streamspread.PCA(3).fit(given)
    assert 3 * max(taken) < given.size
    theirs = Reference(3, svd_solver="full").fit(np.asarray(given, dtype=np.float64))
    np.testing.assert_allclose(ours.components_, theirs.components_, atol=1e-6)


def test_clone_pickle_and_set_output():
    x = pandas.DataFrame(samples(TALL), columns=names(np.empty(TALL)), index=range(100, 340))
    pca = streamspread.PCA(3, whiten=True, memory="1GiB", method="covariance").set_output(transform="pandas")
    fitted = clone(pca).fit(x)
    assert list(fitted.feature_names_in_) == list(x.columns)
    out = fitted.set_output(transform="pandas").transform(x)
    assert list(out.columns) == ["pca0", "pca1", "pca2"] == list(fitted.get_feature_names_out())
    assert list(out.index) == list(x.index)
    again = pickle.loads(pickle.dumps(fitted))
    pandas.testing.assert_frame_equal(again.transform(x), out)
    again.partial_fit(x)  # its sums came along
    assert again.n_samples_seen_ == 2 * len(x)
    out = make_pipeline(StandardScaler(), streamspread.PCA(0.9)).fit_transform(x)
    theirs = make_pipeline(StandardScaler(), Reference(0.9, svd_solver="full")).fit_transform(x)
    np.testing.assert_allclose(out, theirs, atol=1e-10)


@pytest.mark.parametrize("shape", [TALL, WIDE], ids=["tall", "wide"])
def test_parts_may_be_small_and_of_several_kinds(shape):
    x = samples(shape)
    pca = streamspread.PCA(3)
    for place, row in enumerate(np.split(x, len(x))):
        pca.partial_fit(torch.from_numpy(row) if place % 3 == 1 else row)
        assert pca.n_samples_seen_ == place + 1
    agree(pca, Reference(3, svd_solver="full").fit(x))
    fitted = streamspread.PCA(3, method="covariance").fit(x[:5]).partial_fit(x[5:9])
    for part in np.split(x[9:], 3, axis=0):
        fitted.partial_fit(torch.from_numpy(part))
    agree(fitted, Reference(3, svd_solver="full").fit(x))


def test_parts_cost_their_sums_alone():
    pca = streamspread.PCA(2)
    for part in np.split(samples(TALL), 4):
        pca.partial_fit(part)
        assert "components_" not in vars(pca)  # made when they are asked for
    assert pca.components_.shape == (2, 30)
    assert "components_" in vars(pca)
    pca.set_params(n_components=0.9)  # sums know all directions
    pca.partial_fit(samples(TALL, seed=1))
    both = np.concatenate([samples(TALL), samples(TALL, seed=1)])
    agree(pca, Reference(0.9, svd_solver="full").fit(both))


@pytest.mark.gpu
@pytest.mark.parametrize("shape", [TALL, WIDE], ids=["tall", "wide"])
def test_tensors_on_a_card_stay_there(shape):
    x = samples(shape)
    pca = streamspread.PCA(4).fit(torch.from_numpy(x).cuda())
    assert pca.components_.is_cuda
    assert pca.transform(torch.from_numpy(x).cuda()).is_cuda
    theirs = Reference(4, svd_solver="full").fit(x)
    np.testing.assert_allclose(pca.components_.cpu().numpy(), theirs.components_, atol=1e-9)
    np.testing.assert_allclose(
        streamspread.PCA(4, device="cuda:0").fit(x).components_, theirs.components_, atol=1e-9
    )


def test_it_is_an_estimator_of_scikit_learns():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of checks that are skipped
        results = check_estimator(streamspread.PCA(), on_fail=None)
    failed = [result["check_name"] for result in results if result["status"] == "failed"]
    assert failed == []
    assert len([result for result in results if result["status"] == "passed"]) > 40


@pytest.mark.parametrize("dim", [100, 3000, 60_000])
@pytest.mark.parametrize("budget", [1 << 22, 120 << 20, 1 << 32])
def test_a_sketch_is_as_large_as_rows_and_squares_fit(dim, budget):
    rank = Sketch.rank_within(budget, dim, torch.device("cpu"))
    assert 8 * rank * (6 * dim + 16 * rank) <= budget
    if rank == 0:
        assert Sketch.least_bytes(dim, 1) > budget


def test_rows_do_not_wait_beside_a_sketch():
    x = np.random.default_rng(0).normal(size=(300, 400)) * np.arange(1, 401) ** -1.0
    pca = streamspread.PCA(5, method="sketch", memory="2MiB")
    for part in np.split(x, 15):
        pca.partial_fit(part)
        assert not pca._running.blocks
    with pytest.warns(UserWarning, match="a sketch was asked for"):
        assert pca.n_samples_ == 300


def test_a_callable_of_arrays_gives_arrays_and_of_tensors_tensors():
    x = samples(TALL)
    ours = streamspread.PCA(3).fit(lambda: iter(np.array_split(x, 4)))
    assert isinstance(ours.components_, np.ndarray)
    agree(ours, Reference(3, svd_solver="full").fit(x))
    assert isinstance(streamspread.PCA(3).fit(lambda: iter([torch.from_numpy(x)])).components_, torch.Tensor)
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\) while a minimum of 1 is required"):
        ours.transform(iter([]))


def test_a_covariance_of_few_features_fits_into_what_is_always_free():
    for count in (None, 5):
        resources = running.Resources(torch.device("cpu"), 0, "auto", None, Choice(count))
        most = max(resources.covariance_bytes(dim) for dim in (1, 64, learning._NARROW))
        assert most + resources.inner_bytes(learning._NARROW) <= learning._ALWAYS_FREE
