// The photograph, what is drawn over it, and how it is moved, zoomed and turned upright.
//
// Everything inside lies in the photograph's stored pixels; one matrix takes them to the screen.

// EXIF orientation to the matrix that shows a stored picture of w x h upright.
const UPRIGHT = {
  1: () => [1, 0, 0, 1, 0, 0],
  2: (w) => [-1, 0, 0, 1, w, 0],
  3: (w, h) => [-1, 0, 0, -1, w, h],
  4: (w, h) => [1, 0, 0, -1, 0, h],
  5: () => [0, 1, 1, 0, 0, 0],
  6: (w, h) => [0, 1, -1, 0, h, 0],
  7: (w, h) => [0, -1, -1, 0, h, w],
  8: (w) => [0, -1, 1, 0, 0, w],
};
const MOST_ZOOM = 40;
const STEP = 1.25;
const WHEEL = 100; // pixels of a wheel for a step
const PINCH = 22; // the same where a trackpad says that two fingers pinch
const LINE = 33; // pixels in a line, for wheels that count lines
const PAN = 40;
const ARROWS = { ArrowLeft: [PAN, 0], ArrowRight: [-PAN, 0], ArrowUp: [0, PAN], ArrowDown: [0, -PAN] };
const CLICK = 4; // pixels that a pointer may move in a click
const PATHS = ["bands", "candidates", "other", "halo", "outline", "scale-halo", "scale", "lasso-halo", "lasso"];

export class Stage {
  // `handlers`: click(x, y); while another tool than "move" is chosen stroke(points, ended, moved),
  // and drop() if a second finger makes a pinch of it; viewed() when the view has changed. Dragging
  // with the right button calls size(diameter) while a brush is in hand. Arrow keys move the picture,
  // Enter clicks in the middle; while `hand` is on, or with the middle button, dragging moves it
  // whatever the tool.
  constructor(element, handlers = {}) {
    this.element = element;
    this.handlers = handlers;
    this.tool = "move";
    this.hand = false;
    const paths = PATHS.map((name) => `<path class="${name}"/>`).join("");
    element.innerHTML = `<div class="frame"><img alt=""><canvas class="heat" hidden></canvas>
      </div><canvas class="paint" hidden></canvas><canvas class="line" hidden></canvas>
      <svg aria-hidden="true"><g>${paths}</g></svg>
      <div class="circle" hidden></div>`;
    element.dataset.tool = "move";
    this.frame = element.querySelector(".frame");
    this.image = element.querySelector("img");
    this.heat = element.querySelector(".heat");
    this.paint = element.querySelector(".paint");
    this.line = element.querySelector(".line");
    this.group = element.querySelector("g");
    this.circle = element.querySelector(".circle");
    this.diameter = 32; // of the brush, in pixels of the screen
    this.pointers = new Map();
    this.dropped = false; // whether what is drawn counts no more, until all fingers are up
    this.sizing = null; // where a drag with the right button began: [x, the brush's diameter]
    this.scale = 1;
    this.place = [0, 0];
    this.size = [1, 1];
    this.orientation = 1;
    element.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    element.addEventListener("pointerdown", (event) => this.#down(event));
    element.addEventListener("pointermove", (event) => this.#move(event));
    for (const kind of ["pointerup", "pointercancel"]) {
      element.addEventListener(kind, (event) => this.#up(event));
    }
    element.addEventListener("contextmenu", (event) => this.#brushes() && event.preventDefault());
    element.addEventListener("pointerleave", () => { this.circle.hidden = true; });
    element.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#resize()).observe(element);
  }

  show(source, width, height, orientation) {
    this.image.src = source;
    this.size = [width, height];
    this.orientation = orientation in UPRIGHT ? orientation : 1;
    this.frame.style.width = `${width}px`;
    this.frame.style.height = `${height}px`;
    this.fit();
  }

  // Paths by the names of PATHS; those that are not named are empty.
  draw(paths) {
    this.drawn = { ...paths, halo: paths.outline, "scale-halo": paths.scale };
    for (const name of PATHS.slice(0, 7)) this.#set(name, this.drawn[name]);
  }

  // The corners of a lasso that is being made, joined by a line.
  drawLasso(points) {
    const path = points.length ? `M${points.map((point) => point.join(" ")).join("L")}` : "";
    for (const name of PATHS.slice(7)) this.#set(name, path);
  }

  #set(name, path = "") {
    this.element.querySelector(`.${name}`).setAttribute("d", path);
  }

  // What is being drawn, if anything is, ends here and not where the pointer is lifted.
  drop() {
    this.dropped = this.pointers.size > 0;
  }

  setTool(tool) {
    this.drop();
    this.tool = tool;
    this.element.dataset.tool = tool;
    this.circle.hidden = true;
    for (const button of document.querySelectorAll("button[data-tool]")) {
      button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
    }
  }

  get upright() {
    return this.orientation > 4 ? [this.size[1], this.size[0]] : this.size;
  }

  fit() {
    const { clientWidth, clientHeight } = this.element;
    const [width, height] = this.upright;
    this.least = Math.min(clientWidth / width, clientHeight / height);
    this.scale = this.least;
    this.fitted = true;
    this.place = [(clientWidth - width * this.scale) / 2, (clientHeight - height * this.scale) / 2];
    this.#apply();
  }

  // A view that a person has chosen stays, whatever appears around it.
  #resize() {
    if (this.fitted) this.fit();
    else this.handlers.viewed?.();
  }

  zoom(steps, at) {
    this.fitted = false;
    const { clientWidth, clientHeight } = this.element;
    const [x, y] = at ?? [clientWidth / 2, clientHeight / 2];
    const most = Math.max(MOST_ZOOM * this.least, 8);
    const scale = Math.min(most, Math.max(this.least * 0.5, this.scale * STEP ** steps));
    const factor = scale / this.scale;
    this.place = [x - (x - this.place[0]) * factor, y - (y - this.place[1]) * factor];
    this.scale = scale;
    this.#apply();
  }

  pan(right, down) {
    this.fitted = false;
    this.place = [this.place[0] + right, this.place[1] + down];
    this.#apply();
  }

  // From the photograph's stored pixels to the stage's.
  get matrix() {
    const turn = UPRIGHT[this.orientation](...this.size);
    return new DOMMatrix([this.scale, 0, 0, this.scale, ...this.place]).multiply(new DOMMatrix(turn));
  }

  #apply() {
    const { matrix } = this;
    this.frame.style.transform = matrix.toString();
    const { a, b, c, d, e, f } = matrix;
    this.group.setAttribute("transform", `matrix(${a} ${b} ${c} ${d} ${e} ${f})`);
    this.handlers.viewed?.();
  }

  // Stored pixels of a place on the screen.
  locate(event) {
    const box = this.element.getBoundingClientRect();
    return this.#stored(
      event.clientX - box.left - this.element.clientLeft,
      event.clientY - box.top - this.element.clientTop,
    );
  }

  #stored(right, down) {
    const { x, y } = new DOMPoint(right, down).matrixTransform(this.matrix.inverse());
    return [x, y];
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { clientWidth, clientHeight } = this.element;
    if (event.key in ARROWS) this.pan(...ARROWS[event.key]);
    else if (event.key === "Enter" && this.tool === "move" && !event.repeat) {
      this.handlers.click?.(...this.#stored(clientWidth / 2, clientHeight / 2));
    } else return;
    event.preventDefault();
  }

  // A wheel zooms by as much as it turns; sideways, or with Shift, it moves the picture.
  #wheel(event) {
    event.preventDefault();
    const unit = [1, LINE, this.element.clientHeight][event.deltaMode];
    const [right, down] = [event.deltaX * unit, event.deltaY * unit];
    const box = this.element.getBoundingClientRect();
    const at = [event.clientX - box.left, event.clientY - box.top];
    if (event.ctrlKey) this.zoom(-down / PINCH, at);
    else if (event.shiftKey) this.pan(-right - down, 0);
    else if (Math.abs(right) > Math.abs(down)) this.pan(-right, -down);
    else this.zoom(-down / WHEEL, at);
    this.#circle(event);
  }

  // The brush's circle, where the pointer is.
  #circle(event) {
    const box = this.element.getBoundingClientRect();
    const { style } = this.circle;
    style.width = style.height = `${this.diameter}px`;
    style.left = `${event.clientX - box.left - this.element.clientLeft}px`;
    style.top = `${event.clientY - box.top - this.element.clientTop}px`;
    this.circle.hidden = !this.#brushes();
  }

  #brushes() {
    return this.tool === "add" || this.tool === "erase";
  }

  resizeBrush(diameter) {
    this.diameter = diameter;
    this.circle.style.width = this.circle.style.height = `${diameter}px`;
  }

  #down(event) {
    if (event.button === 2 && this.#brushes()) {
      this.element.setPointerCapture(event.pointerId);
      this.sizing = [event.clientX, this.diameter];
    }
    if (event.button > 1) return;
    if (event.button === 1) event.preventDefault(); // the browser's own scrolling
    this.element.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, event);
    if (this.pointers.size > 1) {
      this.drop();
      this.handlers.drop?.();
      return;
    }
    this.start = event;
    this.moved = false;
    this.dragging = this.hand || event.button === 1;
    if (this.#draws()) this.handlers.stroke?.([this.locate(event)], false);
  }

  #draws() {
    return this.tool !== "move" && !this.dragging;
  }

  #move(event) {
    if (this.sizing) {
      const [began, diameter] = this.sizing;
      return this.handlers.size?.(diameter + event.clientX - began);
    }
    this.#circle(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) return undefined;
    this.pointers.set(event.pointerId, event);
    if (Math.hypot(event.clientX - this.start.clientX, event.clientY - this.start.clientY) > CLICK) {
      this.moved = true;
    }
    if (this.pointers.size === 2) {
      this.#pinch(before, event);
    } else if (!this.#draws()) {
      this.pan(event.clientX - before.clientX, event.clientY - before.clientY);
    } else if (!this.dropped) {
      const all = event.getCoalescedEvents?.() ?? [];
      this.handlers.stroke?.((all.length ? all : [event]).map((one) => this.locate(one)), false);
    }
    return undefined;
  }

  #pinch(before, event) {
    const other = [...this.pointers.values()].find((one) => one.pointerId !== event.pointerId);
    const span = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
    const box = this.element.getBoundingClientRect();
    const middle = [
      (event.clientX + other.clientX) / 2 - box.left, (event.clientY + other.clientY) / 2 - box.top,
    ];
    this.pan((event.clientX - before.clientX) / 2, (event.clientY - before.clientY) / 2);
    this.zoom(Math.log(span(event) / Math.max(1, span(before))) / Math.log(STEP), middle);
  }

  #up(event) {
    this.sizing = null;
    if (!this.pointers.delete(event.pointerId)) return;
    if (this.dropped) this.dropped = this.pointers.size > 0;
    else if (this.#draws()) this.handlers.stroke?.([], true, this.moved);
    else if (!this.moved && !this.dragging && event.type === "pointerup") this.handlers.click?.(...this.locate(event));
  }
}

// The path of all borders of an answer: around its pieces, and around their holes.
export function bordersOf({ outlines, holes }) {
  return [...outlines, ...holes].map(pathOf).join("");
}

// The path of all contours of a band, "" where there is none.
export function bandPath(band) {
  return band ? [...band.outer, ...band.inner].map(pathOf).join("") : "";
}

// The path of an outline through pixels' centres.
export function pathOf(outline) {
  if (!outline.length) return "";
  return `M${outline.map(([x, y]) => `${x + 0.5} ${y + 0.5}`).join("L")}Z`;
}
