"""The evaluation as one HTML page that needs nothing else: no network, no other file, no script."""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from faceflax.datasets.images import encode_jpeg
from faceflax.evaluation import grid
from faceflax.evaluation.results import Example, TaskResult
from faceflax.evaluation.tables import Table

FIRST_IMAGES = "The first images of the split, not chosen. Under each picture: its PSNR against the clean one."
_LONGEST_FIGURE = 40  # characters; a longer cell of a table is a sentence
_QUALITY = 95  # of the embedded JPEGs; 4:4:4

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1500px; margin: 2em auto; padding: 0 1em;
  background: Canvas; color: CanvasText; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; }
.signature, figcaption { font-size: .85em; opacity: .75; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25em .7em; text-align: right; white-space: nowrap; border-bottom: 1px solid #8884; }
th { vertical-align: bottom; border-bottom: 2px solid #8888; }
th:first-child, td:first-child, td.text { text-align: left; }
td.text { white-space: normal; min-width: 16em; }
.figure { max-width: 100%; width: auto; height: auto; }
.row { display: flex; gap: 6px; align-items: flex-start; margin: .4em 0 1em; }
.row h3 { flex: 0 0 6em; font-size: 1em; margin: 0; }
.row figure { margin: 0; } .row figure.clean:not(:first-of-type) { margin-left: 18px; }
img { width: 144px; height: 144px; display: block; }
pre { font-size: .85em; overflow-x: auto; }
"""


def render(
    results: Sequence[TaskResult], tables: Sequence[Table], signature: str, manifest: Mapping[str, Any], people: int = 3
) -> str:
    """Returns the page: tables, then `people` faces of every task before and after, then the manifest."""
    rows = "".join(_row(result, people) for result in results)
    body = f"""{"".join(table_html(table) for table in tables)}
<h2>Before and after</h2>
<p class="signature">{FIRST_IMAGES}</p>
<div class="scroll">{rows}</div>
"""
    return document("Evaluation", signature, body, manifest)


def document(title: str, signature: str, body: str, manifest: Mapping[str, Any]) -> str:
    """Returns a whole page: `title` and `signature` (text), `body` (HTML), and the manifest."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>faceflax: {html.escape(title.lower())}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{html.escape(title)}</h1>
<p class="signature">{html.escape(signature)}</p>
{body}<h2>Manifest</h2>
<pre>{html.escape(json.dumps(manifest, indent=2, sort_keys=True))}</pre>
</body>
</html>
"""


def table_html(table: Table) -> str:
    """Returns the table under its title."""
    header = "".join(f"<th>{html.escape(cell)}</th>" for cell in table.header)
    rows = ("".join(map(_cell, row)) for row in table.rows)
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return f"""<h2>{html.escape(table.title)}</h2>
<div class="scroll"><table>
<thead><tr>{header}</tr></thead>
<tbody>
{body}
</tbody>
</table></div>
"""


def _cell(text: str) -> str:
    """A cell; sentences wrap, so that the columns behind them stay in sight, and figures do not."""
    kind = ' class="text"' if len(text) > _LONGEST_FIGURE else ""
    return f"<td{kind}>{html.escape(text)}</td>"


def _row(result: TaskResult, people: int) -> str:
    figures = "".join(_figures(result, example) for example in result.examples[:people])
    return f'<div class="row"><h3>{html.escape(str(result.task))}</h3>{figures}</div>\n'


def _figures(result: TaskResult, example: Example) -> str:
    return "".join(
        f'<figure class="{name}"><img src="{embed(picture)}" alt="{html.escape(f"{name}, {result.task}")}">'
        f"<figcaption>{name}<br>{grid.caption(example, name)}</figcaption></figure>"
        for name, picture in grid.columns(example).items()
    )


def embed(picture: np.ndarray) -> str:
    """Returns a uint8 RGB picture as the source of an `img`, a JPEG."""
    return embed_bytes(encode_jpeg(picture, _QUALITY), "jpeg")


def embed_bytes(data: bytes, kind: str) -> str:
    """Returns an image file of `kind` ("png") as the source of an `img`."""
    return f"data:image/{kind};base64," + base64.b64encode(data).decode("ascii")
