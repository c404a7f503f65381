"""K-way D-dimensional discrete codes for compact embeddings.

Example:
    >>> import torch
    >>> from kdcore import KDEmbedding, learn_codes
    >>> vectors = torch.randn(1_000, 50)
    >>> learned = learn_codes(vectors, K=16, D=8, epochs=10)
    >>> embedding = KDEmbedding.from_pretrained(learned.codes, learned.transform)
    >>> embedding(torch.tensor([[1, 2], [3, 4]])).shape
    torch.Size([2, 2, 50])
"""

from kdcore.codes import Codes as Codes
from kdcore.codes import CodeStatistics as CodeStatistics
from kdcore.decoder import load_decoder as load_decoder
from kdcore.decoder import save_decoder as save_decoder
from kdcore.embedding import KDEmbedding as KDEmbedding
from kdcore.embeddings import EMBEDDINGS as EMBEDDINGS
from kdcore.embeddings import Embedding as Embedding
from kdcore.embeddings import EmbeddingInputs as EmbeddingInputs
from kdcore.embeddings import load_embedding as load_embedding
from kdcore.embeddings import save_embedding as save_embedding
from kdcore.encoding import encode as encode
from kdcore.errors import KDError as KDError
from kdcore.fitting import fit_transform as fit_transform
from kdcore.learners import LEARNERS as LEARNERS
from kdcore.learners import Control as Control
from kdcore.learners import LearnedCodes as LearnedCodes
from kdcore.learners import LearnerInputs as LearnerInputs
from kdcore.learners.refine import RefinementRecord as RefinementRecord
from kdcore.learners.straight_through import LearningRecord as LearningRecord
from kdcore.learning import learn_codes as learn_codes
from kdcore.refinement import refine_codes as refine_codes
from kdcore.size import Size as Size
from kdcore.transforms import TRANSFORMS as TRANSFORMS
from kdcore.transforms import Transform as Transform
from kdcore.transforms.linear import LinearTransform as LinearTransform
from kdcore.transforms.lstm import LSTMTransform as LSTMTransform
from kdcore.vectors import WordVectors as WordVectors

__all__ = [
    "EMBEDDINGS",
    "LEARNERS",
    "TRANSFORMS",
    "CodeStatistics",
    "Codes",
    "Control",
    "Embedding",
    "EmbeddingInputs",
    "KDEmbedding",
    "KDError",
    "LSTMTransform",
    "LearnedCodes",
    "LearnerInputs",
    "LearningRecord",
    "LinearTransform",
    "RefinementRecord",
    "Size",
    "Transform",
    "WordVectors",
    "encode",
    "fit_transform",
    "learn_codes",
    "load_decoder",
    "load_embedding",
    "refine_codes",
    "save_decoder",
    "save_embedding",
]
__version__ = "0.2.0.dev0"
