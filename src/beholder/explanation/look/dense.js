// Section 2, for a dense layer: input × weight + bias.
function denseSection() {
  const dense = look.first, weights = array(dense.weight), biases = array(dense.bias), count = dense.weight.shape[1], place = $("first-work");
  const inputs = dense.pixels ? null : array(dense.input), [channels, height, width] = dense.size, tokens = dense.pixels ? 1 : dense.size[0];
  let [n, token] = dense.start, spot = [height >> 1, width >> 1];
  const inputAt = j => dense.pixels ? pixel(Math.floor(j / (height * width)), Math.floor(j / width) % height, j % width) : inputs[token * count + j];
  const weightAt = j => weights[n * count + j];
  const values = () => Float64Array.from({ length: count }, (_, j) => inputAt(j));
  const unitName = k => dense.names ? dense.names[k] : `unit ${dense.channels[k]}`;
  const inputName = j => dense.pixels ? featureName(j, dense.size) : `input ${j}`;
  const some = dense.channels.length < dense.of ? ` Of its ${dense.of} units the ${dense.channels.length} with the largest values fit on this page.` : "";
  place.append(
    el("p", {}, bdi(dense.name), ` (${dense.layer}) is a dense layer: each of its ${dense.of} units${dense.names ? ", here one for each logit," : ""} has one weight for each of its ${count.toLocaleString("en")} inputs${dense.pixels ? `, the normalised pixels in one row (${channels} × ${height} × ${width})` : tokens > 1 ? `, and is worked out for each of ${tokens} pieces of the picture` : ""}.${some}`),
    el("p", {}, "Each input is multiplied by its weight; all products are added, and then the bias. Inputs whose weight has their sign push the value up, the others push it down."),
    formula("*out*_{k} = *b*_{k} + Σ_{j} *w*_{k, j} · *x*_{j}"));
  const select = el("select", { id: "channel" }, dense.channels.map((unit, k) => el("option", { value: k }, unitName(k))));
  const controls = el("div", { class: "controls" }, el("label", {}, "unit k", select));
  const drawn = el("div", { class: "pair" }), work = el("div", { id: "sum", "aria-live": "polite" }), one = el("div", { "aria-live": "polite" });
  select.value = n;
  select.addEventListener("change", () => { n = Number(select.value); show(); });
  let fields = [];
  if (dense.pixels) {
    const [rowLabel, row] = field("pixel row", "row", 0, height - 1, y => move(y, spot[1]));
    const [columnLabel, column] = field("pixel column", "column", 0, width - 1, x => move(spot[0], x));
    fields = [row, column];
    controls.append(rowLabel, columnLabel);
  } else if (tokens > 1) {
    const [label] = field("piece", "row", 0, tokens - 1, t => { token = clamp(t, 0, tokens - 1); show(); });
    controls.append(label);
  }
  const frames = [];
  const framed = (words, draw, focus) => {
    const canvas = el("canvas", focus ? {} : { role: "img", "aria-label": words }), frame = el("div", { class: "frame" }, canvas, el("i", {}));
    draw(canvas);
    if (focus) pad(canvas, `${words}.`, () => spot, move);
    frames.push([frame, canvas]);
    return el("figure", {}, frame, el("figcaption", {}, words));
  };
  function move(y, x) {
    spot = [clamp(y, 0, height - 1), clamp(x, 0, width - 1)];
    fields[0].value = spot[0]; fields[1].value = spot[1];
    for (const [frame, canvas] of frames) mark(frame, canvas, spot[0], spot[1], 1, 1);
    const rows = [...Array(channels).keys()].map(c => { const j = (c * height + spot[0]) * width + spot[1]; return [channelName(c, channels, true), num(inputAt(j)), num(weightAt(j)), num(inputAt(j) * weightAt(j))]; });
    one.replaceChildren(table(["at this pixel", "x", "w", "w · x"], rows, { label: "The chosen pixel" }));
  }
  function show() {
    const x = values(), products = x.map((v, j) => v * weightAt(j)), area = height * width;
    if (dense.pixels) {
      const unit = weights.subarray(n * count, (n + 1) * count), peak = peakOf(unit);
      const together = Float64Array.from({ length: area }, (_, k) => { let sum = 0; for (let c = 0; c < channels; c++) sum += products[c * area + k]; return sum; });
      frames.length = 0;
      drawn.replaceChildren(
        framed("The input: the normalised pixels", drawPixels, false),
        ...[...Array(channels).keys()].map(c => framed(`Weights of the unit${channels > 1 ? `, ${CHANNEL[c]}` : ""}`, canvas => heat(canvas, unit, height, width, peak, c * area), false)),
        framed(`Products${channels > 1 ? ", added over the channels" : ""}: what each pixel adds to the value`, canvas => heat(canvas, together, height, width, peakOf(together)), true));
      move(...spot);
    }
    const order = [...products.keys()].sort((a, b) => Math.abs(products[b]) - Math.abs(products[a])).slice(0, 12);
    let whole = 0; for (const product of products) whole += product;
    const rest = whole - order.reduce((sum, j) => sum + products[j], 0), bias = biases[n], most = Math.abs(products[order[0]]) || 1;
    const rows = order.map(j => [inputName(j), num(x[j]), num(weightAt(j)), num(products[j]), barred(signed(products[j] / most))]);
    if (count > order.length) rows.push([`the other ${(count - order.length).toLocaleString("en")} together`, "", "", num(rest), ""]);
    rows.push(["bias", "", "", num(bias, { id: "bias" }), ""], { kind: "sum-row", cells: [el("span", {}, "value of ", bdi(unitName(n))), "", "", num(whole + bias, { id: "value" }), ""] });
    work.replaceChildren(table(["largest products", "x", "w", "w · x", ""], rows, { label: "The sum of one unit" }));
  }
  place.append(controls, drawn, one, work, el("p", { class: "soft" }, "Checked when this page was made: these sums differ from what the net computed by at most ", num(dense.error, { count: 2 }), " of the largest value."));
  show();
}

/** What a feature is called: a place in maps where it has one. */
function featureName(j, shape) {
  if (!shape) return `feature ${j}`;
  const [channels, height, width] = shape, c = Math.floor(j / (height * width)), y = Math.floor(j / width) % height, x = j % width;
  const own = look.pixels.size, pixels = shape.every((side, k) => side === own[k]);
  return `${pixels ? channelName(c, channels, true) : `map ${c}`}, row ${y}, column ${x}`;
}
