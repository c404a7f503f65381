"""The report and Table 2: what is shown is what was measured, words as they are."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import torch
from small_experiment import PRINTED, make_results, measure, small_experiment, word_files

from kdcore.codes import Codes
from kdcore.vectors import WordVectors
from kdlab import drawing, report, sweeps, table2, tables
from kdlab.corpus import Corpus
from kdlab.drawing import FigureData, WordFiles
from kdlab.measurements import read_measurements

TEMPLATE = (Path(__file__).parent.parent / "workflow/templates/report.html").read_text("utf-8")
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Checks that tags are closed in order; keeps text and pictures."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.pictures: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.pictures.append(dict(attrs)["src"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module", params=["all run", "nothing run"])
def page(request, tmp_path_factory) -> Page:
    folder = tmp_path_factory.mktemp("report")
    experiment = small_experiment()
    runs = experiment.models() if request.param == "all run" else []
    results = make_results(experiment, folder, runs)
    vectors, codes, decoder = word_files(folder)
    for name, settings in experiment.preset.figures.items():
        words = WordFiles(vectors, codes, decoder)
        data = FigureData(settings, experiment, results, word_files=words)
        drawing.render(data, results / f"{name}.png", results / f"{name}.pdf")
        for file, table in drawing.tables(data).items():
            table.to_csv(results / file, index=False)
    assert all((results / name).is_file() for name in report.needs(experiment))
    corpus = Corpus.from_lines({"train": ["a b a"], "valid": ["a c"], "test": ["a b"]})
    corpus.save(folder / "corpus.safetensors")
    text = report.render(
        experiment, results, TEMPLATE, json.dumps(experiment.dump()), vectors, codes,
        folder / "corpus.safetensors",
    )  # fmt: skip
    found = Page(text)
    found.ran = bool(runs)
    found.html = text
    return found


def test_it_needs_no_network(page):
    assert len(page.pictures) == len(small_experiment().preset.figures) > 5
    assert all(picture.startswith("data:image/png;base64,") for picture in page.pictures)
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page.html)


def test_every_link_has_its_heading(page):
    links = set(re.findall(r'href="#([^"]+)"', page.html))
    assert links == set(re.findall(r'id="([^"]+)"', page.html)) and len(links) > 10


def test_words_and_labels_are_shown_as_they_are(page):
    text = " ".join(page.text)
    for shown in ("<unk>", "*star*", "`tick`", "a|b", "<chance>", "*Learned*", "Full_table & all"):
        assert shown in text


def test_it_begins_with_a_verdict_and_says_what_was_not_run(page):
    text = " ".join(page.text)
    assert re.search(r"Of \d+ claims, ", text)
    told = "With the first model *Learned* reaches a test perplexity of 100.0 (mean of 2 seeds)"
    assert (told in text) == page.ran
    assert ("front_first" in text) != page.ran
    assert ("The first model has not been run." in text) != page.ran
    assert ("snakemake --cores 8 --configfile config/small.yaml -- shape" in text) != page.ran
    headings = re.findall(r"<h2 id=.([\w-]+)", page.html)
    assert headings[0] == "table-front" and headings[-1] == "provenance"
    assert (
        headings.index("figure-table1") < headings.index("claims") < headings.index("measurements")
    )


def test_a_sweep_has_its_mean_and_nothing_that_is_the_same_in_every_row(page):
    _, _, part = page.html.partition('id="sweep-shape"')
    headings = re.findall(r"<th[^>]*>([^<]*)</th>", part.partition("<h2")[0])
    assert headings == (["K", "test PPL", "seeds", "D", "test PPL", "seeds"] if page.ran else [])


def test_word_vectors_have_every_form_and_size_or_what_measures_them(page):
    _, _, part = page.html.partition('id="reconstruction-words"')
    part = part.partition("<h2")[0]
    rows = re.findall(r"<tr>(<td.*?)</tr>", part, re.S)
    cells = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in rows]
    command = "snakemake --cores 8 --configfile config/small.yaml -- results/small/reconstruction"
    assert (command in part) != page.ran
    table = small_experiment().preset.reconstructions["words"]
    forms = [[form, str(round(ratio))] for ratio in table.ratios for form in table.forms]
    assert [row[:2] for row in cells] == (forms if page.ran else [])
    if page.ran:
        assert cells[0][2:] == ["4", "64", "0.04", "0.9", "0.5", "0.6", "some form"]
        assert cells[5] == ["rounding", "16", "", "", "", "", "", "", "none"]


def test_it_says_the_share_of_unknown_words(page):
    assert "10.0 % of the tokens are <unk>" in " ".join(page.text)


def test_it_says_what_a_generated_text_can_show(page):
    assert "but not how well codes do on a real text" in " ".join(page.text)


def test_no_column_is_empty():
    frame = pd.DataFrame({"a": [1.25, 0.00012346], "b": [None, None], "c": ["x", None]})
    found = report.grid(frame, 1)
    assert found.headings == ["a", "c"] and found.numbers == [True, False]
    assert found.rows == [["1.2", "x"], ["0.0001235", ""]]


def test_numbers_of_a_column_have_equally_many_digits():
    frame = pd.DataFrame({"ppl": [104.1, 60.75], "bits": [64_000_000, 3], "seconds": [1e4, None]})
    assert report.grid(frame, 2).rows == [["104.10", "64,000,000", "10,000"], ["60.75", "3", ""]]
    codes = pd.DataFrame({"distinct codes": [10_000.0, 9998.0]})
    assert report.grid(codes, 2).rows == [["10,000"], ["9,998"]]


def test_figures_of_one_kind_are_told_apart_by_the_titles_of_their_tables(tmp_path):
    two = {name: {"kind": "curves", "tables": [name]} for name in ("front", "quick")}
    experiment = small_experiment({"figures": two})
    for name in experiment.preset.figures:
        (tmp_path / f"{name}.png").write_bytes(bytes(24))
    titles = {found["name"]: found["title"] for found in report._figures(experiment, tmp_path)}
    about = "Learning curves: validation perplexity by epoch"
    called = [experiment.preset.tables[name].title.partition(".")[0] for name in two]
    assert [titles[name] for name in two] == [f"{about} ({name})" for name in called]
    assert len(set(titles.values())) == len(titles)


def test_a_table_says_k_and_d_once_where_its_rows_do_not():
    labels = {"learned": {"label": "K = 4, D = 3, 4 bits"}}
    told = tables.explanation(small_experiment({"methods": labels}), "front")
    assert "Where a row does not say it: K = " in told and "codes: K" not in told


def test_a_preset_with_tables_alone_has_a_report(tmp_path):
    change = {"claims": None, "table2": None, "clustering": None, "reconstructions": None}
    experiment = small_experiment(change)
    experiment.preset.figures.clear()
    paths = [measure(tmp_path, run) for run in experiment.models()]
    measured = read_measurements(experiment, paths)
    measured.to_csv(tmp_path / "measurements.csv", index=False)
    for name in experiment.preset.tables:
        tables.build(experiment, name, measured, PRINTED).to_csv(tmp_path / f"{name}.csv")
    for name in experiment.preset.sweeps:
        sweeps.build(experiment, name, measured).to_csv(tmp_path / f"{name}_sweep.csv")
    assert report.needs(experiment) == [
        "measurements.csv", "front.csv", "quick.csv", "shape_sweep.csv", "rank_sweep.csv",
    ]  # fmt: skip
    text = " ".join(Page(report.render(experiment, tmp_path, TEMPLATE, "{}")).text)
    assert "Front" in text and " claims, " not in text and "Table 2" not in text


def test_table_2_shows_words_that_markdown_would_eat(tmp_path):
    vectors, codes, _ = word_files(tmp_path)
    words, learned = WordVectors.load(vectors), Codes.load(codes)
    text = table2.as_markdown(words, learned, "some vectors")
    assert r"\<unk> \*star\* \`tick\` a\|b \$ x_y" in text
    assert text.startswith("Table 2. Words that share a code: K = 4, D = 3, 40 words, some vectors")
    listed = table2.listing(words, learned)
    assert list(listed.columns) == ["code", "words"]
    assert sum(len(members.split(" ")) for members in listed["words"]) == 40


def test_words_with_like_codes_are_alike_and_random_codes_say_nothing(tmp_path):
    vectors, codes, _ = word_files(tmp_path)
    found = table2.similarity(WordVectors.load(vectors), Codes.load(codes))
    value = found.set_index(["codes", "shared_positions"])["value"]
    assert value["learned", 3] > 0.9 > 0.5 > abs(value["random", 2])


def test_codes_of_generated_words_are_held_against_their_classes():
    names = [f"{topic}-firm-{rank}" for topic in ("oil", "steel") for rank in range(1, 9)]
    words = WordVectors(tuple(names), torch.randn(16, 3))
    codes = Codes(torch.arange(16)[:, None] // 8, 2)
    found = table2.similarity(words, codes).set_index(["measure", "codes"])["value"]
    assert found["NMI with word classes", "learned"] == pytest.approx(1.0)


def test_table_2_says_what_its_vectors_are():
    assert table2.source(small_experiment()) == "embedding of the first model, full"
