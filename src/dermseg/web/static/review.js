// The review of a folder: look, decide with a key, go on.

import { ask } from "./api.js";
import { Brush } from "./brush.js";
import { Stage, bandPath, pathOf } from "./stage.js";

const AHEAD = 3; // photographs fetched before they are looked at
const LOOK = 300; // milliseconds in which nobody has looked: a second click is the first one's
const $ = (id) => document.getElementById(id);
const stage = new Stage($("stage"), { stroke, drop: () => brush.drop() });
const brush = new Brush(stage.paint);
const loaded = new Map();
let items = [];
let place = 0;
let busy = false;
let since = 0; // when the present photograph appeared

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
  brush.end();
  setTool("move");
  delete stage.element.dataset.number;
  stage.image.removeAttribute("src");
  stage.draw({});
  describe();
  const item = items[number];
  try {
    const shown = await load(number);
    if (place !== number) return;
    stage.show(shown.url, shown.width, shown.height, shown.orientation);
    stage.draw({ outline: pathOf(shown.outline), bands: bandPath(shown.band) });
    stage.element.dataset.number = number;
    since = performance.now();
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
    ["Flags", item.flags.join(", ") || "none"],
  ];
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
  $("redo").disabled = !brush.undone.length;
}

async function decide(send) {
  if (busy) return; // a key held down decides once
  busy = true;
  const number = place;
  try {
    const seen = { "If-Match": `"${items[number].version}"` };
    items[number] = await (await send(`v1/review/${number}`, number, seen)).json();
    if (place !== number) describe(); // someone has gone on already
    else if (number + 1 < items.length) await show(number + 1);
    else {
      await show(number);
      say("That was the last mask.");
    }
  } catch (error) {
    say(error.message, true);
  } finally {
    busy = false;
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
  const body = JSON.stringify({ decision });
  decide(async (address, number, seen) => {
    const headers = { "Content-Type": "application/json", ...seen };
    const answer = await ask(address, { method: "PUT", headers, body });
    if (corrected) forget(number);
    return answer;
  });
}

function correct() {
  if (!brush.strokes.length || !visible()) return;
  decide(async (address, number, seen) => {
    const headers = { "Content-Type": "image/png", ...seen };
    const body = await brush.mask();
    const answer = await ask(`${address}/mask`, { method: "PUT", headers, body });
    forget(number);
    return answer;
  });
}

async function setTool(tool) {
  if (tool !== "move" && !visible()) return;
  stage.setTool(tool);
  if (tool === "move") return;
  const address = `v1/review/${place}/mask`;
  try {
    await brush.begin(async () => (await ask(address)).blob());
    stage.paint.style.opacity = 0.45;
  } catch (error) {
    setTool("move"); // a brush that has no mask would paint nothing
    say(error.message, true);
  }
}

function stroke(points, ended) {
  if (!brush.base || busy) return; // what is being saved is on its way
  brush.stroke(points, ended, stage.tool === "erase", stage.diameter / stage.scale);
  describe();
}

// Back (-1) or forth (1) in the strokes.
function travel(by) {
  if (by < 0) brush.undo();
  else brush.redo();
  describe();
}

function go(by) {
  if (painted()) return;
  const next = place + by;
  if (items[next]) show(next);
}

const KEYS = {
  a: () => put("accepted"),
  r: () => put("rejected"),
  s: correct,
  n: () => go(1),
  p: () => go(-1),
  v: () => setTool("move"),
  b: () => setTool("add"),
  e: () => setTool("erase"),
  0: () => stage.fit(),
  "+": () => stage.zoom(1),
  "=": () => stage.zoom(1),
  "-": () => stage.zoom(-1),
};
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
    event.preventDefault();
    travel(event.shiftKey ? 1 : -1);
  } else if (!event.ctrlKey && !event.metaKey && !event.altKey && !event.repeat) {
    KEYS[event.key.toLowerCase()]?.();
  }
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
$("brush").addEventListener("input", () => stage.resizeBrush(Number($("brush").value)));
$("undo").addEventListener("click", () => travel(-1));
$("redo").addEventListener("click", () => travel(1));
for (const button of document.querySelectorAll("button[data-tool]")) {
  button.addEventListener("click", () => setTool(button.dataset.tool));
}
window.addEventListener("beforeunload", (event) => {
  if (brush.strokes.length || busy) event.preventDefault();
});

items = (await (await ask("v1/review")).json()).items;
const first = items.findIndex((item) => !item.decision);
await show(first < 0 ? 0 : first);
document.body.dataset.ready = "";
