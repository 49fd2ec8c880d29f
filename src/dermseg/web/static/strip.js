// The strip of photographs: what is known of each, in an order, filtered, with one chosen.

const FILTERS = {
  all: () => true,
  open: (photo) => !photo.done,
  flagged: (photo) => isFlagged(photo),
  failed: (photo) => Boolean(photo.error),
};

export function isFlagged({ error, last, edit }) {
  return !error && Boolean(last?.flags.length) && !edit.mask;
}

export function sureness(photo) {
  return photo.error ? undefined : photo.last?.confidence?.jaccard;
}

// What a photograph's item says beside its picture: [sign, words].
function signsOf(photo) {
  const signs = [];
  const sure = sureness(photo);
  if (photo.error) signs.push(["!", `failed: ${photo.error}`]);
  if (photo.edit.mask) signs.push(["✎", "corrected by hand"]);
  else if (sure !== undefined) signs.push([sure.toFixed(2), `predicted Jaccard ${sure.toFixed(2)}`]);
  if (isFlagged(photo)) signs.push(["⚑", photo.last.flags.join(", ").replaceAll("-", " ")]);
  if (photo.done) signs.push(["✓", "done"]);
  return signs;
}

export class Strip {
  // `chosen` is called with the photograph whose item is clicked.
  constructor(element, chosen) {
    this.element = element;
    this.chosen = chosen;
    this.photos = []; // in the order in which they came
    this.filter = "all";
    this.sorted = false; // the least sure first
    this.current = null;
  }

  add(photo) {
    const item = document.createElement("li");
    item.innerHTML = `<button type="button"><img alt=""><span class="name"></span>
      <span class="signs" aria-hidden="true"></span><span class="said"></span></button>`;
    photo.item = item;
    photo.button = item.firstElementChild;
    photo.button.querySelector("img").src = photo.url;
    photo.button.querySelector(".name").textContent = photo.name;
    photo.button.addEventListener("click", () => this.chosen(photo));
    this.photos.push(photo);
    this.mark(photo);
  }

  remove(photo) {
    this.photos = this.photos.filter((one) => one !== photo);
    photo.item.remove();
  }

  // Say again what is known of a photograph.
  mark(photo) {
    const signs = signsOf(photo);
    const words = signs.map((sign) => sign[1]);
    photo.button.title = [photo.name, ...words].join("\n");
    photo.button.querySelector(".said").textContent = words.map((word) => `, ${word}`).join("");
    photo.button.classList.toggle("failed", Boolean(photo.error));
    photo.button.querySelector(".signs").textContent = signs.map((sign) => sign[0]).join(" ");
    this.arrange();
  }

  // The photographs that are shown; the one that is looked at stays.
  get shown() {
    const shown = this.photos.filter((one) => one === this.current || FILTERS[this.filter](one));
    if (!this.sorted) return shown;
    const rank = (photo) => sureness(photo) ?? 2; // those of which nothing is said come last
    return shown.sort((one, other) => rank(one) - rank(other));
  }

  arrange() {
    const { shown } = this;
    const items = shown.map((photo) => photo.item);
    if (items.length === this.element.children.length
      && items.every((item, place) => item === this.element.children[place])) return;
    const focused = document.activeElement;
    this.element.replaceChildren(...items);
    if (this.element.contains(focused)) focused.focus();
  }

  select(photo) {
    this.current = photo;
    for (const one of this.photos) {
      one.button.setAttribute("aria-current", String(one === photo));
    }
    this.arrange();
    photo?.item.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  // The photograph so many further, among those shown.
  beside(photo, by) {
    const { shown } = this;
    return shown[shown.indexOf(photo) + by];
  }

  // Where a photograph stands, and how many are done.
  progress(photo) {
    const { shown, photos } = this;
    const done = photos.filter((one) => one.done).length;
    const hidden = photos.length - shown.length;
    return `${shown.indexOf(photo) + 1} of ${shown.length}${hidden ? `, ${hidden} hidden` : ""}, ${done} done`;
  }
}
