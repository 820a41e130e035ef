// Section 2, for a convolution: any value of it is worked out from the pixels and the weights, in float64.
const conv = look.first;

/** The input of the convolution at a channel, row and column; 0 in the padding. */
function given(c, y, x) {
  const [, height, width] = conv.size;
  if (y < 0 || x < 0 || y >= height || x >= width) return 0;
  if (conv.pixels) return pixel(c, y, x);
  const [top, left, tall, wide] = conv.window;
  return conv.values[(c * tall + y - top) * wide + x - left];
}

const kernelSize = () => conv.weight.shape.slice(1);
function weightAt(n, c, i, j) {
  const [, per, tall, wide] = conv.weight.shape;
  return conv.weights[((n * per + c) * tall + i) * wide + j];
}
/** The first input channel of the group that output channel n (of those shown) belongs to. */
const groupStart = n => Math.floor(conv.channels[n] / (conv.of / conv.groups)) * conv.weight.shape[1];
const corner = (y, x) => [y * conv.stride[0] - conv.pads[0], x * conv.stride[1] - conv.pads[2]];

/** One value: out[o, y, x] = bias[o] + Σ weight · input. */
function valueAt(n, y, x) {
  const [per, tall, wide] = kernelSize(), start = groupStart(n), [top, left] = corner(y, x);
  let sum = conv.biases[n];
  for (let c = 0; c < per; c++)
    for (let i = 0; i < tall; i++)
      for (let j = 0; j < wide; j++)
        sum += weightAt(n, c, i, j) * given(start + c, top + i * conv.dilation[0], left + j * conv.dilation[1]);
  return sum;
}

/** Rows of numbers in coloured cells. */
function numbers(rows, peak) {
  const size = peak >= 100 ? 0 : peak >= 0.1 ? 2 : 3;
  const cellOf = value => {
    const cell = el("td", { "data-v": value, title: String(value) }, value.toFixed(size).replace("-", "−"));
    const { back, ink } = shade(value, peak);
    cell.style.background = back; cell.style.color = ink;
    return cell;
  };
  const kind = rows.length > 5 || rows[0].length > 5 ? "grid small" : "grid";
  return el("table", { class: kind }, el("tbody", {}, rows.map(row => el("tr", {}, row.map(cellOf)))));
}

/** Rows of numbers as a picture, where there are too many to read. */
function picture(rows, peak) {
  const canvas = el("canvas", { role: "img", "aria-label": `${rows.length} × ${rows[0].length} values` });
  heat(canvas, rows.flat(), rows.length, rows[0].length, peak);
  return canvas;
}

/** The layer in words: what it takes and gives, and what of it fits on the page. */
function convolutionWords() {
  const [, tall, wide] = kernelSize(), [y0, y1, x0, x1] = conv.span, [channels, height, width] = conv.size;
  const [above, below, left, right] = conv.pads, [down, across] = conv.stride;
  const how = [`kernel ${tall} × ${wide}`, `stride ${down === across ? down : conv.stride.join(" × ")}`];
  if (conv.pads.some(Boolean)) how.push(`padded with zeros: ${above} above, ${below} below, ${left} left, ${right} right`);
  if (conv.dilation.some(d => d > 1)) how.push(`dilation ${conv.dilation.join(" × ")}`);
  if (conv.groups > 1) how.push(`${conv.groups} groups`);
  const said = [`is a convolution, ${how.join(", ")}: it takes ${channels} channel${channels > 1 ? "s" : ""} of ${height} × ${width}`
    + ` and gives ${conv.of} of ${conv.out.join(" × ")}.`];
  if (conv.channels.length < conv.of)
    said.push(`Of its ${conv.of} channels the ${conv.channels.length} that vary most fit on this page.`);
  if (y1 - y0 < conv.out[0] || x1 - x0 < conv.out[1])
    said.push(`Of its ${conv.out[0]} × ${conv.out[1]} places those in the middle can be chosen.`);
  return [
    el("p", {}, bdi(conv.name), ` (${conv.layer}) ${said.join(" ")} ${conv.note}`),
    el("p", {}, "At each place a small patch of the input lies under the kernel. Each number of the patch is multiplied by the number of"
      + " the kernel that lies on it; all products are added, and then the bias. A kernel that looks like the patch gives a large value."
      + " The same kernel is used at every place."),
    formula(`*out*_{o, y, x} = *b*_{o} + Σ_{c, i, j} *w*_{o, c, i, j} · *x*_{c, ${at("y", 0, "i")}, ${at("x", 1, "j")}}`)];
}

/** The input channels below value (n, y, x): name, patch, kernel, their products and the sum of these. */
function convolutionParts(n, y, x) {
  const [per, tall, wide] = kernelSize(), start = groupStart(n), [top, left] = corner(y, x);
  const rowsOf = f => upTo(tall).map(i => upTo(wide).map(j => f(i, j)));
  return upTo(per).map(c => {
    const patch = rowsOf((i, j) => given(start + c, top + i * conv.dilation[0], left + j * conv.dilation[1]));
    const kernel = rowsOf((i, j) => weightAt(n, c, i, j)), product = rowsOf((i, j) => patch[i][j] * kernel[i][j]);
    const sum = product.flat().reduce((p, q) => p + q, 0), name = channelName(start + c, conv.size[0], conv.pixels);
    return { name, patch, kernel, product, sum };
  });
}

/** Patch × kernel = products of the first four input channels, as numbers or pictures. */
function drawnParts(parts) {
  const [, tall, wide] = kernelSize(), draw = tall * wide <= 49 ? numbers : picture;
  const peaks = key => peakOf(parts.flatMap(part => part[key].flat()));
  const [patch, kernel, product] = ["patch", "kernel", "product"].map(peaks);
  const figure = (words, rows, peak) => el("figure", {}, el("figcaption", {}, words), draw(rows, peak));
  const sign = text => el("span", { class: "sign" }, text);
  return parts.slice(0, 4).map(part => el("div", { class: "sum" },
    figure(`patch, ${part.name}`, part.patch, patch), sign("×"), figure("kernel", part.kernel, kernel), sign("="),
    figure("products", part.product, product), el("span", {}, "sum ", num(part.sum, { kind: "part" }))));
}

/** All products of a value in a table, which is made when it is first opened; `folds.open` is kept for the next value. */
function everyProduct(parts, folds) {
  const terms = parts.flatMap(part => part.product.flatMap((line, i) => line.map((v, j) =>
    [`${part.name}, row ${i}, column ${j}`, num(part.patch[i][j]), num(part.kernel[i][j]), num(v)])));
  const every = el("details", {}, el("summary", {}, `All ${terms.length} products in a table`));
  every.addEventListener("toggle", () => {
    folds.open = every.open;
    if (every.open && every.children.length === 1)
      every.append(table(["where", "patch x", "kernel w", "w · x"], terms, { label: "All products", tall: true }));
  });
  every.open = folds.open;
  return every;
}

/** What stands under the maps for value (n, y, x): its parts, and how they add up. */
function workedOut(n, y, x, folds) {
  const parts = convolutionParts(n, y, x), value = valueAt(n, y, x), bias = conv.biases[n];
  const added = parts.length <= 4 ? parts.flatMap((part, c) => [c ? " + " : "", num(part.sum)])
    : [num(value - bias), ` (the sums of ${parts.length} channels)`];
  const some = parts.length > 4
    ? el("p", { class: "soft" }, `The first 4 of ${parts.length} input channels are drawn; the table has all.`) : null;
  return [
    el("div", { class: "sums" }, drawnParts(parts)), some,
    el("p", { class: "total" }, ...added, " + bias ", num(bias, { id: "bias" }), " = ", num(value, { id: "value", kind: "result" }),
      el("span", { class: "soft" }, ` at channel ${conv.channels[n]}, row ${y}, column ${x}`)),
    everyProduct(parts, folds)].filter(Boolean);
}

function convolutionSection() {
  conv.weights = array(conv.weight); conv.biases = array(conv.bias);
  if (conv.input) conv.values = array(conv.input);
  const [, tall, wide] = kernelSize(), [y0, y1, x0, x1] = conv.span, [top, left] = conv.window, folds = { open: false };
  const map = el("canvas", {}), mapFrame = el("div", { class: "frame" }, map, el("i", {}));
  const source = el("canvas", {}), sourceFrame = el("div", { class: "frame" }, source, el("i", {}));
  const work = el("div", { id: "sum", "aria-live": "polite" });
  const select = el("select", { id: "channel" }, conv.channels.map((o, n) => el("option", { value: n }, `channel ${o}`)));
  let [n, y, x] = conv.start;
  const [rowLabel, row] = field("row y", "row", y0, y1 - 1, value => move(value, x));
  const [columnLabel, column] = field("column x", "column", x0, x1 - 1, value => move(y, value));
  select.value = n;
  select.addEventListener("change", () => { n = Number(select.value); drawMap(map, n); move(y, x); });

  function move(i, j) {
    y = clamp(i, y0, y1 - 1); x = clamp(j, x0, x1 - 1);
    row.value = y; column.value = x;
    mark(mapFrame, map, y - y0, x - x0, 1, 1);
    const [a, b] = corner(y, x);
    mark(sourceFrame, source, a - top, b - left, (tall - 1) * conv.dilation[0] + 1, (wide - 1) * conv.dilation[1] + 1);
    work.replaceChildren(...workedOut(n, y, x, folds));
  }
  drawInput(source);
  pad(source, "The input.", () => { const [a, b] = corner(y, x); return [a - top + (tall >> 1), b - left + (wide >> 1)]; },
    (i, j) => move(...[[i + top, 0, tall], [j + left, 1, wide]].map(([spot, k, side]) =>
      (spot + conv.pads[2 * k] - (side >> 1) * conv.dilation[k]) / conv.stride[k])));
  pad(map, "The output map.", () => [y - y0, x - x0], (i, j) => move(i + y0, j + x0));
  const shown = conv.pixels ? "The input: the normalised pixels." : "The first channel of the input.";
  $("first-work").append(
    ...convolutionWords(),
    el("div", { class: "controls" }, el("label", {}, "output channel o", select), rowLabel, columnLabel),
    el("div", { class: "pair" },
      el("figure", {}, sourceFrame, el("figcaption", {}, `${shown} The frame is the patch.`)),
      el("figure", {}, mapFrame, el("figcaption", {}, "The output channel. Click a value of it, or a place of the input."))),
    work, checkedWords(conv.error));
  if (y1 > y0 && x1 > x0) { drawMap(map, n); move(y, x); }
}

function drawMap(canvas, n) {
  const [y0, y1, x0, x1] = conv.span, values = new Float64Array((y1 - y0) * (x1 - x0));
  for (let i = y0; i < y1; i++) for (let j = x0; j < x1; j++) values[(i - y0) * (x1 - x0) + j - x0] = valueAt(n, i, j);
  heat(canvas, values, y1 - y0, x1 - x0, peakOf(values));
}

function drawInput(canvas) {
  const [, , tall, wide] = conv.window;
  if (conv.pixels) drawPixels(canvas);
  else heat(canvas, conv.values, tall, wide, peakOf(conv.values.subarray(0, tall * wide)));
}

/** By how much the sums of a first layer differ from what the net computed. */
const checkedWords = error => el("p", { class: "soft" },
  "Checked when this page was made: these sums differ from what the net computed by at most ", num(error, { count: 2 }),
  " of the largest value.");

/** Where a patch lies, as a formula: y·stride − padding + i·dilation. */
function at(name, axis, step) {
  const stride = conv.stride[axis], before = conv.pads[2 * axis], spread = conv.dilation[axis];
  return `${stride > 1 ? `${stride}` : ""}${name} + ${spread > 1 ? `${spread}` : ""}${step}${before ? ` − ${before}` : ""}`;
}
