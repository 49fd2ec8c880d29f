// A photograph on the page, and what was done to it: a row of edits, to go back and forth in.

// What no edit takes over from the one before: `open` while a slider still moves, `clicked` where a
// click made it, `kept` a copy of the mask.
const FRESH = { answer: null, open: false, clicked: false, kept: null };

export class Photo {
  constructor(file, model, style) {
    this.name = file.name || "pasted.png";
    this.blob = file;
    this.url = URL.createObjectURL(file);
    this.edits = [{ model, style, thresholds: null, at: null, mask: null, map: null, ...FRESH }];
    this.place = 0;
    this.last = null; // the answer that stands until the edit's own comes
    this.others = new Map(); // what was asked to the answer in the other style
    this.error = "";
    this.done = false; // a person has looked at it, and says so
    this.scale = 0; // pixels per millimetre, if a person has said it of this size
    this.ruler = undefined; // one that may lie in it, null without one, undefined until looked for
    this.picture = null; // what is shown where the browser cannot show the file
    this.asking = null;
  }

  // Show another picture in the file's place.
  showAs(picture) {
    URL.revokeObjectURL(this.url);
    this.picture = picture;
    this.url = URL.createObjectURL(picture);
  }

  // The photograph as it was kept: its edits, each with the answer that it had.
  restore({ edits, place, done, scale, picture }) {
    if (picture) this.showAs(picture);
    this.scale = scale;
    this.edits = edits.map((edit) => ({ ...edit, mask: edit.mask && Promise.resolve(edit.mask) }));
    this.place = place;
    this.done = done;
    this.last = this.edit.answer;
  }

  // How the outline is made now. `thresholds` null are the style's own; `mask` is what a person
  // painted, a promise since a PNG takes its time; `map` is the probability, and `answer` the
  // server's, null until they come.
  get edit() {
    return this.edits[this.place];
  }

  // What the server is asked.
  get question() {
    return { blob: this.blob, ...this.edit };
  }

  // What is being asked is wanted no more, and what was wrong is forgotten.
  endAsking() {
    this.asking?.abort();
    this.asking = null;
    this.error = "";
  }

  // A new edit; those that were undone are gone.
  push(changes) {
    this.edits.length = this.place + 1;
    this.edits.push({ ...this.edit, ...FRESH, ...changes });
    this.place += 1;
  }

  // Go back (-1) or forth (1); says whether there was an edit.
  move(by) {
    if (!this.edits[this.place + by]) return false;
    this.place += by;
    return true;
  }

  // The last edit as if it had not been.
  drop() {
    this.edits.length = this.place;
    this.place -= 1;
  }
}
