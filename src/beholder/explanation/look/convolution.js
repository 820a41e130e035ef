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
const weightAt = (n, c, i, j) => { const [, per, tall, wide] = conv.weight.shape; return conv.weights[((n * per + c) * tall + i) * wide + j]; };
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
  return el("table", { class: rows.length > 5 || rows[0].length > 5 ? "grid small" : "grid" }, el("tbody", {}, rows.map(row => el("tr", {}, row.map(value => {
    const cell = el("td", { "data-v": value, title: String(value) }, value.toFixed(size).replace("-", "−"));
    const { back, ink } = shade(value, peak);
    cell.style.background = back; cell.style.color = ink;
    return cell;
  })))));
}

/** Rows of numbers as a picture, where there are too many to read. */
function picture(rows, peak) {
  const canvas = el("canvas", { role: "img", "aria-label": `${rows.length} × ${rows[0].length} values` });
  heat(canvas, rows.flat(), rows.length, rows[0].length, peak);
  return canvas;
}

function convolutionSection() {
  const [per, tall, wide] = kernelSize(), few = tall * wide <= 49, [y0, y1, x0, x1] = conv.span, [channels, height, width] = conv.size;
  conv.weights = array(conv.weight); conv.biases = array(conv.bias);
  if (conv.input) conv.values = array(conv.input);
  const place = $("first-work");
  const many = conv.channels.length < conv.of ? ` Of its ${conv.of} channels the ${conv.channels.length} that vary most fit on this page.` : "";
  const part = y1 - y0 < conv.out[0] || x1 - x0 < conv.out[1] ? ` Of its ${conv.out[0]} × ${conv.out[1]} places those in the middle can be chosen.` : "";
  const how = [`kernel ${tall} × ${wide}`, `stride ${conv.stride[0] === conv.stride[1] ? conv.stride[0] : conv.stride.join(" × ")}`];
  if (conv.pads.some(Boolean)) how.push(`padded with zeros: ${conv.pads[0]} above, ${conv.pads[1]} below, ${conv.pads[2]} left, ${conv.pads[3]} right`);
  if (conv.dilation.some(d => d > 1)) how.push(`dilation ${conv.dilation.join(" × ")}`);
  if (conv.groups > 1) how.push(`${conv.groups} groups`);
  place.append(
    el("p", {}, bdi(conv.name), ` (${conv.layer}) is a convolution, ${how.join(", ")}: it takes ${channels} channel${channels > 1 ? "s" : ""} of ${height} × ${width} and gives ${conv.of} of ${conv.out.join(" × ")}.${many}${part} ${conv.note}`),
    el("p", {}, "At each place a small patch of the input lies under the kernel. Each number of the patch is multiplied by the number of the kernel that lies on it; all products are added, and then the bias. A kernel that looks like the patch gives a large value. The same kernel is used at every place."),
    formula(`*out*_{o, y, x} = *b*_{o} + Σ_{c, i, j} *w*_{o, c, i, j} · *x*_{c, ${at("y", 0, "i")}, ${at("x", 1, "j")}}`));

  const map = el("canvas", {}), mapFrame = el("div", { class: "frame" }, map, el("i", {}));
  const source = el("canvas", {}), sourceFrame = el("div", { class: "frame" }, source, el("i", {}));
  const work = el("div", { id: "sum", "aria-live": "polite" });
  const select = el("select", { id: "channel" }, conv.channels.map((o, n) => el("option", { value: n }, `channel ${o}`)));
  let [n, y, x] = conv.start, opened = false;
  const [rowLabel, row] = field("row y", "row", y0, y1 - 1, value => move(value, x));
  const [columnLabel, column] = field("column x", "column", x0, x1 - 1, value => move(y, value));
  select.value = n;
  select.addEventListener("change", () => { n = Number(select.value); drawMap(); move(y, x); });
  const [top, left, deep, broad] = conv.window;

  function drawMap() {
    const values = new Float64Array((y1 - y0) * (x1 - x0));
    for (let i = y0; i < y1; i++) for (let j = x0; j < x1; j++) values[(i - y0) * (x1 - x0) + j - x0] = valueAt(n, i, j);
    heat(map, values, y1 - y0, x1 - x0, peakOf(values));
  }
  function move(i, j) {
    y = clamp(i, y0, y1 - 1); x = clamp(j, x0, x1 - 1);
    row.value = y; column.value = x;
    mark(mapFrame, map, y - y0, x - x0, 1, 1);
    const [a, b] = corner(y, x);
    mark(sourceFrame, source, a - top, b - left, (tall - 1) * conv.dilation[0] + 1, (wide - 1) * conv.dilation[1] + 1);
    work.replaceChildren(...workedOut());
  }
  function workedOut() {
    const start = groupStart(n), [a, b] = corner(y, x), sums = [], terms = [];
    const rowsOf = f => [...Array(tall).keys()].map(i => [...Array(wide).keys()].map(j => f(i, j)));
    const parts = [...Array(per).keys()].map(c => ({
      patch: rowsOf((i, j) => given(start + c, a + i * conv.dilation[0], b + j * conv.dilation[1])), kernel: rowsOf((i, j) => weightAt(n, c, i, j)) }));
    const strongest = key => peakOf(parts.flatMap(part => part[key].flat()));
    for (const part of parts) part.product = part.patch.map((line, i) => line.map((v, j) => v * part.kernel[i][j]));
    const peaks = { patch: strongest("patch"), kernel: strongest("kernel"), product: strongest("product") };
    const draw = few ? numbers : picture, shown = parts.slice(0, 4);
    parts.forEach((part, c) => {
      const name = channelName(start + c, channels, conv.pixels), total = part.product.flat().reduce((p, q) => p + q, 0);
      sums.push(total);
      part.product.forEach((line, i) => line.forEach((v, j) => terms.push([`${name}, row ${i}, column ${j}`, num(part.patch[i][j]), num(part.kernel[i][j]), num(v)])));
      part.row = el("div", { class: "sum" },
        el("figure", {}, el("figcaption", {}, `patch, ${name}`), draw(part.patch, peaks.patch)), el("span", { class: "sign" }, "×"),
        el("figure", {}, el("figcaption", {}, "kernel"), draw(part.kernel, peaks.kernel)), el("span", { class: "sign" }, "="),
        el("figure", {}, el("figcaption", {}, "products"), draw(part.product, peaks.product)), el("span", {}, "sum ", num(total, { kind: "part" })));
    });
    const value = valueAt(n, y, x), bias = conv.biases[n];
    const added = sums.length <= 4 ? sums.flatMap((sum, c) => [c ? " + " : "", num(sum)]) : [num(value - bias), ` (the sums of ${sums.length} channels)`];
    const every = el("details", {}, el("summary", {}, `All ${terms.length} products in a table`));
    every.addEventListener("toggle", () => { opened = every.open; if (opened && every.children.length === 1) every.append(table(["where", "patch x", "kernel w", "w · x"], terms, { label: "All products", tall: true })); });
    every.open = opened;
    return [el("div", { class: "sums" }, shown.map(part => part.row)), parts.length > shown.length ? el("p", { class: "soft" }, `The first 4 of ${parts.length} input channels are drawn; the table has all.`) : null,
      el("p", { class: "total" }, ...added, " + bias ", num(bias, { id: "bias" }), " = ", num(value, { id: "value", kind: "result" }),
        el("span", { class: "soft" }, ` at channel ${conv.channels[n]}, row ${y}, column ${x}`)), every].filter(Boolean);
  }

  if (conv.pixels) drawPixels(source);
  else heat(source, conv.values, deep, broad, peakOf(conv.values.subarray(0, deep * broad)));
  pad(source, "The input.", () => { const [a, b] = corner(y, x); return [a - top + (tall >> 1), b - left + (wide >> 1)]; }, (i, j) =>
    move(...[[i + top, 0, tall], [j + left, 1, wide]].map(([spot, k, side]) => (spot + conv.pads[2 * k] - (side >> 1) * conv.dilation[k]) / conv.stride[k])));
  pad(map, "The output map.", () => [y - y0, x - x0], (i, j) => move(i + y0, j + x0));
  place.append(
    el("div", { class: "controls" }, el("label", {}, "output channel o", select), rowLabel, columnLabel),
    el("div", { class: "pair" },
      el("figure", {}, sourceFrame, el("figcaption", {}, conv.pixels ? "The input: the normalised pixels. The frame is the patch." : "The first channel of the input. The frame is the patch.")),
      el("figure", {}, mapFrame, el("figcaption", {}, "The output channel. Click a value of it, or a place of the input."))),
    work, el("p", { class: "soft" }, "Checked when this page was made: these sums differ from what the net computed by at most ", num(conv.error, { count: 2 }), " of the largest value."));
  if (y1 > y0 && x1 > x0) { drawMap(); move(y, x); }
}

/** Where a patch lies, as a formula: y·stride − padding + i·dilation. */
function at(name, axis, step) {
  const stride = conv.stride[axis], before = conv.pads[2 * axis], spread = conv.dilation[axis];
  return `${stride > 1 ? `${stride}` : ""}${name} + ${spread > 1 ? `${spread}` : ""}${step}${before ? ` − ${before}` : ""}`;
}
