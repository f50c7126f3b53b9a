"""The winner map: which estimator has the least variance, over latent_dim and num_samples."""

from string import ascii_uppercase

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch, Rectangle

from benchmarks.plots.part import VALUES, Drawn, Part, best, ranked, replicates, unranked
from benchmarks.plots.style import LABELS, Looks, fitted, legend_below, natural, panels, short
from benchmarks.store import SETTING

Won = dict[tuple[int, int], list[str]]
ROW = 0.26
TINT = 0.55
WIDTH, CHARACTER = 2.55, 0.062  # of a map and of a letter, in inches
KEYS = [*ascii_uppercase, *(f"{a}{b}" for a in ascii_uppercase for b in ascii_uppercase)]


def won(part: Part, at: str) -> Won:
    """By (latent_dim, num_samples): who has the least variance, then those that are not distinguishable from it.

    Only estimators whose bias was tested and not found count; a cell needs two of them.
    """
    cells: Won = {}
    held = tuple(part.whole[SETTING].iloc[0])
    for _, cell in part.whole.groupby(["latent_dim", "num_samples"]):
        dim, samples = (int(cell[name].iloc[0]) for name in ("latent_dim", "num_samples"))
        values = ranked(cell, at, part.noiseless)
        if len(values) >= 2:
            cells[dim, samples] = best(values, (*held, dim, samples), at, part.ties)
    return cells


def winner_map(cells: Won, ax: Axes, looks: Looks, keys: dict[str, str], sizes: tuple[list[int], list[int]]) -> Axes:
    """A square a cell, coloured and lettered by who wins; hatched, with the letters of the tied, where it is open."""
    dims, samples = sizes
    for (dim, sample), names in cells.items():
        x, y = dims.index(dim), samples.index(sample)
        colour = tint(looks[names[0]]["color"])
        tied = {"fc": "0.88", "ec": "white", "hatch": "////"} if len(names) > 1 else {"fc": colour, "ec": "white"}
        ax.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, lw=1, **tied))
        box = {"fc": "0.95", "ec": "none", "pad": 0.8} if len(names) > 1 else None
        ink = "white" if len(names) == 1 and sum(colour) < 1.5 else "black"
        ax.text(x, y, lettered(names, keys), ha="center", va="center", bbox=box, color=ink)
    ax.set_xlim(-0.5, len(dims) - 0.5)
    ax.set_ylim(-0.5, len(samples) - 0.5)
    ax.set_xticks(range(len(dims)), [str(dim) for dim in dims])
    ax.set_yticks(range(len(samples)), [str(sample) for sample in samples])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(xlabel=LABELS["latent_dim"], ylabel=LABELS["num_samples"])
    return ax


def tint(colour: str) -> tuple[float, ...]:
    """A colour, lighter, so that text is readable on it."""
    return tuple(1 - TINT * (1 - part) for part in to_rgb(colour))


def lettered(names: list[str], keys: dict[str, str] | None = None) -> str:
    """The winner's key and those of up to two that are tied with it: A, A=B, A=B=C, A=B=C+3."""
    more = f"+{len(names) - 3}" if len(names) > 3 else ""
    return "=".join(keys[name] if keys else name for name in names[:3]) + more


def winner_figures(part: Part) -> list[Drawn]:
    """Winners of one estimate, at equal evaluations and at equal seconds, one below the other.

    Drawn where two estimators or more can be ranked in cells of two latent_dim and two num_samples or more.
    """
    maps = {at: cells for at in VALUES if (cells := won(part, at))}
    every = {cell for cells in maps.values() for cell in cells}
    dims, samples = (sorted({cell[i] for cell in every}) for i in (0, 1))
    if len(dims) < 2 or len(samples) < 2:
        return []
    named = {name for cells in maps.values() for names in cells.values() for name in names[:3]}
    looks = part.looks(named)
    ordered = sorted(named, key=natural)
    written = [lettered(names) for cells in maps.values() for names in cells.values()]
    fits = max(map(len, written)) * CHARACTER < WIDTH / len(dims)
    keys = {name: name for name in named} if fits else dict(zip(ordered, KEYS, strict=False))
    figure, axes = panels(len(maps))
    for ax, (at, cells) in zip(axes, maps.items(), strict=True):
        winner_map(cells, ax, looks, keys, (dims, samples))
        ax.set_title(at)
        if ax is not axes[-1]:
            ax.set_xlabel("")
    tints = {name: tint(looks[name]["color"]) for name in ordered}
    handles = [Patch(fc=tints[name], ec="none", label=f"{keys[name]}  {short(name)}") for name in ordered if not fits]
    tied = any(len(names) > 1 for cells in maps.values() for names in cells.values())
    handles += [Patch(fc="0.88", ec="white", hatch="////", label="not distinguishable")] if tied else []
    legend_below(axes[-1], handles)
    return [Drawn(f"winners-{part.suffix}", _caption(part), fitted(figure, [ROW * len(samples)] * len(axes)))]


def _caption(part: Part) -> str:
    return (
        f"Which estimator has the least variance over all parameters: {part.about}, {replicates(part.whole)}. "
        "Among those whose bias was tested and not found. Hatched: the first is not distinguishable from those named "
        "with it, at a false discovery rate of 1 %; +n more are not either." + unranked(part.whole, part.noiseless)
    )
