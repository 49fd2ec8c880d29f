// A mask that a person paints, in the photograph's stored pixels: with a brush, or with a lasso.
//
// The mask itself is kept by a worker (mask.js). What is painted is seen at once, before the worker
// has painted it too.

const UNLOADED = "The brush cannot be loaded. Reload the page. If that does not help, use a newer "
  + "browser.";

export class Brush {
  // `fail` is called with an error where the mask cannot be shown.
  constructor(view, fail) {
    this.view = view;
    this.fail = fail;
    this.strokes = []; // see strokes.js
    this.undone = [];
    this.stroking = false;
    this.base = false; // whether a mask is in hand
    this.coming = null; // stands for the mask that is waited for
    this.early = []; // what was done before it came
    this.worker = null;
    this.asked = new Map(); // what the worker owes: [done, failed] by number
    this.count = 0;
    this.turn = 0; // changes when what the worker shows is out of date
    this.looking = null;
    this.wanted = false; // whether the view has changed since the worker was asked
  }

  // Begin from the mask that `fetch` brings, a PNG of 0 and 255. If the brush has ended meanwhile,
  // perhaps for another photograph, the mask comes too late and is dropped.
  async begin(fetch) {
    if (this.base || this.coming) return;
    const coming = {};
    this.coming = coming;
    try {
      const mask = await fetch();
      if (this.coming !== coming) return;
      await this.#ask("begin", { mask });
    } catch (error) {
      if (this.coming !== coming) return;
      this.coming = null;
      this.early = [];
      throw error;
    }
    if (this.coming !== coming) return;
    this.coming = null;
    this.base = true;
    this.strokes = [];
    this.undone = [];
    const looked = this.look();
    for (const act of this.early.splice(0)) act();
    await looked;
  }

  // Do this to the mask: now, or as soon as the one that is waited for has come.
  when(act) {
    if (this.base) act();
    else if (this.coming) this.early.push(act);
  }

  // Whether anything was painted, also on a mask that is still to come.
  get touched() {
    return this.strokes.length + this.early.length > 0;
  }

  end() {
    if (this.base || this.coming) this.#ask("end");
    this.base = false;
    this.coming = null;
    this.early = [];
    this.strokes = [];
    this.undone = [];
    this.stroking = false;
    this.turn += 1;
    this.view.hide();
  }

  // Points of a stroke as they come, in pixels of the photograph; says whether one has ended.
  stroke(points, ended, erase, size) {
    if (!this.stroking && points.length) {
      this.#push({ erase, size, parts: [] });
      this.stroking = true;
    }
    if (points.length) this.#extend(points);
    if (!ended || !this.stroking) return false;
    this.stroking = false;
    this.#ask("add", { stroke: this.strokes.at(-1) });
    return true;
  }

  // A region with these corners, added or erased as a whole.
  fill(points, erase) {
    const stroke = { erase, parts: [points], filled: true };
    this.#push(stroke);
    this.view.paint(stroke);
    this.#ask("add", { stroke });
  }

  // Another mask, a PNG of 0 and 255, in place of what is there.
  async replace(mask) {
    const stroke = { whole: mask };
    this.#push(stroke);
    this.#ask("add", { stroke });
    await this.#lookAgain();
  }

  #push(stroke) {
    this.strokes.push(stroke);
    this.undone = [];
  }

  #extend(points) {
    const stroke = this.strokes.at(-1);
    const last = stroke.parts.at(-1)?.at(-1);
    const part = last ? [last, ...points] : points;
    stroke.parts.push(part);
    this.view.paint({ ...stroke, parts: [part] });
  }

  // The last stroke away, also one that is being made; says whether there was one.
  undo() {
    const stroke = this.strokes.pop();
    if (!stroke) return false;
    this.undone.push(stroke);
    if (!this.stroking) this.#ask("undo");
    this.stroking = false;
    this.#lookAgain();
    return true;
  }

  // The stroke that was undone last, again; says whether there was one.
  redo() {
    const stroke = this.undone.pop();
    if (!stroke) return false;
    this.strokes.push(stroke);
    this.#ask("add", { stroke });
    this.#lookAgain();
    return true;
  }

  // What was taken for a stroke was none.
  drop() {
    if (!this.stroking) return;
    this.undo();
    this.undone.pop();
  }

  // White on black, as masks are.
  mask() {
    return this.#ask("mask");
  }

  // Show the mask where the photograph is now. While the worker is asked what is there moves along.
  look() {
    if (!this.base) return undefined;
    this.view.follow();
    this.wanted = true;
    this.looking ??= this.#look().catch(this.fail);
    return this.looking;
  }

  // What was seen is no longer so.
  #lookAgain() {
    this.turn += 1;
    return this.look();
  }

  async #look() {
    try {
      while (this.wanted && this.base) {
        this.wanted = false;
        const { turn } = this;
        const { wanted } = this.view;
        const known = this.strokes.length - (this.stroking ? 1 : 0);
        const picture = await this.#ask("look", wanted);
        if (this.base && turn === this.turn) {
          this.view.show(picture, wanted.matrix);
          for (const stroke of this.strokes.slice(known)) this.view.paint(stroke);
        }
        picture.close();
      }
    } finally {
      this.looking = null;
    }
  }

  // Ask the worker, which does one thing after the other.
  #ask(act, fields = {}) {
    this.worker ??= this.#load();
    this.count += 1;
    this.worker.postMessage({ id: this.count, act, ...fields });
    const answer = new Promise((...both) => this.asked.set(this.count, both));
    answer.catch(() => {}); // whoever waits for it hears of it
    return answer;
  }

  // Start the worker. One that cannot be loaded owes nothing, and the next question loads another.
  #load() {
    const worker = new Worker(new URL("mask.js", import.meta.url), { type: "module" });
    worker.onmessage = ({ data: { id, result, error } }) => {
      const [done, failed] = this.asked.get(id);
      this.asked.delete(id);
      if (error === undefined) done(result);
      else failed(new Error(error));
    };
    worker.onerror = () => {
      worker.terminate();
      this.worker = null;
      for (const [, failed] of this.asked.values()) failed(new Error(UNLOADED));
      this.asked.clear();
    };
    return worker;
  }
}
