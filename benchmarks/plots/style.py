"""What all figures share: the style sheet, labels, each estimator's look, sizes, and how a figure is written."""

import hashlib
import io
import re
from collections.abc import Iterable
from contextlib import AbstractContextManager
from itertools import count
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib import rc_params_from_file
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from benchmarks import store

STYLE = Path(__file__).with_name("gradiometer.mplstyle")
COLUMN, PAGE = 8 / 2.54, 17 / 2.54
PALETTE = rc_params_from_file(STYLE, use_default_template=False)["axes.prop_cycle"].by_key()["color"]
MARKERS, SIZES, DASHES = "osD^vPX*<>", (4.5, 3.8, 3.0), ("-", (0, (4, 1.5)), (0, (5, 1.2, 1, 1.2)), (0, (1.5, 0.8)))
SALT = "128575"  # with it, ten common estimators have a colour each
GREY = "0.75"
NAMED = 10

LABELS = {
    "latent_dim": "latent dimension $D$",
    "num_samples": "samples $S$",
    "variance": "total variance",
    "seconds": "seconds an estimate",
    "evaluations": "calls of f an estimate",
    "peak_memory": "bytes a chunk, at peak",
    "work_variance": "variance × evaluations",
    "work_variance_time": "variance × seconds",
    "variance_time": "variance × time",
}
SYMBOLS = {"latent_dim": "$D$", "num_samples": "$S$"}

Looks = dict[str, dict[str, Any]]


def applied() -> AbstractContextManager[None]:
    """The style sheet, and nobody's own settings, for as long as a `with` lasts."""
    return matplotlib.style.context(STYLE, after_reset=True)


def natural(name: str) -> list[Any]:
    """Sort key that puts `f2` before `f10`."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name)]


def home(name: str) -> int:
    """The place in the palette that a name has for itself."""
    return int.from_bytes(hashlib.sha256((SALT + name).encode()).digest()[:8]) % len(PALETTE)


def looks_of(names: Iterable[str], among: Iterable[str] = ()) -> Looks:
    """A colour, marker, size and dash for each name, in natural order: all differ, up to 400 names.

    Each has its home in the palette, whoever else is there; where two share one, the first keeps it and the other moves
    to the next place that is free, then to the same colours with other markers and dashes.

    among: everyone of a sweep of which names are some. Then a name looks as it does among them, but where two of one
    colour meet, of which the second moves.
    """
    everyone = _slots({name: home(name) for name in among})
    slots = _slots({name: everyone.get(name, home(name)) for name in names})
    return {name: _look(slots[name]) for name in slots}


def _slots(homes: dict[str, int]) -> dict[str, int]:
    """The places of names in the palette, in natural order; no two of one colour while there are others."""
    n = len(PALETTE)
    slots: dict[str, int] = {}
    ordered = sorted(homes, key=natural)
    for name in ordered:
        if homes[name] % n not in {slot % n for slot in slots.values()}:
            slots[name] = homes[name]
    for name in ordered:
        if name not in slots:
            taken = {slot % n for slot in slots.values()} if len(slots) < n else set()
            places = (n * turn + (homes[name] + step) % n for turn in count() for step in range(n))
            slots[name] = next(place for place in places if place not in slots.values() and place % n not in taken)
    return {name: slots[name] for name in ordered}


def _look(slot: int) -> dict[str, Any]:
    turn, colour = divmod(slot, len(PALETTE))
    dash = DASHES[(colour + turn + turn // len(MARKERS)) % len(DASHES)]
    marker = MARKERS[(colour + turn) % len(MARKERS)]
    return {"color": PALETTE[colour], "marker": marker, "ms": SIZES[slot % len(SIZES)], "ls": dash}


def shown(values: pd.Series) -> pd.Series:
    """Which values a logarithmic axis can show."""
    return (values > 0) & np.isfinite(values.astype(float))


def short(name: str, most: int = 26) -> str:
    """A name of at most so many characters: what is too much in its middle is an ellipsis."""
    if len(name) <= most:
        return name
    tail = (most - 1) // 2
    return f"{name[: most - 1 - tail]}…{name[-tail:]}"


def plain(value: float, _: int = 0) -> str:
    """A number as ticks show it: 0.01, 200, 1e5; small exponents would be unreadable in print."""
    text = f"{value:.4g}" if 1e-3 <= abs(value) < 1e4 or not value else f"{value:.0e}"
    return re.sub(r"e([-+])0*", lambda sign: "e−" if sign[1] == "-" else "e", text).replace("-", "−")


def log_ticks(axis: Axis) -> None:
    """Ticks of a logarithmic axis with its present limits: decades where it spans some, else numbers within them."""
    decades = float(np.ptp(np.log10(axis.get_view_interval())))
    if decades > 2.5:
        axis.set_major_locator(LogLocator(numticks=6))
    elif decades > 0.6:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
    else:
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(plain))
    axis.set_minor_formatter(NullFormatter())


def size_ticks(ax: Axes, sizes: Iterable[int]) -> None:
    """The sizes themselves along x, every other one where they are many."""
    ordered = sorted(set(sizes))
    few = ordered[:: 1 + (len(ordered) - 1) // 8]
    ax.set_xticks(few, [str(size) for size in few])
    ax.xaxis.set_minor_locator(NullLocator())


def panels(count: int, width: float = COLUMN) -> tuple[Figure, list[Axes]]:
    """A figure and its panels, one below the other."""
    figure = Figure(figsize=(width, 6.0 * count))
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(count, 1, squeeze=False)[:, 0])


def fitted(figure: Figure, heights: Iterable[float]) -> Figure:
    """Make a figure as high as its rows of panels, of these heights in inches, and all that is around them need.

    Nothing moves after that.
    """
    rows: dict[float, float] = {}
    axes: list[Any] = figure.axes
    for ax in axes:
        around = (ax.get_tightbbox().height - ax.get_window_extent().height) / figure.dpi
        row = round(ax.get_position().y1, 2)
        rows[row] = max(rows.get(row, 0.0), around)
    below = sum(legend.get_window_extent().height / figure.dpi + 0.08 for legend in figure.legends)
    pads = 2 * 0.04 * (len(rows) + 1)
    figure.set_size_inches(figure.get_size_inches()[0], sum(heights) + sum(rows.values()) + below + pads)
    return frozen(figure)


def frozen(figure: Figure) -> Figure:
    """Lay a figure out, for good."""
    engine: Any = figure.get_layout_engine()
    engine.execute(figure)
    figure.set_layout_engine("none")
    return figure


def legend_below(ax: Axes, handles: list[Any] | None = None, title: str | None = None) -> Legend | None:
    """A legend below the axes and their labels, in as many columns as the figure is wide."""
    handles = ax.get_legend_handles_labels()[0] if handles is None else handles
    if not handles:
        return None
    figure: Any = ax.figure
    renderer = figure.canvas.get_renderer()
    axis = ax.xaxis.get_tightbbox(renderer)
    below = (ax.get_window_extent().y0 - axis.y0 if axis else 0.0) / figure.dpi + 0.04
    moved = ax.transAxes + ScaledTranslation(0, -below, figure.dpi_scale_trans)
    side = ax.yaxis.get_tightbbox(renderer)
    inner = figure.bbox.width - 12 - (ax.get_window_extent().x0 - side.x0 if side else 0.0)
    for columns in range(min(3, len(handles)), 0, -1):
        legend = ax.legend(handles=handles, title=title, ncols=columns, loc="upper center", bbox_to_anchor=(0.5, 0))
        legend.set_bbox_to_anchor((0.5, 0), moved)
        width = legend.get_window_extent(renderer).width
        if width < 0.96 * figure.bbox.width:
            break
    if width > inner:  # as far to the right as the axes go
        legend.set_loc("upper right")
        legend.set_bbox_to_anchor((1.0, 0), moved)
    return legend


def save(figure: Figure, path: Path) -> bytes:
    """Write a figure as path.png and path.svg, and return the SVG: the same bytes for the same figure.

    By its canvases: `savefig` draws twice, the first time for a layout, and the layout is there.
    """
    png, svg, dpi = io.BytesIO(), io.BytesIO(), figure.dpi
    try:
        with applied():
            FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None})
            figure.dpi = matplotlib.rcParams["savefig.dpi"]
            FigureCanvasAgg(figure).print_png(png)
    finally:
        figure.dpi = dpi
    for suffix, buffer in (("png", png), ("svg", svg)):
        store.write_atomically(path.with_name(f"{path.name}.{suffix}"), buffer.getvalue())
    return svg.getvalue()
