// Section 6: loss, δ, Δw = −α δ xᵀ, and the loss after the step.
const step = look.step;

const LOSSES = {
  categorical: ["*L* = −log *p*_{true}", "δ_{k} = ∂*L* / ∂*z*_{k} = *p*_{k} − *y*_{k}",
    "the probability of the true class: the surer the net is of it, the smaller is the loss"],
  bernoulli: ["*L* = −Σ_{k} (*y*_{k} log *p*_{k} + (1 − *y*_{k}) log(1 − *p*_{k}))",
    "δ_{k} = ∂*L* / ∂*z*_{k} = *p*_{k} − *y*_{k}",
    "the probabilities of all labels, given or not; training takes the mean over the labels, this is their sum"],
  sequential: ["*L* = −Σ_{k} log(the probability of the right answer to question k), over the questions that are asked",
    "δ_{k} = ∂*L* / ∂*z*_{k} = σ(*z*_{k}) − *y*_{k}, 0 where a question is not asked",
    "the answers to the questions up to the true class"],
};

/** What a logit is about: a question about ordered classes, or a class. */
function logitName(k) {
  if (head.steps) return head.steps[k]?.name ?? `question ${k}`;
  return head.classes.find(one => one.at === k)?.name ?? `class ${k}`;
}

function stepSection() {
  const [loss, slope, what] = LOSSES[head.family], truth = step.truth === "" ? "none of the labels" : step.truth;
  $("step-work").append(
    el("p", {}, "Suppose this one picture were in the training set, and its true ", look.several ? "labels were " : "class were ",
      el("strong", {}, bdi(truth)), step.given ? ", as you said." : ", as the net predicts (--label names another).",
      " Training changes every weight a little, so that the loss becomes smaller. This is plain gradient descent on one picture, from"
      + " logits before calibration. What a recipe may add is left out: batches, momentum, dropout, augmentation, label smoothing, class"
      + " weights, weight decay."),
    el("h3", {}, "Loss"), formula(loss),
    el("p", {}, `It measures ${what}. Here L = `, num(step.loss, { id: "loss" }), "."),
    el("h3", {}, "δ of the head: how the loss changes with each logit"), formula(slope),
    ...deltaTables(),
    el("p", {}, "δ is negative where the logit should grow, positive where it should fall, and 0 where nothing is to be learnt."),
    el("h3", {}, "Backwards through the layers"),
    formula("Δ*w*_{k, j} = −α δ_{k} *x*_{j}, Δ*b*_{k} = −α δ_{k}; for all weights of a layer at once Δ*W* = −α δ *x*ᵀ"),
    el("p", {}, "Each weight changes by how wrong the unit is that it leads to, times the input that came through it. α = ",
      el("span", { class: "n" }, String(step.alpha)), " is the learning rate. To the layer before goes δ, multiplied by the weights on the"
      + " way and stopped where ReLU gave 0: it is (Wᵀ δ) where a unit was above 0, else 0."),
    ...step.layers.flatMap(layer => layer.kind === "dense" ? denseStep(layer) : kernelStep(layer)),
    ...afterStep());
}

/** δ of the ten logits where it is largest, and of the others in a table that opens. */
function deltaTables() {
  const hot = !head.steps, heads = ["logit of", "z", ...(hot ? ["y", "p"] : []), "δ"], made = [];
  const rowOf = row => [bdi(logitName(row.at)), num(row.logit), ...(hot ? [num(row.y), num(row.delta + row.y)] : []),
    num(row.delta, { kind: "delta" })];
  const rows = step.rows.map(rowOf), more = rows.length - 10;
  made.push(table(heads, rows.slice(0, 10), { label: "Delta of the head" }));
  if (more > 0) made.push(el("details", {},
    el("summary", {}, step.count > rows.length ? `The next ${more} of ${step.count}` : `The other ${more}`),
    table(heads, rows.slice(10), { label: "Delta of the others", tall: true })));
  if (head.calibration)
    made.push(el("p", { class: "soft" }, "These p are those before calibration, so they differ from section 5."));
  return made;
}

function afterStep() {
  const better = step.after < step.loss ? "." : ": the step was too long, and overshot.";
  return [
    el("h3", {}, "After the step"),
    el("p", { class: "total" }, "The loss was ", num(step.loss), " and is ", num(step.after, { id: "after", kind: "result" }),
      " after the step", better),
    el("p", {}, "Other learning rates on the same picture: too small a step hardly helps, too large a one may do harm."),
    table(["learning rate α", "loss after the step"], step.rates.map(rate => [String(rate.alpha), num(rate.after)]),
      { label: "Learning rates" })];
}

/** What an input of a dense layer is called: a pixel of the first layer, a feature of the head, else a unit of the layer before. */
function inputOf(layer, j) {
  if (layer === step.layers[step.layers.length - 1]) return featureName(j, look.pixels.size);
  return layer.name === "head" ? featureName(j, head.shape) : `unit ${j} before`;
}

function denseStep(layer) {
  const last = layer.name === "head", unit = k => last ? bdi(logitName(k)) : `unit ${k}`;
  const still = layer.still && !last ? ` ${whole(layer.still)} of its ${whole(layer.units)} units have δ = 0: ReLU stopped them, and they`
    + " learn nothing from this picture." : "";
  const rows = layer.cells.map(cell => [el("span", {}, unit(cell.unit), ` ← ${inputOf(layer, cell.input)}`),
    num(cell.delta), num(cell.x), num(cell.w), num(cell.dw, { kind: "dw" }), num(cell.new)]);
  rows.push(...layer.biases.map(one => [el("span", {}, unit(one.unit), " ← bias"),
    num(one.delta), num(1), num(one.b), num(one.db, { kind: "dw" }), num(one.b + one.db)]));
  return [
    el("h3", {}, bdi(layer.name), el("span", { class: "soft" }, ` dense layer, ${whole(layer.weights)} learnt numbers`)),
    el("p", {}, `The weights that change most: of the units with the largest δ, those by which the largest inputs come in.${still}`),
    table(["weight", "δ", "x", "w", "Δw = −α δ x", "w after"], rows, { label: `Changes of ${layer.name}` })];
}

function kernelStep(layer) {
  const figure = (words, made) => el("figure", {}, el("figcaption", {}, words), made), sign = text => el("span", { class: "sign" }, text);
  const [before, change, after] = [layer.w, layer.dw, layer.new].map(kernel => peakOf(kernel.flat(2)));
  const made = layer.w.map((_, c) => el("div", { class: "sum" },
    figure(`kernel w, ${channelName(c, layer.w.length, true)}`, numbers(layer.w[c], before)), sign("+"),
    figure("Δw, thousandths", thousandths(layer.dw[c], change)), sign("="),
    figure("w after", numbers(layer.new[c], after))));
  return [
    el("h3", {}, bdi(layer.name), el("span", { class: "soft" }, ` convolution, ${whole(layer.weights)} learnt numbers`)),
    formula("Δ*w*_{o, c, i, j} = −α Σ_{y, x} δ_{o, y, x} · *x*_{c, y + i, x + j}"),
    el("p", {}, "A kernel is used at every place, so the changes of all places are added. Pooling hands δ only to the largest value of"
      + ` each window: ${whole(layer.places)} of ${whole(layer.of)} places of channel ${layer.unit}, whose kernel changes most, have one`
      + " that is not 0. Its bias ", num(layer.b), " changes by ", num(layer.db), "."),
    el("div", { class: "sums" }, made)];
}

/** Small changes in coloured cells, times a thousand; data-v has them as they are. */
function thousandths(rows, peak) {
  const made = numbers(rows.map(row => row.map(value => value * 1000)), peak * 1000);
  made.querySelectorAll("td").forEach((cell, k) => { const value = rows.flat()[k]; cell.dataset.v = value; cell.title = String(value); });
  return made;
}
