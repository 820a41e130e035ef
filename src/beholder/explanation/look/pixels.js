// Section 1: the picture, the pixels that the net is given, and one of them worked out.
const seen = look.pixels;

/** The value 0..255 of a pixel that the net is given. */
function level(c, y, x) {
  const [top, left, tall, wide] = seen.window;
  return seen.levels[(c * tall + y - top) * wide + x - left];
}

/** The normalised value of a pixel, in float64. */
const pixel = (c, y, x) => (level(c, y, x) / 255 - seen.channels[c].mean) / seen.channels[c].std;

/** Draw the pixels that the net is given. */
function drawPixels(canvas) {
  const [, , tall, wide] = seen.window, [channels] = seen.size, image = new ImageData(wide, tall);
  for (let k = 0; k < tall * wide; k++) {
    for (let c = 0; c < 3; c++) image.data[4 * k + c] = seen.levels[(channels === 1 ? 0 : c) * tall * wide + k];
    image.data[4 * k + 3] = 255;
  }
  canvas.width = wide; canvas.height = tall;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** A canvas that is clicked, or walked over with the arrow keys; `moved` is told of rows and columns. */
function pad(canvas, label, at, moved) {
  canvas.setAttribute("tabindex", "0");
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label", `${label} Arrow keys move.`);
  canvas.addEventListener("click", event => {
    const box = canvas.getBoundingClientRect();
    const [down, across] = [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width];
    moved(Math.floor(down * canvas.height), Math.floor(across * canvas.width));
  });
  canvas.addEventListener("keydown", event => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const [y, x] = at();
    moved(y + step[0], x + step[1]);
  });
}

/** Put a frame's mark over rows and columns of its canvas. */
function mark(frame, canvas, top, left, tall, wide) {
  const i = frame.querySelector("i");
  const set = (name, value) => { i.style[name] = `${100 * value}%`; };
  set("top", top / canvas.height); set("left", left / canvas.width); set("height", tall / canvas.height); set("width", wide / canvas.width);
}

/** A number field with its label. */
function field(words, id, low, high, changed) {
  const input = el("input", { type: "number", id, min: low, max: high, step: 1 });
  input.addEventListener("input", () => { if (input.value !== "") changed(Number(input.value)); });
  return [el("label", {}, words, input), input];
}

const clamp = (value, low, high) => Math.max(low, Math.min(high, Math.round(value)));

/** The picture as it was given, with a frame around what is kept of it. */
function givenPicture() {
  const tiny = Math.max(seen.width, seen.height) <= 64;
  const frame = el("div", { class: "frame" }, el("img", { src: $("given").src, alt: "Your picture", class: tiny ? "tiny" : null }));
  if (seen.box) {
    const [x, y, w, h] = seen.box, i = el("i", {}), part = (value, side) => `${100 * value / side}%`;
    Object.assign(i.style, { left: part(x, seen.width), top: part(y, seen.height), width: part(w, seen.width), height: part(h, seen.height) });
    frame.append(i);
  }
  const kept = seen.box ? " The frame shows what is kept." : "";
  return el("figure", {}, frame, el("figcaption", {}, `As given: ${seen.width} × ${seen.height}.${kept}`));
}

/** One pixel, channel by channel. */
function normalisedPixel([y, x]) {
  const rows = seen.channels.map((channel, c) =>
    [channel.name, num(level(c, y, x)), num(channel.mean), num(channel.std), num(pixel(c, y, x), { kind: "x" })]);
  return table(["channel", "v", "mean", "std", "(v / 255 − mean) / std = x"], rows, { label: "One pixel, normalised" });
}

function pixelSection() {
  seen.levels = array(seen.image);
  const [channels, height, width] = seen.size, [top, left, tall, wide] = seen.window;
  const canvas = el("canvas", {}), frame = el("div", { class: "frame" }, canvas, el("i", {}));
  const work = el("div", { id: "pixel-sum", "aria-live": "polite" });
  drawPixels(canvas);
  let at = [top + (tall >> 1), left + (wide >> 1)];
  const [rowLabel, row] = field("row", "pixel-row", top, top + tall - 1, y => move(y, at[1]));
  const [columnLabel, column] = field("column", "pixel-column", left, left + wide - 1, x => move(at[0], x));
  function move(y, x) {
    at = [clamp(y, top, top + tall - 1), clamp(x, left, left + wide - 1)];
    row.value = at[0]; column.value = at[1];
    mark(frame, canvas, at[0] - top, at[1] - left, 1, 1);
    work.replaceChildren(normalisedPixel(at));
  }
  pad(canvas, "The net's pixels.", () => [at[0] - top, at[1] - left], (y, x) => move(y + top, x + left));
  const part = tall < height || wide < width ? ` The middle ${wide} × ${tall} are shown.` : "";
  const words = `As the net is given it: ${width} × ${height}, ${channels === 1 ? "one channel" : "three channels"}.${part}`
    + " Choose a pixel: click, or type its row and column.";
  $("pixel-work").append(
    el("div", { class: "pair" }, givenPicture(), el("figure", {}, frame, el("figcaption", {}, words))),
    el("div", { class: "controls" }, rowLabel, columnLabel), work);
  move(...at);
}
