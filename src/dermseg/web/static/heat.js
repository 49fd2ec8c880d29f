// The heat map of the probability.

// Clear where there is no lesion, through blue and orange to yellow where it is sure.
const HEAT = [[20, 40, 120, 0], [70, 40, 160, 120], [220, 80, 70, 200], [255, 225, 60, 255]];

function color(value) {
  const step = Math.min(2, Math.floor(value * 3));
  const part = value * 3 - step;
  return HEAT[step].map((from, channel) => from + (HEAT[step + 1][channel] - from) * part);
}

const COLORS = Array.from({ length: 256 }, (_, value) => color(value / 255));

// Draw a map, a grey PNG, on a canvas, unless `current` says meanwhile that it is another's.
export async function drawHeat(canvas, map, current) {
  const picture = await createImageBitmap(map);
  if (!current()) return;
  canvas.width = picture.width;
  canvas.height = picture.height;
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  const image = context.getImageData(0, 0, picture.width, picture.height);
  for (let place = 0; place < image.data.length; place += 4) {
    image.data.set(COLORS[image.data[place]], place);
  }
  context.putImageData(image, 0, 0);
}
