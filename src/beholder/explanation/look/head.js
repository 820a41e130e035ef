// Sections 4 and 5: features × weights = logits, and what becomes of logits.
const head = look.head;

function headSection() {
  const place = $("head-work");
  if (!head.head) {
    place.append(el("p", {}, `This net does not end in one dense layer: its ${head.count} outputs are the logits themselves.`));
    return;
  }
  const select = el("select", { id: "class" }, head.rows.map((row, k) => el("option", { value: k }, row.name)));
  const work = el("div", { id: "head-sum", "aria-live": "polite" }), show = k => work.replaceChildren(logitSum(head.rows[k]));
  select.addEventListener("change", () => show(Number(select.value)));
  fill(place, ...headWords(), head.features ? drawnFeatures() : null,
    head.rows.length < head.of ? el("p", { class: "soft" }, `Of ${whole(head.of)} logits ${head.rows.length} can be chosen.`) : null,
    el("div", { class: "controls" }, el("label", {}, "logit of", select)), work);
  show(0);
}

function headWords() {
  const mirrored = head.mirror
    ? " This model looks at the picture and at its mirror image: the features are the means of both." : "";
  const law = "*b*_{k} + Σ_{j} *w*_{k, j} · *f*_{j}", plain = head.scale === 1;
  return [
    el("p", {}, `The layers before have turned the picture into ${whole(head.count)} numbers, the features. The last layer, the head,`
      + ` has a row of weights for each ${look.several ? "label" : "class"}: it asks how much the features look like what it knows of it.`
      + mirrored),
    formula(plain ? `*z*_{k} = ${law}` : `*z*_{k} = *s* · (${law})`),
    plain ? null : el("p", {}, "s = ", num(head.scale), " is a fixed number of this net, which keeps its logits small.")];
}

function drawnFeatures() {
  const features = array(head.features), count = features.length, columns = Math.min(64, head.count);
  const padded = new Float32Array(Math.ceil(count / columns) * columns);
  padded.set(features);
  const canvas = el("canvas", { role: "img", "aria-label": `The ${count} features, in lines of ${columns}` });
  heat(canvas, padded, padded.length / columns, columns, peakOf(features));
  return el("div", {},
    el("div", { class: "layer", style: "border:0;padding:0" }, el("div", { class: "row" }, canvas)),
    el("p", { class: "soft" }, `All ${count} features, in lines of ${columns}.`));
}

/** The largest products of a logit, the others as one sum, the bias and the logit. */
function logitSum(row) {
  const most = Math.abs(row.terms[0]?.[3]) || 1, others = head.count - row.terms.length;
  const rows = row.terms.map(([j, f, w, product]) =>
    [featureName(j, head.shape), num(f), num(w), num(product), barred(signed(product / most))]);
  if (others) rows.push([`the other ${whole(others)} together`, "", "", num(row.rest), ""]);
  rows.push(["bias", "", "", num(row.bias), ""]);
  if (head.scale !== 1) rows.push(["all of this times s", "", "", num(head.scale), ""]);
  rows.push({ kind: "sum-row", cells: [el("span", {}, "logit of ", bdi(row.name)), "", "", num(row.logit, { id: "logit" }), ""] });
  return table(["largest products", "feature f", "weight w", "w · f", ""], rows, { label: "The sum of one logit" });
}

const FAMILIES = {
  categorical: ["The exponential makes every logit positive, the larger the more; divided by their sum they are shares of 1, the"
    + " probabilities. This is the softmax.", "*p*_{k} = exp(*z*_{k}) / Σ_{j} exp(*z*_{j})"],
  bernoulli: ["Each label is decided alone: the sigmoid presses its logit between 0 and 1. A label is given where its probability"
    + " reaches its threshold.", "*p*_{k} = σ(*z*_{k}) = 1 / (1 + exp(−*z*_{k}))"],
  sequential: ["The classes have an order. Each logit says how likely the picture is beyond a class, given that it is beyond all before"
    + " it. A class is reached by going beyond those before it and not beyond it. The prediction is the median class.",
    "*p*_{k} = σ(*z*_{0}) · … · σ(*z*_{k − 1}) · (1 − σ(*z*_{k}))"],
};

function calibrationWords() {
  const found = head.calibration;
  if (!found) return el("p", {}, "The logits are used as they are: no calibration proved better on validation pictures.");
  const own = found.method === "vector" ? "Each logit has a factor and an offset of its own"
    : "Each logit is divided by a temperature of its own";
  const how = found.one
    ? ["All logits are divided by one temperature, T = ", num(found.temperature, { id: "temperature" })] : [own];
  return el("p", {}, ...how, `, which was fitted on ${whole(found.n)} validation pictures, so that of answers with p = 0.8 about eight`
    + " in ten are right. The probabilities below are those of beholder predict.");
}

/** The questions of ordered classes, one for each logit. */
function questionTable() {
  const calibrated = head.calibration !== null;
  const rows = head.steps.map(one => [bdi(one.name), num(one.logit), ...(calibrated ? [num(one.calibrated)] : []), num(one.p)]);
  const heads = ["question", "logit z", ...(calibrated ? ["calibrated z′", "σ(z′)"] : ["σ(z)"])];
  return table(heads, rows, { label: "The logits" });
}

/** All listed classes: the first twelve, and the others in a table that opens. */
function classTables() {
  const shown = head.calibration !== null && !head.steps, soft = head.family === "categorical", z = head.calibration ? "z′" : "z";
  const heads = ["class", ...(head.steps ? [] : ["logit z"]), ...(shown ? ["calibrated z′"] : []),
    ...(soft ? [`exp(${z} − largest)`] : []), "p", "", ...(look.several ? ["threshold"] : [])];
  const rowOf = one => ({ kind: one.at === head.first ? "held" : null, cells: [
    bdi(one.name), ...(head.steps ? [] : [num(one.logit)]), ...(shown ? [num(one.calibrated)] : []),
    ...(soft ? [num(one.exp)] : []), num(one.p, { kind: "p" }), barred(bar(one.p)), ...(look.several ? [num(one.threshold)] : [])] });
  const rows = head.classes.map(rowOf), first = rows.slice(0, 12), rest = rows.slice(12), last = [];
  if (soft) last.push({ kind: "sum-row",
    cells: ["all classes together", "", ...(shown ? [""] : []), num(head.sum), num(1), ""] });
  if (!rest.length) return [table(heads, [...first, ...last], { label: "The classes" })];
  return [table(heads, first, { label: "The classes" }), el("details", {}, el("summary", {}, `The other ${rest.length} classes`),
    table(heads, [...rest, ...last], { label: "The other classes", tall: true }))];
}

function probabilitySection() {
  const own = ["The task of this model turns logits into probabilities by a rule of its own.", ""];
  const [words, law] = FAMILIES[head.family] ?? own, calibration = head.calibration, soft = head.family === "categorical";
  const scaled = calibration?.one ? "*z*′_{k} = *z*_{k} / *T*" : "*z*′_{k} = *s*_{k} · *z*_{k} + *t*_{k}";
  fill($("probability-work"),
    calibrationWords(), calibration ? formula(scaled) : null,
    el("p", {}, words), law ? formula(calibration ? law.replaceAll("*z*", "*z*′") : law) : null,
    head.steps ? questionTable() : null, ...classTables(),
    head.others.count ? el("p", { class: "soft" }, `${whole(head.others.count)} classes are not listed; together their p is `,
      num(head.others.p), ".") : null,
    soft ? el("p", { class: "soft" }, "The largest logit is taken off before the exponential, so that no number becomes too large; the"
      + " shares do not change by it.") : null);
}
