import pytest
import torch
from test_transforms import VARIANTS, make

from kdcore import Codes, KDError, LinearTransform, load_decoder, save_decoder
from kdcore.tensors import load_tensors, save_tensors


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_loaded_decoder_composes_the_same_vectors(tmp_path, name, options):
    made = make(name, 4, 3, 7, **options)
    indices = torch.randint(4, (50, 3))
    made(indices)  # statistics to keep
    made.error_scale = torch.rand(7) + 0.1
    save_decoder(tmp_path / "decoder", made)
    loaded = load_decoder(tmp_path / "decoder")
    assert torch.equal(loaded.compose_all(indices), made.compose_all(indices))
    assert loaded.settings == made.settings
    assert torch.equal(loaded.error_scale, made.error_scale)


def test_equal_decoders_are_equal_files(tmp_path):
    transform = LinearTransform(4, 3, 7)
    for name in ("one", "other"):
        save_decoder(tmp_path / name, transform)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def changed(**values):
    def change(tensors, header):
        return tensors, header | values

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors, header: ({}, header), "tensor 'W' must have shape .3, 4, any., got .0,."),
        (changed(dim=9), "error_scale must be 9 finite numbers above 0, got tensor"),
        (changed(K="4"), "K must be an integer above 0, got '4'"),
        (changed(D=10**30), "tensor 'W' must have shape"),
        (changed(transform={"kind": "cubic"}), "transform kind 'cubic' is unknown"),
        (changed(transform={"kind": "linear", "cell": "printed"}), "key 'cell' is unknown"),
        (changed(version=9), "decoder must be of version 2, got 9"),
        (lambda tensors, header: (tensors, {"kind": "decoder"}), "must be of version 2, got 1"),
        (changed(kind="codes"), "holds 'codes', not 'decoder'"),
    ],
)
def test_file_that_is_no_decoder_is_refused_in_one_line(tmp_path, change, message):
    path = tmp_path / "file"
    save_decoder(path, LinearTransform(4, 3, 7))
    save_tensors(path, *change(*load_tensors(path, "decoder")))
    with pytest.raises(KDError, match=message) as caught:
        load_decoder(path)
    assert "\n" not in str(caught.value)


def test_codes_are_no_decoder(tmp_path):
    Codes.random(10, 4, 3, seed=1).save(tmp_path / "file")
    with pytest.raises(KDError, match="holds 'codes', not 'decoder'"):
        load_decoder(tmp_path / "file")


def test_class_that_is_no_kind_is_refused(tmp_path):
    class Mine(LinearTransform):
        pass

    with pytest.raises(KDError, match="transform must be of a kind of its own, got Mine"):
        save_decoder(tmp_path / "file", Mine(4, 3, 7))
