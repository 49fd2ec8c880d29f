// The review of a folder: look, decide with a key, go on.

import { ask } from "./api.js";
import { flagWords } from "./panel.js";
import { bandPath, bordersOf } from "./stage.js";
import { Tools, typing } from "./tools.js";

const AHEAD = 3; // photographs fetched before they are looked at
const LOOK = 300; // milliseconds in which nobody has looked: a second click is the first one's
const KEPT = { corrected: "accepted" }; // what leaves a decision as it is
const $ = (id) => document.getElementById(id);
const tools = new Tools($("stage"), $("toolbar"), {
  ready: visible,
  mask: async () => (await ask(`v1/review/${place}/mask`)).blob(),
  painted: describe,
  travel,
  fail: (error) => say(error.message, true),
  held: () => busy, // what is being saved is on its way
});
const { stage, brush } = tools;
stage.paint.style.opacity = 0.45;
const loaded = new Map();
let items = [];
let place = 0;
let busy = false;
let since = 0; // when the present photograph appeared
let looked = 0; // milliseconds that it was looked at, up to `from`
let from = 0;

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
  for (const known of loaded.keys()) if (Math.abs(known - number) > AHEAD) forget(known);
  tools.leave();
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
    stage.draw({ outline: bordersOf(shown), bands: bandPath(shown.band) });
    stage.element.dataset.number = number;
    since = from = performance.now();
    looked = 0;
    say(item.decision ? `${item.decision} before` : "");
  } catch (error) {
    if (place !== number) return;
    say(`${item.name}: ${error.message}`, true);
  }
  for (let next = number + 1; next <= number + AHEAD && next < items.length; next += 1) load(next);
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
  $("flags").textContent = item.flags.map(flagWords).join(" ");
  const sure = item.confidence;
  if (sure) {
    facts.push(["Predicted Jaccard", sure.jaccard.toFixed(2)]);
    facts.push(["90 % interval", `${sure.low.toFixed(2)} to ${sure.high.toFixed(2)}`]);
  } else {
    facts.push(["Unsure", `${(100 * item.unsure).toFixed(1)} %`]);
  }
  $("facts").replaceChildren(...facts.flatMap((row) => row.map((text, column) => {
    const cell = document.createElement(column ? "dd" : "dt");
    cell.textContent = text;
    return cell;
  })));
  $("undo").disabled = $("correct").disabled = !brush.strokes.length;
  $("withdraw").disabled = !item.decision;
  $("redo").disabled = !brush.undone.length;
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
  else if (decision && number + 1 < items.length) await show(number + 1);
  else {
    await show(number);
    say(decision ? "That was the last mask." : "");
  }
}

function painted() {
  if (!brush.strokes.length) return false;
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
  tools.lift();
  if (by < 0) brush.undo();
  else brush.redo();
  return describe();
}

async function go(by) {
  const next = place + by;
  if (painted() || !items[next]) return;
  if (noted() && !(await send(KEPT[items[place].decision] ?? items[place].decision))) return;
  show(next);
}

// Whether there is a note that no decision has taken along.
function noted() {
  return $("note").value.trim() !== items[place].note;
}

const KEYS = {
  a: () => put("accepted"),
  r: () => put("rejected"),
  s: correct,
  n: () => go(1),
  p: () => go(-1),
  u: () => items[place].decision && put(""),
  m: () => $("note").focus(),
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
$("reviewer").value = localStorage.getItem("reviewer") ?? "";
$("reviewer").addEventListener("change", () => localStorage.setItem("reviewer", $("reviewer").value));
window.addEventListener("beforeunload", (event) => {
  if (brush.strokes.length || busy || noted()) event.preventDefault();
});

items = (await (await ask("v1/review")).json()).items;
const first = items.findIndex((item) => !item.decision);
await show(first < 0 ? 0 : first);
document.body.dataset.ready = "";
