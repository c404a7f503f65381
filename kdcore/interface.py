"""All public names of the library; `kdcore` itself looks them up here."""

from kdcore.alternating import RefinementRecord as RefinementRecord
from kdcore.codes import Codes as Codes
from kdcore.codes import CodeStatistics as CodeStatistics
from kdcore.compressed import CompressedVectors as CompressedVectors
from kdcore.compressed import compress as compress
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
from kdcore.evaluation import evaluate as evaluate
from kdcore.fitting import fit_transform as fit_transform
from kdcore.formats import read_vectors as read_vectors
from kdcore.learners import LEARNERS as LEARNERS
from kdcore.learners import Control as Control
from kdcore.learners import LearnedCodes as LearnedCodes
from kdcore.learners import LearnerInputs as LearnerInputs
from kdcore.learners.straight_through import LearningRecord as LearningRecord
from kdcore.learning import learn_codes as learn_codes
from kdcore.modules import compress_module as compress_module
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
    "CompressedVectors",
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
    "compress",
    "compress_module",
    "encode",
    "evaluate",
    "fit_transform",
    "learn_codes",
    "load_decoder",
    "load_embedding",
    "read_vectors",
    "refine_codes",
    "save_decoder",
    "save_embedding",
]
