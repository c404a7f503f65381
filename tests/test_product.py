import pytest
import torch

from kdcore import Codes, KDEmbedding, KDError, load_decoder, save_decoder
from kdcore.embeddings import EMBEDDINGS, load_embedding, save_embedding
from kdcore.transforms.linear import LinearTransform
from kdcore.transforms.product import ProductTransform

N, K, D = 40, 5, 6
INDICES = Codes.random(N, K, D, seed=0).tensor()
# Sizes and groups; the last two make slices of unequal length.
SHAPES = [(12, 6), (12, 3), (12, 2), (12, 1), (13, 3), (17, 6)]


def sums_of_slices(transform: ProductTransform, mask: torch.Tensor | None = None) -> torch.Tensor:
    """What the class says, written out."""
    depth, columns = D // transform.groups, []
    for group in range(transform.groups):
        books = transform.slice_books(group)
        total = torch.zeros(N, books.shape[2], dtype=books.dtype)
        for place in range(depth):
            j = group * depth + place
            factor = 1.0 if mask is None else mask[:, j : j + 1]
            total = total + factor * books[place][INDICES[:, j]]
        columns.append(total)
    return torch.cat(columns, 1)


@pytest.mark.parametrize(("dim", "groups"), SHAPES)
def test_vectors_are_sums_of_their_groups_side_by_side(dim, groups):
    transform = ProductTransform(K, D, dim, groups=groups).double()
    sizes = [part.stop - part.start for part in transform.slices]
    assert sum(sizes) == dim and max(sizes) - min(sizes) <= 1 and len(sizes) == groups
    assert [len(x) for x in torch.tensor_split(torch.zeros(dim), groups)] == sizes
    assert transform.parameter_count() == K * D // groups * dim
    torch.testing.assert_close(transform(INDICES), sums_of_slices(transform))
    mask = torch.rand(N, D, dtype=torch.double)
    torch.testing.assert_close(transform(INDICES, mask=mask), sums_of_slices(transform, mask))


def test_one_group_is_the_linear_transform():
    linear, product = LinearTransform(K, D, 7), ProductTransform(K, D, 7, groups=1)
    with torch.no_grad():
        product.W.copy_(linear.W)
    torch.testing.assert_close(product(INDICES), linear(INDICES))
    for found, expected in zip(product.codebooks(), linear.codebooks(), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("dim", "groups"), SHAPES)
def test_books_of_slices_are_parts_of_the_books(dim, groups):
    transform = ProductTransform(K, D, dim, groups=groups, init_scale=1.0)
    books, offset = transform.codebooks()
    depth, seen = D // groups, torch.zeros_like(books)
    for g, (part, (of_slice, of_offset)) in enumerate(
        zip(transform.slices, transform.sliced_codebooks(), strict=True)
    ):
        seen[g * depth : (g + 1) * depth, :, part] = of_slice
        assert torch.equal(offset[part], of_offset)
    assert torch.equal(seen, books)
    other = ProductTransform(K, D, dim, groups=groups)
    for group in range(groups):
        other.set_slice_books(group, transform.slice_books(group))
    assert torch.equal(other(INDICES), transform(INDICES))


def test_a_shared_book_composes_every_slice():
    transform = ProductTransform(K, D, 12, shared=True).double()
    assert transform.W.shape == (1, K, 2) and transform.parameter_count() == K * 12 // D
    torch.testing.assert_close(transform(INDICES), transform.W[0][INDICES].flatten(1))
    torch.testing.assert_close(transform(INDICES), sums_of_slices(transform))
    weights = torch.nn.functional.one_hot(INDICES, K).double()
    torch.testing.assert_close(transform.compose_soft(weights), transform(INDICES))
    before = transform(INDICES)
    transform.rescale(torch.tensor([2.0, 3.0] * 6, dtype=torch.double))
    torch.testing.assert_close(transform(INDICES), before * torch.tensor([2.0, 3.0] * 6))
    with pytest.raises(KDError, match="equal factors for all slices of a shared code book"):
        transform.rescale(torch.arange(12.0))
    with pytest.raises(KDError, match="cannot add an offset"):
        transform.add_offset(torch.ones(12))


@pytest.mark.parametrize(
    ("dim", "options"), [(12, {"groups": 2}), (13, {"groups": 3}), (12, {"shared": True})]
)
def test_an_embedding_is_trained_exported_and_loaded_with_it(dim, options, tmp_path):
    made = KDEmbedding(Codes(INDICES, K), dim, "product", dropout=0.3, **options)
    made(torch.arange(N)).square().sum().backward()
    assert all(p.grad.norm() > 0 for p in made.parameters())
    made.eval()
    settings = EMBEDDINGS.parse({"kind": "kd", "transform": {"kind": "product", **options}})
    save_embedding(tmp_path / "embedding", made, settings)
    loaded = load_embedding(tmp_path / "embedding")
    assert torch.equal(loaded(torch.arange(N)), made(torch.arange(N)))
    save_decoder(tmp_path / "decoder", made.transform)
    decoder = load_decoder(tmp_path / "decoder")
    assert torch.equal(decoder.compose_all(INDICES), made(torch.arange(N)))


@pytest.mark.parametrize(
    ("dim", "options", "message"),
    [
        (12, {"groups": 4}, "groups must divide the D = 6 positions, got 4"),
        (5, {}, "groups must be at most the 5 components of a vector, got 6"),
        (12, {"groups": 0}, "groups must divide the D = 6 positions, got 0"),
        (12, {"groups": 3, "shared": True}, "shared must be false unless groups are D = 6"),
        (13, {"shared": True}, "D divides the size 13, got true with 6 groups"),
    ],
)
def test_shapes_that_cannot_be_are_refused_in_one_line(dim, options, message):
    with pytest.raises(KDError, match=message) as refused:
        ProductTransform(K, D, dim, **options)
    assert "\n" not in str(refused.value)
