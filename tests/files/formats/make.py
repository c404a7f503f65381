"""Writes the files of this folder by the tools that people have; see README.md.

In an environment with gensim, fasttext-wheel and torch, in this folder: `python make.py`.
"""

import json
import tempfile
import zipfile
from pathlib import Path

import fasttext
import fasttext.FastText
import gensim
import numpy as np
from gensim.models import FastText, KeyedVectors, Word2Vec

HERE = Path(__file__).parent
rng = np.random.default_rng(0)
sentences = [
    ["the", "king", "and", "the", "queen", "of", "köln"],
    ["a", "man", "saw", "a", "naïve", "日本語", "woman"],
    ["paris", "is", "in", "france", "the", "the", "a"],
] * 20

# Word2vec of gensim: text, binary, both packed, and gensim's own format.
model = Word2Vec(sentences, vector_size=6, min_count=1, seed=1, workers=1, epochs=3)
keyed = model.wv
keyed.save_word2vec_format(HERE / "gensim.txt")
keyed.save_word2vec_format(HERE / "gensim.txt.gz")
keyed.save_word2vec_format(HERE / "gensim.bin", binary=True)
keyed.save_word2vec_format(HERE / "gensim.bin.gz", binary=True)
keyed.save_word2vec_format(HERE / "glove.txt", write_header=False)
keyed.save(str(HERE / "gensim.kv"))
with zipfile.ZipFile(HERE / "glove.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    for size in (50, 100):
        archive.write(HERE / "glove.txt", f"glove.{size}d.txt")

# Words with spaces, and one that is a space, as gensim writes them.
spaced = KeyedVectors(3)
spaced.add_vectors(["new york", " ", "rio de janeiro", "x"], rng.standard_normal((4, 3)))
spaced.save_word2vec_format(HERE / "spaces.txt")

expected = {"gensim": {word: keyed[word].tolist() for word in keyed.index_to_key}}
expected["spaces"] = {word: spaced[word].tolist() for word in spaced.index_to_key}

# fastText: its own binary file, and its `.vec`.
with tempfile.TemporaryDirectory() as folder:
    text = Path(folder) / "text.txt"
    text.write_text("\n".join(" ".join(line) for line in sentences), encoding="utf-8")
    options = {"dim": 5, "minCount": 1, "bucket": 40, "epoch": 2, "thread": 1}
    for name, ways in {
        "fasttext": {"minn": 1, "maxn": 4},
        "fasttext_words": {"minn": 0, "maxn": 0},
    }.items():
        made = fasttext.train_unsupervised(str(text), **options, **ways)
        made.save_model(str(HERE / f"{name}.bin"))
        expected[name] = {word: made.get_word_vector(word).tolist() for word in made.get_words()}
    made = fasttext.load_model(str(HERE / "fasttext.bin"))
    with open(HERE / "fasttext.vec", "w", encoding="utf-8") as stream:
        # As the program `fasttext` writes it: a space behind each number.
        words = made.get_words()
        print(len(words), made.get_dimension(), file=stream)
        for word in words:
            print(word, *(f"{x:.5g}" for x in made.get_word_vector(word)), "", file=stream)
    labelled = Path(folder) / "labelled.txt"
    labelled.write_text("__label__a the king\n__label__b a man saw\n" * 10, encoding="utf-8")
    made = fasttext.train_supervised(
        str(labelled), dim=4, minn=2, maxn=3, bucket=30, epoch=2, thread=1, minCount=1
    )
    made.save_model(str(HERE / "fasttext_supervised.bin"))
    expected["fasttext_supervised"] = {
        word: made.get_word_vector(word).tolist() for word in made.get_words()
    }
    # Quantising asks for 256 rows.
    made = fasttext.train_supervised(
        str(labelled), dim=2, minn=2, maxn=2, bucket=260, epoch=1, thread=1, minCount=1
    )
    made.quantize()
    made.save_model(str(HERE / "fasttext.ftz"))

# fastText of gensim, in Facebook's format.
model = FastText(
    sentences, vector_size=4, min_count=1, bucket=30, min_n=2, max_n=3, workers=1, seed=1, epochs=2
)
gensim.models.fasttext.save_facebook_model(model, str(HERE / "gensim_fasttext.bin"))
expected["gensim_fasttext"] = {word: model.wv[word].tolist() for word in model.wv.index_to_key}
(HERE / "expected.json").write_text(json.dumps(expected, ensure_ascii=False, indent=1), "utf-8")
