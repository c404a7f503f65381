import pytest
import torch
from test_transforms import VARIANTS

from kdcore import TRANSFORMS, Codes, KDError, LinearTransform, load_decoder, save_decoder


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_what_is_loaded_composes_the_same(tmp_path, name, options):
    made = TRANSFORMS[name](4, 3, 7, **options)
    symbols = torch.randint(4, (50, 3))
    made(symbols)  # statistics to keep
    save_decoder(tmp_path / "decoder", made)
    loaded = load_decoder(tmp_path / "decoder")
    assert torch.equal(loaded.table(symbols), made.table(symbols))


def test_what_is_no_decoder_is_one_line(tmp_path):
    path = tmp_path / "file"
    Codes.random(10, 4, 3, seed=1).save(path)
    with pytest.raises(KDError, match="not 'decoder'"):
        load_decoder(path)
    save_decoder(path, LinearTransform(4, 3, 7))
    content = path.read_bytes().replace(b'\\"code_dim\\": 7', b'\\"code_dim\\": 9')
    path.write_bytes(content)
    with pytest.raises(KDError, match="no decoder of this version"):
        load_decoder(path)


def test_a_transform_of_ones_own_has_no_name(tmp_path):
    class Mine(LinearTransform):
        pass

    with pytest.raises(KDError, match="Mine has no name"):
        save_decoder(tmp_path / "file", Mine(4, 3, 7))
