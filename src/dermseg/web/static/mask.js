// A worker that keeps the mask in hand at the photograph's full size. The page paints what is seen
// of it, and waits neither for 54 megapixels to be painted nor for them to become a file.

import { encodeBits } from "./png.js";
import { TINT, paintStroke } from "./strokes.js";

const STRIP = 256; // rows that are read at a time
const INSIDE = 128; // of a mask's grey, above which it is lesion

let base = null;
let canvas = null;
let strokes = [];

const acts = {
  async begin({ mask }) {
    base = await tinted(mask);
    canvas = new OffscreenCanvas(base.width, base.height);
    strokes = [];
    redraw();
  },

  end() {
    base = canvas = null;
    strokes = [];
  },

  async add({ stroke }) {
    const added = stroke.whole ? { whole: await tinted(stroke.whole) } : stroke;
    strokes.push(added);
    paintStroke(contextOf(canvas), added);
  },

  undo() {
    strokes.pop();
    redraw();
  },

  // What a matrix brings into a rectangle of the screen.
  look({ matrix, width, height }) {
    const seen = new OffscreenCanvas(width, height);
    const context = seen.getContext("2d");
    context.setTransform(...matrix);
    context.drawImage(canvas, 0, 0);
    return seen.transferToImageBitmap();
  },

  // The mask as a file: a bit for each pixel.
  mask() {
    const { width, height } = canvas;
    return encodeBits(width, height, strips(width, height));
  },
};

function contextOf(one) {
  return one.getContext("2d", { willReadFrequently: true });
}

function redraw() {
  const context = contextOf(canvas);
  context.globalCompositeOperation = "copy";
  context.drawImage(base, 0, 0);
  for (const stroke of strokes) paintStroke(context, stroke);
}

// A canvas of a mask's size, yellow where the mask, a PNG of 0 and 255, is white, and clear elsewhere.
async function tinted(mask) {
  const image = await createImageBitmap(mask);
  const made = new OffscreenCanvas(image.width, image.height);
  const context = contextOf(made);
  context.drawImage(image, 0, 0);
  image.close();
  for (let top = 0; top < made.height; top += STRIP) {
    const pixels = context.getImageData(0, top, made.width, Math.min(STRIP, made.height - top));
    const { data } = pixels;
    for (let place = 0; place < data.length; place += 4) {
      const inside = data[place];
      data[place] = TINT[0];
      data[place + 1] = TINT[1];
      data[place + 2] = TINT[2];
      data[place + 3] = inside;
    }
    context.putImageData(pixels, 0, top);
  }
  return made;
}

// Rows of bits, a strip at a time: a byte 0 before each, as PNG wants it.
function* strips(width, height) {
  const context = contextOf(canvas);
  const row = 1 + Math.ceil(width / 8);
  for (let top = 0; top < height; top += STRIP) {
    const rows = Math.min(STRIP, height - top);
    const { data } = context.getImageData(0, top, width, rows);
    const bits = new Uint8Array(row * rows);
    for (let down = 0; down < rows; down += 1) {
      for (let right = 0; right < width; right += 1) {
        if (data[4 * (down * width + right) + 3] > INSIDE) {
          bits[row * down + 1 + (right >> 3)] |= 128 >> (right & 7);
        }
      }
    }
    yield bits;
  }
}

// One message after the other, whatever each has to wait for.
let last = Promise.resolve();
onmessage = ({ data: { id, act, ...fields } }) => {
  last = last.then(async () => {
    try {
      const result = await acts[act](fields);
      postMessage({ id, result }, result instanceof ImageBitmap ? [result] : []);
    } catch (error) {
      postMessage({ id, error: error.message });
    }
  });
};
