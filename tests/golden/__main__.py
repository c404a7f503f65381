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
        if renewed:
            entries[name] = {"numerics": numerics(trace.kinds), "values": values}
            store(group, entries)
        old = entries.get(name, {}).get("values", {})
        for line in differences(old, values, trace.tolerance, f"{name}: "):
            print(line)


if __name__ == "__main__":
    main()
