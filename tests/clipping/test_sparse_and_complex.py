"""Gradients that are sparse, complex or lazy views: clipped as their dense and real twins."""

import math

import pytest
import torch
from clip_oracle import (
    FUNCTIONS,
    about,
    bits,
    every_function,
    filled,
    gradients_of,
    norm_of,
    normal,
    parameters_of,
    same,
)
from torch import nn
from torch.nn import utils

from gradcourse.clipping import (
    clip_grad_agc_,
    clip_grad_norm_,
    clip_grad_rms_,
    nonfinite_gradients,
    standardize_grad_,
)

# torch says once in a process that sparse tensors are not checked, or are new.
pytestmark = pytest.mark.filterwarnings("ignore:Sparse")


def coo(dense):
    return dense.to_sparse()


def uncoalesced(dense):
    """The same matrix, each entry given in two parts and out of order."""
    sparse = dense.to_sparse()
    indices = torch.cat([sparse.indices().flip(1), sparse.indices()], 1)
    values = torch.cat([2 * sparse.values().flip(0), -sparse.values()])
    return torch.sparse_coo_tensor(indices, values, dense.shape)


def rows(dense):
    return dense.to_sparse(1)


def rows_in_parts(dense):
    sparse = dense.to_sparse(1)
    indices = torch.cat([sparse.indices(), sparse.indices().flip(1)], 1)
    values = torch.cat([-sparse.values(), 2 * sparse.values().flip(0)])
    return torch.sparse_coo_tensor(indices, values, dense.shape)


def csr(dense):
    return dense.to_sparse_csr()


def csc(dense):
    return dense.to_sparse_csc()


def bsr(dense):
    return dense.to_sparse_bsr((1, 2))


SPARSE = [coo, uncoalesced, rows, rows_in_parts, csr, csc, bsr]


def weights_of_rows(dtype=torch.float32):
    """Weights of which each row has another size, and none is zero."""
    return (torch.arange(1, 7).view(6, 1) / 3).repeat(1, 4).to(dtype)


def sparse_parameter(layout, dtype=torch.float32):
    """A parameter with a sparse gradient; torch wants itself compressed if its gradient is."""
    weight = weights_of_rows(dtype)
    parameter = nn.Parameter(layout(weight) if layout in (csr, csc, bsr) else weight)
    parameter.grad = layout(matrix_with_holes(dtype))
    return parameter


def matrix_with_holes(dtype=torch.float32):
    matrix = normal(6, 4, seed=4, dtype=dtype)
    matrix[[1, 2, 4]] = 0
    matrix[3, 1] = 0
    return matrix


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("name", "layout"),
    [
        (name, layout)
        for name in FUNCTIONS
        for layout in SPARSE
        # Of elements that are sparse within rows there are no units.
        if name != "standardize_grad_"
        and (name != "clip_grad_agc_" or layout in (rows, rows_in_parts))
    ],
)
def test_a_sparse_gradient_is_clipped_as_its_dense_twin(name, layout, dtype):
    function = FUNCTIONS[name]
    dense = filled([nn.Parameter(torch.ones(6, 4, dtype=dtype)), nn.Parameter(torch.ones(2))])
    dense[0].data.copy_(weights_of_rows(dtype))
    dense[0].grad = matrix_with_holes(dtype)
    sparse = [sparse_parameter(layout, dtype), *filled([nn.Parameter(torch.ones(2))], seed=1)]
    before = sparse[0].grad.layout
    same(function(sparse), function(dense))
    assert sparse[0].grad.layout is before
    torch.testing.assert_close(sparse[0].grad.to_dense(), dense[0].grad)
    torch.testing.assert_close(sparse[1].grad, dense[1].grad)
    assert bits(dense[0].grad) != bits(matrix_with_holes(dtype))


def test_an_embedding_s_sparse_gradient_is_clipped_in_a_training_step():
    results = {}
    for sparse in (True, False):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Embedding(20, 4, sparse=sparse), nn.Flatten(), nn.Linear(12, 1))
        (100 * model(torch.tensor([[1, 1, 7], [3, 1, 7]]))).sum().backward()
        norm = clip_grad_norm_(model, 1.0)
        torch.optim.SGD(model.parameters(), lr=0.1).step()
        results[sparse] = norm, model(torch.tensor([[1, 3, 7]])).detach()
    torch.testing.assert_close(results[True], results[False])


def test_a_sparse_gradient_without_entries_is_zero():
    for sparse_dim in (1, 2):
        parameter = nn.Parameter(torch.ones(6, 4))
        parameter.grad = torch.zeros(6, 4).to_sparse(sparse_dim)
        for name, function in FUNCTIONS.items():
            if name != "standardize_grad_" and (sparse_dim, name) != (2, "clip_grad_agc_"):
                returned = function(parameter)
                assert returned is None or (returned == 0).all()


def test_a_sparse_vector_is_one_unit():
    dense, sparse = (filled([nn.Parameter(torch.ones(6))]) for _ in range(2))
    dense[0].grad[2] = 0
    sparse[0].grad = dense[0].grad.to_sparse()
    same(clip_grad_agc_(sparse), clip_grad_agc_(dense))
    torch.testing.assert_close(sparse[0].grad.to_dense(), dense[0].grad)


@pytest.mark.parametrize("layout", SPARSE)
def test_a_sparse_gradient_cannot_be_standardized(layout):
    ordinary, parameter = nn.Parameter(torch.ones(3)), sparse_parameter(layout)
    ordinary.grad = torch.tensor([1.0, 2.0, 4.0])
    with pytest.raises(ValueError, match=r"^the gradient of w is sparse or a DTensor, which"):
        standardize_grad_([("b", ordinary), ("w", parameter)])
    assert ordinary.grad.tolist() == [1, 2, 4]


@pytest.mark.parametrize("layout", [coo, uncoalesced, csr, csc, bsr])
def test_units_of_a_gradient_that_is_sparse_within_rows_are_refused(layout):
    parameter = sparse_parameter(layout)
    with pytest.raises(ValueError, match=r"^the gradient of w is sparse, but not in whole rows"):
        clip_grad_agc_([("w", parameter)])


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without mkldnn")
def test_a_layout_without_values_is_refused_by_name():
    parameter = nn.Parameter(torch.ones(2, 2).to_mkldnn())
    parameter.grad = torch.ones(2, 2).to_mkldnn()
    with pytest.raises(ValueError, match=r"^the gradient of w has the layout torch\._mkldnn, whi"):
        clip_grad_norm_([("w", parameter)], 1.0)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "standardize_grad_"])
def test_a_complex_gradient_counts_by_absolute_value_and_is_cut_in_its_parts(name):
    gradient = torch.complex(normal(3, 4, seed=1), normal(3, 4, seed=2))
    weight = 0.1 * torch.complex(normal(3, 4, seed=3), normal(3, 4, seed=4))
    parts = name.startswith("clip_grad_value_")
    real = torch.view_as_real if parts else torch.abs
    one, other = nn.Parameter(weight), nn.Parameter(real(weight).clone())
    one.grad, other.grad = gradient.clone(), real(gradient).clone()
    returned, expected = (
        FUNCTIONS[name]([parameter, *filled([nn.Parameter(torch.ones(2))])])
        for parameter in (one, other)
    )
    same(returned, expected)
    torch.testing.assert_close(real(one.grad), other.grad)
    if not parts:
        torch.testing.assert_close(one.grad.angle(), gradient.angle())


def test_a_complex_vector_is_one_unit():
    parameter = nn.Parameter(torch.tensor([3 + 4j, 0, 12j]))
    parameter.grad = torch.tensor([0, 60j, 80])
    assert clip_grad_agc_(parameter, 1.0) == 1
    assert parameter.grad.abs().tolist() == about([0, 13 * 0.6, 13 * 0.8])


def test_the_root_mean_square_of_complex_numbers_counts_each_once():
    (parameter,) = parameters_of(torch.tensor([3 + 4j, 0, 0, 5j]))
    assert clip_grad_rms_(parameter, 1.0).item() == about(math.sqrt(50 / 4))
    assert parameter.grad.abs().square().mean() == about(1.0)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("norm_type", [0.5, 1.0, 2.0, 3.0, math.inf])
def test_complex_norms_are_torch_s(dtype, norm_type):
    gradient = torch.complex(normal(3, 4, seed=1), normal(3, 4, seed=2)).to(dtype)
    (ours,), (theirs,) = (parameters_of(gradient.clone()) for _ in range(2))
    norm = clip_grad_norm_(ours, 1.0, norm_type)
    expected = utils.clip_grad_norm_(theirs, 1.0, norm_type)
    torch.testing.assert_close(norm, expected, rtol=2e-6, atol=0)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=4e-6, atol=1e-7)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, math.inf])
@pytest.mark.parametrize("size", [1e-40, 1e-25, 1e25, 3e38])
def test_complex_gradients_of_any_size_are_clipped(size, norm_type):
    gradient = torch.tensor([complex(size, size), complex(0, -size / 3)])
    parameters = parameters_of(gradient.clone(), torch.tensor([size]))
    true_norm = norm_of([gradient, torch.tensor([size])], norm_type)
    norm = clip_grad_norm_(parameters, size / 4, norm_type)
    assert float(norm) == about(min(true_norm, torch.finfo(torch.float32).max), rel=2e-5)
    after = norm_of(gradients_of(parameters), norm_type)
    assert after == about(size / 4, rel=2e-5, within=1e-44)
    assert nonfinite_gradients(parameters) == []


@every_function
@pytest.mark.parametrize("view", ["conj", "neg"])
def test_a_lazy_conjugate_or_negative_is_clipped_as_its_copy(function, view):
    base = torch.complex(normal(3, 4, seed=1), normal(3, 4, seed=2))
    lazy = base.conj() if view == "conj" else torch._neg_view(base)
    assert lazy.is_conj() or lazy.is_neg()
    zeros = torch.zeros(3, 4, dtype=lazy.dtype)
    one, other = nn.Parameter(zeros), nn.Parameter(zeros.clone())
    one.grad, other.grad = lazy, lazy.resolve_conj().resolve_neg().clone()
    same(function(one), function(other))
    torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=0)


@pytest.mark.parametrize(
    "shared",
    [
        lambda: torch.sparse_coo_tensor([[0, 0]], torch.ones(2, 2), (3, 2)),
        lambda: torch.tensor([3 + 4j, 1j]).conj(),
    ],
    ids=["uncoalesced", "conjugate"],
)
def test_a_shared_gradient_that_must_be_rewritten_stays_shared(shared):
    shared = shared()
    zeros = torch.zeros(shared.shape, dtype=shared.dtype)
    pair = [nn.Parameter(zeros.clone()) for _ in range(2)]
    pair[0].grad = pair[1].grad = shared
    norm = clip_grad_norm_(pair, 0.5)
    assert float(norm) == about(norm_of([shared]))
    assert pair[0].grad is pair[1].grad
    assert norm_of([pair[0].grad]) == about(0.5)
