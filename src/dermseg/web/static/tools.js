// The hand's tools, the same on the page and in the review: toolbar, brush, lasso, zoom and keys.

import { Brush } from "./brush.js";
import { Stage } from "./stage.js";
import { View } from "./view.js";

const CLOSE = 12; // pixels of the screen from a lasso's first corner within which a click closes it
const WIDER = 1.25;
const FINE = 6; // pixels of the screen below which smoothing rounds off
const FARTHEST = 64; // pixels by which the server changes a mask at most
const FINEST = 2; // pixels of the screen between two points of a line that the server is sent
const MOST_POINTS = 800; // of such a line

const HANDS = `
<div class="group" role="group" aria-label="Pointer">
  <button type="button" data-tool="move" aria-pressed="true" title="Move (V)">Move</button>
  <button type="button" data-tool="redraw" aria-pressed="false" title="Draw the border again where it is wrong; back to the start, the whole of it (F)">Redraw</button>
  <button type="button" data-tool="add" aria-pressed="false" title="Brush: add (B)">Add</button>
  <button type="button" data-tool="erase" aria-pressed="false" title="Brush: erase (E)">Erase</button>
  <button type="button" data-tool="lasso-add" aria-pressed="false" aria-label="Lasso: add" title="Lasso: add. Drag around a region, or click its corners and press Enter (L)">Lasso +</button>
  <button type="button" data-tool="lasso-erase" aria-pressed="false" aria-label="Lasso: erase" title="Lasso: erase. Drag around a region, or click its corners and press Enter (K)">Lasso &minus;</button>
</div>
<label class="inline">Brush <input type="range" id="brush" min="2" max="160" value="32" aria-label="Brush size in pixels of the screen"></label>
<div class="group" role="group" aria-label="History">
  <button type="button" id="undo" disabled title="Undo (Ctrl+Z)">Undo</button>
  <button type="button" id="redo" disabled title="Redo (Ctrl+Shift+Z)">Redo</button>
</div>
<div class="group" role="group" aria-label="Whole mask">
  <button type="button" data-edit="smooth" disabled title="Round what is finer than a few pixels of the screen off">Smooth</button>
  <button type="button" data-edit="grow" disabled title="Move the border outwards by a pixel of the screen (.)">Grow</button>
  <button type="button" data-edit="shrink" disabled title="Move the border inwards by a pixel of the screen (,)">Shrink</button>
</div>`;
const ZOOM = `
<span class="spacer"></span>
<div class="group" role="group" aria-label="Zoom">
  <button type="button" id="zoom-out" aria-label="Zoom out" title="Zoom out (-)">&minus;</button>
  <button type="button" id="fit" title="Fit (0)">Fit</button>
  <button type="button" id="zoom-in" aria-label="Zoom in" title="Zoom in (+)">+</button>
</div>`;

export class Tools {
  // `handlers`: click(x, y); ready(), whether a mask can be painted; mask(), a promise of the mask
  // that painting begins from; painted(), after each stroke or region; travel(by) back (-1) or forth
  // (1); change({edit, by}) of the mask as a whole, or change({edit, line}) of its border;
  // fail(error); measured(pixels), after a line with the tool "ruler". While held() is true strokes
  // are not taken.
  constructor(element, toolbar, handlers) {
    toolbar.insertAdjacentHTML("afterbegin", HANDS);
    toolbar.insertAdjacentHTML("beforeend", ZOOM);
    this.handlers = handlers;
    this.corners = []; // of a lasso, or a line, that is being made
    this.changing = Promise.resolve(); // the last change that was asked for
    this.stage = new Stage(element, {
      click: handlers.click,
      stroke: (...stroke) => this.#stroke(...stroke),
      drop: () => this.#drop(),
      viewed: () => this.brush.look(),
      size: (diameter) => {
        this.size.value = Math.round(diameter);
        this.resize();
      },
    });
    this.brush = new Brush(new View(this.stage), handlers.fail);
    this.size = toolbar.querySelector("#brush");
    this.size.addEventListener("input", () => this.resize());
    this.keys = {
      v: () => this.choose("move"),
      b: () => this.choose("add"),
      e: () => this.choose("erase"),
      f: () => this.choose("redraw"),
      l: () => this.choose("lasso-add"),
      k: () => this.choose("lasso-erase"),
      enter: () => this.#close(),
      escape: () => this.endLasso(),
      0: () => this.stage.fit(),
      "+": () => this.stage.zoom(1),
      "=": () => this.stage.zoom(1),
      "-": () => this.stage.zoom(-1),
      "[": () => this.resize(1 / WIDER),
      "]": () => this.resize(WIDER),
      ".": () => this.#change("grow"),
      ",": () => this.#change("shrink"),
    };
    for (const button of toolbar.querySelectorAll("[data-tool]")) {
      button.addEventListener("click", () => this.choose(button.dataset.tool));
    }
    const presses = { fit: "0", "zoom-in": "+", "zoom-out": "-" };
    for (const [id, key] of Object.entries(presses)) {
      toolbar.querySelector(`#${id}`).addEventListener("click", this.keys[key]);
    }
    for (const [id, by] of [["undo", -1], ["redo", 1]]) {
      toolbar.querySelector(`#${id}`).addEventListener("click", () => handlers.travel(by));
    }
    for (const button of document.querySelectorAll("[data-edit]")) {
      button.addEventListener("click", () => this.#change(button.dataset.edit));
    }
    document.addEventListener("keydown", (event) => this.#key(event));
    document.addEventListener("keyup", (event) => { if (event.key === " ") this.alone(false); });
  }

  async choose(tool) {
    if (tool !== "move" && !this.handlers.ready()) return;
    this.lift();
    this.endLasso();
    this.stage.setTool(tool);
    if (this.paints) await this.take();
  }

  get paints() {
    return !["move", "redraw", "ruler"].includes(this.stage.tool);
  }

  // Take the mask in hand, unless it is.
  async take() {
    try {
      await this.brush.begin(this.handlers.mask);
    } catch (error) {
      this.choose("move"); // a brush that has no mask would paint nothing
      this.handlers.fail(error);
    }
  }

  leave() {
    this.choose("move");
    this.brush.end();
  }

  // A stroke that is being made counts, whatever comes between.
  lift() {
    this.brush.when(() => {
      if (this.brush.stroking && this.brush.stroke([], true)) this.handlers.painted();
    });
  }

  endLasso() {
    if (this.corners.length) this.stage.drop();
    this.corners = [];
    this.stage.element.classList.remove("closing");
    this.stage.drawLasso([]);
  }

  resize(factor = 1) {
    this.size.value = Math.round(Number(this.size.value) * factor);
    this.stage.resizeBrush(Number(this.size.value));
  }

  // Change the mask as a whole; by pixels of the screen, so that the change is seen.
  #change(edit) {
    if (!this.handlers.ready()) return;
    this.lift();
    const pixels = (edit === "smooth" ? FINE : 1) / this.stage.scale;
    const by = Math.min(FARTHEST, Math.max(1, Math.round(pixels)));
    this.#ask({ edit, by });
  }

  // One change after the other, and none of another photograph.
  #ask(change) {
    const { src } = this.stage.image;
    this.changing = this.changing
      .then(() => this.stage.image.src === src && this.handlers.change(change))
      .catch(this.handlers.fail);
    return this.changing;
  }

  // The photograph without what is drawn over it; while it is so dragging moves it.
  alone(on) {
    this.stage.element.classList.toggle("alone", on);
    this.stage.hand = on;
  }

  #stroke(points, ended, moved) {
    const { brush, stage } = this;
    if (stage.tool === "ruler") return this.#measure(points, ended);
    if (this.handlers.held?.()) return this.stage.drop();
    if (stage.tool === "redraw") return this.#redraw(points, ended);
    if (stage.tool.startsWith("lasso")) {
      return this.#lasso(points, ended, moved);
    }
    const erase = stage.tool === "erase";
    const size = stage.diameter / stage.scale;
    return brush.when(() => {
      if (brush.stroke(points, ended, erase, size)) this.handlers.painted();
    });
  }

  #measure(points, ended) {
    this.corners = [...this.corners, ...points];
    const [[x, y], [right, down]] = [this.corners[0], this.corners.at(-1)];
    const length = Math.hypot(right - x, down - y);
    if (!ended || !length) return this.stage.drawLasso([[x, y], [right, down]]);
    this.choose("move");
    return this.handlers.measured(length);
  }

  // The line stays until the border has its course. One that has gone somewhere and come back is
  // closed; the outline fades while it would be replaced as a whole.
  async #redraw(points, ended) {
    const { scale, element } = this.stage;
    this.corners.push(...points);
    this.stage.drawLasso(this.corners);
    const [first] = this.corners;
    const back = distance(first, this.corners.at(-1)) * scale < CLOSE;
    const closed = back && this.corners.some((one) => distance(first, one) * scale > 2 * CLOSE);
    element.classList.toggle("closing", closed && !ended);
    if (!ended) return;
    const line = thinned(this.corners, FINEST / scale);
    if (closed) line.push(first);
    this.corners = [];
    if (line.length < 2) return this.endLasso();
    await this.#ask({ edit: "redraw", line: line.flat().map((value) => value.toFixed(1)).join(" ") });
    if (!this.corners.length) this.endLasso();
  }

  #drop() {
    this.brush.when(() => this.brush.drop());
    this.endLasso();
  }

  // A lasso is dragged around a region, or its corners are clicked; the first corner, or Enter,
  // closes it.
  #lasso(points, ended, moved) {
    this.corners.push(...points);
    const [first, last] = [this.corners[0], this.corners.at(-1)];
    if (ended) {
      const near = distance(first, last) * this.stage.scale < CLOSE;
      if (moved || (this.corners.length > 3 && near)) return this.#close();
    }
    return this.stage.drawLasso(this.corners);
  }

  #close() {
    const { brush, corners } = this;
    const erase = this.stage.tool === "lasso-erase";
    if (corners.length > 2) {
      brush.when(() => {
        brush.fill(corners, erase);
        this.handlers.painted();
      });
    }
    this.endLasso();
  }

  #key(event) {
    if (typing(event) || event.altKey) return;
    const key = event.key.toLowerCase();
    if (event.ctrlKey || event.metaKey) {
      if (key !== "z" && key !== "y") return;
      event.preventDefault();
      this.handlers.travel(key === "y" || event.shiftKey ? 1 : -1);
    } else if (key === " " && !event.target.matches("button, input, select, summary")) {
      event.preventDefault();
      this.alone(true);
    } else {
      this.keys[key]?.();
    }
  }
}

function distance([x, y], [right, down]) {
  return Math.hypot(right - x, down - y);
}

// The points of a line that are so far apart, or farther if there are very many, and its last.
function thinned(points, apart) {
  const kept = [points[0]];
  for (const point of points) if (distance(point, kept.at(-1)) >= apart) kept.push(point);
  if (kept.length > MOST_POINTS) return thinned(points, 2 * apart);
  if (kept.at(-1) !== points.at(-1)) kept.push(points.at(-1));
  return kept;
}

// Whether a key is a letter of what somebody writes.
export function typing(event) {
  return event.target.matches("input[type=number], input[type=text], textarea, select");
}
