"""gensim's own files of KeyedVectors and of models that have some; gensim itself reads them.

They are pickles: reading one runs what is in it, as in gensim.
"""

import pickle
from importlib import import_module

from kdcore.errors import KDError
from kdcore.formats import FoundVectors, Source, of_keyed_vectors
from kdcore.formats.pytorch import LEGACY


def recognises(source: Source) -> bool:
    """Whether it is a pickle that speaks of gensim."""
    pickled = source.head[:1] == b"\x80" and not source.head.startswith(LEGACY)
    return pickled and b"gensim" in source.head


def read(source: Source) -> FoundVectors:
    """The words and vectors.

    Raises:
        KDError: gensim is not installed, or the file holds no vectors.
    """
    try:
        utils = import_module("gensim.utils")
    except ImportError:
        raise KDError(
            f"{source}: gensim's own format needs gensim, which is not installed: "
            "pip install kdcore[gensim]"
        ) from None
    try:
        loaded = utils.SaveLoad.load(str(source.path))
    except (pickle.UnpicklingError, AttributeError, EOFError, ImportError, ValueError) as error:
        line = str(error).split("\n")[0]
        raise KDError(f"{source}: damaged or of another version of gensim ({line})") from None
    keyed = getattr(loaded, "wv", loaded)
    if not hasattr(keyed, "index_to_key"):
        raise KDError(f"{source}: must hold KeyedVectors, got {type(loaded).__name__}")
    return of_keyed_vectors(keyed)
