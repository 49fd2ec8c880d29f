// The page: photographs in, outlines shown, corrected and downloaded.

import { ask, fromBase64, segment } from "./api.js";
import { Brush } from "./brush.js";
import { save, stemOf, table, zip } from "./files.js";
import { drawHeat } from "./heat.js";
import { endPreview, preview } from "./preview.js";
import { Stage, bandPath, pathOf } from "./stage.js";

const REST = 250; // milliseconds that a slider stands still before the server is asked
const FLAGS = {
  damaged: "The file is damaged: some of its pixels are wrong.",
  "narrow-range": "The file's 16-bit values fill little of their range: the model may see it too dark.",
  empty: "No lesion was found.",
  "touches-border": "The lesion touches the photograph's edge: it may go on outside.",
  "several-candidates": "There are several candidates: click the right one.",
  "low-confidence": "The model is not sure of this outline: look closely.",
};
const STYLES = { traced: "Traced", "semi-automatic": "Semi-automatic" };
const ENDINGS = {
  "image/png": "_segmentation.png",
  "image/jpeg": "_overlay.jpg",
  "application/geo+json": "_outline.geojson",
  "image/svg+xml": "_outline.svg",
};

const $ = (id) => document.getElementById(id);
const photos = [];
const scales = new Map(); // pixels per millimetre, by the photographs' size
const saved = new WeakSet(); // painted masks that have been downloaded
let current = null;
let staged = null; // the photograph that the stage holds
let defaults = null;

const stage = new Stage($("stage"), { click: choose, stroke, drop: () => brush.drop() });
const brush = new Brush(stage.paint);

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

function pause(milliseconds) {
  return new Promise((done) => setTimeout(done, milliseconds));
}

// ---- photographs in

// All are listed before the first is asked about, so that what is listed is all there is.
async function addFiles(files) {
  const added = files.map((file) => ({
    name: file.name || "pasted.png",
    blob: file,
    url: URL.createObjectURL(file),
    style: defaults.style,
    thresholds: null, // unless a person moves them, the style's own
    at: null,
    maps: {}, // style to probability
    others: new Map(), // what was asked to the answer in the other style
    mask: null, // what a person painted: a promise, since a PNG takes its time
    before: null, // the mask that undoing all strokes comes back to
    answer: null,
    error: "",
    asking: null,
  }));
  if (!added.length) return;
  photos.push(...added);
  added.forEach(listPhoto);
  document.body.removeAttribute("data-empty");
  select(added[0]);
  for (const photo of added) await work(photo);
}

function listPhoto(photo) {
  const button = document.createElement("button");
  button.type = "button";
  button.title = photo.name;
  button.setAttribute("aria-label", photo.name);
  const image = document.createElement("img");
  image.src = photo.url;
  image.alt = "";
  button.append(image);
  button.addEventListener("click", () => select(photo));
  const item = document.createElement("li");
  item.append(button);
  $("strip").append(item);
  photo.button = button;
}

// Always the server makes what is shown and downloaded.
async function made(photo, options) {
  return segment({ ...photo, mask: await photo.mask }, options);
}

// Ask the server again, after `wait` milliseconds; a later question about the same photograph takes
// the place of an earlier one.
async function work(photo, wait = 0) {
  photo.asking?.abort();
  const asking = new AbortController();
  photo.asking = asking;
  photo.error = "";
  const looking = `Looking at ${photo.name} …`;
  try {
    if (wait) await pause(wait);
    asking.signal.throwIfAborted();
    if (photo === current) say(looking);
    const { style } = photo;
    const include = photo.maps[style] ? [] : ["probability"];
    if (!photo.answer && !(await shows(photo.url))) include.push("picture");
    const response = await made(photo, { include, signal: asking.signal });
    const answer = await response.json();
    const map = photo.maps[style] ?? fromBase64(answer.probability, "image/png");
    asking.signal.throwIfAborted();
    if (answer.picture) {
      photo.url = URL.createObjectURL(fromBase64(answer.picture, "image/jpeg"));
      photo.button.querySelector("img").src = photo.url;
    }
    if (photo === current) endPreview();
    photo.maps[style] = map;
    photo.answer = answer;
    if ($("status").textContent === looking) say(""); // and nothing else that was said meanwhile
  } catch (error) {
    if (asking.signal.aborted) return;
    photo.error = error.message || "The service does not say what is wrong.";
    say(`${photo.name}: ${photo.error}`, true);
  }
  photo.asking = null;
  photo.button.classList.toggle("failed", Boolean(photo.error));
  photo.button.setAttribute("aria-label", photo.error ? `${photo.name}, failed` : photo.name);
  if (photo === current) show();
}

// The answer in the other style, asked for once for each place.
async function otherAnswer(photo) {
  const style = otherStyle(photo.style);
  const key = `${style} ${photo.at}`;
  if (!photo.others.has(key)) {
    const asked = segment({ ...photo, style, thresholds: null, mask: null })
      .then((response) => response.json());
    asked.catch(() => photo.others.delete(key));
    photo.others.set(key, asked);
  }
  return photo.others.get(key);
}

function otherStyle(style) {
  return Object.keys(defaults.styles).find((name) => name !== style);
}

function thresholdsOf(photo) {
  return photo?.thresholds ?? defaults.styles[photo?.style ?? defaults.style];
}

function shows(url) {
  return new Promise((done) => {
    const image = new Image();
    image.onload = () => done(true);
    image.onerror = () => done(false);
    image.src = url;
  });
}

function select(photo) {
  if (current) leaveBrush();
  current = photo;
  staged = null;
  stage.image.removeAttribute("src");
  for (const one of photos) one.button.setAttribute("aria-current", String(one === photo));
  say(photo.answer ? photo.name : `Looking at ${photo.name} …`);
  show();
  if (photo.error) work(photo); // what was wrong may be so no more
}

// ---- what is shown

function show() {
  const photo = current;
  const answer = photo?.error ? null : photo?.answer; // an old answer is none to a new question
  if (answer && staged !== photo) {
    stage.show(photo.url, answer.width, answer.height, answer.orientation);
    staged = photo;
    $("scale").value = scaleOf(answer) || "";
  }
  setSliders();
  showStyle();
  const chosen = photo?.at || photo?.mask;
  const flags = (answer?.flags ?? []).filter((flag) => flag !== "several-candidates" || !chosen);
  $("flags").textContent = flags.map((flag) => FLAGS[flag]).join(" ");
  $("undo").disabled = !brush.strokes.length;
  for (const control of document.querySelectorAll("[data-form], #scale")) control.disabled = !answer;
  $("reset").disabled = !photo?.answer;
  showNumbers(answer);
  showSureness(answer);
  draw(answer ? pathOf(answer.outline) : "");
  stage.heat.hidden = !($("heat").checked && photo?.maps[photo.style]);
  if (!stage.heat.hidden) {
    drawHeat(stage.heat, photo.maps[photo.style], () => photo === current);
  }
  stage.element.dataset.state = answer ? "exact" : "none";
}

function draw(path) {
  const shown = $("show").checked;
  const band = $("band").checked ? bandPath(current?.answer?.band) : "";
  const other = shown && bothShown() ? current.other : null;
  $("legend").hidden = !other;
  stage.draw(shown ? path : "", band, other ? pathOf(other.outline) : "");
}

function bothShown() {
  return $("both").checked && current?.answer && !current.error && !current.mask;
}

// Which style is drawn, what makes it, and, when it has come, the outline in the other one.
function showStyle() {
  const photo = current;
  const style = photo?.style ?? defaults.style;
  for (const radio of document.querySelectorAll("[name=style]")) {
    radio.checked = radio.value === style;
  }
  const words = {
    network: "The network draws either style.",
    thresholds: "One probability, with a threshold for each style.",
  };
  $("style-words").textContent = words[defaults.style_by];
  [...$("legend").children].forEach((item, place) => {
    item.textContent = STYLES[place ? otherStyle(style) : style];
  });
  if (!photo) return;
  photo.other = null;
  if (!bothShown()) return;
  told(async () => {
    const other = await otherAnswer(photo);
    if (photo !== current || photo.style !== style) return;
    photo.other = other;
    draw(pathOf(photo.answer.outline));
  });
}

function setStyle(style) {
  if (!current || style === current.style || painting()) return showStyle();
  leaveBrush();
  current.style = style;
  current.thresholds = null;
  return work(current);
}

// Pixels per millimetre, of all photographs of an answer's size; 0 where nobody has said.
function scaleOf({ width, height }) {
  return scales.get(`${width} x ${height}`) ?? 0;
}

function setScale() {
  const { width, height } = current.answer;
  const value = Number($("scale").value);
  scales.set(`${width} x ${height}`, value > 0 ? value : 0);
  showNumbers(current.answer);
}

function showNumbers(answer) {
  const perMm = answer ? scaleOf(answer) : 0;
  const number = (value) => value.toLocaleString("en", { maximumFractionDigits: perMm ? 2 : 0 });
  const length = (value) => (perMm ? `${number(value / perMm)} mm` : `${number(value)} px`);
  const area = (value) => (perMm ? `${number(value / perMm ** 2)} mm²` : `${number(value)} px²`);
  const rows = answer
    ? [
        ["Area", area(answer.area)],
        ["Share of the picture", `${((100 * answer.area) / answer.width / answer.height).toFixed(1)} %`],
        ["Longest diameter", length(answer.diameter)],
        ["Perimeter", length(answer.perimeter)],
        ["Photograph", `${answer.width} × ${answer.height} px`],
        ["Made by", answer.by_hand ? "hand" : answer.model],
      ]
    : [["Area", "–"], ["Longest diameter", "–"], ["Perimeter", "–"]];
  list("numbers", rows);
}

function list(id, rows) {
  $(id).replaceChildren(
    ...rows.flatMap((row) => row.map((text, place) => {
      const cell = document.createElement(place ? "dd" : "dt");
      cell.textContent = text;
      return cell;
    })),
  );
}

function showSureness(answer) {
  const sure = answer?.confidence;
  list("sureness", sure ? [
    ["Predicted Jaccard", sure.jaccard.toFixed(2)],
    ["90 % interval", `${sure.low.toFixed(2)} to ${sure.high.toFixed(2)}`],
  ] : []);
  let words = "";
  if (sure) words = "1 is an expert's outline; one below 0.65 counts as failed.";
  else if (answer?.by_hand) words = "Nothing is said of outlines drawn by hand.";
  else if (answer?.band) words = "Said only of the model's own choice at its own thresholds.";
  else if (answer) words = "This model does not say.";
  $("sureness-words").textContent = words;
  $("band-label").hidden = !answer?.band;
}

function setSliders() {
  const thresholds = thresholdsOf(current);
  for (const name of ["high", "low"]) {
    $(name).value = thresholds[name];
    $(`${name}-value`).textContent = Number(thresholds[name]).toFixed(2);
  }
}

// ---- what a person changes

function slide(name) {
  const value = Number($(name).value);
  const map = current?.maps[current.style];
  if (map && current.answer && !painting()) {
    leaveBrush();
    const thresholds = thresholdsOf(current);
    const { high, low } = thresholds;
    current.thresholds = name === "high"
      ? { ...thresholds, high: value, low: Math.min(low, value) }
      : { ...thresholds, high: Math.max(high, value), low: value };
    const photo = current;
    const { width, height } = photo.answer;
    stage.element.dataset.state = "preview";
    preview({ ...photo, map, width, height }, (outline) => {
      if (photo === current && photo.asking) draw(pathOf(outline));
    });
    work(photo, REST);
  }
  setSliders();
}

function choose(x, y) {
  if (!current?.answer) return;
  const { width, height } = current.answer;
  if (x < 0 || y < 0 || x >= width || y >= height || painting()) return;
  leaveBrush();
  current.at = [x, y];
  work(current);
}

// Whether a person's work would be lost by asking the model again; if so, what to do is said.
function painting() {
  lift();
  if (!current.mask) return false;
  say("What you painted is kept, unless you press “Back to the model's”.", true);
  return true;
}

function leaveBrush() {
  setTool("move");
  brush.end();
  current.before = current.mask;
}

function reset() {
  leaveBrush();
  current.thresholds = null;
  current.at = null;
  current.mask = null;
  current.before = null;
  work(current);
}

async function setTool(tool) {
  if (tool !== "move" && !current?.answer) return;
  lift();
  stage.setTool(tool);
  if (tool === "move") return;
  const photo = current;
  try {
    await brush.begin(async () => (await made(photo, { accept: "image/png" })).blob());
  } catch (error) {
    setTool("move"); // a brush that has no mask would paint nothing
    throw error;
  }
  stage.paint.style.opacity = $("opacity").value;
}

function stroke(points, ended) {
  if (!brush.base) return;
  if (brush.stroke(points, ended, stage.tool === "erase", Number($("brush").value))) painted();
}

// A stroke that is being made counts, whatever comes between.
function lift() {
  stroke([], true);
}

function painted() {
  current.mask = brush.strokes.length ? brush.mask() : current.before;
  work(current);
}

function undo() {
  lift();
  if (!brush.strokes.length) return;
  brush.undo();
  painted();
}

function step(by) {
  const place = photos.indexOf(current) + by;
  if (photos[place]) select(photos[place]);
}

// ---- files out

async function download(form) {
  const { name, mask } = current; // another may be current when the file comes
  const response = await made(current, { accept: form });
  save(await response.blob(), stemOf(name) + ENDINGS[form]);
  if (mask && form === "image/png") saved.add(mask);
}

// A photograph's files in every form; none, and its error noted, where one cannot be had.
async function filesOf(photo, stem) {
  const files = [];
  try {
    for (const [form, ending] of Object.entries(ENDINGS)) {
      files.push([stem + ending, await (await made(photo, { accept: form })).blob()]);
    }
    return files;
  } catch (error) {
    photo.error = error.message;
    return [];
  }
}

async function downloadAll() {
  for (const photo of photos) if (photo.error) work(photo); // what was wrong may be so no more
  const open = () => photos.filter((one) => one.asking || !(one.answer || one.error)).length;
  while (open()) {
    say(`The ZIP waits for photographs in work: ${open()} …`);
    await pause(REST);
  }
  say("Making the ZIP …");
  const all = photos.map((photo) => ({ ...photo })); // as they are, whatever is painted meanwhile
  const columns = Object.keys(all.find((one) => one.answer)?.answer.report ?? {});
  const empty = Object.fromEntries(columns.map((column) => [column, ""]));
  const files = [];
  const rows = [];
  const names = new Set();
  for (const photo of all) {
    let stem = stemOf(photo.name);
    // Where files are unpacked, A and a may be one name.
    for (let number = 2; names.has(stem.toLowerCase()); number += 1) {
      stem = `${stemOf(photo.name)}-${number}`;
    }
    names.add(stem.toLowerCase());
    if (!photo.error) files.push(...await filesOf(photo, stem));
    if (photo.error) {
      rows.push({ ...empty, photograph: photo.name, error: photo.error });
    } else {
      const mask = stem + ENDINGS["image/png"];
      rows.push({ ...photo.answer.report, photograph: photo.name, mask });
      if (scaleOf(photo.answer)) rows.at(-1).pixels_per_mm = scaleOf(photo.answer);
    }
  }
  files.push(["report.csv", table(rows)]);
  save(await zip(files), "dermseg.zip");
  const done = all.filter((photo) => !photo.error);
  for (const { mask } of done) if (mask) saved.add(mask);
  const failed = all.length - done.length;
  say(failed ? `Photographs that failed: ${failed}. The ZIP's report.csv says why.` : "", failed);
}

async function told(doing) {
  try {
    await doing();
  } catch (error) {
    say(error.message, true);
  }
}

// ---- wiring

function alone(on) {
  stage.element.classList.toggle("alone", on);
}

function typing(event) {
  return event.target.matches("input[type=number], input[type=text]");
}

const KEYS = {
  v: () => setTool("move"),
  b: () => setTool("add"),
  e: () => setTool("erase"),
  o: () => $("show").click(),
  w: () => $("band").click(),
  h: () => $("heat").click(),
  t: () => current && setStyle(otherStyle(current.style)),
  d: () => $("both").click(),
  n: () => step(1),
  p: () => step(-1),
  0: () => stage.fit(),
  "+": () => stage.zoom(1),
  "=": () => stage.zoom(1),
  "-": () => stage.zoom(-1),
  "[": () => { $("brush").value = Number($("brush").value) / 1.25; },
  "]": () => { $("brush").value = Number($("brush").value) * 1.25; },
};

document.addEventListener("keydown", (event) => {
  if (typing(event)) return;
  if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z") {
    event.preventDefault();
    undo();
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === " " && event.target === stage.element) {
    event.preventDefault();
    alone(true);
  } else {
    told(async () => KEYS[event.key.toLowerCase()]?.());
  }
});
document.addEventListener("keyup", (event) => { if (event.key === " ") alone(false); });
for (const kind of ["pointerdown", "pointerup", "pointerleave", "keydown", "keyup", "blur"]) {
  $("before").addEventListener(kind, (event) => {
    if (event.key && event.key !== " " && event.key !== "Enter") return;
    alone(kind.endsWith("down"));
  });
}

for (const name of ["high", "low"]) $(name).addEventListener("input", () => slide(name));
for (const radio of document.querySelectorAll("[name=style]")) {
  radio.addEventListener("change", () => setStyle(radio.value));
}
for (const name of ["show", "band", "heat", "both"]) $(name).addEventListener("change", show);
$("scale").addEventListener("input", setScale);
$("opacity").addEventListener("input", () => {
  for (const canvas of [stage.heat, stage.paint]) canvas.style.opacity = $("opacity").value;
});
$("undo").addEventListener("click", undo);
$("reset").addEventListener("click", reset);
$("fit").addEventListener("click", () => stage.fit());
$("zoom-in").addEventListener("click", () => stage.zoom(1));
$("zoom-out").addEventListener("click", () => stage.zoom(-1));
for (const button of document.querySelectorAll("button[data-tool]")) {
  button.addEventListener("click", () => told(() => setTool(button.dataset.tool)));
}
for (const button of document.querySelectorAll("[data-form]")) {
  button.addEventListener("click", () => told(() => download(button.dataset.form)));
}
$("zip").addEventListener("click", async () => {
  $("zip").disabled = true; // one at a time
  await told(downloadAll);
  $("zip").disabled = false;
});
for (const id of ["add", "pick"]) $(id).addEventListener("click", () => $("files").click());
$("files").addEventListener("change", () => {
  const files = [...$("files").files];
  $("files").value = ""; // so that the same file can be chosen again
  addFiles(files);
});
for (const button of document.querySelectorAll("[data-example]")) {
  button.addEventListener("click", () => told(async () => {
    const name = button.dataset.example;
    const response = await ask(`static/examples/${name}`);
    await addFiles([new File([await response.blob()], name)]);
  }));
}
document.addEventListener("paste", (event) => addFiles([...event.clipboardData.files]));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  addFiles([...event.dataTransfer.files]);
});

// The service keeps nothing: what was painted and not downloaded would be gone.
window.addEventListener("beforeunload", (event) => {
  if (photos.some(({ mask }) => mask && !saved.has(mask))) event.preventDefault();
});

defaults = await (await ask("v1/settings")).json();
$("model").textContent = `model ${defaults.model}, version ${defaults.version}`;
$("bounds").textContent = `JPEG, PNG, BMP, TIFF or WebP, at most ${defaults.megabytes} MB and `
  + `${defaults.megapixels} megapixels. Photographs are worked on by this service and not kept.`;
for (const canvas of [stage.heat, stage.paint]) canvas.style.opacity = $("opacity").value;
show();
document.body.dataset.ready = "";
