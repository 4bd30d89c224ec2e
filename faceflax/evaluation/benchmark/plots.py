"""The benchmark's plots. The only user of matplotlib; equal numbers give equal bytes of PNG."""

import io
from collections.abc import Mapping, Sequence

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot  # noqa: E402 (after the backend is chosen)
from matplotlib.axes import Axes  # noqa: E402

Points = Sequence[tuple[float, float]]

_STYLE = {
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
_COLOURS = ("#999999", "#c08a2b", "#1f6fb4", "#5fa8d3", "#c0392b", "#8e44ad", "#2e8b57", "#444444")
_MARKERS = "sD^voP*X"
_LEGEND_ROW = 0.18  # inches that each row of names beyond the first adds to a figure's height


def lines(panels: Mapping[str, Mapping[str, Points]], x_label: str) -> bytes:
    """Returns a PNG with a panel for each of `panels`: y label -> name -> points, joined by a line."""
    with mpl.rc_context(_STYLE):
        figure, axes = pyplot.subplots(1, len(panels), figsize=(max(5.2, 3.6 * len(panels)), 3.4), squeeze=False)
        for axis, (y_label, named) in zip(axes[0], panels.items(), strict=True):
            for number, (name, points) in enumerate(named.items()):
                axis.plot(*zip(*points, strict=True), label=name, **_look(number))
            axis.set(xlabel=x_label, ylabel=y_label)
        return _png(figure, axes[0][0])


def scatter(panels: Mapping[str, Mapping[str, Points]], x_label: str, y_label: str) -> bytes:
    """Returns a PNG with a panel for each of `panels`: title -> name -> points, each point by itself."""
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    with mpl.rc_context(_STYLE):
        figure, axes = pyplot.subplots(rows, columns, figsize=(max(5.2, 3.4 * columns), 2.9 * rows), squeeze=False)
        for axis, (title, named) in zip(axes.flat, panels.items(), strict=False):
            for number, (name, points) in enumerate(named.items()):
                axis.plot(*zip(*points, strict=True), label=name, **_look(number) | {"linestyle": ""})
            axis.set(title=title, xlabel=x_label, ylabel=y_label)
        for axis in axes.flat[len(panels) :]:
            axis.remove()
        return _png(figure, axes[0][0])


def trade_off(panels: Mapping[str, Mapping[str, Points]], x_label: str, y_label: str, *, y_scale: str = "log") -> bytes:
    """Returns a PNG with a panel for each of `panels`: title -> name -> points of a line.

    The x axis is logarithmic, the y axis as `y_scale` says.
    """
    with mpl.rc_context(_STYLE):
        figure, axes = pyplot.subplots(
            1, max(1, len(panels)), figsize=(max(5.2, 4.2 * len(panels)), 4.4), squeeze=False
        )
        for axis, (title, named) in zip(axes[0], panels.items(), strict=False):
            for number, (name, points) in enumerate(named.items()):
                axis.plot(*zip(*points, strict=True), label=name, color=_COLOURS[number % len(_COLOURS)], linewidth=1.2)
            axis.set(title=title, xlabel=x_label, ylabel=y_label, xscale="log", yscale=y_scale)
            axis.legend(fontsize=6)
        return _png(figure)


def path(named: Mapping[str, Sequence[tuple[float, float, str]]], x_label: str, y_label: str) -> bytes:
    """Returns a PNG with a line for each of `named`, through points that bear a text each: (x, y, text)."""
    with mpl.rc_context(_STYLE):
        figure, axis = pyplot.subplots(figsize=(5.2, 3.8))
        for number, (name, points) in enumerate(named.items()):
            x, y, texts = zip(*points, strict=True)
            axis.plot(x, y, label=name, **_look(number))
            _annotate(axis, x, y, texts)
        axis.margins(0.1)  # room for the texts, which stand above and to the right of their points
        axis.set(xlabel=x_label, ylabel=y_label)
        return _png(figure, axis)


def parallel_coordinates(
    axes: Mapping[str, tuple[float, float, Sequence[tuple[float, str]]]],
    lines: Sequence[tuple[Sequence[float], float]],
) -> bytes:
    """Returns a PNG with a vertical axis for each of `axes` and a line across them for each of `lines`.

    Args:
      axes: title -> (lowest, highest, ticks as (place, text)).
      lines: a place on each axis, and a rank from 0 (drawn faintest) to 1.
    """
    with mpl.rc_context(_STYLE | {"axes.grid": False}):
        figure, axis = pyplot.subplots(figsize=(max(5.2, 1.7 * len(axes)), 3.6))
        spans = [(low, high if high > low else low + 1) for low, high, _ in axes.values()]
        for places, rank in sorted(lines, key=lambda line: line[1]):
            heights = [(place - low) / (high - low) for place, (low, high) in zip(places, spans, strict=True)]
            axis.plot(heights, color=mpl.colormaps["viridis"](rank), alpha=0.3 + 0.7 * rank, linewidth=1 + rank)
        for number, ((low, high), (_, _, ticks)) in enumerate(zip(spans, axes.values(), strict=True)):
            axis.axvline(number, color="#444444", linewidth=0.8)
            for place, text in ticks:
                axis.annotate(text, (number, (place - low) / (high - low)), fontsize=7, xytext=(3, 0), **_NEXT_TO)
        axis.set(xticks=range(len(axes)), xticklabels=list(axes), yticks=[], ylim=(-0.05, 1.05))
        axis.tick_params(axis="x", labelsize=7)
        return _png(figure, axis)


_NEXT_TO = {"textcoords": "offset points", "va": "center"}


def _annotate(axis: Axes, x: Sequence[float], y: Sequence[float], texts: Sequence[str]) -> None:
    for place, text in zip(zip(x, y, strict=True), texts, strict=True):
        axis.annotate(text, place, textcoords="offset points", xytext=(4, 4), fontsize=7)


def _look(number: int) -> dict:
    return {
        "color": _COLOURS[number % len(_COLOURS)],
        "marker": _MARKERS[number % len(_MARKERS)],
        "markersize": 5,
        "linewidth": 1.4,
    }


def _png(figure: pyplot.Figure, axis: Axes | None = None) -> bytes:
    """The file, with the legend of `axis` above all panels."""
    handles, names = axis.get_legend_handles_labels() if axis is not None else ([], [])
    for columns in range(len(names), 0, -1):  # as many names beside each other as there is room for
        legend = figure.legend(handles, names, loc="outside upper center", ncols=columns)
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            figure.set_figheight(figure.get_figheight() + _LEGEND_ROW * (-(-len(names) // columns) - 1))
            break
        legend.remove()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    pyplot.close(figure)
    return buffer.getvalue()
