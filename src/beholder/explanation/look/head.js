// Sections 4 and 5: features × weights = logits, and what becomes of logits.
const head = look.head;

function headSection() {
  const place = $("head-work"), features = head.features ? array(head.features) : null, columns = Math.min(64, head.count);
  if (!head.head) {
    place.append(el("p", {}, `This net does not end in one dense layer: its ${head.count} outputs are the logits themselves.`));
    return;
  }
  const mirrored = head.mirror ? " This model looks at the picture and at its mirror image: the features are the means of both." : "";
  fill(place,
    el("p", {}, `The layers before have turned the picture into ${head.count.toLocaleString("en")} numbers, the features. The last layer, the head, has a row of weights for each ${look.several ? "label" : "class"}: it asks how much the features look like what it knows of it.${mirrored}`),
    formula(head.scale === 1 ? "*z*_{k} = *b*_{k} + Σ_{j} *w*_{k, j} · *f*_{j}" : "*z*_{k} = *s* · (*b*_{k} + Σ_{j} *w*_{k, j} · *f*_{j})"),
    head.scale === 1 ? null : el("p", {}, "s = ", num(head.scale), " is a fixed number of this net, which keeps its logits small."));
  if (features) {
    const padded = new Float32Array(Math.ceil(features.length / columns) * columns); padded.set(features);
    const canvas = el("canvas", { role: "img", "aria-label": `The ${features.length} features, in lines of ${columns}` });
    heat(canvas, padded, padded.length / columns, columns, peakOf(features));
    place.append(el("div", { class: "layer", style: "border:0;padding:0" }, el("div", { class: "row" }, canvas)), el("p", { class: "soft" }, `All ${features.length} features, in lines of ${columns}.`));
  }
  const select = el("select", { id: "class" }, head.rows.map((row, k) => el("option", { value: k }, row.name))), work = el("div", { id: "head-sum", "aria-live": "polite" });
  select.addEventListener("change", () => show(Number(select.value)));
  place.append(el("div", { class: "controls" }, el("label", {}, "logit of", select)), work);
  function show(k) {
    const row = head.rows[k], most = Math.abs(row.terms[0]?.[3]) || 1, others = head.count - row.terms.length;
    const rows = row.terms.map(([j, f, w, product]) => [featureName(j, head.shape), num(f), num(w), num(product), barred(signed(product / most))]);
    if (others) rows.push([`the other ${others.toLocaleString("en")} together`, "", "", num(row.rest), ""]);
    rows.push(["bias", "", "", num(row.bias), ""]);
    if (head.scale !== 1) rows.push(["all of this times s", "", "", num(head.scale), ""]);
    rows.push({ kind: "sum-row", cells: [el("span", {}, "logit of ", bdi(row.name)), "", "", num(row.logit, { id: "logit" }), ""] });
    work.replaceChildren(table(["largest products", "feature f", "weight w", "w · f", ""], rows, { label: "The sum of one logit" }));
  }
  show(0);
}

const FAMILIES = {
  categorical: ["The exponential makes every logit positive, the larger the more; divided by their sum they are shares of 1, the probabilities. This is the softmax.", "*p*_{k} = exp(*z*_{k}) / Σ_{j} exp(*z*_{j})"],
  bernoulli: ["Each label is decided alone: the sigmoid presses its logit between 0 and 1. A label is given where its probability reaches its threshold.", "*p*_{k} = σ(*z*_{k}) = 1 / (1 + exp(−*z*_{k}))"],
  sequential: ["The classes have an order. Each logit says how likely the picture is beyond a class, given that it is beyond all before it. A class is reached by going beyond those before it and not beyond it. The prediction is the median class.", "*p*_{k} = σ(*z*_{0}) · … · σ(*z*_{k − 1}) · (1 − σ(*z*_{k}))"],
};

function calibrationWords() {
  const found = head.calibration;
  if (!found) return el("p", {}, "The logits are used as they are: no calibration proved better on validation pictures.");
  const how = found.one ? ["All logits are divided by one temperature, T = ", num(found.temperature, { id: "temperature" })]
    : [found.method === "vector" ? "Each logit has a factor and an offset of its own" : "Each logit is divided by a temperature of its own"];
  return el("p", {}, ...how, `, which was fitted on ${found.n.toLocaleString("en")} validation pictures, so that of answers with p = 0.8 about eight in ten are right. The probabilities below are those of beholder predict.`);
}

function probabilitySection() {
  const place = $("probability-work"), [words, law] = FAMILIES[head.family] ?? ["The task of this model turns logits into probabilities by a rule of its own.", ""];
  fill(place, calibrationWords(), head.calibration ? formula(head.calibration.one ? "*z*′_{k} = *z*_{k} / *T*" : "*z*′_{k} = *s*_{k} · *z*_{k} + *t*_{k}") : null,
    el("p", {}, words), law ? formula(head.calibration ? law.replaceAll("*z*", "*z*′") : law) : null);
  const calibrated = head.calibration !== null, steps = head.steps, soft = head.family === "categorical";
  if (steps) place.append(table(["question", "logit z", ...(calibrated ? ["calibrated z′"] : []), calibrated ? "σ(z′)" : "σ(z)"],
    steps.map(step => [bdi(step.name), num(step.logit), ...(calibrated ? [num(step.calibrated)] : []), num(step.p)]), { label: "The logits" }));
  const heads = ["class", ...(steps ? [] : ["logit z"]), ...(calibrated && !steps ? ["calibrated z′"] : []), ...(soft ? [calibrated ? "exp(z′ − largest)" : "exp(z − largest)"] : []), "p", "", ...(look.several ? ["threshold"] : [])];
  const rowOf = one => ({ kind: one.at === head.first ? "held" : null, cells: [bdi(one.name), ...(steps ? [] : [num(one.logit)]), ...(calibrated && !steps ? [num(one.calibrated)] : []),
    ...(soft ? [num(one.exp)] : []), num(one.p, { kind: "p" }), barred(bar(one.p)), ...(look.several ? [num(one.threshold)] : [])] });
  const rows = head.classes.map(rowOf), last = [];
  if (soft) last.push({ kind: "sum-row", cells: ["all classes together", "", ...(calibrated ? [""] : []), num(head.sum), num(1), ""] });
  const first = rows.slice(0, 12), rest = rows.slice(12);
  place.append(table(heads, rest.length ? first : [...first, ...last], { label: "The classes" }));
  if (rest.length) place.append(el("details", {}, el("summary", {}, `The other ${rest.length} classes`), table(heads, [...rest, ...last], { label: "The other classes", tall: true })));
  if (head.others.count) place.append(el("p", { class: "soft" }, `${head.others.count.toLocaleString("en")} classes are not listed; together their p is `, num(head.others.p), "."));
  if (soft) place.append(el("p", { class: "soft" }, "The largest logit is taken off before the exponential, so that no number becomes too large; the shares do not change by it."));
}
