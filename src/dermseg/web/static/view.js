// What is seen of the mask in hand: its tint, and a line around it, at the size of the screen.

import { paintStroke } from "./strokes.js";

const LINE = 2; // pixels of the screen: the line's width
const HALO = 3.2; // and, with it, that of what is dark around it
const AROUND = [[1, 0], [-1, 0], [0, 1], [0, -1], [0.7, 0.7], [0.7, -0.7], [-0.7, 0.7], [-0.7, -0.7]];

export class View {
  constructor(stage) {
    this.stage = stage;
    this.matrix = new DOMMatrix(); // from the photograph to the canvases' pixels, as they are drawn
  }

  // What the canvases should show: {matrix, width, height}, in pixels of the device.
  get wanted() {
    const { clientWidth, clientHeight } = this.stage.element;
    const { a, b, c, d, e, f } = new DOMMatrix().scale(devicePixelRatio).multiply(this.stage.matrix);
    const [width, height] = [clientWidth, clientHeight].map(
      (side) => Math.max(1, Math.round(side * devicePixelRatio)),
    );
    return { matrix: [a, b, c, d, e, f], width, height };
  }

  // Show a picture of the mask, which was made with `matrix`.
  show(picture, matrix) {
    const { paint, line } = this.stage;
    this.matrix = new DOMMatrix(matrix);
    for (const canvas of [paint, line]) {
      canvas.width = picture.width;
      canvas.height = picture.height;
      canvas.style.width = `${picture.width / devicePixelRatio}px`;
      canvas.style.height = `${picture.height / devicePixelRatio}px`;
    }
    paint.getContext("2d").drawImage(picture, 0, 0);
    this.#drawLine(0, 0, picture.width, picture.height);
    this.follow();
    this.hide(false);
  }

  // The picture as it was drawn follows the photograph until the next one comes.
  follow() {
    const drawn = new DOMMatrix().scale(1 / devicePixelRatio).multiply(this.matrix);
    const move = this.stage.matrix.multiply(drawn.inverse());
    for (const canvas of [this.stage.paint, this.stage.line]) canvas.style.transform = move.toString();
  }

  hide(hidden = true) {
    this.stage.paint.hidden = this.stage.line.hidden = hidden;
    this.stage.element.classList.toggle("in-hand", !hidden);
  }

  // Paint a stroke, or what has come of it, and draw the line there again.
  paint(stroke) {
    const context = this.stage.paint.getContext("2d");
    context.setTransform(this.matrix);
    paintStroke(context, stroke);
    context.setTransform(1, 0, 0, 1, 0, 0);
    const scale = Math.hypot(this.matrix.a, this.matrix.b);
    const reach = ((stroke.size ?? 0) / 2) * scale + 2 * HALO * devicePixelRatio;
    const points = stroke.parts.flat().map(([x, y]) => new DOMPoint(x, y).matrixTransform(this.matrix));
    const ends = (axis, end, by) => Math.round(end(...points.map((one) => one[axis])) + by);
    const [left, top] = [ends("x", Math.min, -reach), ends("y", Math.min, -reach)];
    const [right, bottom] = [ends("x", Math.max, reach), ends("y", Math.max, reach)];
    this.#drawLine(left, top, right - left, bottom - top);
  }

  // Draw the line in a rectangle: the tint moved a little to all sides, without the tint.
  #drawLine(left, top, width, height) {
    const { paint, line } = this.stage;
    const context = line.getContext("2d");
    const widen = (by) => {
      for (const [x, y] of AROUND) {
        context.drawImage(paint, x * by * devicePixelRatio, y * by * devicePixelRatio);
      }
    };
    context.save();
    context.beginPath();
    context.rect(left, top, width, height);
    context.clip();
    context.clearRect(left, top, width, height);
    widen(HALO);
    context.globalCompositeOperation = "source-in";
    context.fillStyle = "rgb(0 0 0 / .6)";
    context.fillRect(left, top, width, height);
    context.globalCompositeOperation = "source-over";
    widen(LINE);
    context.globalCompositeOperation = "destination-out";
    context.drawImage(paint, 0, 0);
    context.restore();
  }
}
