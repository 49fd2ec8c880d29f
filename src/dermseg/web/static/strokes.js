// What a hand does to a mask: {erase, parts, size} of a brush, {erase, parts, filled} of a lasso, or
// {whole}, another mask in its place.

export const TINT = [255, 230, 0];

// Paint a stroke, in the photograph's stored pixels, in the parts in which it came, since a border's
// grey depends on them: what is redone is what was undone, to the byte.
export function paintStroke(context, { erase, size, parts, filled, whole }) {
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
