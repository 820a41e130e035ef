"use strict";
// What all parts of the page share: the numbers, elements, canvases in two colours.
const look = JSON.parse(document.getElementById("look").textContent);
const $ = id => document.getElementById(id);
let packed = new ArrayBuffer(0);

/** Unpack the arrays: base64 of a zlib stream. */
async function unpack() {
  const text = atob($("blob").textContent);
  const bytes = Uint8Array.from(text, letter => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  packed = await new Response(stream).arrayBuffer();
}

/** The typed array that a specification {at, shape, type} names. */
function array(spec) {
  const kind = { f32: Float32Array, u8: Uint8Array, i8: Int8Array }[spec.type];
  return new kind(packed, spec.at, spec.shape.reduce((a, b) => a * b, 1));
}

/** An element with attributes and children; texts are texts, never HTML. */
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter(child => child !== null && child !== undefined));
  return made;
}

/** A number with four significant digits, or as many as asked. */
function digits(value, count = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value).replace("-", "−");
  const size = Math.abs(value);
  const text = size >= 1e6 || size < 1e-4 ? value.toExponential(count - 2)
    : size >= 10 ** count ? value.toFixed(0) : value.toPrecision(count);
  return text.replace(/-/g, "−").replace("e+", "e");
}

/** Put children into a place, but those that are not there. */
const fill = (place, ...children) => place.append(...children.filter(child => child !== null));

/** A number as an element that holds all its digits, too. */
const num = (value, { count = 4, id = null, kind = "" } = {}) =>
  el("span", { class: `n ${kind}`.trim(), id, "data-v": value, title: String(value) }, digits(value, count));

/** A count with commas between thousands. */
const whole = count => count.toLocaleString("en");

/** A name given by people, which turns nothing around it. */
const bdi = name => el("bdi", {}, name);

/** A formula: text, with *letters* in italics and x_{ab} below the line. */
function formula(text) {
  const pieces = text.split(/(\*[^*]+\*|_\{[^}]+\})/).filter(Boolean);
  return el("p", { class: "formula" }, pieces.map(piece =>
    piece.startsWith("*") ? el("i", {}, piece.slice(1, -1)) : piece.startsWith("_{") ? el("sub", {}, piece.slice(2, -1)) : piece));
}

/** A table: heads, rows of cells (texts or elements); a row may be {cells, kind}. */
function table(heads, rows, { caption = null, label, tall = false } = {}) {
  const body = rows.map(row => {
    const { cells, kind } = Array.isArray(row) ? { cells: row, kind: null } : row;
    return el("tr", { class: kind }, cells.map((cell, k) => el(k ? "td" : "th", k ? {} : { scope: "row" }, cell)));
  });
  return el("div", { class: tall ? "scroll tall" : "scroll", tabindex: 0, role: "region", "aria-label": label ?? caption },
    el("table", { class: "list" }, caption ? el("caption", {}, caption) : null,
      el("thead", {}, el("tr", {}, heads.map(head => el("th", { scope: "col" }, head)))), el("tbody", {}, body)));
}

const signed = part => el("div", { class: "track", "aria-hidden": "true" },
  el("span", { class: "half" }, part < 0 ? bar(-part) : null), el("span", { class: "half" }, part > 0 ? bar(part) : null));
function bar(part) {
  const made = el("i", { "aria-hidden": "true" });
  made.style.width = `${100 * Math.min(1, part)}%`;
  return made;
}
const barred = inner => el("div", { class: "bar" }, inner);

// --- colours ---

const triple = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim().split(/\s+/).map(Number);
let palette = null;

/** 255 colours: 0 is −peak, 127 is 0, 254 is +peak; the square root keeps small values visible. */
function colours() {
  if (palette) return palette;
  const [neg, zero, pos] = ["--neg", "--zero", "--pos"].map(triple);
  palette = new Uint8ClampedArray(255 * 3);
  for (let k = 0; k < 255; k++) {
    const part = Math.sqrt(Math.abs(k - 127) / 127), end = k < 127 ? neg : pos;
    for (let c = 0; c < 3; c++) palette[3 * k + c] = zero[c] + (end[c] - zero[c]) * part;
  }
  return palette;
}

const painted = new Map();
/** Draw now, and again when the colour scheme changes. */
function paint(canvas, draw) { painted.set(canvas, draw); draw(); }
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  palette = null;
  for (const [canvas, draw] of painted) canvas.isConnected ? draw() : painted.delete(canvas);
  document.dispatchEvent(new Event("recolour"));
});

/** Draw values (height × width of them, from `start` on) in two colours, `peak` being the strongest. */
function heat(canvas, values, height, width, peak, start = 0) {
  canvas.width = width; canvas.height = height;
  paint(canvas, () => {
    const map = colours(), image = new ImageData(width, height);
    for (let k = 0; k < height * width; k++) {
      const part = peak ? Math.max(-1, Math.min(1, values[start + k] / peak)) : 0, at = 3 * Math.round(127 + 127 * part);
      image.data.set([map[at], map[at + 1], map[at + 2], 255], 4 * k);
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
  });
}

/** The colour of one value as CSS, and black or white to be read on it. */
function shade(value, peak) {
  const map = colours(), at = 3 * Math.round(127 + 127 * (peak ? Math.max(-1, Math.min(1, value / peak)) : 0));
  const rgb = [map[at], map[at + 1], map[at + 2]];
  const light = rgb.map(v => { const c = v / 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
  const luminance = 0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2];
  return { back: `rgb(${rgb.join(" ")})`, ink: luminance > 0.18 ? "#000" : "#fff" };
}

const upTo = count => [...Array(count).keys()];
const peakOf = values => { let most = 0; for (const value of values) most = Math.max(most, Math.abs(value)); return most; };
const CHANNEL = ["red", "green", "blue"];
/** What a channel of the input is called. */
const channelName = (c, of, pixels) => pixels ? (of === 1 ? "grey" : CHANNEL[c]) : `channel ${c}`;
