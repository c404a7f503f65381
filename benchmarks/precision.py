"""Whether bfloat16 ends where float32 does: the same model trained to the end in both.

`python -m benchmarks.precision --corpus runs/texts/<address>/corpus.safetensors` (after `snakemake
data`) trains the small model twice, minutes on a GPU, two hours on a CPU core; a run that is
stopped continues from `--scratch`. Exit status 1 where validation perplexities are more than 0.5 %
apart.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import nn

from kdcore.files import fingerprint
from kdlab.corpus import EOS, Corpus
from kdlab.experiment import load_experiment
from kdlab.language_model import LanguageModel, perplexity
from kdlab.training import EpochRecord, check_precision, resolve_device, train

TOLERANCE = 0.005


def main() -> int:
    """Print a line per epoch and the differences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=Path("config/paper.yaml"))
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--model", default="small", help="a model of that preset")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--scratch", type=Path, default=Path("runs/precision"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device = resolve_device(arguments.device)
    check_precision("bfloat16", device)
    settings = load_experiment(arguments.config).preset.models[arguments.model].settings
    corpus = Corpus.load(arguments.corpus)
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    ends = {}
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(1)
        embedding = nn.Embedding(len(corpus.words), settings.hidden)
        nn.init.uniform_(embedding.weight, -settings.init_scale, settings.init_scale)
        model = LanguageModel(embedding, len(corpus.words), settings).to(device)
        identity = fingerprint([settings.model_dump(), corpus.digest, str(device), precision])

        def tell(state, precision=precision):
            if isinstance(state, EpochRecord):
                print(f"{precision} epoch {state.epoch}: valid {state.valid_ppl:.2f}", flush=True)

        records = train(
            model, corpus, settings, checkpoint=arguments.scratch / f"{identity}.safetensors",
            identity=identity, precision=precision, valid_streams=settings.batch_size, report=tell,
        )  # fmt: skip
        test = perplexity(model, corpus.test, corpus.words.index(EOS))
        print(f"{precision} test {test:.2f}", flush=True)
        ends[precision] = (records[-1].valid_ppl, test)
    valid, test = (b / a - 1 for a, b in zip(ends["float32"], ends["bfloat16"], strict=True))
    print(f"bfloat16 over float32: {valid:+.2%} in validation and {test:+.2%} in test perplexity")
    return int(abs(valid) > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
