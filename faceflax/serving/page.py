"""The page: what a visitor sees, and which function each button calls. Gradio draws it."""

import collections
import dataclasses
import math
import secrets
from pathlib import Path
from typing import Any

import cv2
import fastapi
import gradio as gr
import numpy as np
import PIL.Image
from gradio import themes

from faceflax.degradations.tasks import TASKS
from faceflax.errors import UserError
from faceflax.preprocessing import images
from faceflax.preprocessing.images import Photograph
from faceflax.restoration.subjects import Locate
from faceflax.serving import damage, limits, restoring, sent
from faceflax.serving.gate import LOOPBACK, Gate
from faceflax.serving.limits import Limits, RateLimit
from faceflax.serving.restoring import Models

_QUEUE = "network"  # all that computes waits in one line
_MOST_REDRAWN = 1000  # names of our own pictures, which the browser sends back at once
_EDITOR_SIDE = 1024  # pixels; damaged pictures are smaller
_SHOWN = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".avif")  # what every browser shows itself
_FONTS = ("ui-sans-serif", "system-ui", "sans-serif")  # names of the system's own, as others would be fetched


@dataclasses.dataclass(frozen=True)
class Site:
    """What the page works with.

    Attributes:
      models: the restorers that it offers.
      locate: finds faces; None: every picture is one face.
      folder: where pictures lie while they are needed; it exists, and is swept by others.
      limits: of each visitor.
      names: by which browsers may ask for it, as for `Gate`.
    """

    models: Models
    locate: Locate | None
    folder: Path
    limits: Limits
    names: frozenset[str] | None = LOOPBACK


def create_app(site: Site) -> fastapi.FastAPI:
    """Returns the page as an ASGI application that answers at /; it calls no other server."""
    PIL.Image.MAX_IMAGE_PIXELS = int(site.limits.megapixels * 1e6 / 2)  # PIL refuses twice as many
    blocks = _Page(site).blocks
    blocks.queue(max_size=site.limits.waiting, default_concurrency_limit=1)
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=int(site.limits.megabytes * 1e6),
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        theme=themes.Default(font=_FONTS, font_mono=("ui-monospace", "monospace")),
    )
    blocks.has_launched = True  # without it Gradio lets a mounted page's visitor name any file of this computer
    app.add_middleware(Gate, limits=site.limits, names=site.names)
    return app


class _Page:
    """The functions behind the components, and the components."""

    def __init__(self, site: Site):
        self._site = site
        self._requests = RateLimit(site.limits.per_minute)
        self._redrawn: collections.deque[str] = collections.deque(maxlen=_MOST_REDRAWN)
        with _Blocks(title="faceflax", analytics_enabled=False) as self.blocks:
            gr.Markdown("# faceflax\nRestores the faces in a photograph. Pictures are forgotten after half an hour.")
            with gr.Row(equal_height=False):
                with gr.Column():
                    self._add_inputs()
                with gr.Column():
                    self._add_outputs()
            self._connect()

    def _add_inputs(self) -> None:
        self._photo = gr.Image(
            label="1. A photograph",
            sources=["upload", "webcam"],
            type="filepath",
            image_mode=None,
            height=260,
            elem_id="photo",
            buttons=[],
        )
        self._given = gr.State(None, time_to_live=1800)  # its path, as what is shown may be another file
        with gr.Accordion("2. Damage it, if you like", open=True):
            with gr.Row():
                self._task = gr.Dropdown(list(TASKS), value="noise", label="Task", elem_id="task")
                self._severity = gr.Dropdown(_severities("noise"), label="Severity", value="25", elem_id="severity")
            with gr.Row():
                side = _nearest_side(self._site.models.load(self._site.models.names[0], 0).size)
                self._side = gr.Dropdown(list(damage.SIDES), value=side, label="Pixels of its longer side")
                self._seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**32 - 1)
            self._damage = gr.Button("Damage", elem_id="damage")

    def _add_outputs(self) -> None:
        self._working = gr.State(None, time_to_live=1800)  # the path of the picture to restore; visitors do not see it
        self._editor = gr.ImageEditor(
            label="3. Paint what is missing, if you like",
            sources=[],
            transforms=[],
            layers=False,
            brush=gr.Brush(colors=["#ff00ff"], color_mode="fixed"),
            image_mode="RGBA",
            format="png",
            elem_id="editor",
            buttons=[],
        )
        self._editor.blob_storage = sent.Newest()
        names = self._site.models.names
        with gr.Row():
            self._model = gr.Dropdown(list(names), value=names[0], label="Model", elem_id="model")
            self._fidelity = gr.Slider(
                0,
                1,
                value=0,
                step=0.25,
                label="Fidelity",
                info="0: the GAN's own face; 1: true to the pixels",
                visible=names[0] in self._site.models.blendable,
            )
        self._is_face = gr.Checkbox(
            self._site.locate is None,
            label="One face that fills the picture",
            interactive=self._site.locate is not None,
            elem_id="is-face",
        )
        self._restore = gr.Button("Restore", variant="primary", elem_id="restore")
        self._slider = gr.ImageSlider(
            label="Before and after", format="png", interactive=False, elem_id="slider", buttons=["fullscreen"]
        )
        self._download = gr.DownloadButton("Download", interactive=False, elem_id="download")

    def _connect(self) -> None:
        heavy = {"concurrency_id": _QUEUE, "concurrency_limit": 1, "api_visibility": "private"}
        light = {"queue": False, "api_visibility": "private"}
        results = [self._slider, self._download]
        opened = [self._photo, self._given, self._working, self._editor, *results]
        # The file as it came: Gradio would decode it first, and say its own words and path of a bad one.
        self._photo.change(self._open, self._photo, opened, preprocess=False, **heavy)
        self._task.change(_offer_severities, self._task, self._severity, **light)
        self._model.change(self._offer_fidelity, self._model, self._fidelity, **light)
        self._damage.click(
            self._on_damage,
            [self._given, self._task, self._severity, self._side, self._seed],
            [self._working, self._editor, *results],
            **heavy,
        )
        self._restore.click(
            self._on_restore,
            [self._working, self._editor, self._model, self._fidelity, self._is_face],
            results,
            **heavy,
        )

    def _open(self, sent_file: dict | None, request: gr.Request) -> Any:
        photo = (sent_file or {}).get("path")
        if photo is None:
            return None, None, None, None, None, gr.DownloadButton(interactive=False)
        if Path(photo).name in self._redrawn:  # our own picture in the place of the visitor's
            return gr.skip()
        with _Spoken():
            self._admit(request)
            photograph = self._read(photo)
            shown = gr.skip() if Path(photo).suffix.lower() in _SHOWN else self._redraw(photograph)
            return shown, photo, photo, _painted(photograph, None), None, gr.DownloadButton(interactive=False)

    def _redraw(self, photograph: Photograph) -> str:
        """A PNG of what not every browser can show, such as HEIC and TIFF."""
        folder = self._new_folder()
        path = folder / f"{folder.name}.png"
        images.write(path, Photograph(images.to_srgb8(photograph), None))
        self._redrawn.append(path.name)
        return str(path)

    def _on_damage(
        self, photo: str | None, task: str, severity: str, side: int, seed: int, request: gr.Request
    ) -> tuple:
        with _Spoken():
            self._admit(request)
            photograph = self._read(photo)
            pixels, missing = damage.damage(photograph, damage.parse(task, severity), side, int(seed or 0))
            path = self._new_folder() / "damaged.png"
            images.write(path, Photograph(pixels, None))
        return str(path), _painted(Photograph(pixels, None), missing), None, gr.DownloadButton(interactive=False)

    def _on_restore(
        self, working: str | None, editor: dict | None, model: str, fidelity: float, is_face: bool, request: gr.Request
    ) -> tuple:
        with _Spoken():
            self._admit(request)
            before = self._read(working)
            missing = restoring.holes((editor or {}).get("layers") or [], before.pixels.shape[:2])
            output = self._new_folder() / "restored.png"
            restorer = self._site.models.load(model, fidelity)
            locate = None if is_face else self._site.locate
            after, told = restoring.restore(Path(working), output, missing, restorer, locate)
        if told:
            gr.Warning(told)
        pair = tuple(images.to_srgb8(photograph) for photograph in (before, after))
        return pair, gr.DownloadButton(value=str(output), interactive=True)

    def _offer_fidelity(self, model: str) -> gr.Slider:
        return gr.Slider(visible=model in self._site.models.blendable)

    def _admit(self, request: gr.Request) -> None:
        if wait := self._requests.wait(request.client.host if request.client else ""):
            raise UserError(f"That was very often; try again in {math.ceil(wait)} seconds.")

    def _read(self, path: str | None) -> Photograph:
        if path is None:
            raise UserError("There is no photograph yet; upload one first.")
        if not Path(path).resolve().is_relative_to(self._site.folder.resolve()):
            raise UserError("That photograph was not uploaded here; upload it.")
        limits.check_file(Path(path), self._site.limits)
        try:
            return images.read(Path(path))
        except UserError as error:
            raise UserError(restoring.sentence(str(error), Path(path))) from error

    def _new_folder(self) -> Path:
        folder = self._site.folder / secrets.token_hex(16)
        folder.mkdir()
        return folder


class _Blocks(gr.Blocks):
    """Gradio's, without the downloads that it makes for whoever gives a URL where a file is expected.

    Where a function returns an update of a component, and be it `gr.skip()`, Gradio makes the visitor another one from
    the arguments of the first: what was set on that one afterwards is lost.
    """

    async def preprocess_data(self, block_fn: Any, inputs: list, *others: Any, **named: Any) -> list:
        """Refuses URLs in what a visitor sends, for any component, before Gradio looks at it."""
        if sent.names_url(inputs):
            raise gr.Error("That photograph was not uploaded here; upload it.", print_exception=False)
        if sent.count_files(inputs) > sent.MOST_FILES:
            raise gr.Error(f"A request may name {sent.MOST_FILES} pictures at most.", print_exception=False)
        return await super().preprocess_data(block_fn, inputs, *others, **named)

    async def postprocess_data(self, block_fn: Any, predictions: Any, *others: Any, **named: Any) -> list:
        """Makes none where a function skips them all, so that the editor keeps its `sent.Newest`."""
        if isinstance(predictions, dict) and predictions == gr.skip():
            return [None if block.stateful else gr.skip() for block in block_fn.outputs]
        return await super().postprocess_data(block_fn, predictions, *others, **named)


class _Spoken:
    """Shows a `UserError` to the visitor; of anything else they learn only that it went wrong."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, UserError):
            raise gr.Error(str(error), print_exception=False) from error


def _severities(task: str) -> list[str]:
    return [f"{value:g}" for value in TASKS[task]]


def _offer_severities(task: str) -> gr.Dropdown:
    choices = _severities(task)
    return gr.Dropdown(choices, value=choices[len(choices) // 2])


def _nearest_side(size: int) -> int:
    return min(damage.SIDES, key=lambda side: abs(side - size))


def _painted(photograph: Photograph, missing: np.ndarray | None) -> dict:
    """The editor's picture, with the holes that the damage made painted already."""
    pixels = images.to_srgb8(photograph)
    scale = _EDITOR_SIDE / max(pixels.shape)
    if scale < 1:  # the browser sends all that it shows back at every stroke
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    layers, composite = [], pixels
    if missing is not None and missing.any():
        layer = np.zeros((*missing.shape, 4), np.uint8)
        layer[missing] = (255, 0, 255, 255)
        layers, composite = [layer], np.where(missing[..., None], layer[..., :3], pixels)
    return {"background": pixels, "layers": layers, "composite": composite}
