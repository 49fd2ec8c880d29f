// A preview of the border while a slider moves, from the probability at the network's size. What
// is shown when it stands still, and downloaded, is made by the server.

export async function readProbability(blob) {
  const image = await createImageBitmap(blob);
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, image.width, image.height);
  const values = new Float32Array(image.width * image.height);
  for (let place = 0; place < values.length; place += 1) values[place] = data[4 * place] / 255;
  return { values, width: image.width, height: image.height };
}

// Labels of 4-connected regions where `inside` holds, from 1, and their number.
function regionsOf({ width, height }, inside) {
  const labels = new Int32Array(width * height);
  let count = 0;
  for (let seed = 0; seed < labels.length; seed += 1) {
    if (labels[seed] || !inside(seed)) continue;
    count += 1;
    const open = [seed];
    labels[seed] = count;
    while (open.length) {
      const place = open.pop();
      const column = place % width;
      const near = [place - width, place + width];
      if (column > 0) near.push(place - 1);
      if (column < width - 1) near.push(place + 1);
      for (const next of near) {
        if (next >= 0 && next < labels.length && !labels[next] && inside(next)) {
          labels[next] = count;
          open.push(next);
        }
      }
    }
  }
  return { labels, count };
}

function heaviest(values, { labels, count }) {
  const masses = new Float64Array(count + 1);
  labels.forEach((label, place) => { if (label) masses[label] += values[place]; });
  return masses.indexOf(Math.max(...masses.subarray(1)), 1);
}

// The probability with all regions but the lesion's removed, and its holes filled.
function lesionOf(map, { high, low }, at) {
  const { values, width } = map;
  const regions = regionsOf(map, (place) => values[place] >= low);
  if (!regions.count) return new Float32Array(values.length);
  let chosen = 0;
  if (at) {
    let best = Infinity;
    regions.labels.forEach((label, place) => {
      const away = Math.hypot((place % width) - at[0], Math.floor(place / width) - at[1]);
      if (label && away < best) [best, chosen] = [away, label];
    });
  } else {
    const cores = regionsOf(map, (place) => values[place] >= high);
    if (cores.count) chosen = regions.labels[cores.labels.indexOf(heaviest(values, cores))];
    else chosen = heaviest(values, regions);
  }
  const alone = values.map((value, place) =>
    regions.labels[place] && regions.labels[place] !== chosen ? 0 : value);
  const outside = regionsOf(map, (place) => regions.labels[place] !== chosen);
  const framed = new Set();
  outside.labels.forEach((label, place) => {
    const column = place % width;
    if (!column || column === width - 1 || place < width || place >= values.length - width) {
      framed.add(label);
    }
  });
  return alone.map((value, place) => {
    const label = outside.labels[place];
    return label && !framed.has(label) ? 1 : value;
  });
}

// Marching squares: the path where `values` cross `level`, in a picture of `size`.
export function isoline(values, { width, height }, level, size) {
  const at = (column, row) =>
    column < 0 || row < 0 || column >= width || row >= height ? 0 : values[row * width + column];
  const sx = size[0] / width;
  const sy = size[1] / height;
  const parts = [];
  for (let row = -1; row < height; row += 1) {
    for (let column = -1; column < width; column += 1) {
      const corners = [
        [column, row], [column + 1, row], [column + 1, row + 1], [column, row + 1],
      ].map(([x, y]) => [x, y, at(x, y)]);
      const crossings = [];
      for (let side = 0; side < 4; side += 1) {
        const [x0, y0, v0] = corners[side];
        const [x1, y1, v1] = corners[(side + 1) % 4];
        if (v0 >= level === v1 >= level) continue;
        const part = (level - v0) / (v1 - v0);
        const x = Math.min(size[0], Math.max(0, (x0 + (x1 - x0) * part + 0.5) * sx));
        const y = Math.min(size[1], Math.max(0, (y0 + (y1 - y0) * part + 0.5) * sy));
        crossings.push(`${x.toFixed(2)} ${y.toFixed(2)}`);
      }
      for (let pair = 0; pair + 1 < crossings.length; pair += 2) {
        parts.push(`M${crossings[pair]}L${crossings[pair + 1]}`);
      }
    }
  }
  return parts.join("");
}

export function previewPath(map, thresholds, at, size) {
  const place = at && [(at[0] * map.width) / size[0] - 0.5, (at[1] * map.height) / size[1] - 0.5];
  return isoline(lesionOf(map, thresholds, place), map, thresholds.low, size);
}

// Clear where there is no lesion, through blue and orange to yellow where it is sure.
const HEAT = [[20, 40, 120, 0], [70, 40, 160, 120], [220, 80, 70, 200], [255, 225, 60, 255]];

export function drawHeat(canvas, map) {
  canvas.width = map.width;
  canvas.height = map.height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(map.width, map.height);
  map.values.forEach((value, place) => {
    const step = Math.min(2, Math.floor(value * 3));
    const part = value * 3 - step;
    for (let channel = 0; channel < 4; channel += 1) {
      const [from, to] = [HEAT[step][channel], HEAT[step + 1][channel]];
      image.data[4 * place + channel] = from + (to - from) * part;
    }
  });
  context.putImageData(image, 0, 0);
}
