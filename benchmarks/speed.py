"""How fast is it, against the floor and other libraries? `python benchmarks/speed.py`; see --help."""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from benchmarks import engine, plots, store, throughput, whole

SECTIONS: dict[str, Callable[[str], Iterator[throughput.Row]]] = {
    "throughput": throughput.jobs,
    "discrete": throughput.discrete,
    "others": throughput.others,
    "networks": throughput.networks,
    "roofline": throughput.roofline,
    "parts": whole.parts,
    "growth": whole.growth,
    "memory": whole.memory,
    "sweeps": whole.sweeps,
}
ON_GPU = ("throughput", "discrete", "networks", "roofline")
COLUMNS = ["section", "name", "D", "S", "chunk_rows", "bytes", "value", "low", "high", "unit"]


def main() -> int:
    """Command line; returns 0, or 2 for bad input."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").replace("; see --help", ""))
    parser.add_argument("sections", nargs="*", help=f"what to measure (default: all): {', '.join(SECTIONS)}")
    parser.add_argument("--out", type=Path, default=Path("results/speed"), help="the folder to write to")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help=f"cuda: {', '.join(ON_GPU)} only")
    options = parser.parse_args()
    allowed = ON_GPU if options.device == "cuda" else tuple(SECTIONS)
    if unknown := set(options.sections) - set(allowed):
        print(f"speed.py: {', '.join(sorted(unknown))}: choose from {', '.join(allowed)}", file=sys.stderr)
        return 2
    if options.device == "cuda" and not torch.cuda.is_available():
        print("speed.py: --device cuda: this machine has no CUDA device that torch can use", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    engine.keep_memory()
    rows = []
    for name in tqdm(options.sections or allowed, unit="section", disable=None):
        rows += list(SECTIONS[name](options.device))
    frame = pd.DataFrame(rows).reindex(columns=COLUMNS)
    stem = f"speed-{options.device}"
    store.write_atomically(options.out / f"{stem}.csv", frame.to_csv(index=False, float_format="%.4g").encode())
    if "throughput" in set(frame["section"]):
        plots.save(plots.speeds(frame), options.out / stem)
    if "roofline" in set(frame["section"]):
        plots.save(plots.roofline(frame), options.out / f"roofline-{options.device}")
    print(frame.to_markdown(index=False, floatfmt=".3g"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
