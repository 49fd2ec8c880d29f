// The page: photographs in, outlines shown, corrected and downloaded.

import { ask, fromBase64, segment } from "./api.js";
import { Brush } from "./brush.js";
import { save, stemOf, table, zip } from "./files.js";
import { drawHeat, previewPath, readProbability } from "./preview.js";
import { Stage, bandPath, pathOf } from "./stage.js";

const SETTLE = 250; // milliseconds that a slider stands still before the server is asked
const PAN = 40;
const FLAGS = {
  empty: "No lesion was found.",
  "touches-border": "The lesion touches the photograph's edge: it may go on outside.",
  "several-candidates": "There are several candidates: click the right one.",
  "low-confidence": "The model is not sure of this outline: look closely.",
};
const ENDINGS = {
  "image/png": "_segmentation.png",
  "image/jpeg": "_overlay.jpg",
  "application/geo+json": "_outline.geojson",
  "image/svg+xml": "_outline.svg",
};

const $ = (id) => document.getElementById(id);
const photos = [];
let current = null;
let defaults = null;
let settling = 0;

const stage = new Stage($("stage"), { click: choose, stroke });
const brush = new Brush(stage.paint);

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

// ---- photographs in

async function addFiles(files) {
  for (const file of files) {
    const photo = {
      name: file.name || "pasted.png",
      blob: file,
      url: URL.createObjectURL(file),
      thresholds: { ...defaults.thresholds },
      at: null,
      mask: null,
      answer: null,
    };
    photos.push(photo);
    listPhoto(photo);
    document.body.removeAttribute("data-empty");
    await work(photo);
    if (!current || photos.length === 1) select(photo);
  }
  if (files.length > 1) select(photos.at(-files.length));
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

// Ask the server anew; a later question about the same photograph takes the place of an earlier one.
async function work(photo) {
  photo.asking?.abort();
  const asking = new AbortController();
  photo.asking = asking;
  say(`Looking at ${photo.name} …`);
  try {
    const include = photo.map ? [] : ["probability"];
    if (!photo.map && !(await shows(photo.url))) include.push("picture");
    const response = await segment(photo, { include, signal: asking.signal });
    const answer = await response.json();
    if (answer.probability) {
      photo.map = await readProbability(fromBase64(answer.probability, "image/png"));
    }
    if (answer.picture) {
      photo.url = URL.createObjectURL(fromBase64(answer.picture, "image/jpeg"));
      photo.button.querySelector("img").src = photo.url;
    }
    photo.answer = answer;
    photo.error = "";
    say("");
  } catch (error) {
    if (error.name === "AbortError") return;
    photo.error = error.message;
    say(`${photo.name}: ${error.message}`, true);
  }
  photo.button.classList.toggle("failed", Boolean(photo.error));
  if (photo === current) show();
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
  brush.end();
  setTool("move");
  current = photo;
  for (const one of photos) one.button.setAttribute("aria-current", String(one === photo));
  if (photo.answer) {
    const { width, height, orientation } = photo.answer;
    stage.show(photo.url, width, height, orientation);
  } else {
    stage.image.removeAttribute("src");
  }
  if (photo.error) say(`${photo.name}: ${photo.error}`, true);
  else say(photo.name);
  show();
}

// ---- what is shown

function show() {
  const photo = current;
  const answer = photo?.answer;
  for (const name of ["high", "low"]) setSlider(name, (photo ?? defaults).thresholds[name]);
  const flags = (answer?.flags ?? []).filter((flag) => flag !== "several-candidates" || !photo.at);
  $("flags").textContent = flags.map((flag) => FLAGS[flag]).join(" ");
  $("undo").disabled = !brush.strokes.length;
  for (const button of document.querySelectorAll(".downloads button, #reset")) button.disabled = !answer;
  showNumbers(answer);
  showSureness(answer);
  draw(answer ? pathOf(answer.outline) : "");
  stage.heat.hidden = !($("heat").checked && photo?.map);
  if (!stage.heat.hidden) drawHeat(stage.heat, photo.map);
  stage.element.dataset.state = answer ? "exact" : "none";
}

function draw(path) {
  const band = $("band").checked ? bandPath(current?.answer?.band) : "";
  stage.draw($("show").checked ? path : "", band);
}

function showNumbers(answer) {
  const perMm = Number($("scale").value);
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

function setSlider(name, value) {
  $(name).value = value;
  $(`${name}-value`).textContent = Number(value).toFixed(2);
}

// ---- what a person changes

function slide(name) {
  if (!current?.map) return;
  const value = Number($(name).value);
  const thresholds = current.thresholds;
  thresholds[name] = value;
  if (name === "high") thresholds.low = Math.min(thresholds.low, value);
  else thresholds.high = Math.max(thresholds.high, value);
  for (const one of ["high", "low"]) setSlider(one, thresholds[one]);
  leaveBrush();
  const { width, height } = current.answer;
  draw(previewPath(current.map, thresholds, current.at, [width, height]));
  stage.element.dataset.state = "preview";
  clearTimeout(settling);
  settling = setTimeout(work, SETTLE, current);
}

function choose(x, y) {
  if (!current?.answer) return;
  const { width, height } = current.answer;
  if (x < 0 || y < 0 || x >= width || y >= height) return;
  current.at = [x, y];
  leaveBrush();
  work(current);
}

function leaveBrush() {
  brush.end();
  current.mask = null;
}

function reset() {
  current.thresholds = { ...defaults.thresholds };
  current.at = null;
  leaveBrush();
  setTool("move");
  work(current);
}

async function setTool(tool) {
  if (tool !== "move" && !current?.answer) return;
  stage.setTool(tool);
  for (const button of document.querySelectorAll("[data-tool][role]")) {
    button.setAttribute("aria-checked", String(button.dataset.tool === tool));
  }
  if (tool === "move") return;
  const photo = current;
  await brush.begin(async () => (await segment(photo, { accept: "image/png" })).blob());
  stage.paint.style.opacity = $("opacity").value;
}

function stroke(points, ended) {
  if (!brush.base) return;
  if (brush.stroke(points, ended, stage.tool === "erase", Number($("brush").value))) painted();
}

async function painted() {
  const photo = current;
  photo.mask = brush.strokes.length ? await brush.mask() : null;
  await work(photo);
}

function undo() {
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
  const response = await segment(current, { accept: form });
  save(await response.blob(), stemOf(current.name) + ENDINGS[form]);
}

async function downloadAll() {
  const files = [];
  const rows = [];
  const names = new Set();
  const perMm = Number($("scale").value);
  for (const photo of photos) {
    let stem = stemOf(photo.name);
    for (let number = 2; names.has(stem); number += 1) stem = `${stemOf(photo.name)}-${number}`;
    names.add(stem);
    if (!photo.answer) {
      const columns = Object.keys(photos.find((one) => one.answer).answer.report);
      const row = Object.fromEntries(columns.map((column) => [column, ""]));
      rows.push({ ...row, photograph: photo.name, error: photo.error });
    } else {
      for (const [form, ending] of Object.entries(ENDINGS)) {
        files.push([stem + ending, await (await segment(photo, { accept: form })).blob()]);
      }
      const mask = stem + ENDINGS["image/png"];
      rows.push({ ...photo.answer.report, photograph: photo.name, mask });
    }
    if (perMm) rows.at(-1).pixels_per_mm = perMm;
  }
  files.push(["report.csv", table(rows)]);
  save(await zip(files), "dermseg.zip");
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
  n: () => step(1),
  p: () => step(-1),
  0: () => stage.fit(),
  "+": () => stage.zoom(1),
  "=": () => stage.zoom(1),
  "-": () => stage.zoom(-1),
  "[": () => { $("brush").value = Number($("brush").value) / 1.25; },
  "]": () => { $("brush").value = Number($("brush").value) * 1.25; },
};
const ARROWS = { ArrowLeft: [PAN, 0], ArrowRight: [-PAN, 0], ArrowUp: [0, PAN], ArrowDown: [0, -PAN] };

document.addEventListener("keydown", (event) => {
  if (typing(event)) return;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
    event.preventDefault();
    undo();
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === " " && event.target === stage.element) {
    event.preventDefault();
    alone(true);
  } else if (event.key in ARROWS && event.target === stage.element) {
    event.preventDefault();
    stage.pan(...ARROWS[event.key]);
  } else {
    KEYS[event.key.toLowerCase()]?.();
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
for (const name of ["show", "band", "heat"]) $(name).addEventListener("change", show);
$("scale").addEventListener("input", () => showNumbers(current?.answer));
$("opacity").addEventListener("input", () => {
  for (const canvas of [stage.heat, stage.paint]) canvas.style.opacity = $("opacity").value;
});
$("undo").addEventListener("click", undo);
$("reset").addEventListener("click", reset);
$("fit").addEventListener("click", () => stage.fit());
$("zoom-in").addEventListener("click", () => stage.zoom(1));
$("zoom-out").addEventListener("click", () => stage.zoom(-1));
for (const button of document.querySelectorAll("[data-tool][role]")) {
  button.addEventListener("click", () => told(() => setTool(button.dataset.tool)));
}
for (const button of document.querySelectorAll("[data-form]")) {
  button.addEventListener("click", () => told(() => download(button.dataset.form)));
}
$("zip").addEventListener("click", () => told(downloadAll));
for (const id of ["add", "pick"]) $(id).addEventListener("click", () => $("files").click());
$("files").addEventListener("change", () => addFiles([...$("files").files]));
for (const button of document.querySelectorAll("[data-example]")) {
  button.addEventListener("click", () => told(async () => {
    const name = button.dataset.example;
    const response = await ask(`/static/examples/${name}`);
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

defaults = await (await ask("/v1/settings")).json();
$("model").textContent = `model ${defaults.model}, version ${defaults.version}`;
$("bounds").textContent = `JPEG, PNG, BMP, TIFF or WebP, at most ${defaults.megabytes} MB and `
  + `${defaults.megapixels} megapixels. Photographs are worked on by this service and not kept.`;
for (const canvas of [stage.heat, stage.paint]) canvas.style.opacity = $("opacity").value;
show();
document.body.dataset.ready = "";
