"""A sentence encoder with its table of word vectors compressed: does it still find what it found?

`python -m benchmarks.sentences FILE --out OUT.csv` embeds the sentences of a text, one a line,
with the encoder as it is and with its table compressed to several sizes, and tells how many of a
sentence's 10 nearest among all others stay. The encoder is any of sentence-transformers that
averages its last layer, from a folder (`--encoder`) or from the distribution that
`config/vectors.yaml` names.
"""

import argparse
import copy
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F

from kdcore.files import short_hash, write_text
from kdcore.modules import compress_module
from kdlab.experiment import load_experiment
from kdlab.installed import find_installed
from kdlab.provenance import ROOT, environment

RATIOS = (4.0, 7.8, 14.0, 20.0, 32.0)
NEAREST, BATCH, LONGEST = 10, 64, 128


def installed_encoder() -> Path:
    """The folder of the encoder whose table `config/vectors.yaml` compresses."""
    preset = load_experiment(ROOT / "config" / "vectors.yaml").preset
    named: Any = preset.reconstructions["sentences"].vectors
    return find_installed(named).parent


@torch.no_grad()
def embed(model: Any, tokenizer: Any, sentences: list[str]) -> torch.Tensor:
    """Vectors of length 1, (n, d): means of the last layer over a sentence's tokens."""
    found = []
    for at in range(0, len(sentences), BATCH):
        batch = tokenizer(
            sentences[at : at + BATCH], padding=True, truncation=True, max_length=LONGEST,
            return_tensors="pt",
        )  # fmt: skip
        states = model(**batch).last_hidden_state
        mask = batch["attention_mask"][:, :, None].to(states)
        found.append(F.normalize((states * mask).sum(1) / mask.sum(1), dim=1))
    return torch.cat(found)


def nearest(vectors: torch.Tensor) -> torch.Tensor:
    """The numbers of each sentence's nearest others, (n, NEAREST)."""
    cosines = vectors @ vectors.T
    cosines.fill_diagonal_(-2.0)
    return cosines.topk(NEAREST, dim=1).indices


def overlap(first: torch.Tensor, second: torch.Tensor) -> float:
    """The share of the first's nearest that are the second's too."""
    same = (first[:, :, None] == second[:, None, :]).any(2)
    return float(same.float().mean())


def main() -> None:
    """Print a row for each size, and write the rows where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sentences", type=Path, help="text, a sentence a line")
    parser.add_argument("--encoder", type=Path, help="folder of the encoder; none: the installed")
    parser.add_argument("--ratios", type=float, nargs="+", default=RATIOS)
    parser.add_argument("--out", type=Path, help="where the rows are written, .csv")
    arguments = parser.parse_args()
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(1)
    folder = arguments.encoder or installed_encoder()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    text = arguments.sentences.read_bytes()
    # Each once: two equal sentences are each other's nearest in any encoder.
    sentences = list(
        dict.fromkeys(line for line in text.decode("utf-8").splitlines() if line.strip())
    )
    exact = embed(model, tokenizer, sentences)
    found, rows = nearest(exact), []
    for ratio in arguments.ratios:
        smaller = copy.deepcopy(model)
        (saved,) = compress_module(smaller, ratio=ratio)
        vectors = embed(smaller, tokenizer, sentences)
        rows.append(
            {
                "asked_ratio": float(ratio),
                "ratio": round(saved.how["ratio"], 1),
                "form": saved.how["chosen"].partition(":")[0],
                "error": round(saved.how["error"], 4),
                "cosine": round(float((exact * vectors).sum(1).mean()), 4),
                "overlap": round(overlap(found, nearest(vectors)), 3),
                "sentences": len(sentences),
                "megabytes": round(saved.after / 1e6, 2),
                "of_megabytes": round(saved.before / 1e6, 2),
                "seed": saved.how["seed"],
                "encoder": short_hash((folder / "model.safetensors").read_bytes()),
                "text": short_hash(text),
            }
            | environment()
        )  # fmt: skip
        print(", ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    if arguments.out:
        write_text(arguments.out, pd.DataFrame(rows).to_csv(index=False))


if __name__ == "__main__":
    main()
