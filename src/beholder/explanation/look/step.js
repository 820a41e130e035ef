// Section 6: loss, δ, Δw = −α δ xᵀ, and the loss after the step.
const step = look.step;

const LOSSES = {
  categorical: ["*L* = −log *p*_{true}", "δ_{k} = ∂*L* / ∂*z*_{k} = *p*_{k} − *y*_{k}", "the probability of the true class: the surer the net is of it, the smaller is the loss"],
  bernoulli: ["*L* = −Σ_{k} (*y*_{k} log *p*_{k} + (1 − *y*_{k}) log(1 − *p*_{k}))", "δ_{k} = ∂*L* / ∂*z*_{k} = *p*_{k} − *y*_{k}", "the probabilities of all labels, given or not"],
  sequential: ["*L* = −Σ_{k} log(the probability of the right answer to question k), over the questions that are asked", "δ_{k} = ∂*L* / ∂*z*_{k} = σ(*z*_{k}) − *y*_{k}, 0 where a question is not asked", "the answers to the questions up to the true class"],
};

function stepSection() {
  const place = $("step-work"), [loss, slope, what] = LOSSES[head.family] ?? ["*L* = −log *p*(truth)", "δ_{k} = ∂*L* / ∂*z*_{k}", "how likely the truth is"];
  const names = head.steps ? head.steps.map(one => one.name) : null, classes = new Map(head.classes.map(one => [one.at, one.name]));
  const nameOf = k => names ? names[k] : classes.get(k) ?? `class ${k}`;
  const true_ = step.truth === "" ? "none of the labels" : step.truth, better = step.after < step.loss;
  place.append(
    el("p", {}, "Suppose this one picture were in the training set, and its true ", look.several ? "labels were " : "class were ", el("strong", {}, bdi(true_)), step.given ? ", as you said." : ", as the net predicts (--label names another).",
      " Training changes every weight a little, so that the loss becomes smaller. Plain gradient descent on one picture, without dropout and augmentation, from logits before calibration:"),
    el("h3", {}, "Loss"), formula(loss),
    el("p", {}, `It measures ${what}. Here L = `, num(step.loss, { id: "loss" }), "."),
    el("h3", {}, "δ of the head: how the loss changes with each logit"), formula(slope));
  const hot = !names, order = step.rows;
  const rowsOf = list => list.map(row => [bdi(nameOf(row.at)), num(row.logit), ...(hot ? [num(row.y), num(row.delta + row.y)] : []), num(row.delta, { kind: "delta" })]);
  const heads = ["logit of", "z", ...(hot ? ["y", "p"] : []), "δ"];
  place.append(table(heads, rowsOf(order.slice(0, 10)), { label: "Delta of the head" }));
  if (order.length > 10) place.append(el("details", {}, el("summary", {}, step.count > order.length ? `The next ${order.length - 10} of ${step.count}` : `The other ${order.length - 10}`), table(heads, rowsOf(order.slice(10)), { label: "Delta of the others", tall: true })));
  if (head.calibration) place.append(el("p", { class: "soft" }, "These p are those before calibration, so they differ from section 5."));
  place.append(el("p", {}, "δ is negative where the logit should grow, positive where it should fall, and 0 where nothing is to be learnt."),
    el("h3", {}, "Backwards through the layers"),
    formula("Δ*w*_{k, j} = −α δ_{k} *x*_{j}, Δ*b*_{k} = −α δ_{k}; for all weights of a layer at once Δ*W* = −α δ *x*ᵀ"),
    el("p", {}, "Each weight changes by how wrong the unit is that it leads to, times the input that came through it. α = ", el("span", { class: "n" }, String(step.alpha)), " is the learning rate. To the layer before goes δ, multiplied by the weights on the way and stopped where ReLU gave 0: it is (Wᵀ δ) where a unit was above 0, else 0."));
  step.layers.forEach(layer => place.append(...(layer.kind === "dense" ? denseStep(layer, nameOf) : kernelStep(layer))));
  place.append(
    el("h3", {}, "After the step"),
    el("p", { class: "total" }, "The loss was ", num(step.loss), " and is ", num(step.after, { id: "after", kind: "result" }), " after the step", better ? "." : ": the step was too long, and overshot."),
    el("p", {}, "Other learning rates on the same picture: too small a step hardly helps, too large a one may do harm."),
    table(["learning rate α", "loss after the step"], step.rates.map(rate => [String(rate.alpha), num(rate.after)]), { label: "Learning rates" }));
}

function denseStep(layer, nameOf) {
  const last = layer.name === "head", first = look.first, pixels = layer === step.layers[step.layers.length - 1] && first.kind === "dense" && first.pixels;
  const unit = k => last ? bdi(nameOf(k)) : `unit ${k}`;
  const input = j => pixels ? featureName(j, look.pixels.size) : last ? featureName(j, head.shape) : `unit ${j} before`;
  const still = layer.still && !last ? ` ${layer.still.toLocaleString("en")} of its ${layer.units.toLocaleString("en")} units have δ = 0: ReLU stopped them, and they learn nothing from this picture.` : "";
  const rows = layer.cells.map(cell => [el("span", {}, unit(cell.unit), ` ← ${input(cell.input)}`), num(cell.delta), num(cell.x), num(cell.w), num(cell.dw, { kind: "dw" }), num(cell.new)]);
  rows.push(...layer.biases.map(one => [el("span", {}, unit(one.unit), " ← bias"), num(one.delta), num(1), num(one.b), num(one.db, { kind: "dw" }), num(one.b + one.db)]));
  return [el("h3", {}, bdi(layer.name), el("span", { class: "soft" }, ` dense layer, ${layer.weights.toLocaleString("en")} learnt numbers`)),
    el("p", {}, `The weights that change most: of the units with the largest δ, those by which the largest inputs come in.${still}`),
    table(["weight", "δ", "x", "w", "Δw = −α δ x", "w after"], rows, { label: `Changes of ${layer.name}` })];
}

function kernelStep(layer) {
  const made = layer.w.map((_, c) => el("div", { class: "sum" },
    el("figure", {}, el("figcaption", {}, `kernel w, ${channelName(c, layer.w.length, true)}`), numbers(layer.w[c], peakOf(layer.w.flat(2)))), el("span", { class: "sign" }, "+"),
    el("figure", {}, el("figcaption", {}, "Δw, thousandths"), thousandths(layer.dw[c], peakOf(layer.dw.flat(2)))), el("span", { class: "sign" }, "="),
    el("figure", {}, el("figcaption", {}, "w after"), numbers(layer.new[c], peakOf(layer.new.flat(2))))));
  return [el("h3", {}, bdi(layer.name), el("span", { class: "soft" }, ` convolution, ${layer.weights.toLocaleString("en")} learnt numbers`)),
    formula("Δ*w*_{o, c, i, j} = −α Σ_{y, x} δ_{o, y, x} · *x*_{c, y + i, x + j}"),
    el("p", {}, `A kernel is used at every place, so the changes of all places are added. Pooling hands δ only to the largest value of each window: ${layer.places.toLocaleString("en")} of ${layer.of.toLocaleString("en")} places of channel ${layer.unit}, whose kernel changes most, have one that is not 0. Its bias `, num(layer.b), " changes by ", num(layer.db), "."),
    el("div", { class: "sums" }, made)];
}

/** Small changes in coloured cells, times a thousand; data-v has them as they are. */
function thousandths(rows, peak) {
  const made = numbers(rows.map(row => row.map(value => value * 1000)), peak * 1000);
  made.querySelectorAll("td").forEach((cell, k) => { const value = rows.flat()[k]; cell.dataset.v = value; cell.title = String(value); });
  return made;
}
