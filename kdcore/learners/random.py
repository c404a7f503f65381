"""Uniformly random codes: the baseline of Table 1."""

from pydantic import Field

from kdcore.codes import Codes
from kdcore.kinds import KindSettings
from kdcore.learners import Control, LearnedCodes, LearnerInputs

NUMERICS = 1
EXAMPLE: dict[str, object] = {"K": 4, "D": 3}


class Settings(KindSettings):
    """Codes drawn at random."""

    K: int = Field(ge=2, description="values of an index")
    D: int = Field(ge=1, description="indices in a code")


def learn(
    settings: Settings, inputs: LearnerInputs, seed: int, control: Control
) -> LearnedCodes | None:
    """Random codes, which need nothing but the number of words."""
    return LearnedCodes(Codes.random(inputs.words, settings.K, settings.D, seed), None, ())
