// A mask that a person paints, in the photograph's stored pixels: with a brush, or with a lasso.

const TINT = [255, 230, 0];

export class Brush {
  constructor(canvas) {
    this.canvas = canvas;
    this.strokes = []; // {erase, parts, size} of a brush, {erase, parts, filled} of a lasso, or {whole}
    this.undone = [];
    this.stroking = false;
    this.base = null;
    this.coming = null; // the mask that is waited for
  }

  // Begin from the mask that `fetch` brings, a PNG of 0 and 255. If the brush has ended meanwhile,
  // perhaps for another photograph, the mask comes too late and is dropped.
  async begin(fetch) {
    if (this.base || this.coming) return;
    const coming = fetch().then(createImageBitmap);
    this.coming = coming;
    let image;
    try {
      image = await coming;
    } finally {
      if (this.coming !== coming) return;
      this.coming = null;
    }
    this.base = tinted(image);
    this.strokes = [];
    this.undone = [];
    this.canvas.width = image.width;
    this.canvas.height = image.height;
    this.#redraw();
  }

  end() {
    this.base = null;
    this.coming = null;
    this.strokes = [];
    this.undone = [];
    this.stroking = false;
    this.canvas.hidden = true;
  }

  // Points of a stroke as they come, in pixels of the photograph; says whether one has ended.
  stroke(points, ended, erase, size) {
    if (!this.stroking && points.length) {
      this.#add({ erase, size, parts: [] });
      this.stroking = true;
    }
    if (points.length) this.#extend(points);
    if (!ended || !this.stroking) return false;
    this.stroking = false;
    return true;
  }

  // A region with these corners, added or erased as a whole.
  fill(points, erase) {
    this.#add({ erase, parts: [points], filled: true });
    this.#paint(this.strokes.at(-1));
  }

  // Another mask, a PNG of 0 and 255, in place of what is there.
  async replace(mask) {
    const whole = tinted(await createImageBitmap(mask));
    this.#add({ whole });
    this.#paint(this.strokes.at(-1));
  }

  #add(stroke) {
    this.strokes.push(stroke);
    this.undone = [];
  }

  #extend(points) {
    const stroke = this.strokes.at(-1);
    const last = stroke.parts.at(-1)?.at(-1);
    const part = last ? [last, ...points] : points;
    stroke.parts.push(part);
    this.#paint({ ...stroke, parts: [part] });
  }

  // The last stroke away, also one that is being made; says whether there was one.
  undo() {
    const stroke = this.strokes.pop();
    if (!stroke) return false;
    this.undone.push(stroke);
    this.stroking = false;
    this.#redraw();
    return true;
  }

  // The stroke that was undone last, again; says whether there was one.
  redo() {
    const stroke = this.undone.pop();
    if (!stroke) return false;
    this.strokes.push(stroke);
    this.#paint(stroke);
    return true;
  }

  // What was taken for a stroke was none.
  drop() {
    if (!this.stroking) return;
    this.undo();
    this.undone.pop();
  }

  #redraw() {
    const context = this.canvas.getContext("2d");
    context.globalCompositeOperation = "copy";
    context.drawImage(this.base, 0, 0);
    for (const stroke of this.strokes) this.#paint(stroke);
    this.canvas.hidden = false;
  }

  // A stroke in the parts in which it came, since a border's grey depends on them: what is redone
  // is what was undone, to the byte.
  #paint({ erase, size, parts, filled, whole }) {
    const context = this.canvas.getContext("2d");
    context.globalCompositeOperation = whole ? "copy" : erase ? "destination-out" : "source-over";
    if (whole) return context.drawImage(whole, 0, 0);
    context.strokeStyle = context.fillStyle = `rgb(${TINT})`;
    context.lineWidth = size;
    context.lineCap = "round";
    context.lineJoin = "round";
    for (const [[x, y], ...others] of parts) {
      context.beginPath();
      context.moveTo(x, y);
      if (!filled) context.lineTo(x + 0.01, y); // a line without length would draw no dot
      for (const point of others) context.lineTo(...point);
      if (filled) context.fill();
      else context.stroke();
    }
    return undefined;
  }

  // White on black, as masks are.
  async mask() {
    const drawn = new OffscreenCanvas(this.canvas.width, this.canvas.height);
    const context = drawn.getContext("2d");
    context.drawImage(this.canvas, 0, 0);
    context.globalCompositeOperation = "source-in";
    context.fillStyle = "#fff";
    context.fillRect(0, 0, drawn.width, drawn.height);
    context.globalCompositeOperation = "destination-over";
    context.fillStyle = "#000";
    context.fillRect(0, 0, drawn.width, drawn.height);
    return drawn.convertToBlob({ type: "image/png" });
  }
}

// A canvas of a mask's size, yellow where it is white, and clear elsewhere.
function tinted(mask) {
  const canvas = new OffscreenCanvas(mask.width, mask.height);
  const context = canvas.getContext("2d");
  context.drawImage(mask, 0, 0);
  const pixels = context.getImageData(0, 0, mask.width, mask.height);
  for (let place = 0; place < pixels.data.length; place += 4) {
    const inside = pixels.data[place];
    pixels.data.set(TINT, place);
    pixels.data[place + 3] = inside;
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}
