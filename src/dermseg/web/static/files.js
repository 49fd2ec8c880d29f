// Files for people to keep: ZIP archives (stored, not compressed), tables, downloads.

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

export function crc32(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = CRC[(value ^ byte) & 255] ^ (value >>> 8);
  return ~value >>> 0;
}

function record(signature, fields) {
  const view = new DataView(new ArrayBuffer(4 + fields.reduce((sum, [bytes]) => sum + bytes, 0)));
  view.setUint32(0, signature, true);
  let place = 4;
  for (const [bytes, value] of fields) {
    if (bytes === 2) view.setUint16(place, value, true);
    else view.setUint32(place, value, true);
    place += bytes;
  }
  return new Uint8Array(view.buffer);
}

const UTF8 = 0x0800;
const FIRST_DAY = 0x21; // the first of January 1980: the same work gives the same archive

// files: [[name, Blob or text]]
export async function zip(files) {
  const parts = [];
  const directory = [];
  let place = 0;
  for (const [name, content] of files) {
    const title = new TextEncoder().encode(name);
    const bytes = new Uint8Array(await new Blob([content]).arrayBuffer());
    const shared = [
      [2, 20], [2, UTF8], [2, 0], [2, 0], [2, FIRST_DAY], [4, crc32(bytes)],
      [4, bytes.length], [4, bytes.length], [2, title.length], [2, 0],
    ];
    const head = record(0x04034b50, shared);
    const rest = [[2, 0], [2, 0], [2, 0], [4, 0], [4, place]];
    directory.push(record(0x02014b50, [[2, 20], ...shared, ...rest]), title);
    parts.push(head, title, bytes);
    place += head.length + title.length + bytes.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const count = files.length;
  const end = [[2, 0], [2, 0], [2, count], [2, count], [4, size], [4, place], [2, 0]];
  return new Blob([...parts, ...directory, record(0x06054b50, end)], { type: "application/zip" });
}

// As dermseg's own tables: no text is a formula to a spreadsheet. What a row lacks is empty.
export function table(columns, rows) {
  const cell = (value) => {
    let text = String(value ?? "");
    if (typeof value === "string") text = text.replace(/(^|[;\t|])(?=[=+\-@\t\r])/g, "$1'");
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = rows.map((row) => columns.map((column) => cell(row[column])).join(","));
  return `${[columns.join(","), ...lines].join("\n")}\n`;
}

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// Digits alone are none: they are the end of a UID, by which hospitals call DICOM files.
const SUFFIX = /\.(?!\d+$)[^.]*$/;

// Without what means a folder, a drive or a stream to a system that unpacks it.
export function stemOf(name) {
  return name.replace(SUFFIX, "").replace(/[\\/:*?"<>|\u0000-\u001f]/g, "_") || "photograph";
}

const PHOTOGRAPH = /\.(jpe?g|jpe|jfif|png|bmp|tiff?|webp|avif|heic|heif|mpo|dcm|dicom)$/i;
// Folders of hidden files, and those that storage devices and systems make.
const PASSED_OVER = /^(\..*|@eadir|@__thumb|#recycle|#snapshot|\$recycle\.bin|__macosx)$/i;

// The files of a drop, and the photographs in its folders and their subfolders, by name.
export async function droppedFiles(transfer) {
  // To be asked for before anything is waited for.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const found = await Promise.all(entries.map((entry) => (entry.isDirectory ? inFolder(entry) : fileOf(entry))));
  return found.flat();
}

function fileOf(entry) {
  return new Promise((done, fail) => entry.file(done, fail));
}

async function inFolder(folder) {
  const reader = folder.createReader();
  const entries = [];
  for (;;) { // a reader gives a hundred at once
    const some = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (!some.length) break;
    entries.push(...some);
  }
  entries.sort((one, other) => (one.name < other.name ? -1 : 1));
  const found = await Promise.all(entries.map(async (entry) => {
    if (entry.isDirectory) return PASSED_OVER.test(entry.name) ? [] : inFolder(entry);
    if (entry.name.startsWith(".")) return [];
    if (PHOTOGRAPH.test(entry.name)) return fileOf(entry);
    return SUFFIX.test(entry.name) || entry.name === "DICOMDIR" ? [] : ifDicom(await fileOf(entry));
  }));
  return found.flat();
}

// DICOM files often have no suffix; what begins so is one.
async function ifDicom(file) {
  return await file.slice(128, 132).text() === "DICM" ? [file] : [];
}
