// Black and white PNG files.

import { crc32 } from "./files.js";

const SIGNATURE = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const NOTHING = new Uint8Array(0);

// Rows of bits, each after a byte 0, as they come.
export async function encodeBits(width, height, rows) {
  const packing = new CompressionStream("deflate");
  const packed = new Response(packing.readable).arrayBuffer();
  const writer = packing.writable.getWriter();
  for (const bits of rows) await writer.write(bits);
  await writer.close();
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 1); // bits a pixel, of grey
  const content = new Uint8Array(await packed);
  const parts = [["IHDR", new Uint8Array(header.buffer)], ["IDAT", content], ["IEND", NOTHING]];
  return new Blob([SIGNATURE, ...parts.flatMap((part) => chunk(...part))], { type: "image/png" });
}

function chunk(name, content) {
  const named = new Uint8Array(4 + content.length);
  named.set(new TextEncoder().encode(name));
  named.set(content, 4);
  const number = (value) => {
    const view = new DataView(new ArrayBuffer(4));
    view.setUint32(0, value);
    return view.buffer;
  };
  return [number(content.length), named, number(crc32(named))];
}
