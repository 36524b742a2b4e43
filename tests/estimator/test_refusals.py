"""What PCA refuses, in scikit-learn's exceptions and words where it has them."""

import numpy as np
import pandas
import polars
import pytest
import torch
from scipy import sparse
from sklearn.decomposition import PCA as Reference
from sklearn.exceptions import NotFittedError

import streamspread

X = np.random.default_rng(0).normal(size=(40, 6))
HOLE = X.copy()
HOLE[17, 3] = np.nan


def refused(estimator, given):
    """The error of a fit."""
    with pytest.raises(Exception, match=r"\w") as caught:
        estimator.fit(given)
    return caught.value


def outcome(estimator, given):
    """What a fit says, or how many components there are."""
    try:
        return estimator.fit(given).n_components_
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize(
    "given",
    [
        HOLE,
        np.where(np.isnan(HOLE), np.inf, HOLE),
        HOLE.astype(np.float32),
        pandas.DataFrame(HOLE),
        HOLE.tolist(),
        X * 1j,
        [["a", "b"], ["c", "d"]],
        X[0],
        X[None],
        np.empty((0, 6)),
        np.empty((6, 0)),
        [],
        None,
        5.0,
        np.matrix(X),
        sparse.csr_array(HOLE),
    ],
    ids=lambda given: f"{type(given).__name__}{getattr(given, 'shape', '')}",
)
def test_data_are_refused_as_scikit_learn_does(given):
    """The same exception with the same words, at fit; of tensors too."""
    # By this solver it reads sparse data, as it does by itself where they are sparse.
    theirs = refused(Reference(svd_solver="covariance_eigh"), given)
    ours = refused(streamspread.PCA(), given)
    assert type(ours) is type(theirs)
    assert str(ours) == str(theirs)
    if isinstance(given, np.ndarray) and type(given) is np.ndarray and given.size and given.dtype.kind == "f":
        assert str(refused(streamspread.PCA(), torch.from_numpy(given))) == str(theirs)


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (lambda x: x.to("meta"), "on the meta device, without its numbers"),
        (lambda x: x[0].to("meta"), "on the meta device, without its numbers"),
        (lambda x: x.to_sparse(), r"sparse \(torch\.sparse_coo\)"),
        (lambda x: x.to_sparse_csr(), r"sparse \(torch\.sparse_csr\)"),
        (lambda x: torch.nested.nested_tensor([x[0], x[1, :3]]), "nested"),
        (lambda x: torch.quantize_per_tensor(x.float(), 0.1, 0, torch.qint8), r"quantized \(torch\.qint8\)"),
        (lambda x: x.to(torch.float8_e4m3fn), "of 8-bit floats"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, of what is new or will go
def test_tensors_that_are_not_ordinary_are_refused(made, kind):
    with pytest.raises(ValueError, match=f"Input X is a tensor that is {kind}: give an ordinary one"):
        streamspread.PCA().fit(made(torch.from_numpy(X)))


def test_a_frame_that_is_not_collected_yet():
    with pytest.raises(ValueError, match=r"Input X is a LazyFrame, .*: give X\.collect\(\)"):
        streamspread.PCA().fit(polars.DataFrame(X).lazy())
    assert streamspread.PCA(2).fit(polars.DataFrame(X)).n_components_ == 2


@pytest.mark.parametrize("solver", ["auto", "full", "arpack", "randomized"])
@pytest.mark.parametrize("count", [7, 41, -1, 1.5, "many", "mle", 0])
@pytest.mark.parametrize("shape", [(40, 6), (6, 40)])
def test_counts_are_refused_as_scikit_learn_does(count, shape, solver):
    x = X.reshape(shape)
    assert outcome(streamspread.PCA(count, svd_solver=solver), x) == outcome(
        Reference(count, svd_solver=solver), x
    )


@pytest.mark.parametrize("method", ["transform", "inverse_transform", "score_samples", "score"])
def test_before_a_fit(method):
    with pytest.raises(NotFittedError, match=r"This PCA instance is not fitted yet\. Call 'fit'"):
        getattr(streamspread.PCA(), method)(X)
    for nothing in ("get_covariance", "get_precision", "components_interval"):
        with pytest.raises(NotFittedError, match="This PCA instance is not fitted yet"):
            getattr(streamspread.PCA(), nothing)()
    with pytest.raises(AttributeError, match="no attribute 'components_'"):
        _ = streamspread.PCA().components_


def test_other_features_than_before():
    message = "X has 5 features, but PCA is expecting 6 features as input"
    for call in ("transform", "partial_fit", "score"):
        with pytest.raises(ValueError, match=message):
            getattr(streamspread.PCA(2).fit(X), call)(X[:, :5])
        with pytest.raises(ValueError, match=message):
            getattr(streamspread.PCA(2).partial_fit(torch.from_numpy(X)), call)(torch.from_numpy(X[:, :5]))
    frame = pandas.DataFrame(X, columns=list("abcdef"))
    fitted = streamspread.PCA(2).fit(frame)
    with pytest.raises(ValueError, match="The feature names should match those that were passed during fit"):
        fitted.transform(frame[list("bacdef")])


@pytest.mark.parametrize("rows", [40, 3])
def test_a_part_that_is_refused_leaves_the_sums_as_they_were(rows):
    pca = streamspread.PCA(2, batch_size=5).partial_fit(X[:rows])
    before = pca.explained_variance_.copy()
    with pytest.raises(ValueError, match=r"Input X contains NaN\.\nPCA does not accept missing values"):
        pca.partial_fit(HOLE)
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
        pca.partial_fit(np.empty((0, 6)))
    assert pca.n_samples_seen_ == rows
    np.testing.assert_array_equal(pca.partial_fit(X).explained_variance_.shape, before.shape)
    whole = streamspread.PCA(2).fit(np.concatenate([X[:rows], X]))
    np.testing.assert_allclose(pca.explained_variance_, whole.explained_variance_)


def test_parts_of_too_few_samples_are_refused_when_components_are_asked_for():
    pca = streamspread.PCA(3).partial_fit(X[:1])
    with pytest.raises(ValueError, match=r"Found array with 1 sample\(s\)"):
        _ = pca.components_
    pca.partial_fit(X[1:2])
    with pytest.raises(ValueError, match="n_components=3 must be between 0 and min"):
        pca.transform(X)
    assert pca.partial_fit(X[2:3]).components_.shape == (3, 6)


def test_sparse_parts_and_solvers():
    with pytest.raises(TypeError, match=r"PCA\.partial_fit does not support sparse input"):
        streamspread.PCA().partial_fit(sparse.csr_array(X))
    with pytest.raises(TypeError, match="PCA only support sparse inputs"):
        streamspread.PCA(svd_solver="full").fit(sparse.csr_array(X))


def test_streams():
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
        streamspread.PCA().fit(iter([]))
    with pytest.raises(ValueError, match="X has 5 features, but PCA is expecting 6"):
        streamspread.PCA().fit(iter([X, X[:, :5]]))
    with pytest.raises(streamspread.StreamspreadError, match="a batch is of type str; a matrix is needed"):
        streamspread.PCA().fit(iter(["a", "b"]))
    once = iter([X, X])
    with pytest.raises(streamspread.StreamspreadError, match="an iterator can be read once: give a callable"):
        streamspread.PCA().fit_transform(once)
    assert streamspread.PCA(2).fit_transform(lambda: iter([torch.from_numpy(X)] * 2)).shape == (80, 2)


def test_inner_products_take_no_more_samples():
    pca = streamspread.PCA(2).fit(X.T)
    with pytest.raises(ValueError, match=r"PCA\.fit kept no sums to which samples can be added"):
        pca.partial_fit(X.T)


def test_memory_methods_and_devices():
    for method in ("covariance", "gram"):
        with pytest.raises(streamspread.StreamspreadError, match=r"give memory='\d+\w+', or method='auto'"):
            streamspread.PCA(2, method=method, memory="1KB").fit(X)
    with pytest.raises(
        streamspread.StreamspreadError, match="does not hold a sketch of 6 features with 2 comp"
    ):
        streamspread.PCA(2, memory="100B").fit(X)
    with pytest.raises(streamspread.StreamspreadError, match="memory 'much' is not a size"):
        streamspread.PCA(2, memory="much").fit(X)
    with pytest.raises(streamspread.StreamspreadError, match="device 'abacus' is unknown"):
        streamspread.PCA(2, device="abacus").fit(X)
    with pytest.raises(ValueError, match="The 'method' parameter of PCA must be a str among"):
        streamspread.PCA(2, method="magic").fit(X)
    with pytest.raises(streamspread.StreamspreadError, match=r"thresholds must lie in \(0, 1\], got 2"):
        streamspread.PCA(2).fit(X).components_interval(2)


@pytest.mark.parametrize("shape", [(60, 6), (6, 60)], ids=["tall", "wide"])
@pytest.mark.parametrize("size", [1e200, 1e307])
def test_finite_numbers_whose_squares_are_not(shape, size):
    x = np.random.default_rng(0).normal(size=shape) * size
    with pytest.raises(ValueError, match="Input X is too large: its sums of squares overflow float64"):
        streamspread.PCA(2).fit(x)
