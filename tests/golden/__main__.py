"""Compare the traces with the stored ones, or store some anew."""

import argparse

import torch

from . import __doc__ as about
from .store import differences, numerics, store, stored
from .traces import TRACES


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.golden", description=about)
    parser.add_argument("--renew", nargs="+", metavar="NAME", default=[], help="traces to store")
    for name in (renewed := parser.parse_args().renew):
        if name not in TRACES:
            parser.error(f"trace must be one of {', '.join(TRACES)}; got {name}")
    torch.set_num_threads(1)
    for name in renewed or TRACES:
        trace, group = TRACES[name], name.partition("/")[0]
        values, entries = trace.compute(), stored(group)
        new = {"numerics": numerics(trace.kinds), "values": values}
        old = entries.get(name, {"numerics": None, "values": {}})
        lines = list(differences(old["values"], values, trace.tolerance, f"{name}: "))
        for line in lines:
            print(line)
        if renewed:
            kept = {key: value for key, value in values.items() if key in old["values"]}
            moved = list(differences(old["values"], kept, trace.tolerance))
            versions = ", ".join(trace.kinds) or "it has none"
            if moved and old["numerics"] == new["numerics"]:
                parser.error(
                    f"{name} has moved and no version has ({versions}); "
                    f"if the trace itself is another, delete its entry of {group}.json first"
                )
            store(group, {**entries, name: new})


if __name__ == "__main__":
    main()
