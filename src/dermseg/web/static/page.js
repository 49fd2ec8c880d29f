// The page: photographs in, outlines shown, corrected and downloaded.

import { ask, fromBase64, rulerIn, segment } from "./api.js";
import { droppedFiles, save, stemOf, table, zip } from "./files.js";
import { drawHeat } from "./heat.js";
import { STYLES, showFlags, showNumbers, showSureness } from "./panel.js";
import { Photo } from "./photo.js";
import { endPreview, preview } from "./preview.js";
import { Session, allowed } from "./session.js";
import { bandPath, bordersOf, pathOf } from "./stage.js";
import { Strip } from "./strip.js";
import { Tools, typing } from "./tools.js";

const REST = 250; // milliseconds that a slider stands still before the server is asked
const ENDINGS = {
  "image/png": "_segmentation.png",
  "image/jpeg": "_overlay.jpg",
  "application/geo+json": "_outline.geojson",
  "image/svg+xml": "_outline.svg",
};

const $ = (id) => document.getElementById(id);
const scales = new Map(); // pixels per millimetre, by the photographs' size
const saved = new WeakSet(); // painted masks that have been downloaded
let current = null;
let staged = null; // the photograph that the stage holds
let defaults = null; // what holds with the model that was chosen last
let lastChoice = null; // stands for the model that was chosen last, while it is loaded
const facts = new Map(); // the same of every model that was chosen

const tools = new Tools($("stage"), $("toolbar"), {
  click: choose,
  ready: () => answerOf(current),
  mask: () => maskOf(current),
  painted,
  travel: (by) => told(() => travel(by)),
  change,
  fail: (error) => say(error.message, true),
  measured,
});
const { stage, brush } = tools;
document.querySelector("[data-tool=move]").title = "Move, or click a lesion that was not found (V)";
const strip = new Strip($("strip"), select);
const session = new Session({
  kept: (count) => { $("kept").textContent = count ? `Photographs kept: ${count}.` : ""; },
  fail: (error) => say(`The session is not kept: ${error?.message ?? error}`, true),
});

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
  if (!files.length) return;
  if (!defaults) {
    say("The page is not ready. Wait a moment, or reload it.", true);
    return;
  }
  const added = files.map((file) => new Photo(file, defaults.model, defaults.style));
  for (const photo of added) {
    strip.add(photo);
    session.keep(photo);
  }
  document.body.removeAttribute("data-empty");
  select(added[0]);
  for (const photo of added) if (strip.photos.includes(photo)) await work(photo);
}

// What was kept before the page was loaded again. Models that are offered no more, and answers of
// another version, are asked for again.
async function resume() {
  const found = await session.read();
  for (const { id, name, blob, version, ...kept } of found) {
    for (const edit of kept.edits) {
      const offered = defaults.models.includes(edit.model);
      if (!offered) Object.assign(edit, { model: defaults.model, thresholds: null });
      if (!offered || version !== defaults.version) Object.assign(edit, { answer: null, map: null });
      await learn(edit.model);
    }
    const file = new File([blob], name, { type: blob.type });
    const photo = new Photo(file, defaults.model, defaults.style);
    photo.restore(kept);
    takeScale(photo);
    session.adopt(photo, id);
    strip.add(photo);
  }
  if (!found.length) return;
  session.handlers.kept(found.length);
  document.body.removeAttribute("data-empty");
  select(strip.photos[0]);
  for (const photo of strip.photos) if (!photo.last) await work(photo);
}

// Ask the server again, after `wait` milliseconds; a later question about the same photograph takes
// the place of an earlier one.
async function work(photo, wait = 0) {
  photo.endAsking();
  const asking = new AbortController();
  photo.asking = asking;
  const { edit } = photo;
  const looking = `Looking at ${photo.name} …`;
  let heard = "";
  try {
    if (wait) await pause(wait);
    asking.signal.throwIfAborted();
    if (photo === current) say(looking);
    const include = edit.mask || edit.map ? [] : ["probability"];
    if (!photo.last && !(await shows(photo.url))) include.push("picture");
    const response = await segment(photo.question, { include, signal: asking.signal });
    const answer = await response.json();
    asking.signal.throwIfAborted();
    if (answer.picture) {
      photo.showAs(fromBase64(answer.picture, "image/jpeg"));
      photo.button.querySelector("img").src = photo.url;
    }
    heard = take(photo, answer);
    if (!photo.edit.answer) return work(photo); // of what there was before a click
    if ($("status").textContent === looking) say(heard); // and nothing else that was said meanwhile
  } catch (error) {
    if (asking.signal.aborted) return undefined;
    photo.error = error.message || "The service does not say what is wrong.";
    say(`${photo.name}: ${photo.error}`, true);
  }
  photo.asking = null;
  mark(photo);
  if (photo === current) show();
  return undefined;
}

// An answer to a photograph's last edit. A click that finds nothing, or what is there already, has
// not been made; what is to be said of it is returned.
function take(photo, answer) {
  const { edit, last } = photo;
  if (photo === current) endPreview();
  if (edit.clicked && answer.flags.includes("empty")) {
    photo.drop();
    return "Nothing was found at this place. The brush and the lasso outline what you see there.";
  }
  if (edit.clicked && String(answer.outline) === String(last?.outline)) {
    photo.drop();
    return "";
  }
  if (answer.probability) edit.map = fromBase64(answer.probability, "image/png");
  edit.answer = photo.last = answer;
  takeScale(photo);
  edit.open = false;
  return "";
}

// Say in the strip what is known of a photograph, and keep it, unless it has been removed meanwhile.
function mark(photo) {
  if (!strip.photos.includes(photo)) return;
  strip.mark(photo);
  session.keep(photo);
  label();
}

// Which photograph is looked at.
function label() {
  if (!current) return;
  $("name").textContent = $("name").title = current.name;
  $("progress").textContent = strip.progress(current);
}

// The answer in the other style, asked for once for each place.
async function otherAnswer(photo) {
  const style = otherStyle(photo.edit.style);
  const key = `${photo.edit.model} ${style} ${photo.edit.at}`;
  if (!photo.others.has(key)) {
    const asked = segment({ ...photo.question, style, thresholds: null, mask: null })
      .then((response) => response.json());
    asked.catch(() => photo.others.delete(key));
    photo.others.set(key, asked);
  }
  return photo.others.get(key);
}

function otherStyle(style) {
  return Object.keys(defaults.styles).find((name) => name !== style);
}

function factsOf(edit) {
  return facts.get(edit?.model) ?? defaults;
}

function thresholdsOf(edit) {
  return edit?.thresholds ?? factsOf(edit).styles[edit?.style ?? defaults.style];
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
  if (current) tools.leave();
  current = photo;
  staged = null;
  stage.image.removeAttribute("src");
  strip.select(photo);
  label();
  say(photo.last ? photo.name : `Looking at ${photo.name} …`);
  show();
  if (photo.error) work(photo); // what was wrong may be so no more
}

// ---- what is shown

// An old answer stands until the new one comes; after an error it is none to the new question.
function answerOf(photo) {
  return photo?.error ? null : photo?.last;
}

function show() {
  const photo = current;
  const answer = answerOf(photo);
  if (answer && staged !== photo) {
    stage.show(photo.url, answer.width, answer.height, answer.orientation);
    staged = photo;
    $("scale").value = scaleOf(answer) || "";
  }
  setSliders();
  showStyle();
  showFlags(answer, photo?.edit.at);
  showNumbers(answer, answer ? scaleOf(answer) : 0);
  showSureness(answer);
  $("undo").disabled = !photo?.edits[photo.place - 1];
  $("redo").disabled = !photo?.edits[photo.place + 1];
  for (const control of document.querySelectorAll("[data-form], [data-edit], #scale, #ruler")) {
    control.disabled = !answer;
  }
  $("reset").disabled = !photo?.last;
  $("done").disabled = !answer;
  $("done").setAttribute("aria-pressed", String(Boolean(photo?.done)));
  showOffer();
  draw(answer);
  if (photo) lookForRuler(photo);
  const map = photo?.edit.map;
  stage.heat.hidden = !($("heat").checked && map);
  if (!stage.heat.hidden) told(() => drawHeat(stage.heat, map, () => map === current?.edit.map));
  stage.element.dataset.state = !answer ? "none" : photo.edit.answer ? "exact" : "preview";
}

// Draw an answer's borders and candidates, with the band and the other style if they are asked for.
function draw(answer) {
  const shown = $("show").checked && answer;
  const other = shown && bothShown() ? current.other : null;
  $("legend").hidden = !other;
  stage.element.classList.toggle("bare", !$("show").checked);
  stage.draw({
    outline: shown ? bordersOf(answer) : "",
    candidates: shown ? answer.candidates.map(({ outline }) => pathOf(outline)).join("") : "",
    bands: $("band").checked ? bandPath(answerOf(current)?.band) : "",
    other: other ? bordersOf(other) : "",
    scale: shown ? lineOf(offerOf(current)) : "",
  });
}

function bothShown() {
  return $("both").checked && answerOf(current) && !current.edit.mask;
}

// Which style is drawn, what makes it, and, when it has come, the outline in the other one.
function showStyle() {
  const photo = current;
  const style = photo?.edit.style ?? defaults.style;
  for (const radio of document.querySelectorAll("[name=style]")) {
    radio.checked = radio.value === style;
  }
  const words = {
    network: "The network draws either style.",
    thresholds: "One probability, with a threshold for each style.",
  };
  $("style-words").textContent = words[factsOf(photo?.edit).style_by];
  $("chooser").value = photo?.edit.model ?? defaults.model;
  $("model").textContent = `model ${$("chooser").value}, version ${defaults.version}`;
  [...$("legend").children].forEach((item, place) => {
    item.textContent = STYLES[place ? otherStyle(style) : style];
  });
  if (!photo) return;
  photo.other = null;
  if (!bothShown()) return;
  told(async () => {
    const { edit } = photo;
    const other = await otherAnswer(photo);
    if (photo !== current || photo.edit !== edit) return;
    photo.other = other;
    draw(answerOf(photo));
  });
}

function setSliders() {
  const thresholds = thresholdsOf(current?.edit);
  for (const name of ["high", "low"]) {
    $(name).value = thresholds[name];
    $(`${name}-value`).textContent = Number(thresholds[name]).toFixed(2);
  }
}

function sizeOf({ width, height }) {
  return `${width} x ${height}`;
}

// Pixels per millimetre, of all photographs of an answer's size; 0 where nobody has said.
function scaleOf({ width, height, report }) {
  return scales.get(sizeOf({ width, height })) ?? (Number(report?.pixels_per_mm) || 0);
}

// The report's columns in millimetres, where the scale is known.
function inMillimetres(answer) {
  const scale = scaleOf(answer);
  const measure = (value, power) => (scale ? Number((value / scale ** power).toFixed(3)) : "");
  return {
    pixels_per_mm: scale || "",
    area_mm2: measure(answer.area, 2),
    perimeter_mm: measure(answer.perimeter, 1),
    diameter_mm: measure(answer.diameter, 1),
  };
}

// A line of so many pixels lies over a ruler in the photograph.
function measured(pixels) {
  const millimetres = Number($("ruler-length").value);
  if (!(millimetres > 0)) return say("Say how many millimetres the line covers.", true);
  $("scale").value = Number((pixels / millimetres).toPrecision(4));
  setScale();
  return say(`${$("scale").value} pixels on a millimetre, for photographs of this size.`);
}

// A photograph without a scale is looked at for a ruler, once it has its outline. The result is
// offered: how far apart the ticks are, a person knows.
async function lookForRuler(photo) {
  if (photo.ruler !== undefined || photo.asking || !photo.edit.answer || scaleOf(photo.last)) return;
  photo.ruler = null;
  photo.ruler = await rulerIn(photo.blob).catch(() => null); // nobody asked for it
  if (photo === current && photo.ruler) show();
}

function offerOf(photo) {
  return photo?.last && !scaleOf(photo.last) ? photo.ruler : null;
}

function lineOf(offer) {
  if (!offer) return "";
  const { start, end } = offer;
  return `M${start.x + 0.5} ${start.y + 0.5}L${end.x + 0.5} ${end.y + 0.5}`;
}

function showOffer() {
  const offer = offerOf(current);
  $("ruler-offer").hidden = !offer;
  if (!offer) return;
  const { millimetres, pixels_per_mm: scale } = offer;
  $("ruler-offer").firstElementChild.textContent = `A ruler? If the blue line is `
    + `${millimetres} mm long, a millimetre is ${Number(scale.toFixed(1))} px.`;
}

// Take the scale that is offered, or say that there is no ruler.
function answerOffer(taken) {
  if (taken) {
    $("scale").value = Number(current.ruler.pixels_per_mm.toPrecision(4));
    setScale();
  }
  current.ruler = null;
  show();
}

function setScale() {
  const value = Number($("scale").value);
  const scale = value > 0 ? value : 0;
  const size = sizeOf(current.last);
  scales.set(size, scale);
  for (const photo of strip.photos) {
    if (!photo.last || sizeOf(photo.last) !== size) continue;
    photo.scale = scale;
    session.keep(photo);
  }
  showNumbers(current.last, scaleOf(current.last));
}

// A scale that was kept with a photograph holds until a person says another.
function takeScale(photo) {
  if (!photo.scale || !photo.last) return;
  const size = sizeOf(photo.last);
  if (!scales.has(size)) scales.set(size, photo.scale);
}

// ---- what a person changes: each is an edit, and can be undone

function setStyle(style) {
  if (!current || style === current.edit.style || painting()) return showStyle();
  tools.leave();
  current.push({ style, thresholds: null, map: null });
  return work(current);
}

// What holds with a model.
async function learn(model) {
  if (!facts.has(model)) {
    const query = new URLSearchParams({ model });
    facts.set(model, await (await ask(`v1/settings?${query}`)).json());
  }
  return facts.get(model);
}

// Another model for this photograph, and for those that are added from now on. It is loaded when it
// is chosen first; what was chosen before it, and comes later, is wanted no more.
async function setModel(model) {
  const photo = current;
  const choice = {};
  lastChoice = choice;
  if (photo && model === photo.edit.model) {
    say(""); // that another is loaded
    return showStyle();
  }
  if (photo && painting()) return showStyle();
  tools.leave();
  say(`Loading ${model} …`);
  try {
    const learned = await learn(model);
    if (choice !== lastChoice) return undefined;
    defaults = learned;
  } catch (error) {
    if (choice !== lastChoice) return undefined;
    showStyle(); // the model that holds
    throw error;
  }
  say("");
  if (!photo || photo !== current) return show();
  photo.push({ model, thresholds: null, map: null });
  return work(photo);
}

// While a slider moves, one edit follows it.
function slide(name) {
  const value = Number($(name).value);
  const photo = current;
  if (photo?.last && !painting() && photo.edit.map) {
    tools.leave();
    const { high, low, rule } = thresholdsOf(photo.edit);
    const thresholds = name === "high"
      ? { rule, high: value, low: Math.min(low, value) }
      : { rule, high: Math.max(high, value), low: value };
    if (!photo.edit.open) photo.push({ open: true });
    photo.edit.thresholds = thresholds;
    stage.element.dataset.state = "preview";
    const { width, height } = photo.last;
    preview({ ...photo.edit, width, height }, (drawn) => {
      if (photo === current && photo.edit.open) draw(drawn);
    });
    work(photo, REST);
  }
  setSliders();
}

function choose(x, y) {
  const answer = answerOf(current);
  if (!answer) return;
  const { width, height } = answer;
  if (x < 0 || y < 0 || x >= width || y >= height || painting()) return;
  tools.leave();
  if (current.edit.clicked && !current.edit.answer) current.drop(); // the newest click wins
  current.push({ at: [x, y], map: null, clicked: true });
  work(current);
}

function nextCandidate() {
  const candidate = answerOf(current)?.candidates[0];
  if (candidate) choose(candidate.x, candidate.y);
}

// Whether a person's work would be covered by asking the model again; if so, what to do is said.
function painting() {
  tools.lift();
  if (!current.edit.mask) return false;
  say("What you painted is kept. Reset, or undo, brings the model's outline back.", true);
  return true;
}

function reset() {
  tools.leave();
  current.push({ thresholds: null, at: null, mask: null, map: null });
  work(current);
}

// The mask as it stands, a PNG: a person's, or the model's.
function maskOf(photo) {
  const { edit } = photo;
  if (edit.mask) return edit.mask;
  edit.kept ??= segment(photo.question, { accept: "image/png" }).then((got) => got.blob());
  edit.kept.catch(() => { edit.kept = null; });
  return edit.kept;
}

function painted() {
  current.push({ mask: brush.mask() });
  session.keep(current);
  work(current);
}

// Change the mask as a whole, {edit, by}.
async function change(asked) {
  const photo = current;
  const { edit } = photo;
  const answer = await (await segment(photo.question, { include: ["mask"], change: asked })).json();
  if (photo.edit !== edit) return;
  photo.endAsking(); // an answer to what was there before would stand for this one
  photo.push({ mask: Promise.resolve(fromBase64(answer.mask, "image/png")) });
  photo.edit.answer = photo.last = answer;
  mark(photo);
  if (photo !== current) return;
  say("");
  await moved();
}

// Back (-1) or forth (1) in what was done to the photograph.
async function travel(by) {
  if (!current) return;
  if (tools.corners.length) return tools.endLasso();
  tools.lift();
  const photo = current;
  if (!photo.move(by)) return;
  photo.endAsking();
  if (photo.edit.answer) photo.last = photo.edit.answer;
  mark(photo);
  endPreview();
  say("");
  const inHand = brush.base && (by < 0 ? brush.undo() : brush.redo());
  if (!photo.edit.answer) work(photo);
  await moved(inHand);
}

// Show another edit; a brush in hand goes on from its mask.
async function moved(inHand = false) {
  show();
  if (inHand) return;
  brush.end();
  if (tools.paints) await tools.take();
}

function step(by) {
  const photo = strip.beside(current, by);
  if (photo) select(photo);
  else if (current) say(`This is the ${by > 0 ? "last" : "first"} photograph that is shown.`);
}

// A person is done with a photograph, and goes on to the next; or is not after all.
function setDone() {
  if (!answerOf(current)) return;
  tools.lift();
  const photo = current;
  const next = strip.beside(photo, 1);
  photo.done = !photo.done;
  mark(photo);
  show();
  if (photo.done && next) select(next);
}

// Take a photograph off the page. What was painted and not downloaded would be gone.
function remove() {
  const photo = current;
  if (!photo) return;
  tools.lift();
  const unsaved = photo.edit.mask && !saved.has(photo.edit.mask);
  if (unsaved && !confirm(`Remove ${photo.name} with what was painted?`)) return;
  photo.asking?.abort();
  const next = strip.beside(photo, 1) ?? strip.beside(photo, -1);
  tools.leave();
  strip.remove(photo);
  session.drop(photo);
  current = null;
  URL.revokeObjectURL(photo.url);
  if (next) return select(next);
  document.body.dataset.empty = "";
  say("");
  strip.select(null);
  return show();
}

function filter() {
  strip.filter = $("filter").value;
  strip.sorted = $("sort").value === "sure";
  strip.arrange();
  if (current) strip.select(current);
  label();
}

// ---- files out

async function download(form) {
  const { name, question } = current; // another may be current when the file comes
  const response = await segment(question, { accept: form });
  save(await response.blob(), stemOf(name) + ENDINGS[form]);
  if (question.mask && form === "image/png") saved.add(question.mask);
}

// A photograph's files in every form; none, and its error noted, where one cannot be had.
async function filesOf(photo, stem) {
  const files = [];
  try {
    for (const [form, ending] of Object.entries(ENDINGS)) {
      const response = await segment(photo.question, { accept: form });
      files.push([stem + ending, await response.blob()]);
    }
    return files;
  } catch (error) {
    photo.error = error.message;
    return [];
  }
}

async function downloadAll() {
  for (const photo of strip.photos) if (photo.error) work(photo); // what was wrong may be so no more
  const open = () => strip.photos.filter((one) => one.asking || !(one.edit.answer || one.error)).length;
  while (open()) {
    say(`The ZIP waits for photographs in work: ${open()} …`);
    await pause(REST);
  }
  say("Making the ZIP …");
  // As they are, whatever is painted meanwhile.
  const all = strip.photos.map(({ name, error, edit, question }) =>
    ({ name, error, question, answer: edit.answer }));
  const report = all.find((one) => one.answer)?.answer.report ?? { photograph: "", error: "" };
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
      rows.push({ photograph: photo.name, error: photo.error });
    } else {
      const mask = stem + ENDINGS["image/png"];
      const measures = inMillimetres(photo.answer);
      rows.push({ ...photo.answer.report, photograph: photo.name, mask, ...measures });
    }
  }
  const columns = new Set([...Object.keys(report), "pixels_per_mm"]);
  files.push(["report.csv", table([...columns], rows)]);
  save(await zip(files), "dermseg.zip");
  const done = all.filter((photo) => !photo.error);
  for (const { question } of done) if (question.mask) saved.add(question.mask);
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

const KEYS = {
  c: nextCandidate,
  o: () => $("show").click(),
  w: () => $("band").click(),
  h: () => $("heat").click(),
  t: () => current && setStyle(otherStyle(current.edit.style)),
  d: () => $("both").click(),
  x: setDone,
  delete: remove,
  n: () => step(1),
  p: () => step(-1),
};
const ONCE = ["x", "delete"]; // held down, they would go through the whole strip

document.addEventListener("keydown", (event) => {
  if (typing(event) || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  if (event.repeat && ONCE.includes(key)) return;
  told(async () => KEYS[key]?.());
});
for (const kind of ["pointerdown", "pointerup", "pointerleave", "keydown", "keyup", "blur"]) {
  $("before").addEventListener(kind, (event) => {
    if (event.key && event.key !== " " && event.key !== "Enter") return;
    tools.alone(kind.endsWith("down"));
  });
}

for (const name of ["high", "low"]) $(name).addEventListener("input", () => slide(name));
for (const radio of document.querySelectorAll("[name=style]")) {
  radio.addEventListener("change", () => setStyle(radio.value));
}
$("chooser").addEventListener("change", () => told(() => setModel($("chooser").value)));
for (const name of ["show", "band", "heat", "both"]) $(name).addEventListener("change", show);
$("scale").addEventListener("input", setScale);
$("use-ruler").addEventListener("click", () => answerOffer(true));
$("no-ruler").addEventListener("click", () => answerOffer(false));
$("ruler").addEventListener("click", () => tools.choose(stage.tool === "ruler" ? "move" : "ruler"));
$("opacity").addEventListener("input", () => {
  for (const canvas of [stage.heat, stage.paint]) canvas.style.opacity = $("opacity").value;
});
$("done").addEventListener("click", setDone);
$("remove").addEventListener("click", remove);
for (const id of ["filter", "sort"]) $(id).addEventListener("change", filter);
$("next-candidate").addEventListener("click", nextCandidate);
$("reset").addEventListener("click", reset);
for (const button of document.querySelectorAll("[data-form]")) {
  button.addEventListener("click", () => told(() => download(button.dataset.form)));
}
$("zip").addEventListener("click", async () => {
  $("zip").disabled = true; // one at a time
  await told(downloadAll);
  $("zip").disabled = false;
});
for (const id of ["add", "pick"]) $(id).addEventListener("click", () => $("files").click());
$("camera").addEventListener("click", () => $("taken").click());
for (const id of ["files", "taken"]) {
  $(id).addEventListener("change", () => {
    const files = [...$(id).files];
    $(id).value = ""; // so that the same file can be chosen again
    addFiles(files);
  });
}
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
  told(async () => {
    const files = await droppedFiles(event.dataTransfer);
    if (!files.length) say("There is no photograph in this folder.", true);
    await addFiles(files);
  });
});

$("keep").parentElement.parentElement.hidden = !allowed;
$("keep").addEventListener("change", () => {
  if (!$("keep").checked) return session.erase();
  session.switchOn();
  return strip.photos.forEach((photo) => session.keep(photo));
});
$("erase").addEventListener("click", () => {
  $("keep").checked = false;
  session.erase();
});

// The service keeps nothing: what was painted, and neither downloaded nor kept, would be gone.
window.addEventListener("beforeunload", (event) => {
  const lost = (photo) => photo.edit.mask && !saved.has(photo.edit.mask) && !session.holds(photo);
  if (strip.photos.some(lost)) event.preventDefault();
});

told(async () => {
  defaults = await (await ask("v1/settings")).json();
  facts.set(defaults.model, defaults);
  $("chooser").replaceChildren(...defaults.models.map((name) => new Option(name)));
  $("chooser").parentElement.hidden = defaults.models.length < 2;
  $("bounds").textContent = `JPEG, PNG, TIFF, WebP and others, at most ${defaults.megabytes} MB and `
    + `${defaults.megapixels} megapixels. Photographs are worked on by this service and not kept.`;
  for (const canvas of [stage.heat, stage.paint]) canvas.style.opacity = $("opacity").value;
  show();
  session.version = defaults.version;
  $("keep").checked = session.on;
  await told(resume);
  document.body.dataset.ready = "";
});
