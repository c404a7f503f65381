"""K-way D-dimensional discrete codes for compact embeddings.

The names below are the public interface; each is loaded when first used.
"""

from importlib import import_module

_HOME = {
    "Codes": "codes",
    "CodeStatistics": "codes",
    "KDEmbedding": "embedding",
    "KDError": "errors",
    "LearnedCodes": "learning",
    "LearningRecord": "learning",
    "LinearTransform": "transforms",
    "LSTMTransform": "transforms",
    "RefinedCodes": "refinement",
    "RefinementRecord": "refinement",
    "TRANSFORMS": "transforms",
    "Transform": "transforms",
    "WordVectors": "vectors",
    "encode": "encoding",
    "fit_transform": "fitting",
    "learn_codes": "learning",
    "refine_codes": "refinement",
    "load_decoder": "decoder",
    "save_decoder": "decoder",
}
__all__ = sorted(_HOME)
__version__ = "0.1.0"


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'kdcore' has no attribute {name!r}")
    return getattr(import_module(f"kdcore.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
