// What is on the page, kept in this browser over a reload: only if a person switches it on, and only
// where the service is on this computer, since photographs are patients'.

const NAME = "dermseg";
const SWITCH = "session";
const REST = 200; // milliseconds after a change in which more may come
const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;

export const memory = remembered(); // null where the browser lets no page keep anything
export const allowed = Boolean(memory) && LOOPBACK.test(location.hostname);

function remembered() {
  try {
    return localStorage;
  } catch {
    return null;
  }
}

function result(request) {
  return new Promise((done, fail) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => fail(request.error);
    request.onblocked = () => fail(new Error("Close the other tabs with this page first."));
  });
}

function finished(transaction) {
  return new Promise((done, fail) => {
    transaction.oncomplete = done;
    transaction.onabort = () => fail(transaction.error ?? new Error("The browser keeps no more."));
  });
}

export class Session {
  // `handlers`: kept(count), after each change of what is kept; fail(error).
  constructor(handlers) {
    this.handlers = handlers;
    this.base = null;
    this.version = ""; // of dermseg
    this.changed = new Set();
    this.work = Promise.resolve(); // one thing at a time
    this.ids = new WeakMap(); // what is kept already, by photograph
  }

  get on() {
    return allowed && memory.getItem(SWITCH) === "on";
  }

  // Whether all of a photograph is kept as it is now.
  holds(photo) {
    return this.on && this.ids.has(photo) && !this.changed.has(photo);
  }

  switchOn() {
    if (allowed) memory.setItem(SWITCH, "on");
  }

  // Keep a photograph, soon, with what was done to it.
  keep(photo) {
    if (!this.on) return;
    this.changed.add(photo);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#do(() => this.#write()), REST);
  }

  drop(photo) {
    this.changed.delete(photo);
    if (this.on) this.#do(() => this.#delete(photo));
  }

  // Nothing is kept any more, and the switch is off.
  erase() {
    memory?.removeItem(SWITCH);
    clearTimeout(this.timer);
    this.changed.clear();
    return this.#do(async () => {
      (await this.base)?.close();
      this.base = null;
      this.ids = new WeakMap();
      await result(indexedDB.deleteDatabase(NAME));
      this.handlers.kept(0);
    });
  }

  // What is kept, in the order in which it came: `blob`, the file, with its `id`, what photographs
  // have, and the `version` of dermseg whose answers they are.
  async read() {
    if (!this.on) return [];
    const reading = (await this.#open()).transaction(["files", "states"]).objectStore("states");
    const states = await result(reading.getAll());
    const files = (await this.#open()).transaction("files").objectStore("files");
    const blobs = await Promise.all(states.map(({ id }) => result(files.get(id))));
    return states.map((state, place) => ({ ...state, blob: blobs[place] }));
  }

  // A photograph that was read belongs to what is kept.
  adopt(photo, id) {
    this.ids.set(photo, id);
  }

  async count() {
    return result((await this.#open()).transaction("states").objectStore("states").count());
  }

  #open() {
    if (!this.base) {
      const request = indexedDB.open(NAME, 1);
      request.onupgradeneeded = () => {
        request.result.createObjectStore("files", { autoIncrement: true });
        request.result.createObjectStore("states", { keyPath: "id" });
      };
      this.base = result(request);
      this.base.catch(() => { this.base = null; }); // the next opening tries again
    }
    return this.base;
  }

  #do(doing) {
    this.work = this.work.then(doing).catch(this.handlers.fail);
    return this.work;
  }

  async #write() {
    for (const photo of [...this.changed]) {
      this.changed.delete(photo);
      try {
        await this.#put(photo);
      } catch (error) {
        this.changed.add(photo);
        throw error;
      }
    }
    this.handlers.kept(await this.count());
  }

  async #put(photo) {
    const { name, place, done, scale, picture } = photo;
    const { version } = this;
    const edits = await Promise.all(photo.edits.map(async (edit) =>
      ({ ...edit, mask: await edit.mask, kept: null })));
    const transaction = (await this.#open()).transaction(["files", "states"], "readwrite");
    const ended = finished(transaction);
    let id = this.ids.get(photo);
    if (id === undefined) id = await result(transaction.objectStore("files").add(photo.blob));
    transaction.objectStore("states").put({ id, name, edits, place, done, scale, picture, version });
    await ended;
    this.ids.set(photo, id);
  }

  async #delete(photo) {
    const id = this.ids.get(photo);
    if (id === undefined) return;
    const transaction = (await this.#open()).transaction(["files", "states"], "readwrite");
    const ended = finished(transaction);
    for (const name of ["files", "states"]) transaction.objectStore(name).delete(id);
    await ended;
    this.ids.delete(photo);
    this.handlers.kept(await this.count());
  }
}
