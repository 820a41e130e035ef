// Section 2, for a dense layer: input × weight + bias.
const dense = look.first;

const denseInput = (token, j) => {
  const [, height, width] = dense.size;
  return dense.pixels ? pixel(Math.floor(j / (height * width)), Math.floor(j / width) % height, j % width)
    : dense.inputs[token * dense.weight.shape[1] + j];
};
const denseWeight = (n, j) => dense.weights[n * dense.weight.shape[1] + j];
const unitName = n => dense.names ? dense.names[n] : `unit ${dense.channels[n]}`;

/** The layer in words: what it takes and gives, and what of it fits on the page. */
function denseWords() {
  const count = dense.weight.shape[1], tokens = dense.pixels ? 1 : dense.size[0];
  const units = dense.names ? "units, here one for each logit," : "units";
  const inputs = dense.pixels ? `, the normalised pixels in one row (${dense.size.join(" × ")})`
    : tokens > 1 ? `, and is worked out for each of ${tokens} pieces of the picture` : "";
  const some = dense.channels.length < dense.of
    ? ` Of its ${dense.of} units the ${dense.channels.length} with the largest values fit on this page.` : "";
  return [
    el("p", {}, bdi(dense.name), ` (${dense.layer}) is a dense layer: each of its ${dense.of} ${units} has one weight for each of its`
      + ` ${whole(count)} inputs${inputs}.${some} ${dense.note}`),
    el("p", {}, "Each input is multiplied by its weight; all products are added, and then the bias. Inputs whose weight has their sign"
      + " push the value up, the others push it down."),
    formula("*out*_{k} = *b*_{k} + Σ_{j} *w*_{k, j} · *x*_{j}")];
}

/** A canvas in a frame with its caption; where `pick` is given, it can be clicked and walked over. */
function framed(words, draw, pick = null) {
  const canvas = el("canvas", pick ? {} : { role: "img", "aria-label": words });
  const frame = el("div", { class: "frame" }, canvas, el("i", {}));
  draw(canvas);
  if (pick) pad(canvas, `${words}.`, pick.at, pick.moved);
  return { frame, canvas, figure: el("figure", {}, frame, el("figcaption", {}, words)) };
}

/** The input, the weights of unit n and their products as pictures. */
function densePictures(n, products, pick) {
  const count = dense.weight.shape[1], [channels, height, width] = dense.size, area = height * width;
  const unit = dense.weights.subarray(n * count, (n + 1) * count), peak = peakOf(unit);
  const together = new Float64Array(area);
  products.forEach((product, j) => { together[j % area] += product; });
  const of = c => channels > 1 ? `, ${CHANNEL[c]}` : "", added = channels > 1 ? ", added over the channels" : "";
  return [
    framed("The input: the normalised pixels", drawPixels),
    ...upTo(channels).map(c => framed(`Weights of the unit${of(c)}`, canvas => heat(canvas, unit, height, width, peak, c * area))),
    framed(`Products${added}: what each pixel adds to the value`, canvas => heat(canvas, together, height, width, peakOf(together)), pick)];
}

/** The largest products of unit n, the others as one sum, the bias and the value. */
function denseSum(n, token, products) {
  const count = products.length, bias = dense.biases[n];
  const order = [...products.keys()].sort((a, b) => Math.abs(products[b]) - Math.abs(products[a])).slice(0, 12);
  const all = products.reduce((sum, product) => sum + product, 0), most = Math.abs(products[order[0]]) || 1;
  const rest = all - order.reduce((sum, j) => sum + products[j], 0);
  const inputName = j => dense.pixels ? featureName(j, dense.size) : `input ${j}`;
  const rows = order.map(j => [inputName(j), num(denseInput(token, j)), num(denseWeight(n, j)), num(products[j]),
    barred(signed(products[j] / most))]);
  if (count > order.length) rows.push([`the other ${whole(count - order.length)} together`, "", "", num(rest), ""]);
  rows.push(["bias", "", "", num(bias, { id: "bias" }), ""]);
  rows.push({ kind: "sum-row", cells: [el("span", {}, "value of ", bdi(unitName(n))), "", "", num(all + bias, { id: "value" }), ""] });
  return table(["largest products", "x", "w", "w · x", ""], rows, { label: "The sum of one unit" });
}

/** What one pixel adds to unit n, channel by channel. */
function densePixel(n, [y, x]) {
  const [channels, height, width] = dense.size;
  const rows = upTo(channels).map(c => {
    const j = (c * height + y) * width + x, input = denseInput(0, j), weight = denseWeight(n, j);
    return [channelName(c, channels, true), num(input), num(weight), num(input * weight)];
  });
  return table(["at this pixel", "x", "w", "w · x"], rows, { label: "The chosen pixel" });
}

function denseSection() {
  dense.weights = array(dense.weight); dense.biases = array(dense.bias); dense.inputs = dense.pixels ? null : array(dense.input);
  const count = dense.weight.shape[1], [tokens, height, width] = dense.size;
  let [n, token] = dense.start, spot = [height >> 1, width >> 1], frames = [], fields = [];
  const select = el("select", { id: "channel" }, dense.channels.map((_, k) => el("option", { value: k }, unitName(k))));
  const controls = el("div", { class: "controls" }, el("label", {}, "unit k", select)), drawn = el("div", { class: "pair" });
  const work = el("div", { id: "sum", "aria-live": "polite" }), one = el("div", { "aria-live": "polite" });
  select.value = n;
  select.addEventListener("change", () => { n = Number(select.value); show(); });
  if (dense.pixels) {
    const [rowLabel, row] = field("pixel row", "row", 0, height - 1, y => move(y, spot[1]));
    const [columnLabel, column] = field("pixel column", "column", 0, width - 1, x => move(spot[0], x));
    fields = [row, column];
    controls.append(rowLabel, columnLabel);
  } else if (tokens > 1) {
    controls.append(field("piece", "row", 0, tokens - 1, t => { token = clamp(t, 0, tokens - 1); show(); })[0]);
  }
  function move(y, x) {
    spot = [clamp(y, 0, height - 1), clamp(x, 0, width - 1)];
    fields.forEach((input, k) => { input.value = spot[k]; });
    for (const { frame, canvas } of frames) mark(frame, canvas, ...spot, 1, 1);
    one.replaceChildren(densePixel(n, spot));
  }
  function show() {
    const products = Float64Array.from({ length: count }, (_, j) => denseInput(token, j) * denseWeight(n, j));
    if (dense.pixels) {
      frames = densePictures(n, products, { at: () => spot, moved: move });
      drawn.replaceChildren(...frames.map(each => each.figure));
      move(...spot);
    }
    work.replaceChildren(denseSum(n, token, products));
  }
  $("first-work").append(...denseWords(), controls, drawn, one, work, checkedWords(dense.error));
  show();
}

/** What a feature is called: a place in maps where it has one. */
function featureName(j, shape) {
  if (!shape) return `feature ${j}`;
  const [channels, height, width] = shape, c = Math.floor(j / (height * width)), y = Math.floor(j / width) % height, x = j % width;
  const own = look.pixels.size, pixels = shape.every((side, k) => side === own[k]);
  return `${pixels ? channelName(c, channels, true) : `map ${c}`}, row ${y}, column ${x}`;
}
