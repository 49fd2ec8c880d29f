// The review of a folder: look, decide with a key, go on.

import { ask, drawn, fromBase64 } from "./api.js";
import { save } from "./files.js";
import { flagWords, list, showOffers } from "./panel.js";
import { memory } from "./session.js";
import { bandPath, bordersOf } from "./stage.js";
import { Tools, typing } from "./tools.js";

const AHEAD = 3; // photographs fetched before they are looked at
const LOOK = 300; // milliseconds in which nobody has looked: a second click is the first one's
const KEPT = { corrected: "accepted" }; // what leaves a decision as it is
const FILTERS = {
  all: () => true,
  open: (item) => !item.decision,
  flagged: (item) => item.flags.length > 0,
  noted: (item) => item.note !== "",
  accepted: (item) => item.decision === "accepted",
  corrected: (item) => item.decision === "corrected",
  rejected: (item) => item.decision === "rejected",
};
const $ = (id) => document.getElementById(id);
const tools = new Tools($("stage"), $("toolbar"), {
  ready: visible,
  mask: async () => (await ask(`v1/review/${place}/mask`)).blob(),
  painted: follow,
  travel,
  change,
  fail: (error) => say(error.message, true),
  held: () => busy, // what is being saved is on its way
});
const { stage, brush } = tools;
const loaded = new Map();
let defaults = null; // what the service begins with
let items = [];
let place = 0;
let busy = false;
let since = 0; // when the present photograph appeared
let looked = 0; // milliseconds that it was looked at, up to `from`
let from = 0;
let following = new AbortController(); // the question about what is painted
let drawnLast = null; // the mask and the photograph
let style = ""; // in which the model's outline was taken last

// Nothing is decided or painted about a mask that is not on the screen.
function visible() {
  return stage.element.dataset.number === String(place);
}

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

function load(number) {
  if (!loaded.has(number)) {
    const address = `v1/review/${number}`;
    const both = Promise.all([
      ask(address).then((response) => response.json()),
      ask(`${address}/photograph`).then((response) => response.blob()),
    ]).then(([shown, blob]) => ({ ...shown, url: URL.createObjectURL(blob) }));
    both.catch(() => loaded.delete(number));
    loaded.set(number, both);
  }
  return loaded.get(number);
}

function forget(number) {
  const before = loaded.get(number);
  loaded.delete(number);
  before?.then(({ url }) => URL.revokeObjectURL(url), () => {});
}

async function show(number) {
  place = number;
  const soon = ahead(number);
  for (const known of loaded.keys()) {
    if (Math.abs(known - number) > AHEAD && !soon.includes(known)) forget(known);
  }
  tools.leave();
  following.abort();
  delete stage.element.dataset.number;
  stage.image.removeAttribute("src");
  stage.draw({});
  describe();
  const item = items[number];
  $("note").value = item.note;
  try {
    const shown = await load(number);
    if (place !== number) return;
    stage.show(shown.url, shown.width, shown.height, shown.orientation);
    draw(shown, shown);
    stage.element.dataset.number = number;
    style = defaults.style;
    describe();
    since = from = performance.now();
    looked = 0;
    say(item.decision ? `${item.decision} before` : "");
  } catch (error) {
    if (place !== number) return;
    say(`${item.name}: ${error.message}`, true);
  }
  for (const next of soon) load(next);
}

// The masks that the filter lets through, from a place on (1) or back (-1).
function* beside(number, by) {
  const isShown = FILTERS[$("filter").value];
  for (let next = number + by; items[next]; next += by) if (isShown(items[next])) yield next;
}

function ahead(number) {
  const soon = [];
  for (const next of beside(number, 1)) if (soon.push(next) === AHEAD) break;
  return soon;
}

// Go to the nearest mask that the filter lets through, onwards first.
async function filter() {
  const nearest = () => beside(place, 1).next().value ?? beside(place, -1).next().value;
  if (FILTERS[$("filter").value](items[place])) return describe();
  if (nearest() === undefined) return say("There is no such mask.", true);
  if (painted() || !(await keptNote())) return undefined;
  return show(nearest() ?? place); // another filter may have been chosen meanwhile
}

// Draw a mask's borders, and the band of the photograph.
function draw(mask, photograph) {
  drawnLast = [mask, photograph];
  stage.draw({
    outline: $("show").checked ? bordersOf(mask) : "",
    bands: $("band").checked ? bandPath(photograph.band) : "",
  });
  const said = showOffers(mask.outlines.length, mask.holes.length);
  $("flags").textContent = [...items[place].flags.map(flagWords), ...said].join(" ");
  stage.element.dataset.state = "exact";
}

// The outline follows what is painted; a later question takes the place of an earlier one.
async function follow() {
  describe();
  following.abort();
  following = new AbortController();
  const { signal } = following;
  stage.element.dataset.state = "preview";
  try {
    const shown = await load(place);
    const mask = brush.strokes.length ? await drawn(await brush.mask(), { signal }) : shown;
    if (!signal.aborted) draw(mask, shown);
  } catch (error) {
    if (!signal.aborted) say(error.message, true);
  }
}

// Put another mask, which `fetch` brings for the one in hand, in its place; not if it has changed
// meanwhile.
async function replace(fetch) {
  await tools.take();
  if (!brush.base) return;
  const number = place;
  const last = brush.strokes.at(-1);
  const mask = await fetch();
  if (place !== number || brush.strokes.at(-1) !== last || busy) return;
  await brush.replace(mask);
  follow();
}

function change(asked) {
  return replace(async () => {
    const answer = await drawn(await brush.mask(), { change: asked });
    return fromBase64(answer.mask, "image/png");
  });
}

function setStyle(name) {
  if (!visible()) return;
  tools.lift();
  style = name;
  const address = `v1/review/${place}/mask?style=${name}`;
  told(() => replace(async () => (await ask(address)).blob()));
}

function describe() {
  const item = items[place];
  const decided = items.filter((one) => one.decision).length;
  if ($("name").textContent !== item.name) $("name").textContent = item.name; // said aloud
  $("count").textContent = `${place + 1} of ${items.length}, ${decided} decided`;
  $("progress").max = items.length;
  $("progress").value = decided;
  const facts = [
    ["Decision", item.decision || "none yet"],
  ];
  if (item.reviewer) facts.push(["Reviewer", item.reviewer]);
  if (item.seconds) facts.push(["Looked at for", `${item.seconds.toFixed(0)} s`]);
  const sure = item.confidence;
  if (sure) {
    facts.push(["Predicted Jaccard", sure.jaccard.toFixed(2)]);
    facts.push(["90 % interval", `${sure.low.toFixed(2)} to ${sure.high.toFixed(2)}`]);
  } else {
    facts.push(["Unsure", `${(100 * item.unsure).toFixed(1)} %`]);
  }
  list("facts", facts);
  $("undo").disabled = $("correct").disabled = !brush.strokes.length;
  $("withdraw").disabled = !item.decision;
  $("redo").disabled = !brush.undone.length;
  for (const button of document.querySelectorAll("[data-edit], [data-style]")) {
    button.disabled = !visible();
  }
}

// What is kept with a decision: who, why, and how long it took.
function remark() {
  const seconds = (looked + performance.now() - from) / 1000;
  return { reviewer: $("reviewer").value.trim(), note: $("note").value.trim(), seconds };
}

// Write a decision down; says whether it is kept.
async function send(decision, mask = null) {
  if (busy) return false; // a key held down decides once
  busy = true;
  const number = place;
  const address = `v1/review/${number}`;
  const changed = mask || items[number].decision === "corrected";
  const said = { decision, ...remark() };
  const put = async (path, type, body) => {
    const headers = { "Content-Type": type, "If-Match": `"${items[number].version}"` };
    items[number] = await (await ask(path, { method: "PUT", headers, body })).json();
  };
  try {
    if (mask) await put(`${address}/mask`, "image/png", await mask);
    await put(address, "application/json", JSON.stringify(said));
    return true;
  } catch (error) {
    say(error.message, true);
    return false;
  } finally {
    if (changed) forget(number);
    busy = false;
  }
}

async function decide(decision, mask = null) {
  const number = place;
  if (!(await send(decision, mask))) return;
  if (place !== number) describe(); // someone has gone on already
  else {
    const next = decision ? beside(number, 1).next().value : undefined;
    await show(next ?? number);
    if (decision && next === undefined) {
      const left = items.filter((item) => !item.decision).length;
      say(left ? `That was the last mask. Undecided: ${left}.`
        : "That was the last mask. Download what you kept below Results.");
    }
  }
}

function painted() {
  if (!brush.touched) return false;
  say("Save the correction (S), or undo it, first.", true);
  return true;
}

function put(decision) {
  if (painted() || !visible()) return;
  const corrected = items[place].decision === "corrected";
  if (corrected && decision !== "accepted" && !confirm("Throw the corrected mask away?")) return;
  decide(decision);
}

function correct() {
  tools.lift();
  if (!brush.strokes.length || !visible()) return;
  decide("accepted", brush.mask()); // which keeps a corrected mask
}

// Back (-1) or forth (1) in the strokes.
function travel(by) {
  if (tools.corners.length) return tools.endLasso();
  if (!visible()) return undefined;
  tools.lift();
  if (by < 0) brush.undo();
  else brush.redo();
  return follow();
}

// Keep a note that no decision has taken along; says whether none is left.
async function keptNote() {
  return !noted() || send(KEPT[items[place].decision] ?? items[place].decision);
}

async function go(by) {
  const next = beside(place, by).next().value;
  if (painted()) return;
  if (next === undefined) say(`This is the ${by > 0 ? "last" : "first"} mask that is shown.`);
  else if (await keptNote()) show(next);
}

// What was accepted, in the chosen form.
async function exportKept() {
  const form = $("form").value;
  say("Making the ZIP …");
  const response = await ask(`v1/review/accepted?form=${form}`);
  save(await response.blob(), `accepted-${form}.zip`);
  say("");
}

// How far every two readers agree; never what another decided about a mask.
async function compareReaders() {
  const found = await (await ask("v1/review/agreement")).json();
  const nameOf = (name) => name || "the unnamed reader";
  const rows = found.flatMap((each) => [
    ["Readers", `${nameOf(each.first)}, ${nameOf(each.second)}`],
    ["Decided alike", `${each.alike} of ${each.decided}, kappa ${each.kappa_of_decisions.toFixed(2)}`],
    ["Masks of both", each.compared],
    ["Mean Jaccard", each.jaccard?.toFixed(3) ?? "–"],
    ["Kappa over pixels", each.kappa?.toFixed(3) ?? "–"],
  ]);
  list("agreement", rows);
  if (!rows.length) say("Nobody else has reviewed these masks: a second reader starts with --reader NAME.");
}

function told(doing) {
  doing().catch((error) => say(error.message, true));
}

// Whether there is a note that no decision has taken along.
function noted() {
  return $("note").value.trim() !== (items[place]?.note ?? "");
}

const KEYS = {
  a: () => put("accepted"),
  r: () => put("rejected"),
  s: correct,
  n: () => go(1),
  p: () => go(-1),
  u: () => items[place]?.decision && put(""),
  m: () => $("note").focus(),
  o: () => $("show").click(),
  w: () => $("band").click(),
  t: () => visible() && setStyle(Object.keys(defaults.styles).find((name) => name !== style)),
};
document.addEventListener("keydown", (event) => {
  if (typing(event)) {
    if (event.key === "Enter" || event.key === "Escape") stage.element.focus();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const act = KEYS[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault(); // the letter would be written into the note
  act();
});
// What nobody can see is not looked at.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) looked += performance.now() - from;
  from = performance.now();
});
for (const [id, key] of [["accept", "a"], ["reject", "r"]]) {
  $(id).addEventListener("click", () => {
    if (performance.now() - since > LOOK) KEYS[key]();
  });
}
document.querySelector(".decide").addEventListener("keydown", (event) => {
  if (event.repeat) event.preventDefault(); // Enter, held down on a button, presses it again and again
});
$("correct").addEventListener("click", correct);
$("back").addEventListener("click", KEYS.p);
$("skip").addEventListener("click", KEYS.n);
$("withdraw").addEventListener("click", KEYS.u);
for (const name of ["show", "band"]) {
  $(name).addEventListener("change", () => visible() && draw(...drawnLast));
}
$("filter").addEventListener("change", filter);
$("opacity").addEventListener("input", () => { stage.paint.style.opacity = $("opacity").value; });
stage.paint.style.opacity = $("opacity").value;
$("export").addEventListener("click", () => told(exportKept));
$("compare").addEventListener("click", () => told(compareReaders));
$("reviewer").addEventListener("change", () => memory?.setItem("reviewer", $("reviewer").value));
window.addEventListener("beforeunload", (event) => {
  if (brush.touched || busy || noted()) event.preventDefault();
});

for (const button of document.querySelectorAll("[data-style]")) {
  button.addEventListener("click", () => setStyle(button.dataset.style));
}

told(async () => {
  defaults = await (await ask("v1/settings")).json();
  $("reviewer").value = defaults.reader || (memory?.getItem("reviewer") ?? "");
  $("reviewer").readOnly = Boolean(defaults.reader);
  items = (await (await ask("v1/review")).json()).items;
  const first = items.findIndex((item) => !item.decision);
  await show(first < 0 ? 0 : first);
  document.body.dataset.ready = "";
});
