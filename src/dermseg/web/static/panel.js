// What is said of a lesion beside its photograph: numbers, how sure, flags.

const $ = (id) => document.getElementById(id);
export const STYLES = { traced: "Traced", "semi-automatic": "Semi-automatic" };
const FLAGS = {
  damaged: "The file is damaged: some of its pixels are wrong.",
  "narrow-range": "The file's 16-bit values fill little of their range: the model may see it too dark.",
  "unlike-training":
    "This does not look like a dermoscopic photograph that the model knows: do not trust the outline.",
  empty: "No lesion was found.",
  "touches-border": "The lesion touches the photograph's edge: it may go on outside.",
  "several-candidates": "There are several candidates: click the right one.",
  "low-confidence": "The model is not sure of this outline: look closely.",
};

// What a flag says to a person who looks at a mask that is there already.
export function flagWords(flag) {
  if (flag === "several-candidates") return "There are several candidates: this may be another one.";
  return FLAGS[flag] ?? flag;
}

// `perMm` is the scale in pixels per millimetre, 0 without one.
export function showNumbers(answer, perMm) {
  const number = (value) => value.toLocaleString("en", { maximumFractionDigits: perMm ? 2 : 0 });
  const length = (value) => (perMm ? `${number(value / perMm)} mm` : `${number(value)} px`);
  const area = (value) => (perMm ? `${number(value / perMm ** 2)} mm²` : `${number(value)} px²`);
  const rows = answer
    ? [
        ["Area", area(answer.area)],
        ["Of the picture", `${((100 * answer.area) / answer.width / answer.height).toFixed(1)} %`],
        ["Longest diameter", length(answer.diameter)],
        ["Perimeter", length(answer.perimeter)],
        ["Photograph", `${answer.width} × ${answer.height} px`],
        ["Outlined by", answer.by_hand ? "hand" : answer.model],
      ]
    : [["Area", "–"], ["Longest diameter", "–"], ["Perimeter", "–"]];
  list("numbers", rows);
}

export function showSureness(answer) {
  const sure = answer?.confidence;
  list("sureness", sure ? [
    ["Predicted Jaccard", sure.jaccard.toFixed(2)],
    ["90 % interval", `${sure.low.toFixed(2)} to ${sure.high.toFixed(2)}`],
  ] : []);
  let words = "";
  if (sure) words = "How much this outline and an expert's overlap: 1 if they are equal; below 0.65 counts as failed.";
  else if (answer?.by_hand) words = "Nothing is said of outlines drawn by hand.";
  else if (answer?.band) words = "Said only of the model's own choice at its own thresholds.";
  else if (answer) words = "Nothing is said of this outline.";
  $("sureness-words").textContent = words;
  $("band-label").hidden = !answer?.band;
}

// What to look at, and buttons for what can be done about it.
export function showFlags(answer, chosen) {
  const pieces = answer?.by_hand ? answer.outlines.length : 0;
  const holes = answer?.by_hand ? answer.holes.length : 0;
  const flags = (answer?.flags ?? [])
    .filter((flag) => flag !== "several-candidates" || !(chosen || answer.by_hand))
    .map((flag) => FLAGS[flag]);
  $("flags").textContent = [...flags, ...showOffers(pieces, holes)].join(" ");
  $("next-candidate").hidden = !answer?.candidates.length;
}

// Buttons for what can be done about pieces and holes; returns what is to be said of them.
export function showOffers(pieces, holes) {
  $("keep-largest").hidden = pieces < 2;
  $("fill-holes").hidden = !holes;
  const said = [];
  if (pieces > 1) said.push(`${pieces} pieces: all count.`);
  if (holes) said.push(holes > 1 ? `${holes} holes: they do not count.` : "A hole: it does not count.");
  return said;
}

// Rows of a term and what is said of it, in a <dl>.
export function list(id, rows) {
  $(id).replaceChildren(
    ...rows.flatMap((row) => row.map((text, place) => {
      const cell = document.createElement(place ? "dd" : "dt");
      cell.textContent = text;
      return cell;
    })),
  );
}
