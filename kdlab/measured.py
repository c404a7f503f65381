"""What a trained model measured, held against what a preset asks for."""

from collections.abc import Callable
from functools import partial

from pydantic import BaseModel, ValidationError

from kdcore.files import fingerprint
from kdlab.preset import Cell, Preset, Variant, all_cells, table1_cells

RECORDED = ("data_hash", "settings", "embedding", "learning", *Cell.__dataclass_fields__)


def config_hash(row: dict) -> str:
    """Hash of the text and of all settings that a measurement records."""
    return fingerprint([row.get(name) for name in RECORDED])


def cell_of(row: dict) -> Cell:
    """The model that a measurement is of."""
    return Cell(**{name: row.get(name) for name in Cell.__dataclass_fields__})


def other_than_cell(row: dict, preset: Preset, cell: Cell) -> str:
    """The first way in which a measurement is other than asked of a cell; empty for none."""
    if (found := cell_of(row)) != cell:
        return f"of {found.folder}"
    settings = {"settings": preset.sizes[cell.size]}
    if cell.codes != "none":
        settings["embedding"] = preset.kd_embedding.of(cell.size, cell.transform)
    if cell.codes not in ("none", "random"):
        settings["learning"] = getattr(preset.code_learning, cell.codes)
    return _other(row, settings)


def other_than_variant(row: dict, preset: Preset, variant: Variant) -> str:
    """The same for a variant of the preset's ablations."""
    chosen = preset.ablations
    asked = (chosen.codes, variant.transform, chosen.K, chosen.D, 1)
    found = tuple(row[name] for name in ("codes", "transform", "K", "D", "seed"))
    if found != asked:
        return f"{found}, not {asked}"
    return _other(
        row,
        {
            "settings": preset.sizes[chosen.size_of(variant)],
            "embedding": variant.embedding,
            "learning": variant.learning or chosen.learning,
        },
    )


def checks(preset: Preset, text: str | None = None) -> dict[str, Callable[[dict], str]]:
    """For the folder of every model, below runs/<preset>/: what a measurement is other than asked.

    Args:
        text: data hash of the preset's text; without it, texts are not compared.
    """

    def on_text(row: dict, other_than: Callable[[dict], str]) -> str:
        if text is not None and row["data_hash"] != text:
            return f"of the text {row['data_hash']}, not {text}"
        return other_than(row)

    cells = all_cells(preset)
    if preset.table1:
        # Each size has a target, whether or not it is in the table.
        cells = cells + table1_cells(preset, list(preset.sizes))
    found = {cell.folder: partial(other_than_cell, preset=preset, cell=cell) for cell in cells}
    for variant in preset.ablations.variants if preset.ablations else []:
        found[f"ablations/{variant.name}"] = partial(
            other_than_variant, preset=preset, variant=variant
        )
    return {folder: partial(on_text, other_than=check) for folder, check in found.items()}


def _other(row: dict, wanted: dict[str, BaseModel]) -> str:
    for section, settings in wanted.items():
        if row.get(section) is None:
            return f"{section} not recorded"
        try:
            # A setting that came later was at its default.
            found = type(settings).model_validate(row[section]).model_dump()
        except ValidationError:
            return f"{section} with settings that there are no longer"
        asked = settings.model_dump()
        for name, value in found.items():
            if value != asked[name]:
                return f"{name} {value}, not {asked[name]}"
    return ""
